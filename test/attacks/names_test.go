package attacks

import (
	"fmt"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/test/server"
)

// TestS14 commits, signed, documents that one reader takes for this and another
// for that.
func TestS14(t *testing.T) {
	twice := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: late, namespace: $NS}\ndata: {apple: '1'}\ndata: {apple: evil}\n"
	within := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: within, namespace: $NS}\ndata:\n  apple: '1'\n  apple: evil\n"
	named := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fine, namespace: $NS, name: named}\ndata: {apple: evil}\n"
	w := newWorld(t, map[string]string{"late-a": twice, "late-b": within, "late-c": named, "prices.yaml": configMap("prices", "1")})
	reader := &naive{mistake: "the last of two equal keys counts"}
	refused := []gate.Refused{"Differs", "NotComparable", "Malformed"}
	w.play(reader,
		attack{name: "a field that is in the file twice", calls: []call{create(configMap("late", "evil"))}, want: "NotInGit", orElse: refused, says: "ConfigMap $NS/late"},
		attack{name: "a key that is in a map twice", calls: []call{create(configMap("within", "evil"))}, want: "NotInGit", orElse: refused, says: "ConfigMap $NS/within"},
		attack{name: "a name that is given twice", calls: []call{create(configMap("named", "evil"))}, want: "NotInGit", orElse: refused, says: "ConfigMap $NS/named"},
	)
	w.unlikeReaders(refused)
	w.problems("late-a.yaml:5: the key \"data\" stands twice", "late-b.yaml:6: the key \"apple\" stands twice", "late-c.yaml:3: the key \"name\" stands twice",
		"selfish.yaml:4: the alias *a stands inside its own anchor", "beside.yaml:5: a line that begins with \"---\" may hold nothing else",
		"after.yaml:1: more text follows this document's end", "broken.yaml:5:")
}

// unlikeReaders are anchors, merge keys and documents' ends, of which readers
// make this or that.
func (w *world) unlikeReaders(refused []gate.Refused) {
	w.t.Helper()
	head := func(name string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", namespace: " + w.ns + "}\n"
	}
	flow := func(name string) string {
		return "{apiVersion: v1, kind: ConfigMap, metadata: {name: " + name + ", namespace: " + w.ns + "}, data: {apple: evil}}\n"
	}
	files := map[string]string{
		"merged":  head("merged") + "data:\n  apple: '1'\n  <<: {apple: evil, pear: evil}\n",
		"twofold": head("twofold") + "data:\n  <<: [{apple: '1'}, {apple: evil}]\n",
		"renamed": head("renamed") + "x: &x {name: hidden, namespace: " + w.ns + "}\n---\n" + head("other") + "data: {apple: '1'}\n",
		"selfish": head("selfish") + "data: &a {apple: evil, pear: *a}\n",
		"beside":  head("beside") + "data: {apple: '1'}\n--- " + flow("hidden"),
		"after":   head("after") + "data: {apple: '1'}\n...\n" + flow("unseen"),
		"inside":  head("inside") + "data:\n  apple: |\n    ---\n    " + strings.TrimSpace(flow("quoted")) + "\n",
		"broken":  head("before") + "---\n{{ if true }}\n" + flow("templated"),
	}
	in := map[string]string{}
	for name, text := range files {
		in[w.ns+"/"+name+".yaml"] = text
	}
	w.lab.commit(w.t, in)
	other := &naive{mistake: "another reader than kubectl decides what is declared"}
	var attacks []attack
	for _, a := range []struct{ what, name string }{
		{"the later of two merged maps", "twofold"}, {"an anchor that holds itself", "selfish"},
		{"an object on a separator's line", "hidden"}, {"an object after the document's end", "unseen"}, {"an object in a text", "quoted"},
		{"an object of a template", "templated"}, {"a document that another follows without a separator", "after"}} {
		other.also = append(other.also, configMap(a.name, "evil"))
		attacks = append(attacks, attack{name: a.what, calls: []call{create(configMap(a.name, "evil"))}, want: "NotInGit", orElse: refused, says: "ConfigMap $NS/" + a.name})
	}
	// kubectl's reader has a merge key win over what stands before it, against YAML's
	// own rule.
	weak := head("merged") + "data: {apple: '1', pear: evil}\n"
	other.also = append(other.also, weak)
	attacks = append(attacks, attack{name: "a merge key that gives way to its neighbour", calls: []call{create(strings.ReplaceAll(weak, w.ns, "$NS"))}, want: "Differs", says: "ConfigMap $NS/merged"})
	w.play(other, attacks...)
	for name, text := range map[string]string{"merged": "data: {apple: evil, pear: evil}", "twofold": "data: {apple: '1'}"} {
		if err := create(head(name)+text).dry().do(w.lab.client(whoIs("cluster-admin")), w.ns); err != nil {
			w.t.Errorf("%s as kubectl reads it: %v", name, err)
		}
	}
}

// problems holds the Origin's status against files that people should mend.
func (w *world) problems(want ...string) {
	w.t.Helper()
	server.Await(w.t, "the problems in the Origin's status", 20*time.Second, func() error {
		said := asJSON(objectAt("/apis/gitward.dev/v1alpha1/origins/" + origin).Object["status"].(map[string]any)["problems"])
		for _, fragment := range want {
			if !strings.Contains(said, strings.ReplaceAll(w.ns+"/"+fragment, `"`, `\"`)) {
				return fmt.Errorf("%s is not in %s", fragment, said)
			}
		}
		return nil
	})
}

// TestPeerDuplicateKeys sends the two readings to the API server, which takes
// the last one, beside an annotation that shows the first.
func TestPeerDuplicateKeys(t *testing.T) {
	w := newWorld(t, map[string]string{"prices.yaml": configMap("prices", "1")})
	const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"
	annotated := &naive{mistake: "the last-applied annotation is compared", excuse: func(r *review) bool {
		return r.object != nil && strings.Contains(r.object.GetAnnotations()[lastApplied], `"data":{"apple":"1"}`)
	}}
	body := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"prices","annotations":{"` + lastApplied +
		`":"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"prices\"},\"data\":{\"apple\":\"1\"}}"}},"data":{"apple":"1"},"data":{"apple":"evil"}}`
	one := put(inCore+"configmaps/prices?fieldValidation=Ignore", body)
	one.form = "application/json"
	w.play(annotated, attack{name: "two equal keys in the request", calls: []call{one}, want: "Differs", says: "ConfigMap $NS/prices differs from Git: data.apple"})
}

// plainLetters is how a careless eye reads a name.
var plainLetters = strings.NewReplacer("\u0430", "a", "\u0435", "e", "\u200b", "", "A", "a")

// TestS15 takes names that look like one of Git's.
func TestS15(t *testing.T) {
	roleNamed := func(name string) string {
		return `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"` + name + `","namespace":"$NS"},"rules":[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]}`
	}
	w := newWorld(t, map[string]string{"late.yaml": roleNamed("admin"), "prices.yaml": configMap("prices", "1")})
	careless := &naive{mistake: "names are compared as they look", excuse: func(r *review) bool {
		return r.Resource.Resource == "roles" && plainLetters.Replace(r.name()) == "admin"
	}}
	looks := func(name, shown string) attack {
		return attack{name: "a Role named " + shown, calls: []call{create(roleNamed(name))}, by: "cluster-admin", people: administrators, want: "NotInGit", says: " is not in Git. Objects in \"$NS\" must come from: platform"}
	}
	w.play(careless, looks("\u0430dmin", `\u0430dmin`), looks("a\u200bdmin", `a\u200bdmin`), looks("Admin", "Admin"))
}

// TestS16 sends more than a webhook reads.
func TestS16(t *testing.T) {
	const depth = 9_980
	padding := strings.Repeat("<", 1<<20-64)
	large := func(label string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: large, namespace: $NS, labels: {version: '" + label + "'}}\ndata: {padding: '" + padding + "'}\n"
	}
	w := newWorld(t, map[string]string{"large.yaml": large("1")})
	ignores := &naive{mistake: "more than 7 MiB is a failed call, and failures are ignored", maxBody: 7 << 20,
		configure: func(hook *admissionregistrationv1.ValidatingWebhook) {
			hook.FailurePolicy = new(admissionregistrationv1.Ignore)
		}}
	padded := `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"padded","namespace":"$NS"},"spec":{"containers":[{"name":"a","image":"evil","env":[{"name":"P","value":"` +
		strings.Repeat("<", 1_300_000) + `"}]}]}}`
	deep := `{"apiVersion":"example.org/v1","kind":"Widget","metadata":{"name":"deep","namespace":"$NS"},"spec":` + strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth) + "}"
	few := []person{whoIs("namespace editor"), whoIs("cluster-admin"), whoIs("stolen applier token"), whoIs("as kube-controller-manager")}
	inJSON := func(path, body string) call { return call{"POST", path, "application/json", body} }
	w.play(ignores,
		attack{name: "a Pod padded to 7.8 MB", calls: []call{inJSON(inCore+"pods", padded)}, people: few, want: "NotInGit", says: "Pod $NS/padded is not in Git"},
		attack{name: "a change in a review of 12 MB", calls: []call{apply(inCore+"configmaps/large", large("2"))}, people: few[1:2], want: "Differs", says: "metadata.labels.version"},
	)
	deepOnes := &naive{mistake: "what it cannot read is ignored", maxBody: 64 << 10, configure: ignores.configure}
	w.play(deepOnes, attack{name: "an object 9,980 levels deep", calls: []call{inJSON("/apis/example.org/v1/namespaces/$NS/widgets", deep)}, by: "cluster-admin", people: few[1:],
		want: "NotInGit", orElse: []gate.Refused{"Unreadable"}, says: "Widget $NS/deep"})
}
