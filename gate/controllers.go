package gate

import (
	"slices"
	"strings"
)

// Controller: a controller writes its own field of an object, whoever declares
// the object. User, kind and path must all fit. What a controller once wrote may
// then stay, whoever sends it along.
//
// The users and kinds follow the bootstrap roles of Kubernetes
// (plugin/pkg/auth/authorizer/rbac/bootstrappolicy/controller_policy.go); a test
// holds them against these. The paths are what the controllers were seen to
// write, and are in no role.

// controllerRule lets users write one path of some kinds.
type controllerRule struct {
	kinds []string // Kind or Kind.group; "*" is any
	path  string   // as pathPattern writes it; stands for all below
	by    []string
	// holds says which values count; nil is any.
	holds func(c *comparison, v values) bool
	// over: also where Git says something else.
	over bool
}

var controllerRules = indexControllerRules(controllerTable)

var controllerTable = []controllerRule{
	{[]string{"Deployment.apps"}, "metadata.annotations[deployment.kubernetes.io/revision]", controllers("deployment-controller"), nil, false},
	{[]string{"ReplicaSet.apps"}, "spec.replicas", controllers("deployment-controller"), nil, false},
	{[]string{"ReplicaSet.apps"}, "spec.minReadySeconds", controllers("deployment-controller"), nil, false},
	{[]string{"ReplicaSet.apps"}, "metadata.annotations", controllers("deployment-controller"), nil, false},
	{[]string{"ReplicaSet.apps"}, "metadata.ownerReferences", controllers("deployment-controller"), nil, false},
	{[]string{"Pod"}, "metadata.ownerReferences", controllers("replicaset-controller", "replication-controller", "statefulset-controller",
		"daemon-set-controller", "job-controller"), nil, false},
	{[]string{"Pod"}, "metadata.labels[statefulset.kubernetes.io/pod-name]", controllers("statefulset-controller"), isSubjectName, false},
	{[]string{"Pod"}, "metadata.labels[apps.kubernetes.io/pod-index]", controllers("statefulset-controller"), nil, false},
	{[]string{"Pod"}, "metadata.labels.controller-revision-hash", controllers("daemon-set-controller"), nil, false},
	{[]string{"Pod"}, "metadata.finalizers[]", controllers("job-controller"), isFinalizer("batch.kubernetes.io/job-tracking"), false},
	{[]string{"ControllerRevision.apps"}, "revision", controllers("statefulset-controller", "daemon-set-controller"), nil, false},
	{[]string{"ControllerRevision.apps"}, "metadata.ownerReferences", controllers("statefulset-controller", "daemon-set-controller"), nil, false},
	{[]string{"ControllerRevision.apps"}, "metadata.labels", controllers("statefulset-controller", "daemon-set-controller"), nil, false},
	{[]string{"Job.batch"}, "metadata.ownerReferences", controllers("cronjob-controller"), nil, false},
	{[]string{"Job.batch"}, "spec.template.spec.schedulingGates", controllers("job-controller"), nil, false},

	{[]string{"Endpoints"}, "subsets", controllers("endpoint-controller"), nil, false},
	{[]string{"Endpoints"}, "metadata.labels", controllers("endpoint-controller"), nil, false},
	{[]string{"Endpoints"}, "metadata.annotations", controllers("endpoint-controller"), nil, false},
	{[]string{"EndpointSlice.discovery.k8s.io"}, "endpoints", controllers("endpointslice-controller", "endpointslicemirroring-controller"), nil, false},
	{[]string{"EndpointSlice.discovery.k8s.io"}, "ports", controllers("endpointslice-controller", "endpointslicemirroring-controller"), nil, false},
	{[]string{"EndpointSlice.discovery.k8s.io"}, "metadata.labels", controllers("endpointslice-controller", "endpointslicemirroring-controller"), nil, false},
	{[]string{"EndpointSlice.discovery.k8s.io"}, "metadata.annotations", controllers("endpointslice-controller", "endpointslicemirroring-controller"), nil, false},
	{[]string{"EndpointSlice.discovery.k8s.io"}, "metadata.ownerReferences", controllers("endpointslice-controller", "endpointslicemirroring-controller"), nil, false},
	{[]string{"Service"}, "metadata.finalizers[]", append(controllers("service-controller", "cloud-controller-manager"), "system:cloud-controller-manager"),
		isFinalizer("service.kubernetes.io/load-balancer-cleanup"), false},

	{[]string{"PersistentVolumeClaim"}, "spec.volumeName", controllers("persistent-volume-binder"), nil, false},
	{[]string{"PersistentVolumeClaim"}, "metadata.annotations[pv.kubernetes.io/bind-completed]", controllers("persistent-volume-binder"), nil, false},
	{[]string{"PersistentVolumeClaim"}, "metadata.annotations[pv.kubernetes.io/bound-by-controller]", controllers("persistent-volume-binder"), nil, false},
	{[]string{"PersistentVolumeClaim"}, "metadata.annotations[volume.kubernetes.io/storage-provisioner]", controllers("persistent-volume-binder"), nil, false},
	{[]string{"PersistentVolumeClaim"}, "metadata.annotations[volume.beta.kubernetes.io/storage-provisioner]", controllers("persistent-volume-binder"), nil, false},
	{[]string{"PersistentVolumeClaim"}, "metadata.annotations[volume.kubernetes.io/selected-node]", append(controllers("persistent-volume-binder"), scheduler), nil, false},
	{[]string{"PersistentVolumeClaim"}, "metadata.finalizers[]", controllers("pvc-protection-controller"), isFinalizer("kubernetes.io/pvc-protection"), false},
	{[]string{"PersistentVolumeClaim"}, "metadata.ownerReferences", controllers("statefulset-controller"), nil, false},
	{[]string{"PersistentVolumeClaim"}, "metadata.annotations[volume.kubernetes.io/storage-resizer]", controllers("expand-controller"), nil, false},
	{[]string{"PersistentVolumeClaim"}, "spec.storageClassName", controllers("persistent-volume-binder"), isFirst, false},
	{[]string{"PersistentVolumeClaim", "PersistentVolume"}, "metadata.annotations[pv.kubernetes.io/migrated-to]", controllers("persistent-volume-binder"), nil, false},
	{[]string{"PersistentVolume"}, "spec.claimRef", append(controllers("persistent-volume-binder"), scheduler), nil, false},
	{[]string{"PersistentVolume"}, "metadata.annotations[pv.kubernetes.io/bound-by-controller]", append(controllers("persistent-volume-binder"), scheduler), nil, false},
	{[]string{"PersistentVolume"}, "metadata.finalizers[]", controllers("pv-protection-controller", "persistent-volume-binder"),
		isFinalizer("kubernetes.io/pv-protection", "external-provisioner.volume.kubernetes.io/finalizer", "kubernetes.io/pv-controller"), false},
	{[]string{"PersistentVolume"}, "spec.capacity", controllers("expand-controller"), nil, true},
	{[]string{"VolumeAttributesClass.storage.k8s.io"}, "metadata.finalizers[]", controllers("volumeattributesclass-protection-controller"), isFinalizer("kubernetes.io/vac-protection"), false},
	{[]string{"ResourceClaim.resource.k8s.io"}, "metadata.finalizers[]", append(controllers("resource-claim-controller"), scheduler), isFinalizer("resource.kubernetes.io/delete-protection"), false},

	// The token of a ServiceAccount, in a Secret that Git declares for one; and
	// the marks of its use.
	{[]string{"Secret"}, "data.token", []string{controllerManager}, isAccountToken, false},
	{[]string{"Secret"}, "data.namespace", []string{controllerManager}, isAccountToken, false},
	{[]string{"Secret"}, "data[ca.crt]", []string{controllerManager}, isAccountToken, false},
	{[]string{"Secret"}, "metadata.annotations[kubernetes.io/service-account.uid]", []string{controllerManager}, isAccountToken, false},
	{[]string{"Secret"}, "metadata.labels[kubernetes.io/legacy-token-last-used]", itself, isAccountToken, false},
	{[]string{"Secret"}, "metadata.labels[kubernetes.io/legacy-token-invalid-since]", controllers("legacy-service-account-token-cleaner"), isAccountToken, false},

	{[]string{"ClusterRole.rbac.authorization.k8s.io"}, "rules", controllers("clusterrole-aggregation-controller"), isAggregated, true},
	{[]string{"ServiceCIDR.networking.k8s.io"}, "metadata.finalizers[]", controllers("service-cidrs-controller"), isFinalizer("networking.k8s.io/service-cidr-finalizer"), false},

	{[]string{"Node"}, "spec.taints", append(controllers("node-controller", "cloud-controller-manager"), "system:cloud-controller-manager", "system:cloud-node-controller"), nil, false},
	{[]string{"Node"}, "metadata.labels", append(controllers("node-controller", "cloud-controller-manager"), "system:cloud-controller-manager", "system:cloud-node-controller"), nil, false},
	{[]string{"Node"}, "metadata.annotations", append(controllers("ttl-controller", "node-controller", "attachdetach-controller", "cloud-controller-manager"), "system:cloud-controller-manager", "system:cloud-node-controller"), nil, false},
	{[]string{"Node"}, "spec.podCIDR", append(controllers("node-controller", "cloud-controller-manager"), "system:cloud-controller-manager"), nil, false},
	{[]string{"Node"}, "spec.podCIDRs", append(controllers("node-controller", "cloud-controller-manager"), "system:cloud-controller-manager"), nil, false},
	{[]string{"Node"}, "spec.providerID", append(controllers("cloud-controller-manager"), "system:cloud-controller-manager", "system:cloud-node-controller"), nil, false},

	// The garbage collector takes its two finalizers and dead owners off
	// anything.
	{[]string{"*"}, "metadata.finalizers[]", controllers("generic-garbage-collector"), isFinalizer("foregroundDeletion", "orphan"), false},
	{[]string{"*"}, "metadata.ownerReferences", garbageCollector, isFewerOwners, true},

	// cert-manager's cainjector, where Git asks for it.
	{[]string{"CustomResourceDefinition.apiextensions.k8s.io"}, "spec.conversion.webhook.clientConfig.caBundle", caInjector, asksForCA, true},
	{[]string{"APIService.apiregistration.k8s.io"}, "spec.caBundle", caInjector, asksForCA, true},

	{fluxKinds, "metadata.finalizers[]", fluxControllers, isFinalizer("finalizers.fluxcd.io"), false},
	{fluxKinds, "metadata.annotations[reconcile.fluxcd.io/requestedAt]", []string{accountPrefix + "flux-system:notification-controller"}, nil, false},

	{argoApplication, "status", argoServer, nil, true},
	{argoApplication, "status", argoSets, isBlankStatus, false},
	{argoApplication, "operation", argoEverybody, isArgoOperation, true},
	{argoApplication, argoRefresh, argoEverybody, argoRefreshes, true},
	{argoApplication, argoHydrate, argoServer, argoRefreshes, false},
	{argoApplication, argoNotified, argoNotifier, nil, false},
	{argoApplication, "metadata.finalizers[]", argoController, isFinalizer(argoEnds...), false},
	{argoApplication, "metadata.finalizers[]", argoController, endsWith(argoResources...), true},
	{argoApplication, "metadata.finalizers", argoController, endsAll(argoResources...), true},
	{[]string{"ApplicationSet.argoproj.io"}, argoSetRefresh, argoSets, argoRefreshes, false},
}

var garbageCollector = controllers("generic-garbage-collector")

var caInjector = []string{accountPrefix + "cert-manager:cert-manager-cainjector", accountPrefix + "cert-manager:cainjector"}

// Flux' controllers put a finalizer on the resources that they work from.
var (
	fluxKinds = []string{"Kustomization.kustomize.toolkit.fluxcd.io", "HelmRelease.helm.toolkit.fluxcd.io",
		"GitRepository.source.toolkit.fluxcd.io", "HelmRepository.source.toolkit.fluxcd.io", "HelmChart.source.toolkit.fluxcd.io",
		"OCIRepository.source.toolkit.fluxcd.io", "Bucket.source.toolkit.fluxcd.io", "ExternalArtifact.source.toolkit.fluxcd.io",
		"Receiver.notification.toolkit.fluxcd.io", "Alert.notification.toolkit.fluxcd.io", "Provider.notification.toolkit.fluxcd.io",
		"ImageRepository.image.toolkit.fluxcd.io", "ImagePolicy.image.toolkit.fluxcd.io", "ImageUpdateAutomation.image.toolkit.fluxcd.io"}
	fluxControllers = []string{accountPrefix + "flux-system:kustomize-controller", accountPrefix + "flux-system:helm-controller",
		accountPrefix + "flux-system:source-controller", accountPrefix + "flux-system:notification-controller",
		accountPrefix + "flux-system:image-reflector-controller", accountPrefix + "flux-system:image-automation-controller"}
)

func indexControllerRules(rules []controllerRule) map[string][]controllerRule {
	index := map[string][]controllerRule{}
	for _, r := range rules {
		for _, kind := range r.kinds {
			index[kind] = append(index[kind], r)
		}
	}
	return index
}

// controllerReason reports whether a controller may have written the value.
func controllerReason(c *comparison, v values) bool {
	kind := c.subject.ref.GroupKind()
	if isAutoscaled(c, v) || argoLeavesOut(c, v) {
		return true
	}
	own, any := controllerRules[kind], controllerRules["*"]
	if len(own) == 0 && c.path[0].name != "metadata" {
		return false
	}
	path := pathPattern(c.path)
	return slices.ContainsFunc(own, func(r controllerRule) bool { return r.allows(c, v, path) }) ||
		slices.ContainsFunc(any, func(r controllerRule) bool { return r.allows(c, v, path) })
}

func (r *controllerRule) allows(c *comparison, v values, path string) bool {
	if r.path != path || v.want != absent && !r.over && !c.undeclared() {
		return false
	}
	if r.holds != nil && !r.holds(c, v) {
		return false
	}
	kept := v.old != absent && equal(v.old, v.new)
	return kept || c.user().isOneOf(r.by)
}

// isFirst: nothing was there before.
func isFirst(_ *comparison, v values) bool {
	return v.new != absent && (v.old == absent || v.old == nil || equal(v.old, v.new))
}

func isSubjectName(c *comparison, v values) bool {
	return v.new == absent || v.new == any(c.subject.ref.Name)
}

// isFinalizer: the item is one of these, whether it comes or goes.
func isFinalizer(names ...string) func(*comparison, values) bool {
	return func(c *comparison, _ values) bool {
		return slices.Contains(names, c.path[len(c.path)-1].name)
	}
}

// isAccountToken: the Secret is one that Kubernetes fills for a ServiceAccount.
func isAccountToken(c *comparison, _ values) bool {
	return dig(c.want, "type") == any("kubernetes.io/service-account-token")
}

// isFewerOwners: the garbage collector alone takes owners off, and adds none.
func isFewerOwners(c *comparison, v values) bool {
	for _, n := range asList(v.new) {
		if !slices.ContainsFunc(asList(v.old), func(o any) bool { return equal(at(o, "uid"), at(n, "uid")) }) {
			return false
		}
	}
	return c.user().isOneOf(garbageCollector)
}

// isAggregated: only a ClusterRole that says so gets its rules from others.
func isAggregated(c *comparison, v values) bool {
	rule, _ := dig(c.subject.new, "aggregationRule").(map[string]any)
	return len(rule) > 0 && v.new != absent
}

// asksForCA: Git itself names where the authority is to come from, in one of
// cainjector's annotations.
func asksForCA(c *comparison, v values) bool {
	if c.manifest == nil || v.new == absent {
		return false
	}
	annotations, _ := dig(c.want, "metadata", "annotations").(map[string]any)
	for k, value := range annotations {
		if strings.HasPrefix(k, "cert-manager.io/inject-") && value != "" {
			return true
		}
	}
	return false
}
