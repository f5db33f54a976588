package e2e

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/gitserver"
	"github.com/gitward/gitward/test/server"
)

// mallory is a cluster administrator with a grudge.
const mallory = "mallory"

func attackPlane(t testing.TB) *controlplane.ControlPlane {
	return controlplane.ForTest(t, controlplane.Options{Users: []controlplane.User{{Name: mallory}}})
}

// canary is a value that must turn up nowhere.
func canary() string {
	b := make([]byte, 24)
	must(rand.Read(b))
	return "canary-" + base64.RawURLEncoding.EncodeToString(b)
}

// shop is what the repository of most attacks declares.
func shop(namespace, secret string) map[string]string {
	return map[string]string{
		"namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + namespace + "}\n",
		"web.yaml": `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: ` + namespace + `}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "registry.example.org/web:1.8.2"}]}
`,
		"box.yaml": `apiVersion: v1
kind: Pod
metadata: {name: box, namespace: ` + namespace + `}
spec: {containers: [{name: box, image: "registry.example.org/box:1", resources: {requests: {cpu: 100m}}}]}
`,
		"robot.yaml":  "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: robot, namespace: " + namespace + "}\n",
		"prices.yaml": configMap(namespace, "prices", "1"),
		"db.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: " + namespace + "}\nstringData: {password: " + secret + "}\n" +
			"---\n" + configMap(namespace, "late", "1"),
	}
}

func configMap(namespace, name, apple string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: %s}\ndata: {apple: %q}\n", name, namespace, apple)
}

// object reads one YAML document.
func objectOf(text string) *unstructured.Unstructured {
	data := must(yaml.YAMLToJSON([]byte(text)))
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(data); err != nil {
		panic(err)
	}
	return u
}

// apply brings one YAML document to the cluster as the administrator.
func (l *lab) apply(text string) error {
	u := objectOf(text)
	client, err := l.resource(u.GroupVersionKind(), u.GetNamespace())
	if err != nil {
		return err
	}
	return serverSideApply(context.Background(), client, u)
}

// client speaks as somebody: a user of the plane, or with impersonate as
// somebody else.
func (l *lab) client(user string, impersonate rest.ImpersonationConfig) *kubernetes.Clientset {
	config := l.plane.RESTConfig(user)
	config.Impersonate = impersonate
	config.WarningHandler = rest.NoWarnings{}
	return must(kubernetes.NewForConfig(config))
}

// attack is a deed and the words in which it is refused.
type attack struct {
	name string
	deed func(ctx context.Context, kube *kubernetes.Clientset, options []string) error
	// past is what an API server without Gitward answers when there is no node
	// behind it; empty when the deed succeeds there.
	past string
	want string
}

// TestAttacks does each deed first in a cluster without Gitward, where it must
// get through, and then before the gate, where it must not.
func TestAttacks(t *testing.T) {
	l := newLab(t, attackPlane(t))
	ctx := context.Background()
	namespace, secret, stolen := "attacks", canary(), canary()
	l.remap()
	l.makeAdmin(mallory)
	tip := l.commit(shop(namespace, secret))
	l.installOrigin(nil)
	l.installGate("default", nil)
	l.awaitAccepted(tip)
	l.setGated(true)
	for _, name := range []string{"namespace.yaml", "web.yaml", "box.yaml", "robot.yaml", "prices.yaml"} {
		l.check(l.apply(shop(namespace, secret)[name]))
	}
	l.check(l.apply(strings.Split(shop(namespace, secret)["db.yaml"], "---\n")[0]))

	attacks := deeds(l, namespace, stolen)
	l.setGated(false)
	for _, a := range attacks {
		// A dry run is admitted or refused as the deed itself would be.
		err := a.deed(ctx, l.kube, dryRun)
		if a.past == "" && err != nil || a.past != "" && (err == nil || !strings.Contains(err.Error(), a.past)) {
			t.Errorf("%s, without Gitward: %v, want %q: this attack shows nothing", a.name, err, a.past)
		}
	}
	l.setGated(true)
	before := l.state(namespace)
	var denials strings.Builder
	somebody := map[string]*kubernetes.Clientset{
		"system:masters": l.kube,
		"cluster-admin":  l.client(mallory, rest.ImpersonationConfig{}),
		"as Flux": l.client(mallory, rest.ImpersonationConfig{UserName: "system:serviceaccount:flux-system:kustomize-controller",
			Groups: []string{"system:masters"}}),
		"as a controller": l.client(controlplane.Admin, rest.ImpersonationConfig{UserName: "system:serviceaccount:kube-system:deployment-controller",
			Groups: []string{"system:masters"}}),
	}
	refused := 0
	for _, a := range attacks {
		for who, kube := range somebody {
			err := a.deed(ctx, kube, nil)
			if !server.Refused(err) || !strings.Contains(err.Error(), a.want) {
				t.Errorf("%s (%s): %v\nwant %q", a.name, who, err, a.want)
				continue
			}
			refused++
			wellPut(t, err)
			denials.WriteString(err.Error())
		}
	}
	if after := l.state(namespace); after != before {
		t.Errorf("something changed:\n%s\n%s", before, after)
	}
	t.Logf("attacks: %d deeds get through without Gitward; %d tries by %d people refused", len(attacks), refused, len(somebody))
	l.noLeak(denials.String(), secret, stolen)
}

// wellPut holds a denial to the form of all of them.
func wellPut(t testing.TB, err error) {
	t.Helper()
	text := err.Error()
	if !strings.Contains(text, "\n  do    ") || !strings.Contains(text, "\n  decision d-") || len([]rune(text)) > 1100 {
		t.Errorf("a denial without advice or id, or too long: %s", text)
	}
}

// noLeak looks for secrets in denials and in all that Gitward wrote.
func (l *lab) noLeak(denials string, secrets ...string) {
	l.t.Helper()
	said := l.gitward.said()
	if !strings.Contains(said, "refused") || !strings.Contains(said, `"decision":"d-`) {
		l.t.Error("the log or the records are empty: there is nothing to look into")
	}
	for _, leaked := range leaks(denials+said, secrets) {
		l.t.Errorf("a secret got out: %s", leaked)
	}
	// The index on disk is Gitward's own and holds what Git holds, but nobody
	// else may read it.
	info, err := os.Stat(l.gitward.StateDir)
	if err != nil || info.Mode().Perm()&0o077 != 0 {
		l.t.Errorf("the state directory is open to others: %v %v", info.Mode(), err)
	}
}

func (l *lab) makeAdmin(user string) {
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: user},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}}}
	_, err := l.kube.RbacV1().ClusterRoleBindings().Create(context.Background(), binding, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		l.t.Fatal(err)
	}
}

// state is all that a namespace holds, as one text.
func (l *lab) state(namespace string) string {
	l.t.Helper()
	var b strings.Builder
	for _, kind := range []string{"configmaps", "secrets", "pods", "serviceaccounts"} {
		list, err := l.dynamic.Resource(corev1.SchemeGroupVersion.WithResource(kind)).Namespace(namespace).List(context.Background(), metav1.ListOptions{})
		l.check(err)
		for _, item := range list.Items {
			b.WriteString(asJSON(item.Object) + "\n")
		}
	}
	list, err := l.kube.AppsV1().Deployments(namespace).List(context.Background(), metav1.ListOptions{})
	l.check(err)
	return b.String() + asJSON(list.Items)
}

// deeds are the attacks on one namespace.
func deeds(l *lab, ns, stolen string) []attack {
	patch := func(kind types.PatchType, resource, name, body string, sub ...string) func(context.Context, *kubernetes.Clientset, []string) error {
		return func(ctx context.Context, kube *kubernetes.Clientset, options []string) error {
			return request(kube, "PATCH", resource, ns, name, sub...).SetHeader("Content-Type", string(kind)).
				VersionedParams(&metav1.PatchOptions{DryRun: options}, metav1.ParameterCodec).Body([]byte(body)).Do(ctx).Error()
		}
	}
	create := func(resource, name, body string, sub ...string) func(context.Context, *kubernetes.Clientset, []string) error {
		return func(ctx context.Context, kube *kubernetes.Clientset, options []string) error {
			return request(kube, "POST", resource, ns, name, sub...).SetHeader("Content-Type", "application/yaml").
				VersionedParams(&metav1.CreateOptions{DryRun: options}, metav1.ParameterCodec).Body([]byte(body)).Do(ctx).Error()
		}
	}
	connect := func(name, sub string) func(context.Context, *kubernetes.Clientset, []string) error {
		return func(ctx context.Context, kube *kubernetes.Clientset, _ []string) error {
			return request(kube, "POST", "pods", ns, name, sub).Param("command", "id").Param("stdout", "true").Param("ports", "80").Do(ctx).Error()
		}
	}
	forged := strings.Repeat("0", 40)
	noNode := "does not have a host assigned"
	noRule := "is not allowed: no file in Git can say it"
	return []attack{
		{"an object of one's own", create("configmaps", "", configMap(ns, "mine", "1")), "", "ConfigMap " + ns + "/mine is not in Git"},
		{"a Secret of one's own", create("secrets", "", "apiVersion: v1\nkind: Secret\nmetadata: {name: mine}\nstringData: {key: "+stolen+"}\n"), "",
			"Secret " + ns + "/mine is not in Git"},
		{"kubectl edit", patch(types.MergePatchType, "configmaps", "prices", `{"data":{"apple":"0"}}`), "", "differs from Git: data.apple"},
		{"kubectl set image", patch(types.StrategicMergePatchType, "deployments", "web",
			`{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"evil"}]}}}}`), "", "spec.template.spec.containers[web].image"},
		{"kubectl label", patch(types.MergePatchType, "deployments", "web", `{"metadata":{"labels":{"evil":"true"}}}`), "", "differs from Git: metadata.labels"},
		{"server-side apply under Flux's name", func(ctx context.Context, kube *kubernetes.Clientset, options []string) error {
			return request(kube, "PATCH", "configmaps", ns, "prices").SetHeader("Content-Type", string(types.ApplyYAMLPatchType)).
				VersionedParams(&metav1.PatchOptions{DryRun: options, FieldManager: "kustomize-controller", Force: new(true)}, metav1.ParameterCodec).
				Body([]byte(configMap(ns, "prices", "0"))).Do(ctx).Error()
		}, "", "differs from Git: data.apple"},
		{"another password", patch(types.MergePatchType, "secrets", "db", `{"stringData":{"password":"`+stolen+`"}}`), "", "differs from Git: data.password"},
		{"a password more", patch(types.MergePatchType, "secrets", "db", `{"stringData":{"root":"`+stolen+`"}}`), "", "differs from Git: data.root"},
		{"a forged stamp on creation", create("configmaps", "", strings.Replace(configMap(ns, "late", "1"), "metadata: {",
			`metadata: {annotations: {gitward.dev/commit: "`+forged+`"}, `, 1)), "", "gitward.dev/commit annotation that Gitward did not write"},
		{"a forged stamp on update", patch(types.MergePatchType, "configmaps", "prices", `{"metadata":{"annotations":{"gitward.dev/author":"Eve <e@example.org>"}}}`), "",
			"gitward.dev/author annotation that Gitward did not write"},
		{"a forged stamp of a key that is none", patch(types.MergePatchType, "configmaps", "prices", `{"metadata":{"annotations":{"gitward.dev/approved":"yes"}}}`), "",
			"gitward.dev/approved annotation that Gitward did not write"},
		{"a forged stamp through deployments/status", patch(types.MergePatchType, "deployments", "web",
			`{"metadata":{"annotations":{"gitward.dev/commit":"`+forged+`"}}}`, "status"), "", "gitward.dev/commit annotation that Gitward did not write"},
		{"a forged stamp through pods/status", patch(types.MergePatchType, "pods", "box",
			`{"metadata":{"annotations":{"gitward.dev/commit":"`+forged+`"}}}`, "status"), "", "gitward.dev/commit annotation that Gitward did not write"},
		{"an annotation through deployments/status", patch(types.MergePatchType, "deployments", "web", `{"metadata":{"annotations":{"evil":"true"}}}`, "status"), "",
			"must not change its metadata"},
		{"deletion of what Git declares", func(ctx context.Context, kube *kubernetes.Clientset, options []string) error {
			return kube.CoreV1().ConfigMaps(ns).Delete(ctx, "prices", metav1.DeleteOptions{DryRun: options})
		}, "", "ConfigMap " + ns + "/prices is still in Git (" + origin + "@"},
		{"deletion of a whole collection", func(ctx context.Context, kube *kubernetes.Clientset, options []string) error {
			return kube.CoreV1().ConfigMaps(ns).DeleteCollection(ctx, metav1.DeleteOptions{DryRun: options}, metav1.ListOptions{})
		}, "", "ConfigMap " + ns + "/prices is still in Git"},
		{"deletion of the Namespace", func(ctx context.Context, kube *kubernetes.Clientset, options []string) error {
			return kube.CoreV1().Namespaces().Delete(ctx, ns, metav1.DeleteOptions{DryRun: options})
		}, "", "Namespace " + ns},
		{"kubectl scale", func(ctx context.Context, kube *kubernetes.Clientset, options []string) error {
			scale := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: ns}, Spec: autoscalingv1.ScaleSpec{Replicas: 0}}
			_, err := kube.AppsV1().Deployments(ns).UpdateScale(ctx, "web", scale, metav1.UpdateOptions{DryRun: options})
			return err
		}, "", "differs from Git: spec.replicas"},
		{"kubectl exec", connect("box", "exec"), noNode, noRule},
		{"kubectl attach", connect("box", "attach"), noNode, noRule},
		{"kubectl port-forward", connect("box", "portforward"), noNode, noRule},
		{"eviction", func(ctx context.Context, kube *kubernetes.Clientset, options []string) error {
			return kube.PolicyV1().Evictions(ns).Evict(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "box", Namespace: ns},
				DeleteOptions: &metav1.DeleteOptions{DryRun: options}})
		}, "", "is still in Git"},
		{"binding", create("pods", "box", "apiVersion: v1\nkind: Binding\nmetadata: {name: box}\ntarget: {kind: Node, name: evil}\n", "binding"), "", noRule},
		{"a token", func(ctx context.Context, kube *kubernetes.Clientset, options []string) error {
			_, err := kube.CoreV1().ServiceAccounts(ns).CreateToken(ctx, "robot", &authenticationv1.TokenRequest{}, metav1.CreateOptions{DryRun: options})
			return err
		}, "", noRule},
		{"kubectl debug", patch(types.StrategicMergePatchType, "pods", "box", `{"spec":{"ephemeralContainers":[{"name":"evil","image":"evil"}]}}`,
			"ephemeralcontainers"), "", noRule},
		{"resize", patch(types.StrategicMergePatchType, "pods", "box",
			`{"spec":{"containers":[{"name":"box","resources":{"requests":{"cpu":"200m"}}}]}}`, "resize"), "", noRule},
		{"one's own ReplicaSet under a copied owner", func(ctx context.Context, kube *kubernetes.Clientset, options []string) error {
			web, err := kube.AppsV1().Deployments(ns).Get(ctx, "web", metav1.GetOptions{})
			if err != nil {
				return err
			}
			set := objectOf(shop(ns, "")["web.yaml"])
			set.SetKind("ReplicaSet")
			set.SetName("web-evil")
			set.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: "web", UID: web.UID, Controller: new(true)}})
			return create("replicasets", "", string(must(json.Marshal(set))))(ctx, kube, options)
		}, "", "is not the controller that makes such objects"},
	}
}

// request addresses one resource of the groups that the attacks are about.
func request(kube *kubernetes.Clientset, verb, resource, namespace, name string, sub ...string) *rest.Request {
	client := kube.CoreV1().RESTClient()
	if resource == "deployments" || resource == "replicasets" {
		client = kube.AppsV1().RESTClient()
	}
	r := client.Verb(verb).Namespace(namespace).Resource(resource).SubResource(sub...)
	if name != "" {
		r = r.Name(name)
	}
	return r
}

// expect holds an answer against a fragment of a refusal; "" stands for
// admission.
func expect(t testing.TB, what string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case want != "" && (!server.Refused(err) || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: %v\nwant %q", what, err, want)
	case want != "":
		wellPut(t, err)
	}
}

// TestUntrustedCommits: an unsigned commit under a signed one changes nothing,
// and neither does a stranger's.
func TestUntrustedCommits(t *testing.T) {
	l := newLab(t, attackPlane(t))
	l.remap()
	ns := "untrusted"
	l.ensureNamespace(ns)
	stranger := must(gitserver.NewSSHSigner())
	l.commit(map[string]string{"a.yaml": configMap(ns, "a", "1"), "b.yaml": configMap(ns, "b", "1")})
	unsigned := l.commitAs(nil, map[string]string{"a.yaml": configMap(ns, "a", "2"), "new.yaml": configMap(ns, "new", "1")})
	strange := l.commitAs(stranger, map[string]string{"c.yaml": configMap(ns, "c", "1")})
	tip := l.commit(map[string]string{"b.yaml": configMap(ns, "b", "2")})

	all := []string{configMap(ns, "a", "2"), configMap(ns, "new", "1"), configMap(ns, "c", "1"), configMap(ns, "b", "2"), configMap(ns, "a", "1")}
	for _, text := range all {
		if err := l.apply(text); err != nil {
			t.Errorf("without Gitward: %v", err)
		}
	}
	l.installOrigin(nil)
	l.installGate("default", nil)
	status := l.awaitAccepted(tip)
	if status.HeldBack != 3 {
		t.Errorf("the status holds back %d paths, want 3: %+v", status.HeldBack, status.Held)
	}
	l.setGated(true)
	expect(t, "what the unsigned commit changed", l.apply(all[0]), "ConfigMap untrusted/a comes from commit "+unsigned[:7]+" by Ada Example <ada@example.org>, which is not signed")
	l.setGated(false)
	for _, name := range []string{"new", "c"} {
		l.check(l.kube.CoreV1().ConfigMaps(ns).Delete(context.Background(), name, metav1.DeleteOptions{}))
	}
	l.setGated(true)
	expect(t, "what the unsigned commit added", l.apply(all[1]), "which is not signed")
	expect(t, "what the stranger added", l.apply(all[2]), "ConfigMap untrusted/c comes from commit "+strange[:7]+" by Ada Example <ada@example.org>, signed by a key that is not trusted here")
	expect(t, "what the signed commit changed", l.apply(all[3]), "")
	expect(t, "what the first commit declares still", l.apply(all[4]), "")
}

// TestOutdated: content that Git has left behind counts for the lag, no longer.
func TestOutdated(t *testing.T) {
	l := newLab(t, attackPlane(t))
	l.remap()
	ns := "outdated"
	l.ensureNamespace(ns)
	first := l.commit(map[string]string{"a.yaml": configMap(ns, "a", "1")})
	l.installOrigin(nil)
	l.installGate("default", func(g *v1alpha1.Gate) { g.Spec.Lag = &metav1.Duration{Duration: 5 * time.Second} })
	l.awaitAccepted(first)
	l.setGated(true)
	expect(t, "the first state", l.apply(configMap(ns, "a", "1")), "")
	second := l.commit(map[string]string{"a.yaml": configMap(ns, "a", "2")})
	l.awaitAccepted(second)
	superseded := time.Now()
	expect(t, "the second state", l.apply(configMap(ns, "a", "2")), "")
	expect(t, "the first state within the lag", l.apply(configMap(ns, "a", "1")), "")
	expect(t, "the second state again", l.apply(configMap(ns, "a", "2")), "")
	time.Sleep(time.Until(superseded.Add(5*time.Second + 200*time.Millisecond)))
	expect(t, "the first state after the lag", l.apply(configMap(ns, "a", "1")),
		"ConfigMap outdated/a in Git is at "+second[:7]+"; you apply the state of "+first[:7])
	l.setGated(false)
	expect(t, "the same without Gitward", l.apply(configMap(ns, "a", "1")), "")
}

// TestForcePush: the accepted revision only moves forward.
func TestForcePush(t *testing.T) {
	l := newLab(t, attackPlane(t))
	l.remap()
	ns := "forced"
	l.ensureNamespace(ns)
	first := l.commit(map[string]string{"a.yaml": configMap(ns, "a", "1")})
	second := l.commit(map[string]string{"a.yaml": configMap(ns, "a", "2")})
	l.installOrigin(nil)
	l.installGate("default", nil)
	l.awaitAccepted(second)
	l.setGated(true)
	expect(t, "the accepted state", l.apply(configMap(ns, "a", "2")), "")

	l.check(l.repo.SetRef(gitserver.MainRef, first))
	forced := l.commit(map[string]string{"a.yaml": configMap(ns, "a", "3")}) // signed by a trusted key, beside the accepted one
	var status v1alpha1.OriginStatus
	server.Await(t, "the Origin to notice", 30*time.Second, func() (err error) {
		if status, err = l.originStatus(); err == nil && (len(status.Conditions) == 0 || status.Conditions[0].Reason != "Frozen") {
			err = fmt.Errorf("the status is %+v", status)
		}
		return err
	})
	if status.AcceptedRevision != second {
		t.Errorf("the accepted revision moved from %s to %s (forced: %s)", second, status.AcceptedRevision, forced)
	}
	if err := l.apply(configMap(ns, "a", "3")); !server.Refused(err) {
		t.Errorf("what was forced in: %v", err)
	}
	expect(t, "the accepted state again", l.apply(configMap(ns, "a", "2")), "")
	l.setGated(false)
	expect(t, "what was forced in, without Gitward", l.apply(configMap(ns, "a", "3")), "")
}

// TestPushThenApply: CI applies in the moment after it pushed, long before the
// next look at the repository.
func TestPushThenApply(t *testing.T) {
	l := newLab(t, attackPlane(t))
	l.remap()
	ns := "pushed"
	l.ensureNamespace(ns)
	tip := l.commit(map[string]string{"a.yaml": configMap(ns, "a", "0")})
	l.installOrigin(func(o *v1alpha1.Origin) { o.Spec.Interval = &metav1.Duration{Duration: time.Hour} })
	l.installGate("default", nil)
	l.awaitAccepted(tip)
	l.setGated(true)
	var slowest time.Duration
	for i := range 5 {
		text := configMap(ns, "a", fmt.Sprint(i+1))
		tip = l.commit(map[string]string{"a.yaml": text})
		started := time.Now()
		expect(t, "the pushed state", l.apply(text), "")
		slowest = max(slowest, time.Since(started))
		live, err := l.kube.CoreV1().ConfigMaps(ns).Get(context.Background(), "a", metav1.GetOptions{})
		l.check(err)
		if got := live.Annotations["gitward.dev/commit"]; got != tip {
			t.Errorf("push %d: the stamp says %q, want %s", i, got, tip)
		}
	}
	if slowest > 5*time.Second {
		t.Errorf("an apply after a push took %v", slowest)
	}
	expect(t, "what was not pushed", l.apply(configMap(ns, "a", "999")), "differs from Git: data.apple")
	t.Logf("push, then apply: the slowest of 5 took %v", slowest.Round(time.Millisecond))
}

// TestOriginNotReady: nothing is decided before there is something to decide
// from, and clients wait by themselves.
func TestOriginNotReady(t *testing.T) {
	l := newLab(t, attackPlane(t))
	l.remap()
	ns := "unready"
	l.ensureNamespace(ns)
	l.server.SetFault(gitserver.Fault{Status: 503})
	tip := l.commit(map[string]string{"a.yaml": configMap(ns, "a", "1")})
	l.installOrigin(nil)
	l.installGate("default", nil)
	l.setGated(true)
	body := must(json.Marshal(objectOf(configMap(ns, "a", "1"))))
	post := func(retries int) error {
		return request(l.kube, "POST", "configmaps", ns, "").MaxRetries(retries).Body(body).Do(context.Background()).Error()
	}
	err := post(0)
	expect(t, "before the Origin is ready", err, "Origin "+origin+" has no accepted revision")
	if seconds, ok := apierrors.SuggestsClientDelay(err); !apierrors.IsTooManyRequests(err) || !ok || seconds < 1 {
		t.Errorf("the client is not told to come again: %#v", err)
	}
	l.setGated(false)
	expect(t, "the same without Gitward", request(l.kube, "POST", "configmaps", ns, "").VersionedParams(
		&metav1.CreateOptions{DryRun: dryRun}, metav1.ParameterCodec).Body(body).Do(context.Background()).Error(), "")
	l.setGated(true)
	healed := make(chan error, 1)
	go func() { healed <- post(10) }()
	time.Sleep(3 * time.Second)
	l.server.SetFault(gitserver.Fault{})
	l.awaitAccepted(tip)
	select {
	case err := <-healed:
		expect(t, "the client that waited", err, "")
	case <-time.After(30 * time.Second):
		t.Error("the client that waited waits still")
	}
}

// TestLargeReviews: an object of the largest size, all of whose characters JSON
// escapes into six: 6 MB of review on creation, 12 MB on update.
func TestLargeReviews(t *testing.T) {
	l := newLab(t, attackPlane(t))
	l.remap()
	ns := "large"
	l.ensureNamespace(ns)
	padded := func(label string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: large, namespace: %s, labels: {version: %q}}\ndata: {padding: %q}\n",
			ns, label, strings.Repeat("<", 1<<20-64))
	}
	tip := l.commit(map[string]string{"a.yaml": padded("1")})
	l.installOrigin(nil)
	l.installGate("default", nil)
	l.awaitAccepted(tip)
	// client-go would escape the characters before the API server counts them.
	apply := func(text string) error {
		return request(l.kube, "PATCH", "configmaps", ns, "large").SetHeader("Content-Type", string(types.ApplyYAMLPatchType)).
			VersionedParams(&metav1.PatchOptions{FieldManager: "kubectl", Force: new(true)}, metav1.ParameterCodec).
			Body([]byte(text)).Do(context.Background()).Error()
	}
	edited := strings.Replace(padded("1"), "<<<", "<<>", 1)
	expect(t, "an edit, without Gitward", apply(edited), "")
	l.check(l.kube.CoreV1().ConfigMaps(ns).Delete(context.Background(), "large", metav1.DeleteOptions{}))
	l.setGated(true)
	expect(t, "another object", apply(edited), "differs from Git: data.padding")
	expect(t, "creation", apply(padded("1")), "")
	expect(t, "creation again", apply(padded("1")), "")
	expect(t, "an edit", apply(padded("2")), "differs from Git: metadata.labels.version")
	expect(t, "another padding", apply(edited), "differs from Git: data.padding")
	tip = l.commit(map[string]string{"a.yaml": padded("2")})
	l.awaitAccepted(tip)
	expect(t, "the edit that Git has", apply(padded("2")), "")
	live, err := l.kube.CoreV1().ConfigMaps(ns).Get(context.Background(), "large", metav1.GetOptions{})
	l.check(err)
	if live.Labels["version"] != "2" || live.Annotations["gitward.dev/commit"] != tip {
		t.Errorf("labels %v, annotations %v", live.Labels, live.Annotations)
	}
}
