package attacks

import (
	"context"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/gitward/gitward/gate"
)

// believesAppliers lets an applier's account in, whatever it brings.
var believesAppliers = &naive{mistake: "the applier's account is believed", excuse: func(r *review) bool {
	name := r.UserInfo.Username
	return name == applierUser || strings.HasSuffix(name, ":applier")
}}

// TestPeerIdentity: a person has the applier apply what is in no commit, as Argo
// CD did with local manifests (CVE-2023-50726).
func TestPeerIdentity(t *testing.T) {
	w := newWorld(t, map[string]string{"web.yaml": workload("apps/v1", "Deployment", "web", "web", "replicas: 0"), "prices.yaml": configMap("prices", "1")})
	local := "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: local\n  namespace: $NS\n  annotations: {argocd.argoproj.io/tracking-id: 'shop:/ConfigMap:$NS/local'}\n" +
		"  labels: {kustomize.toolkit.fluxcd.io/name: shop, kustomize.toolkit.fluxcd.io/namespace: flux-system}\ndata: {apple: evil}\n"
	by := "stolen applier token"
	w.play(believesAppliers,
		attack{name: "local manifests through the applier", calls: []call{create(local)}, by: by, want: "NotInGit", says: "ConfigMap $NS/local is not in Git"},
		attack{name: "an edit through the applier", calls: []call{apply(inCore+"configmaps/prices", configMap("prices", "evil"))}, by: by, want: "Differs", says: "data.apple"},
		attack{name: "another image through the applier", calls: []call{strategic(inApps+"deployments/web", `{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"evil"}]}}}}`)},
			by: by, want: "Differs", says: "spec.template.spec.containers[web].image"},
		attack{name: "deletion through the applier", calls: []call{remove(inCore + "configmaps/prices")}, by: by, want: "StillInGit", says: "is still in Git"},
	)
}

// TestS17 becomes the applier that lives in the attacker's namespace: by a token
// of its, by its name, through its Pod, and as another Pod of its.
func TestS17(t *testing.T) {
	w := newWorld(t, map[string]string{
		"2-account.yaml": "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: applier, namespace: $NS}\n",
		"3-rights.yaml": `apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: applier, namespace: $NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}
subjects: [{kind: ServiceAccount, name: applier, namespace: $NS}]
`,
		"applier.yaml": strings.Replace(pod("applier-0", "flux"), "spec: {", "spec: {serviceAccountName: applier, ", 1),
	})
	route := []person{whoIs("namespace editor")}
	mint := attack{name: "route 1: a token of the applier", calls: []call{post(inCore+"serviceaccounts/applier/token", "{apiVersion: authentication.k8s.io/v1, kind: TokenRequest, spec: {}}")},
		people: route, want: "VerbNotAllowed", says: "serviceaccounts/token $NS/applier is not allowed"}
	mounted := attack{name: "route 4: a Pod that mounts its token", calls: []call{create(strings.Replace(pod("mine", "evil"), "spec: {", "spec: {serviceAccountName: applier, ", 1))},
		people: route, want: "NotInGit", says: "Pod $NS/mine is not in Git"}
	inside := attack{name: "route 3: into the applier's Pod", calls: []call{{verb: "POST", path: inCore + "pods/applier-0/exec?command=cat&command=/var/run/secrets/kubernetes.io/serviceaccount/token&stdout=true"}},
		past: noNode, people: route, want: "VerbNotAllowed", says: "pods/exec $NS/applier-0 is not allowed"}
	w.play(plain, mint, inside)
	w.play(&naive{mistake: "Pods are left to their owners' rules", excuse: func(r *review) bool { return r.Kind.Kind == "Pod" }}, mounted)
	w.takenName()
	w.mintedToken()
}

// takenName: the built-in role edit may impersonate the ServiceAccounts of its
// namespace.
func (w *world) takenName() {
	w.t.Helper()
	as := func(ns string) person {
		return person{name: "namespace editor as the applier of " + ns, user: editor, as: rest.ImpersonationConfig{UserName: "system:serviceaccount:" + ns + ":applier"}}
	}
	deed := create(configMap("mine", "evil"))
	w.register(believesAppliers)
	if err := deed.do(w.lab.client(as(w.naive)), w.naive); err != nil {
		w.t.Errorf("the applier's name before a naive webhook: %v: this attack shows nothing", err)
	}
	w.unregister()
	w.shown["route 2: the applier's name"] = believesAppliers.mistake
	w.meet(attack{name: "route 2: the applier's name", calls: []call{deed}, people: []person{as(w.ns)}, want: "NotInGit", says: "is not in Git"})
}

// mintedToken: where somebody got a token all the same, it opens nothing.
func (w *world) mintedToken() {
	w.t.Helper()
	token, err := w.lab.kube.CoreV1().ServiceAccounts(w.naive).CreateToken(context.Background(), "applier", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	check(w.t, err)
	config := w.lab.config(person{name: "minted"})
	config.BearerToken = token.Status.Token
	client := clientFor(config)
	w.register(believesAppliers)
	if err := create(configMap("minted", "evil")).do(client, w.naive); err != nil {
		w.t.Errorf("a minted token before a naive webhook: %v", err)
	}
	w.unregister()
	if err := create(configMap("minted", "evil")).do(client, w.ns); !forbiddenByRBAC(err) {
		w.t.Errorf("a token of another namespace's applier: %v", err)
	}
}

// TestS20 is about who may do anything at all, and takes any name.
func TestS20(t *testing.T) {
	w := newWorld(t, map[string]string{"prices.yaml": configMap("prices", "1"), "box.yaml": pod("box", "registry.example.org/box:1")})
	n := &naive{mistake: "system:masters is believed", excuse: func(r *review) bool {
		return strings.Contains(strings.Join(r.UserInfo.Groups, " "), "system:masters")
	}}
	by := "system:masters"
	w.play(n,
		attack{name: "an object of an administrator's own", calls: []call{create(configMap("mine", "1"))}, by: by, want: "NotInGit", says: "ConfigMap $NS/mine is not in Git"},
		attack{name: "an administrator's edit", calls: []call{merge(inCore+"configmaps/prices", `{"data":{"apple":"0"}}`)}, by: by, want: "Differs", says: "data.apple"},
		attack{name: "an administrator's deletion", calls: []call{remove(inCore + "configmaps/prices")}, by: by, want: "StillInGit", says: "is still in Git"},
		attack{name: "break-glass that no Gate allows", calls: []call{create("{apiVersion: v1, kind: ConfigMap, metadata: {name: glass, namespace: $NS, annotations: {gitward.dev/break-glass: 'the shop is on fire'}}}")},
			by: by, want: "NotInGit", orElse: []gate.Refused{"BreakGlassRefused", "ForgedStamp"}, says: "break-glass does not help"},
	)
}
