package attacks

import (
	"fmt"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/test/gitserver"
)

// TestS18 takes a namespace out of a webhook's scope by a label, and puts things
// into it then.
func TestS18(t *testing.T) {
	w := newWorld(t, map[string]string{
		"0-namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: $NS, labels: {policy.example.org/include: 'true'}}\n",
		"prices.yaml":      configMap("prices", "1"),
	})
	labelled := &naive{mistake: "namespaces opt in by a label", configure: func(hook *admissionregistrationv1.ValidatingWebhook) {
		hook.NamespaceSelector.MatchLabels["policy.example.org/include"] = "true"
	}}
	optOut := func(body, name string) []call {
		return []call{merge("/api/v1/namespaces/$NS", body), create(secret(name, "x"))}
	}
	w.play(labelled, attack{name: "the label taken away, then an object", by: "cluster-admin", want: "Differs", orElse: []gate.Refused{"NotInGit"},
		calls: optOut(`{"metadata":{"labels":{"policy.example.org/include":null}}}`, "mine"), says: "Namespace $NS differs from Git: metadata.labels"})
	exempts := &naive{mistake: "namespaces and objects opt out by a label", configure: func(hook *admissionregistrationv1.ValidatingWebhook) {
		out := []metav1.LabelSelectorRequirement{{Key: "admission.example.org/ignore", Operator: metav1.LabelSelectorOpDoesNotExist}}
		hook.NamespaceSelector.MatchExpressions, hook.ObjectSelector = out, &metav1.LabelSelector{MatchExpressions: out}
	}}
	w.play(exempts,
		attack{name: "an object that opts out by its own label", want: "NotInGit", says: "ConfigMap $NS/mine is not in Git",
			calls: []call{create("{apiVersion: v1, kind: ConfigMap, metadata: {name: mine, namespace: $NS, labels: {admission.example.org/ignore: '1'}}}")}},
		attack{name: "a namespace that opts out", by: "cluster-admin", want: "Differs", orElse: []gate.Refused{"NotInGit"},
			calls: optOut(`{"metadata":{"labels":{"admission.example.org/ignore":"1"}}}`, "mine-too"), says: "Namespace $NS differs from Git: metadata.labels"},
	)
	again := attack{name: "a namespace of one's own", calls: []call{create("{apiVersion: v1, kind: Namespace, metadata: {name: kube-mine}}")}, want: "NotInGit", says: "Namespace kube-mine is not in Git"}
	w.meet(exempts.mistake, again)
}

// TestS25 brings back what Git has left behind: each was signed, once.
func TestS25(t *testing.T) {
	w := newWorld(t, map[string]string{"prices.yaml": configMap("prices", "1"), "web.yaml": workload("apps/v1", "Deployment", "web", "web:1", "replicas: 0")})
	w.commit(map[string]string{"prices.yaml": configMap("prices", "2"), "web.yaml": workload("apps/v1", "Deployment", "web", "web:2", "replicas: 0")})
	for _, ns := range []string{w.ns, w.naive} {
		w.bring(ns)
	}
	w.commit(map[string]string{"gone.yaml": configMap("gone", "1")})
	w.bring(w.ns)
	w.lab.commit(t, nil, w.ns+"/gone.yaml")
	delete(w.files, "gone.yaml")
	check(t, remove(inCore+"configmaps/gone").do(w.lab.client(whoIs("system:masters")), w.ns))
	time.Sleep(lag + time.Second)
	once := map[string]string{"prices": configMap("prices", "1"), "web": workload("apps/v1", "Deployment", "web", "web:1", "replicas: 0"), "gone": configMap("gone", "1")}
	replays := &naive{mistake: "what was ever signed is good", excuse: func(r *review) bool {
		text, ok := once[r.name()]
		return ok && r.object != nil && contains(r.object.Object, objectOf(text).Object)
	}}
	w.play(replays,
		attack{name: "a ConfigMap of five commits ago", calls: []call{apply(inCore+"configmaps/prices", once["prices"])}, want: "Outdated", says: "ConfigMap $NS/prices in Git is at"},
		attack{name: "an image of five commits ago", calls: []call{apply(inApps+"deployments/web", once["web"])}, want: "Outdated", says: "Deployment $NS/web in Git is at"},
		attack{name: "what Git no longer has at all", calls: []call{create(once["gone"])}, want: "Outdated", says: "ConfigMap $NS/gone in Git is at"},
	)
}

// TestS26 brings what was signed for one place to another.
func TestS26(t *testing.T) {
	w := newWorld(t, map[string]string{"prices.yaml": configMap("prices", "1"),
		"late-other.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: debug, namespace: $NS-staging}\ndata: {apple: evil}\n"})
	text := strings.ReplaceAll(configMap("flags", "evil"), "$NS", w.ns)
	must(w.lab.staging.Commit(gitserver.CommitOptions{Files: map[string]string{"flags.yaml": text}, Signer: w.lab.signer, Message: "for staging"}))
	placeless := &naive{mistake: "the place is no part of what is signed", excuse: func(r *review) bool { return r.name() == "debug" || r.name() == "flags" }}
	w.play(placeless,
		attack{name: "signed for another namespace", calls: []call{create(configMap("debug", "evil"))}, want: "NotInGit", says: "ConfigMap $NS/debug is not in Git"},
		attack{name: "signed in a repository for other namespaces", calls: []call{create(configMap("flags", "evil"))}, want: "WrongNamespace", says: "ConfigMap $NS/flags is in Origin staging, which may not fill this place"},
	)
}

// TestS38 writes exclusions: too wide ones, which the API server itself refuses,
// one's own, which are in no commit, and one that has had its time.
func TestS38(t *testing.T) {
	w := newWorld(t, map[string]string{"prices.yaml": configMap("prices", "1")})
	wide := func(entry string) call {
		return post("/apis/gitward.dev/v1alpha1/gates", "{apiVersion: gitward.dev/v1alpha1, kind: Gate, metadata: {name: wide}, spec: {action: Deny, origins: [{name: platform}], exclude: ["+entry+"]}}")
	}
	for entry, says := range map[string]string{
		`{namespaces: ["*"]}`:                                   "reason: Required value",
		`{namespaces: ["*"], reason: ""}`:                       "should be at least 1 chars",
		`{reason: everything}`:                                  "an exclusion must name namespaces, resources or users",
		`{users: [mallory], reason: mine}`:                      "an exclusion that names no namespaces, or all, must expire",
		`{resources: [secrets], reason: mine}`:                  "an exclusion that names no namespaces, or all, must expire",
		`{namespaces: ["*"], reason: mine}`:                     "an exclusion that names no namespaces, or all, must expire",
		`{resources: ["*"], reason: mine, namespaces: [a]}`:     "should match",
		`{namespaces: [], reason: nothing, resources: [pods]}`:  "should have at least 1 items",
		`{users: [mallory], reason: mine, expires: "tomorrow"}`: "must be",
	} {
		err := wide(entry).do(w.lab.client(whoIs("cluster-admin")), "")
		if err == nil || refusedByGate(err) || !strings.Contains(err.Error(), says) {
			t.Errorf("the exclusion %s: %v, want %q", entry, err, says)
		}
	}
	w.meet("a configuration is anybody's who may write it",
		attack{name: "a Gate of one's own", calls: []call{wide(`{namespaces: ["*"], reason: mine, expires: "2099-01-01T00:00:00Z"}`)}, want: "NotInGit", says: "Gate wide is not in Git"},
		attack{name: "an exclusion added to the Gate", calls: []call{merge("/apis/gitward.dev/v1alpha1/gates/everything",
			`{"spec":{"exclude":[{"namespaces":["*"],"reason":"mine","expires":"2099-01-01T00:00:00Z"}]}}`)}, want: "Differs", says: "Gate everything differs from Git: spec.exclude"},
	)
	w.expires()
}

// expires has Git exclude the namespace for some seconds.
func (w *world) expires() {
	w.t.Helper()
	admin := w.lab.client(whoIs("system:masters"))
	end := time.Now().Add(6 * time.Second).UTC().Truncate(time.Second)
	set := func(text string) {
		w.lab.commit(w.t, map[string]string{"guard/gate.yaml": text})
		check(w.t, apply("/apis/gitward.dev/v1alpha1/gates/everything", text).do(admin, ""))
	}
	set(gateText(fmt.Sprintf("  - {namespaces: [%s], reason: a move, expires: %q}\n", w.ns, end.Format(time.RFC3339))))
	w.t.Cleanup(func() { set(gateText("")) })
	mine := create(configMap("mine", "1")).dry()
	await(w.t, "the exclusion", time.Until(end), func() error { return mine.do(admin, w.ns) })
	time.Sleep(time.Until(end.Add(20 * time.Millisecond)))
	w.meet("an exclusion is for ever", attack{name: "an exclusion that has expired", calls: []call{create(configMap("mine", "1"))}, want: "NotInGit", says: "ConfigMap $NS/mine is not in Git"})
}

// TestPeerHeadOnly: the tip is signed, and a commit under it is not.
func TestPeerHeadOnly(t *testing.T) {
	w := newWorld(t, map[string]string{"prices.yaml": configMap("prices", "1"), "other.yaml": configMap("other", "1")})
	in := func(name string) string { return w.ns + "/" + name }
	at := func(text string) string { return strings.ReplaceAll(text, "$NS", w.ns) }
	w.lab.commitAs(t, nil, map[string]string{in("prices.yaml"): at(configMap("prices", "evil")), in("door.yaml"): at(configMap("door", "evil"))})
	stranger := must(gitserver.NewSSHSigner())
	w.lab.commitAs(t, stranger, map[string]string{in("window.yaml"): at(configMap("window", "evil"))})
	w.lab.commit(t, map[string]string{in("other.yaml"): at(configMap("other", "2"))})
	head := &naive{mistake: "the signature of the tip is looked at", also: []string{configMap("prices", "evil"), configMap("door", "evil"), configMap("window", "evil")}}
	w.play(head,
		attack{name: "changed by an unsigned commit under a signed tip", calls: []call{apply(inCore+"configmaps/prices", configMap("prices", "evil"))}, want: "Unsigned", says: "which is not signed"},
		attack{name: "added by an unsigned commit under a signed tip", calls: []call{create(configMap("door", "evil"))}, want: "Unsigned", says: "ConfigMap $NS/door comes from commit"},
		attack{name: "added by a stranger's commit under a signed tip", calls: []call{create(configMap("window", "evil"))}, want: "UnknownSigner", says: "signed by a key that is not trusted here"},
	)
}
