package helm

import (
	"path"
	"slices"
	"strings"
)

// served are the API versions that Kubernetes 1.37 serves when it is not told
// otherwise, and their kinds: api/discovery/aggregated_v2.json and api__v1.json of
// k8s.io/kubernetes v1.37.2, without alpha and beta versions, which are off.
const served = `v1 Binding ComponentStatus ConfigMap Endpoints Event Eviction LimitRange Namespace Node NodeProxyOptions PersistentVolume PersistentVolumeClaim Pod PodAttachOptions PodExecOptions PodPortForwardOptions PodProxyOptions PodTemplate ReplicationController ResourceQuota Scale Secret Service ServiceAccount ServiceProxyOptions TokenRequest
admissionregistration.k8s.io/v1 MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration
apiextensions.k8s.io/v1 CustomResourceDefinition
apiregistration.k8s.io/v1 APIService
apps/v1 ControllerRevision DaemonSet Deployment ReplicaSet Scale StatefulSet
authentication.k8s.io/v1 SelfSubjectReview TokenReview
authorization.k8s.io/v1 LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview
autoscaling/v1 HorizontalPodAutoscaler
autoscaling/v2 HorizontalPodAutoscaler
batch/v1 CronJob Job
certificates.k8s.io/v1 CertificateSigningRequest ClusterTrustBundle PodCertificateRequest
coordination.k8s.io/v1 Lease
discovery.k8s.io/v1 EndpointSlice
events.k8s.io/v1 Event
flowcontrol.apiserver.k8s.io/v1 FlowSchema PriorityLevelConfiguration
networking.k8s.io/v1 IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR
node.k8s.io/v1 RuntimeClass
policy/v1 PodDisruptionBudget
rbac.authorization.k8s.io/v1 ClusterRole ClusterRoleBinding Role RoleBinding
resource.k8s.io/v1 DeviceClass DeviceTaintRule ResourceClaim ResourceClaimTemplate ResourceSlice
scheduling.k8s.io/v1 PriorityClass
storage.k8s.io/v1 CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment VolumeAttributesClass
storagemigration.k8s.io/v1 StorageVersionMigration`

// Served is what .Capabilities.APIVersions has of Kubernetes itself where Helm
// asks the cluster: each version, and each kind of it ("apps/v1/Deployment"). Helm
// lists the kinds of subresources as being of the version they are served under;
// so does this.
func Served() []string {
	var all []string
	for line := range strings.Lines(served) {
		words := strings.Fields(line)
		all = append(all, words[0])
		for _, kind := range words[1:] {
			all = append(all, path.Join(words[0], kind))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
