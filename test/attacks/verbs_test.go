package attacks

import (
	"fmt"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/test/server"
)

const (
	inCore   = "/api/v1/namespaces/$NS/"
	noNode   = "does not have a host assigned"
	oneMerge = `{"spec":{"replicas":7}}`
)

// plain is the webhook that most write: it is not asked about subresources.
var plain = &naive{mistake: "subresources are not looked at"}

// TestS5 scales beside Git: by hand, in the autoscaler's name, and by an
// autoscaler outside the bounds that Git gives it.
func TestS5(t *testing.T) {
	web, api := workload("apps/v1", "Deployment", "web", "web", "replicas: 2"), workload("apps/v1", "Deployment", "api", "api", "minReadySeconds: 0")
	w := newWorld(t, map[string]string{"web.yaml": web, "api.yaml": api, "db.yaml": workload("apps/v1", "StatefulSet", "db", "db", "replicas: 1"),
		"hpa.yaml": "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: api, namespace: $NS}\n" +
			"spec: {minReplicas: 1, maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: api}}\n"})
	autoscaler := []person{{name: "as the autoscaler, with a uid", user: "admin", as: controller("horizontal-pod-autoscaler", "11111111-2222-3333-4444-555555555555")},
		{name: "as the autoscaler", user: "admin", as: controller("horizontal-pod-autoscaler", "")}, whoIs("as kube-controller-manager")}
	web, api = itself(web)+"/scale", itself(api)+"/scale"
	w.play(plain,
		attack{name: "PATCH scale", calls: []call{merge(web, oneMerge)}, want: "Differs", says: "differs from Git: spec.replicas"},
		attack{name: "PATCH scale to nothing", calls: []call{merge(web, `{"spec":{"replicas":0}}`)}, want: "Differs", says: "differs from Git: spec.replicas"},
		attack{name: "PUT scale", calls: []call{put(web, "{apiVersion: autoscaling/v1, kind: Scale, metadata: {name: web, namespace: $NS}, spec: {replicas: 9}}")},
			want: "Differs", says: "differs from Git: spec.replicas"},
		attack{name: "PATCH scale of a StatefulSet", calls: []call{merge(inApps+"statefulsets/db/scale", oneMerge)}, want: "Differs", says: "spec.replicas"},
		attack{name: "the autoscaler's name without an autoscaler", calls: []call{merge(web, oneMerge)}, people: autoscaler, want: "Differs", says: "spec.replicas"},
		attack{name: "the autoscaler's name out of its bounds", calls: []call{merge(api, oneMerge)}, people: autoscaler, want: "Differs", says: "replicas"},
		attack{name: "a person within the autoscaler's bounds", calls: []call{merge(api, `{"spec":{"replicas":3}}`)},
			people: everybody[:6], want: "Differs", says: "replicas"},
	)
}

// TestS7 changes what runs in a Pod that is there already.
func TestS7(t *testing.T) {
	w := newWorld(t, map[string]string{"box.yaml": pod("box", "registry.example.org/box:1")})
	w.play(plain,
		attack{name: "kubectl debug", calls: []call{strategic(inCore+"pods/box/ephemeralcontainers", `{"spec":{"ephemeralContainers":[{"name":"evil","image":"evil"}]}}`)},
			by: "cluster-admin", people: administrators, want: "VerbNotAllowed", says: "pods/ephemeralcontainers $NS/box is not allowed"},
		attack{name: "resize", calls: []call{strategic(inCore+"pods/box/resize", `{"spec":{"containers":[{"name":"box","resources":{"requests":{"cpu":"900m"}}}]}}`)},
			by: "cluster-admin", people: administrators, want: "VerbNotAllowed", says: "pods/resize $NS/box is not allowed"},
	)
}

// TestS8 goes into a Pod, or through one, with usual and with odd options.
func TestS8(t *testing.T) {
	w := newWorld(t, map[string]string{"box.yaml": pod("box", "registry.example.org/box:1"),
		"web.yaml": "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: $NS}, spec: {ports: [{port: 80}]}}"})
	connect := func(name, verb, path, past string) attack {
		return attack{name: name, calls: []call{{verb: verb, path: path}}, past: past, want: "VerbNotAllowed", says: "is not allowed"}
	}
	// A line of commands, more than any shell takes.
	long := ""
	for i := range 400 {
		long += fmt.Sprintf("&command=%d%%00%%ff", i)
	}
	attacks := []attack{
		connect("exec", "POST", inCore+"pods/box/exec?command=id&stdout=true", noNode),
		connect("exec by GET", "GET", inCore+"pods/box/exec?command=id&stdout=true", noNode),
		connect("attach", "POST", inCore+"pods/box/attach?stdout=true", noNode),
		connect("port-forward", "POST", inCore+"pods/box/portforward?ports=80", noNode),
		connect("exec with odd options", "POST", inCore+"pods/box/exec?container=box&stdin=1&stdout=1&tty=1"+long, noNode),
		connect("a Pod's proxy", "GET", inCore+"pods/box/proxy/", "address not allowed"),
		connect("a Service's proxy", "POST", inCore+"services/web/proxy/etc/passwd", "no endpoints available"),
	}
	w.play(plain, attacks...)
	var proxies []attack
	for _, path := range []string{"/api/v1/nodes/evil/proxy/", "/api/v1/nodes/evil/proxy/run/x/y/z?cmd=id"} {
		proxies = append(proxies, attack{name: "a Node's proxy " + path[len("/api/v1/nodes/evil"):], aside: true, by: "cluster-admin", people: administrators,
			calls: []call{{verb: "POST", path: path}}, past: `nodes "evil" not found`, want: "VerbNotAllowed", says: "nodes/proxy"})
	}
	w.play(unasked, proxies...)
}

// TestS9 takes the roads aside that are left.
func TestS9(t *testing.T) {
	w := newWorld(t, map[string]string{"box.yaml": pod("box", "registry.example.org/box:1"), "bag.yaml": pod("bag", "registry.example.org/box:1"), "sack.yaml": pod("sack", "registry.example.org/box:1"), "robot.yaml": account})
	some := everybody[:10] // the scheduler binds, and kubelets ask for tokens: see below
	w.play(plain,
		attack{name: "eviction", calls: []call{post(inCore+"pods/box/eviction", "{apiVersion: policy/v1, kind: Eviction, metadata: {name: box, namespace: $NS}, deleteOptions: {gracePeriodSeconds: 0}}")},
			want: "StillInGit", says: "Pod $NS/box is still in Git"},
		attack{name: "a binding", calls: []call{post(inCore+"pods/bag/binding", "{apiVersion: v1, kind: Binding, metadata: {name: bag}, target: {kind: Node, name: evil}}")},
			by: "cluster-admin", people: some, want: "VerbNotAllowed", says: "pods/binding"},
		attack{name: "a token", calls: []call{post(inCore+"serviceaccounts/robot/token", "{apiVersion: authentication.k8s.io/v1, kind: TokenRequest, spec: {}}")},
			want: "VerbNotAllowed", says: "serviceaccounts/token"},
		attack{name: "a token that outlives a year", calls: []call{post(inCore+"serviceaccounts/robot/token", "{apiVersion: authentication.k8s.io/v1, kind: TokenRequest, spec: {expirationSeconds: 40000000, audiences: [vault]}}")},
			want: "VerbNotAllowed", says: "serviceaccounts/token"},
	)
	w.play(unasked, attack{name: "approval of a certificate", aside: true, by: "cluster-admin", people: everybody[1:8],
		calls: []call{put("/apis/certificates.k8s.io/v1/certificatesigningrequests/evil/approval", evilRequest)}, want: "VerbNotAllowed", says: "certificatesigningrequests/approval"})
	passing := &naive{mistake: "what is not stored is not looked at", excuse: func(r *review) bool { return r.Kind.Kind == "Binding" }}
	w.play(passing, attack{name: "a binding by the older road", calls: []call{post(inCore+"bindings", "{apiVersion: v1, kind: Binding, metadata: {name: sack}, target: {kind: Node, name: evil}}")},
		by: "cluster-admin", people: some, want: "VerbNotAllowed", orElse: []gate.Refused{"NotInGit"}, says: "indings"})
	kubernetesOwn := &naive{mistake: "token Secrets are taken for Kubernetes' own", excuse: func(r *review) bool {
		return r.object != nil && r.object.Object["type"] == any("kubernetes.io/service-account-token")
	}}
	w.play(kubernetesOwn, attack{name: "a Secret that holds a token", calls: []call{create("{apiVersion: v1, kind: Secret, metadata: {name: robot-token, namespace: $NS, annotations: {kubernetes.io/service-account.name: robot}}, type: kubernetes.io/service-account-token}")},
		want: "NotInGit", says: "Secret $NS/robot-token"})
	w.finalize()
}

// finalize takes the finalizer from a Namespace. What comes with it is as it is,
// so that it is this that is refused.
func (w *world) finalize() {
	w.t.Helper()
	of := func(ns string) []call {
		live := objectAt("/api/v1/namespaces/" + ns)
		live.SetManagedFields(nil)
		live.Object["spec"] = map[string]any{"finalizers": []any{}}
		return []call{put("/api/v1/namespaces/$NS/finalize", asJSON(live.Object))}
	}
	a := attack{name: "namespaces/finalize", calls: of(w.naive), by: "cluster-admin", people: administrators, want: "VerbNotAllowed", says: "namespaces/finalize"}
	w.show(plain, a)
	a.calls = of(w.ns)
	before := w.settle()
	w.meet(a)
	w.unchanged(before)
}

// TestS10 deletes what Git declares: one, all, and what is half gone.
func TestS10(t *testing.T) {
	stuck := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: stuck, namespace: $NS, finalizers: [example.org/stay]}\ndata: {apple: '1'}\n"
	w := newWorld(t, map[string]string{"a.yaml": configMap("prices", "1"), "b.yaml": stuck, "c.yaml": configMap("zebra", "1"),
		"web.yaml": workload("apps/v1", "Deployment", "web", "web", "replicas: 0"), "api.yaml": workload("apps/v1", "Deployment", "api", "api", "replicas: 0"), "db.yaml": secret("db", "x")})
	w.play(noDeletions,
		attack{name: "deletion by name", calls: []call{remove(inCore + "configmaps/prices")}, want: "StillInGit", says: "ConfigMap $NS/prices is still in Git"},
		attack{name: "deletion that orphans", calls: []call{remove(inApps + "deployments/web?propagationPolicy=Orphan")}, want: "StillInGit", says: "Deployment $NS/web is still in Git"},
	)
	nameless := &naive{mistake: "a deletion without a name passes", excuse: func(r *review) bool { return r.Operation == admissionv1.Delete && r.Name == "" }}
	w.play(nameless,
		attack{name: "deletecollection", calls: []call{remove(inCore + "configmaps")}, want: "StillInGit", says: "is still in Git"},
		attack{name: "deletecollection by a label", calls: []call{remove(inCore + "secrets?fieldSelector=metadata.name%3Ddb")}, want: "StillInGit", says: "Secret $NS/db is still in Git"},
		attack{name: "deletecollection of Deployments", calls: []call{remove(inApps + "deployments")}, want: "StillInGit", says: "is still in Git"},
	)
	w.play(unasked, attack{name: "deletion of the Namespace", aside: true, by: "cluster-admin", people: administrators, calls: []call{remove("/api/v1/namespaces/$NS")},
		want: "StillInGit", says: "Namespace $NS"})
	w.partly()
}

// partly deletes a collection of which Git declares a part: the API server asks
// about each object, and what is declared stays, whatever goes.
func (w *world) partly() {
	w.t.Helper()
	admin := w.lab.client(whoIs("system:masters"))
	undeclared := []string{"a-gone", "q-gone", "zz-gone"} // before, between and after the others
	files, paths := map[string]string{}, []string{}
	for _, name := range undeclared {
		files[name+".yaml"] = configMap(name, "1")
		paths = append(paths, w.ns+"/"+name+".yaml")
	}
	w.commit(files)
	for _, name := range undeclared {
		server.Await(w.t, name, 20*time.Second, func() error { return create(files[name+".yaml"]).do(admin, w.ns) })
		delete(w.files, name+".yaml")
	}
	w.lab.commit(w.t, nil, paths...)
	gone := remove(inCore + "configmaps/a-gone").dry()
	server.Await(w.t, "Git's having forgotten them", 20*time.Second, func() error { return gone.do(admin, w.ns) })
	err := remove(inCore+"configmaps").do(w.lab.client(whoIs("namespace editor")), w.ns)
	if !server.Refused(err) {
		w.t.Errorf("deletecollection of what is declared in part: %v", orAdmitted(err))
	}
	stay, went := []string{"prices", "stuck", "zebra"}, 0
	for _, name := range stay {
		if u := objectAt("/api/v1/namespaces/" + w.ns + "/configmaps/" + name); u.GetName() != name || u.GetDeletionTimestamp() != nil {
			w.t.Errorf("deletecollection took %s, which Git declares: %v", name, u.Object)
		}
	}
	for _, name := range undeclared {
		if objectAt("/api/v1/namespaces/"+w.ns+"/configmaps/"+name).GetName() == "" {
			went++
		}
	}
	w.t.Logf("%-55s | naive: gets through (see deletecollection) | Gitward: StillInGit; %d declared stay, %d of %d others go | 1 tries",
		"deletecollection of what is declared in part", len(stay), went, len(undeclared))
}

// TestPeerDeleting: an object that is being deleted is nobody's business any
// more, so that its finalizer makes it a place to hide in.
func TestPeerDeleting(t *testing.T) {
	stuck := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: stuck, namespace: $NS, finalizers: [example.org/stay]}\ndata: {apple: '1'}\n"
	w := newWorld(t, map[string]string{"prices.yaml": configMap("prices", "1"), "stuck.yaml": stuck})
	admin := w.lab.client(whoIs("system:masters"))
	// Its deletion is Git's own wish; only the finalizer keeps it.
	w.lab.commit(t, nil, w.ns+"/stuck.yaml")
	for _, ns := range []string{w.ns, w.naive} {
		check(t, remove(inCore+"configmaps/stuck").do(admin, ns))
	}
	delete(w.files, "stuck.yaml")
	leaves := &naive{mistake: "what is being deleted is left alone", excuse: func(r *review) bool {
		return r.object != nil && r.object.GetDeletionTimestamp() != nil || r.old != nil && r.old.GetDeletionTimestamp() != nil
	}}
	w.play(leaves, attack{name: "an edit of what is being deleted", calls: []call{merge(inCore+"configmaps/stuck", `{"data":{"apple":"evil"}}`)},
		want: "NotInGit", orElse: []gate.Refused{"Outdated", "Differs"}})
}
