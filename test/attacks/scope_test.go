package attacks

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/test/gitserver"
	"github.com/gitward/gitward/test/server"
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
	w.play(&naive{mistake: "a new namespace is in nobody's scope"}, attack{name: "a namespace of one's own", aside: true, by: "cluster-admin", people: administrators, calls: []call{create("{apiVersion: v1, kind: Namespace, metadata: {name: kube-mine}}")}, want: "NotInGit", says: "Namespace kube-mine is not in Git"})
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
		if err == nil || server.Refused(err) || !strings.Contains(err.Error(), says) {
			t.Errorf("the exclusion %s: %v, want %q", entry, err, says)
		}
	}
	w.play(unasked,
		attack{name: "a Gate of one's own", aside: true, by: "cluster-admin", people: administrators, calls: []call{wide(`{namespaces: ["*"], reason: mine, expires: "2099-01-01T00:00:00Z"}`)}, want: "NotInGit", says: "Gate wide is not in Git"},
		attack{name: "an exclusion added to the Gate", aside: true, by: "cluster-admin", people: administrators, calls: []call{merge("/apis/gitward.dev/v1alpha1/gates/everything",
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
	server.Await(w.t, "the exclusion", time.Until(end), func() error { return mine.do(admin, w.ns) })
	time.Sleep(time.Until(end.Add(20 * time.Millisecond)))
	w.play(&naive{mistake: "an exclusion is for ever", excuse: func(r *review) bool { return r.name() == "mine" }},
		attack{name: "an exclusion that has expired", calls: []call{create(configMap("mine", "1"))}, want: "NotInGit", says: "ConfigMap $NS/mine is not in Git"})
}

// TestPeerRawBytes: a verifier that reads a commit, writes it anew and checks the
// signature of that, checks another commit than the one which git sees. Each of
// these is signed in the form in which it would be written anew.
func TestPeerRawBytes(t *testing.T) {
	w := newWorld(t, map[string]string{"prices.yaml": configMap("prices", "1")})
	first, err := w.lab.repo.Git("rev-list", "--max-parents=0", "main")
	check(t, err)
	first = strings.TrimSpace(first)
	garnish := map[string]func(raw, good string) string{
		"two trees": func(raw, good string) string { return strings.Replace(raw, "\nauthor ", "\ntree "+good+"\nauthor ", 1) },
		"two authors": func(raw, _ string) string {
			return strings.Replace(raw, "\nauthor ", "\nauthor Eve <eve@example.org> 1 +0000\nauthor ", 1)
		},
		"a header of no use": func(raw, _ string) string {
			return strings.Replace(raw, "\ngpgsig ", "\nx-note said by nobody\ngpgsig ", 1)
		},
		"more of the message": func(raw, _ string) string { return raw + "\nReviewed-by: Chief <chief@example.org>\n" },
		"a message cut short": func(raw, _ string) string { return strings.TrimSuffix(raw, "\n") },
		"spaces in a name": func(raw, _ string) string {
			return strings.Replace(raw, "\nauthor Ada Example ", "\nauthor Ada  Example ", 1)
		},
		"another zone":     func(raw, _ string) string { return strings.Replace(raw, " +0000\ncommitter", " -0000\ncommitter", 1) },
		"another encoding": func(raw, _ string) string { return strings.Replace(raw, "\ngpgsig ", "\nencoding UTF-16\ngpgsig ", 1) },
		"a parent more": func(raw, _ string) string {
			return strings.Replace(raw, "\nauthor ", "\nparent "+first+"\nauthor ", 1)
		},
	}
	rewritten := &naive{mistake: "the signature of a commit written anew is verified"}
	var attacks []attack
	for i, what := range slices.Sorted(maps.Keys(garnish)) {
		name := fmt.Sprintf("door-%d", i)
		w.garnished(name, garnish[what], w.lab.signer, false)
		rewritten.also = append(rewritten.also, configMap(name, "evil"))
		attacks = append(attacks, attack{name: "a signed commit with " + what, calls: []call{create(configMap(name, "evil"))}, want: "BadSignature", orElse: []gate.Refused{"Malformed"},
			says: "ConfigMap $NS/" + name + " comes from commit"})
	}
	w.lab.commit(t, map[string]string{w.ns + "/last.yaml": strings.ReplaceAll(configMap("last", "1"), "$NS", w.ns)})
	w.play(rewritten, attacks...)
	// Signed as it is, an odd commit counts.
	for _, what := range []string{"a header of no use", "spaces in a name", "another zone", "more of the message", "a message cut short"} {
		w.garnished("odd", garnish[what], w.lab.signer, true)
		odd := create(configMap("odd", "evil")).dry()
		server.Await(t, "an odd commit, signed as it is: "+what, 20*time.Second, func() error { return odd.do(w.lab.client(whoIs("cluster-admin")), w.ns) })
		w.lab.commit(t, nil, w.ns+"/odd.yaml")
		server.Await(t, "its end", 20*time.Second, func() error {
			if err := odd.do(w.lab.client(whoIs("cluster-admin")), w.ns); !server.Refused(err) {
				return orAdmitted(err)
			}
			return nil
		})
	}
}

// garnished commits a ConfigMap, and changes the commit's bytes: after it was
// signed, or before. The commit as it was never stands on main: whoever fetched
// it there would rightly take it, and the changed one for a branch moved by force.
func (w *world) garnished(name string, garnish func(raw, good string) string, signer gitserver.Signer, before bool) {
	w.t.Helper()
	repo := w.lab.repo
	good, err := repo.Git("rev-parse", "main^{tree}")
	check(w.t, err)
	by := signer
	if before {
		by = nil
	}
	plain, err := repo.Commit(gitserver.CommitOptions{Ref: "refs/heads/garnish", Parents: []string{repo.Ref(gitserver.MainRef)}, Signer: by, Message: "change",
		Files: map[string]string{w.ns + "/" + name + ".yaml": strings.ReplaceAll(configMap(name, "evil"), "$NS", w.ns)}})
	check(w.t, err)
	raw, err := repo.Git("cat-file", "commit", plain)
	check(w.t, err)
	if before { // the garnish looks for a signature to stand before
		raw = strings.Replace(raw, "\n\n", "\ngpgsig \n\n", 1)
	}
	raw = garnish(raw, strings.TrimSpace(good))
	if before {
		raw = strings.Replace(raw, "\ngpgsig \n", "\n", 1)
		armor, err := signer.Sign([]byte(raw))
		check(w.t, err)
		raw = strings.Replace(raw, "\n\n", "\ngpgsig "+strings.ReplaceAll(strings.TrimRight(string(armor), "\n"), "\n", "\n ")+"\n\n", 1)
	}
	id, err := repo.Object("commit", []byte(raw))
	check(w.t, err)
	check(w.t, repo.SetRef(gitserver.MainRef, id))
}

// TestPeerForgeKey: a forge signs what anybody does in its pages. Its key says
// who ran the server, not who meant the change.
func TestPeerForgeKey(t *testing.T) {
	w := newWorld(t, map[string]string{"prices.yaml": configMap("prices", "1")})
	forge := must(gitserver.NewPGPSigner("GitHub", "noreply@github.com"))
	at := func(text string) string { return strings.ReplaceAll(text, "$NS", w.ns) }
	web := func(author gitindex.Person, name, text string) {
		_, err := w.lab.repo.Commit(gitserver.CommitOptions{Files: map[string]string{w.ns + "/" + name + ".yaml": at(text)}, Signer: forge, Message: "Update " + name + ".yaml",
			Author: author, Committer: gitindex.Person{Name: "GitHub", Email: "noreply@github.com"}})
		check(t, err)
	}
	web(gitindex.Person{Name: "Ada Example", Email: "ada@example.org"}, "prices", configMap("prices", "evil"))
	web(gitindex.Person{Name: "Eve", Email: "eve@example.org"}, "door", configMap("door", "evil"))
	w.lab.commit(t, map[string]string{w.ns + "/other.yaml": at(configMap("other", "1"))})
	verified := &naive{mistake: "a commit that its forge calls verified is trusted", also: []string{configMap("prices", "evil"), configMap("door", "evil")}}
	w.play(verified,
		attack{name: "an edit in the forge's pages, in Ada's name", calls: []call{apply(inCore+"configmaps/prices", configMap("prices", "evil"))}, want: "UnknownSigner", says: "signed by a key that is not trusted here"},
		attack{name: "a file made in the forge's pages", calls: []call{create(configMap("door", "evil"))}, want: "UnknownSigner", says: "signed by a key that is not trusted here"},
	)
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
