package attacks

import (
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/gitward/gitward/test/server"
)

// deed is what somebody does under a name that they take.
type deed struct {
	who  person
	what string
	call call
	// opens tells that this is what the name is for: it stays open to those who
	// may take the name.
	opens bool
}

// TestS20Names takes the names that a cluster needs in order to come up with
// Gitward dead, and that the API server therefore asks nobody about. Whoever may
// impersonate users may take them. They open what bootstrapping needs, and
// nothing beside it.
func TestS20Names(t *testing.T) {
	w := newWorld(t, map[string]string{"prices.yaml": configMap("prices", "1"), "box.yaml": pod("box", "web"), "robot.yaml": account, "once.yaml": job("once", "web"),
		"web.yaml": "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: $NS}, spec: {ports: [{port: 80}]}}"})
	kubelet, manager := whoIs("as a kubelet"), whoIs("as kube-controller-manager")
	bound := "{apiVersion: authentication.k8s.io/v1, kind: TokenRequest, spec: {}}"
	names := []deed{
		{apiServer, "a ConfigMap", create(configMap("mine", "1")), false},
		{apiServer, "a Secret", create(secret("mine", "x")), false},
		{apiServer, "a Pod", create(pod("mine", "evil")), false},
		{apiServer, "an edit", merge(inCore+"configmaps/prices", `{"data":{"apple":"0"}}`), false},
		{apiServer, "a deletion", remove(inCore + "configmaps/prices"), false},
		{apiServer, "a ClusterRole under the bootstrap label", post("/apis/rbac.authorization.k8s.io/v1/clusterroles",
			"{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: mine, labels: {kubernetes.io/bootstrapping: rbac-defaults}}, rules: [{apiGroups: ['*'], resources: ['*'], verbs: ['*']}]}"), false},
		{apiServer, "a ClusterRole under the bootstrap label and a bootstrap name", post("/apis/rbac.authorization.k8s.io/v1/clusterroles",
			"{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: 'system:mine', labels: {kubernetes.io/bootstrapping: rbac-defaults}}, rules: [{apiGroups: ['*'], resources: ['*'], verbs: ['*']}]}"), true},
		{apiServer, "a ConfigMap of kube-system", post("/api/v1/namespaces/kube-system/configmaps", "{apiVersion: v1, kind: ConfigMap, metadata: {name: coredns}, data: {Corefile: evil}}"), false},
		{kubelet, "a ConfigMap", create(configMap("mine", "1")), false},
		{kubelet, "a Pod of one's own", create(pod("mine", "evil")), false},
		{kubelet, "a mirror Pod on another node", create(strings.Replace(strings.Replace(pod("mine", "evil"), "metadata: {", "metadata: {annotations: {kubernetes.io/config.mirror: x}, ", 1), "spec: {", "spec: {nodeName: other, ", 1)), false},
		{kubelet, "a token bound to nothing", post(inCore+"serviceaccounts/robot/token", bound), false},
		{kubelet, "deletion of a Pod on no node", remove(inCore + "pods/box"), false},
		{kubelet, "another Node", post("/api/v1/nodes", "{apiVersion: v1, kind: Node, metadata: {name: other}}"), false},
		{kubelet, "its own Node", post("/api/v1/nodes", "{apiVersion: v1, kind: Node, metadata: {name: evil}}"), true},
		{manager, "a ServiceAccount elsewhere", create("{apiVersion: v1, kind: ServiceAccount, metadata: {name: mine, namespace: $NS}}"), false},
		{manager, "a token elsewhere", post(inCore+"serviceaccounts/robot/token", bound), false},
		{manager, "a token of a controller", post("/api/v1/namespaces/kube-system/serviceaccounts/deployment-controller/token", bound), true},
		{manager, "a Pod", create(pod("mine", "evil")), false},
		{manager, "deletion of a Pod on no node", remove(inCore + "pods/box"), false},
		{manager, "an Event", create("{apiVersion: v1, kind: Event, metadata: {name: mine, namespace: $NS}, involvedObject: {kind: Pod, name: box, namespace: $NS}}"), true},
	}
	as := func(name string) person {
		return person{name: "as the " + name + ", with a uid", user: "admin", as: controller(name, "11111111-2222-3333-4444-555555555555")}
	}
	slice := func(owner string) string {
		return "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-x, namespace: $NS, labels: {kubernetes.io/service-name: web}" + owner +
			"}, addressType: IPv4, endpoints: [{addresses: [192.0.2.66]}], ports: [{port: 80}]}"
	}
	volume := "{apiVersion: v1, kind: PersistentVolume, metadata: {name: pvc-mine}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /}}}"
	names = append(names, []deed{
		{as("service-account-controller"), "a cloud role for the default account", merge(inCore+"serviceaccounts/default", `{"metadata":{"annotations":{"eks.amazonaws.com/role-arn":"admin"}}}`), false},
		{as("service-account-controller"), "Secrets for the default account", merge(inCore+"serviceaccounts/default", `{"imagePullSecrets":[{"name":"mine"}]}`), false},
		{as("root-ca-cert-publisher"), "another ConfigMap", create(configMap("mine", "1")), false},
		{as("persistent-volume-binder"), "a volume of the node's root", post("/api/v1/persistentvolumes", volume), false},
		{as("endpointslice-controller"), "endpoints of no Service", create(slice("")), false},
		{as("endpointslice-controller"), "endpoints of a Service of Git's", create(slice(", ownerReferences: [" + ownerRef("v1", "Service", "web", inCore+"services/web") + "]")), true},
		{as("clusterrole-aggregation-controller"), "rules of a Role", merge("/apis/rbac.authorization.k8s.io/v1/namespaces/$NS/rolebindings/editor", `{"subjects":[]}`), false},
		{as("clusterrole-aggregation-controller"), "rules of a ClusterRole that aggregates none", merge("/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node", `{"rules":[]}`), false},
		{as("generic-garbage-collector"), "deletion of what Git has", remove(inCore + "configmaps/prices"), false},
		{as("namespace-controller"), "deletion of what Git has", remove(inCore + "configmaps/prices"), false},
		{as("statefulset-controller"), "a claim of no StatefulSet", create("{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data-web-0, namespace: $NS}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}"), false},
		{as("ttl-after-finished-controller"), "deletion of a Job that runs", remove(inBatch + "jobs/once"), false},
		{as("pod-garbage-collector"), "deletion of a Pod that waits", remove(inCore + "pods/box"), false},
	}...)
	before := w.settle()
	for _, n := range names {
		err := n.call.dry().do(w.lab.client(n.who), w.ns)
		switch {
		case n.opens && err == nil:
			t.Logf("%-55s | residual: open to whoever may take the name", n.who.name+": "+n.what)
		case n.opens:
			t.Logf("%-55s | refused, better than promised: %v", n.who.name+": "+n.what, err)
		case !server.Refused(err):
			t.Errorf("%s: %s: %v", n.who.name, n.what, orAdmitted(err))
		default:
			t.Logf("%-55s | Gitward: refused", n.who.name+": "+n.what)
		}
	}
	w.unchanged(before)
	w.noGroups()
}

// noGroups: the names alone, without the groups that go with them, are nobody's.
func (w *world) noGroups() {
	w.t.Helper()
	for _, name := range []string{"system:node:evil", "system:serviceaccount:kube-system:deployment-controller", "system:serviceaccount:" + systemNamespace + ":gitward"} {
		who := person{name: "an administrator as " + name, user: mallory, as: rest.ImpersonationConfig{UserName: name, Groups: []string{"system:masters"}}}
		if err := create(pod("mine", "evil")).dry().do(w.lab.client(who), w.ns); !server.Refused(err) {
			w.t.Errorf("a Pod %s: %v", who.name, orAdmitted(err))
		}
	}
}
