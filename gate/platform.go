package gate

import (
	"regexp"
	"slices"
	"strings"

	"github.com/gitward/gitward/gitindex"
)

// Platform: what Kubernetes itself keeps, by user, kind and name.

// platformRule lets users keep objects of a kind. Empty patterns fit everything.
type platformRule struct {
	kind            string // Kind or Kind.group
	namespace, name string // patterns
	by              []string
	// holds says more; nil is anything.
	holds func(req *Request, o objects) bool
}

var platformRules = indexPlatformRules(platformTable)

var platformTable = []platformRule{
	{"ConfigMap", "*", "kube-root-ca.crt", controllers("root-ca-cert-publisher"), nil},
	{"ServiceAccount", "*", "default", controllers("service-account-controller"), isBareAccount},
	{"ServiceAccount", "kube-system", "*", []string{controllerManager}, isBareAccount},
	{"ConfigMap", "kube-public", "cluster-info", controllers("bootstrap-signer"), nil},
	{"ClusterTrustBundle.certificates.k8s.io", "", "kubernetes.io:*", controllers("kube-apiserver-serving-clustertrustbundle-publisher"), nil},
	{"VolumeAttachment.storage.k8s.io", "", "*", controllers("attachdetach-controller"), nil},

	{"Node", "", "*", []string{nodePrefix}, isOwnNode},
	{"CSINode.storage.k8s.io", "", "*", []string{nodePrefix}, isOwnNode},
	{"CertificateSigningRequest.certificates.k8s.io", "", "*", []string{nodePrefix, "system:bootstrap:"}, nil},
	{"PodCertificateRequest.certificates.k8s.io", "*", "*", []string{nodePrefix}, isOnOwnNode},
	{"ResourceSlice.resource.k8s.io", "", "*", []string{nodePrefix}, isOnOwnNode},
	{"Pod", "*", "*", []string{nodePrefix}, isOwnMirror},
	{"Event", "*", "*", machines, nil},
	{"Event.events.k8s.io", "*", "*", machines, nil},
	{"Lease.coordination.k8s.io", "*", "*", machines, nil},

	{"Namespace", "", "kube-system", itself, nil},
	{"Namespace", "", "kube-public", itself, nil},
	{"Namespace", "", "kube-node-lease", itself, nil},
	{"Namespace", "", "default", itself, nil},
	{"Service", "default", "kubernetes", itself, nil},
	{"Endpoints", "default", "kubernetes", itself, nil},
	{"EndpointSlice.discovery.k8s.io", "default", "kubernetes", itself, nil},
	{"IPAddress.networking.k8s.io", "", "*", itself, nil},
	{"ServiceCIDR.networking.k8s.io", "", "*", itself, nil},
	{"APIService.apiregistration.k8s.io", "", "*", itself, isLocalService},
	{"FlowSchema.flowcontrol.apiserver.k8s.io", "", "*", itself, nil},
	{"PriorityLevelConfiguration.flowcontrol.apiserver.k8s.io", "", "*", itself, nil},
	{"PriorityClass.scheduling.k8s.io", "", "system-*", itself, nil},
	{"ClusterRole.rbac.authorization.k8s.io", "", "*", itself, isBootstrapRole},
	{"ClusterRoleBinding.rbac.authorization.k8s.io", "", "*", itself, isBootstrapRole},
	{"Role.rbac.authorization.k8s.io", "kube-*", "*", itself, isBootstrapRole},
	{"RoleBinding.rbac.authorization.k8s.io", "kube-*", "*", itself, isBootstrapRole},
	{"ConfigMap", "kube-system", "extension-apiserver-authentication", itself, nil},
	{"ConfigMap", "kube-system", "kube-apiserver-legacy-service-account-token-tracking", itself, nil},
	{"StorageVersion.internal.apiserver.k8s.io", "", "*", itself, nil},
}

var (
	itself   = []string{apiServer}
	machines = []string{"system:"}
)

func indexPlatformRules(rules []platformRule) map[string][]platformRule {
	index := map[string][]platformRule{}
	for _, r := range rules {
		index[r.kind] = append(index[r.kind], r)
	}
	return index
}

// isPlatform reports whether the requester keeps this object for Kubernetes.
func isPlatform(req *Request, ref gitindex.Ref, o objects) bool {
	return slices.ContainsFunc(platformRules[ref.GroupKind()], func(r platformRule) bool {
		return r.names(ref) && r.keptBy(&req.User) && (r.holds == nil || r.holds(req, o))
	})
}

// isPlatformObject reports an object that is Kubernetes' own, whoever asks: by
// its exact name.
func isPlatformObject(ref gitindex.Ref) bool {
	return ref == gitindex.Ref{Kind: "Service", Namespace: "default", Name: "kubernetes"} ||
		ref == gitindex.Ref{Kind: "Endpoints", Namespace: "default", Name: "kubernetes"}
}

func (r *platformRule) names(ref gitindex.Ref) bool {
	return match(r.name, ref.Name) && match(r.namespace, ref.Namespace)
}

// keptBy compares users; one that ends in a colon stands for all that begin so.
func (r *platformRule) keptBy(u *User) bool {
	for _, name := range r.by {
		switch {
		case name == nodePrefix:
			if u.node() != "" {
				return true
			}
		case name == "system:":
			if u.isMachine() {
				return true
			}
		case strings.HasSuffix(name, ":"):
			if strings.HasPrefix(u.Name, name) {
				return true
			}
		case u.isOneOf([]string{name}) && (name != apiServer || u.UID != "" && u.inAny([]string{"system:masters"})):
			return true
		}
	}
	return false
}

// isBareAccount: a new account with nothing but its name grants nothing.
func isBareAccount(req *Request, o objects) bool {
	if req.Operation != Create {
		return false
	}
	for k := range o.new {
		switch k {
		case "apiVersion", "kind", "metadata":
		default:
			return false
		}
	}
	return o.new != nil
}

// isOwnNode: a kubelet keeps the objects that have its Node's name.
func isOwnNode(req *Request, o objects) bool {
	return text(dig(o.new, "metadata", "name")) == req.User.node()
}

func isOnOwnNode(req *Request, o objects) bool {
	return text(dig(o.new, "spec", "nodeName")) == req.User.node()
}

// isOwnMirror: a kubelet shows a static Pod of its own as a mirror, which runs
// nothing by itself.
func isOwnMirror(req *Request, o objects) bool {
	return req.Operation == Create && text(dig(o.new, "metadata", "annotations", "kubernetes.io/config.mirror")) != "" &&
		text(dig(o.new, "spec", "nodeName")) == req.User.node()
}

// isLocalService: the API server registers the groups that it serves itself; an
// APIService that names a Service sends a group elsewhere.
func isLocalService(_ *Request, o objects) bool {
	service := dig(o.new, "spec", "service")
	return o.new != nil && (service == absent || service == nil)
}

// isBootstrapRole: the roles that the API server makes at its start carry its
// label and names of its own, and their bindings name parts of Kubernetes. The
// webhooks' match conditions say the same in CEL.
func isBootstrapRole(req *Request, o objects) bool {
	name, namespace := text(dig(o.new, "metadata", "name")), text(dig(o.new, "metadata", "namespace"))
	known := strings.HasPrefix(name, "system:") || slices.Contains(forPeople, name) || namespace == "kube-system" || namespace == "kube-public"
	if !known || text(dig(o.new, "metadata", "labels", "kubernetes.io/bootstrapping")) != "rbac-defaults" {
		return false
	}
	switch {
	case strings.HasSuffix(req.Kind, "Binding"):
		role := text(dig(o.new, "roleRef", "name"))
		return !slices.ContainsFunc(asList(dig(o.new, "subjects")), func(s any) bool { return !mayHold(s, role) })
	case name == "admin", name == "edit", name == "view": // aggregated from others
		return len(asList(at(o.new, "rules"))) == 0 || equal(at(o.new, "rules"), at(o.old, "rules"))
	case slices.ContainsFunc(openToAll, func(r openRole) bool { return r.role == name }):
		return !slices.ContainsFunc(asList(at(o.new, "rules")), func(r any) bool { return !asksOnly(r) })
	}
	return true
}

// forPeople are the roles that Kubernetes makes for people to be bound to.
var forPeople = []string{"cluster-admin", "admin", "edit", "view"}

// openRole is a role that Kubernetes itself binds to a group that everybody is in
// (plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go).
type openRole struct{ group, role string }

var openToAll = []openRole{
	{"system:authenticated", "system:basic-user"},
	{"system:authenticated", "system:discovery"},
	{"system:authenticated", "system:public-info-viewer"},
	{"system:unauthenticated", "system:public-info-viewer"},
	{"system:serviceaccounts", "system:service-account-issuer-discovery"},
	{"system:serviceaccounts", "system:cluster-trust-bundle-discovery"},
}

var anybody = regexp.MustCompile(`^system:(anonymous|unauthenticated|authenticated|serviceaccount|node|bootstrap)`)

// mayHold reports a subject that Kubernetes itself binds to a role: one that no
// person and no workload of others can be, or everybody to a harmless role.
func mayHold(subject any, role string) bool {
	kind, name := text(at(subject, "kind")), text(at(subject, "name"))
	switch {
	case kind == "ServiceAccount":
		return text(at(subject, "namespace")) == "kube-system" && !slices.Contains(forPeople, role)
	case name == "system:masters":
		return kind == "Group"
	case slices.ContainsFunc(openToAll, func(r openRole) bool { return r.group == name }):
		return kind == "Group" && slices.Contains(openToAll, openRole{name, role})
	}
	return strings.HasPrefix(name, "system:") && !anybody.MatchString(name) && !slices.Contains(forPeople, role)
}

// asksOnly reports a rule that lets its holder look at what everybody may know,
// or ask about himself.
func asksOnly(rule any) bool {
	all := func(field string, allowed ...string) bool {
		return !slices.ContainsFunc(asList(at(rule, field)), func(v any) bool { return !slices.Contains(allowed, text(v)) })
	}
	return all("verbs", "get", "list", "watch", "create") && !slices.Contains(asList(at(rule, "nonResourceURLs")), any("*")) &&
		all("resources", "selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews", "clustertrustbundles")
}
