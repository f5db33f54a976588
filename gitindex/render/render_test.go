package render

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// told is what File says of a file, in a form that is easy to read.
func told(data string, limits Limits) string {
	objects, problems := File("f.yaml", []byte(data), limits)
	var b strings.Builder
	for _, o := range objects {
		fmt.Fprintf(&b, "%d-%d %s/%s %s %s/%s %s\n", o.Line, o.End, o.Group, o.Version, o.Kind, o.Namespace, o.Name, o.JSON)
	}
	for _, p := range problems {
		fmt.Fprintf(&b, "%v\n", p)
	}
	return strings.TrimSpace(b.String())
}

const (
	cmA = `1-1 /v1 ConfigMap /a {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`
	a   = `{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}`
)

func TestFile(t *testing.T) {
	for _, c := range []struct{ name, data, want string }{
		{"one", a, cmA},
		{"empty", "", ""},
		{"only comments", "# a\n---\n# b\n---\n", ""},
		{"byte-order mark", "\ufeff" + a, cmA},
		{"CRLF", "apiVersion: v1\r\nkind: ConfigMap\r\nmetadata:\r\n  name: a\r\n---\r\n" + a + "\r\n",
			strings.Replace(cmA, "1-1", "1-4", 1) + "\n" + strings.Replace(cmA, "1-1", "6-6", 1)},
		{"separators", "---\n# c\n\n" + a + "\n--- # next\n\n---\n" + a + "\n...\n---\n",
			strings.Replace(cmA, "1-1", "4-4", 1) + "\n" + strings.Replace(cmA, "1-1", "8-8", 1)},
		{"YAML 1.1", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: yes, b: 0o17, c: 017, 1: x, d: 1e3, e: 12345678901234567890, yes: n}",
			`1-4 /v1 ConfigMap /a {"apiVersion":"v1","data":{"1":"x","a":true,"b":15,"c":15,"d":1000,"e":12345678901234567890,"true":false},"kind":"ConfigMap","metadata":{"name":"a"}}`},
		{"no manifest", "replicas: 3\nimage: {}\n---\n- a\n---\ntext\n---\nkind: Kustomization\nresources: [a.yaml]", ""},
		{"kustomization", "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nmetadata: {name: a}", ""},
		{"local config", "apiVersion: x/v1\nkind: X\nmetadata: {name: a, annotations: {config.kubernetes.io/local-config: \"true\"}}", ""},
		{"broken beside whole", a + "\n---\na: [\n---\n" + a,
			cmA + "\n" + strings.Replace(cmA, "1-1", "5-5", 1) + "\nf.yaml:3: does not parse: did not find expected node content"},
		{"template", "a: b\n---\nname: {{ .Values.x }}", "f.yaml:3: a map key is itself a map or a list; is this a template? Kubernetes takes only text"},
		{"duplicate key", "apiVersion: v1\nkind: ConfigMap\ndata:\n  a: x\n  b: x\n  a: x", `f.yaml:6: the key "a" stands twice in one mapping`},
		{"duplicate after resolution", "a:\n  yes: 1\n  true: 2", `f.yaml:3: the key "true" stands twice in one mapping`},
		{"duplicate number", "a:\n  0x1: 1\n  \"1\": 2", `f.yaml:3: the key "1" stands twice in one mapping`},
		{"null key", "a:\n  ~: 1", "f.yaml:2: a map key is null; Kubernetes takes only text"},
		{"merge with override", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: &x {a: \"1\", b: \"2\"}\n  z: {<<: *x, b: \"3\"}",
			`1-6 /v1 ConfigMap /a {"apiVersion":"v1","data":{"x":{"a":"1","b":"2"},"z":{"a":"1","b":"3"}},"kind":"ConfigMap","metadata":{"name":"a"}}`},
		{"explicit merge tag", "apiVersion: v1\nkind: ConfigMap\nmetadata: &m {name: a}\nx: {!!merge <<: *m}",
			`1-4 /v1 ConfigMap /a {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"x":{"name":"a"}}`},
		{"alias in itself", "a: &a [*a]", "f.yaml:1: the alias *a stands inside its own anchor"},
		{"second document unseen by kubectl", a + "\n...\n" + a, `f.yaml:1: more text follows this document's end without a "---" line: appliers leave it out or fail`},
		{"second document after a carriage return", a + "\r---\r" + a, `f.yaml:1: more text follows this document's end without a "---" line: appliers leave it out or fail`},
		{"text on the separator", a + "\n--- " + a, `f.yaml:2: a line that begins with "---" may hold nothing else but a comment: tools read the rest differently`},
		{"LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:x\nsize 1\n", "f.yaml: is a Git LFS pointer: its content is not in the repository, so it declares nothing"},
		{"UTF-16", "\xff\xfea\x00", "f.yaml: is not UTF-8 text"},
		{"SOPS", "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nsops: {mac: ENC}", "f.yaml:1: Secret is encrypted with SOPS: what it declares cannot be read without the key"},
		{"generateName", "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: a-}", "f.yaml:1: Job has generateName and no name: what the cluster makes of it cannot be traced by name"},
		{"name and generateName", "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: a-, name: a}", `1-3 batch/v1 Job /a {"apiVersion":"batch/v1","kind":"Job","metadata":{"generateName":"a-","name":"a"}}`},
		{"no name", "apiVersion: v1\nkind: Pod", "f.yaml:1: Pod has no metadata.name"},
		{"number for a name", "apiVersion: v1\nkind: Pod\nmetadata: {name: 123}", "f.yaml:1: metadata.name of this Pod is not text: put it in quotes"},
		{"kind in another case", "apiVersion: v1\nKind: Pod\nmetadata: {name: a}", ""},
		{"items but no list", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nitems: []", `f.yaml:1: Pod has "items" at its top but is no list by its kind: tools read it differently`},
		{"list kind without items", "apiVersion: x/v1\nkind: AllowList\nmetadata: {name: a}", `1-3 x/v1 AllowList /a {"apiVersion":"x/v1","kind":"AllowList","metadata":{"name":"a"}}`},
		{"JSON with tabs and surrogates", "{\n\t\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\",\n\t\"metadata\": {\"name\": \"a\"}, \"data\": {\"s\": \"\\ud83d\\ude00\", \"n\": 9007199254740993}}\n",
			`1-3 /v1 ConfigMap /a {"apiVersion":"v1","data":{"n":9007199254740993,"s":"😀"},"kind":"ConfigMap","metadata":{"name":"a"}}`},
		{"JSON duplicate", "{\"a\": 1,\n\"a\": 2}", `f.yaml:2: the key "a" stands twice in one mapping`},
		{"secret values stay out of messages", "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {a: !!int hunter2}", "f.yaml:1: does not parse: cannot decode !!str a value as a !!int"},
	} {
		if got := told(c.data, Limits{}); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestLists(t *testing.T) {
	for _, c := range []struct{ name, data, want string }{
		{"each item keeps its lines", "apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: a\n\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: b}\nkind: List\n",
			`3-6 /v1 Pod /a {"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}` + "\n" + `8-10 /v1 Pod /b {"apiVersion":"v1","kind":"Pod","metadata":{"name":"b"}}`},
		{"typed list", "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleList\nitems:\n- metadata: {name: a}\n",
			`4-4 rbac.authorization.k8s.io/v1 Role /a {"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"a"}}`},
		{"list in a list", "kind: List\napiVersion: v1\nitems:\n- kind: List\n  apiVersion: v1\n  items:\n  - {kind: Pod, apiVersion: v1, metadata: {name: a}}\n",
			`4-7 /v1 Pod /a {"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}`},
		{"empty", "kind: List\napiVersion: v1\nitems: []", ""},
		{"a broken item", "kind: List\napiVersion: v1\nitems:\n- text\n- {kind: Pod, apiVersion: v1, metadata: {name: a}}\n- {kind: Pod}\n",
			`5-5 /v1 Pod /a {"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}` + "\nf.yaml:4: an item of this List is no object\nf.yaml:6: an item of this List has no apiVersion and kind"},
		{"JSON", "{\"kind\": \"List\", \"apiVersion\": \"v1\",\n\"items\": [\n{\"kind\": \"Pod\",\n\"apiVersion\": \"v1\", \"metadata\": {\"name\": \"a\"}},\n{\"kind\": \"Pod\", \"apiVersion\": \"v1\", \"metadata\": {\"name\": \"b\"}}]}",
			`3-4 /v1 Pod /a {"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}` + "\n" + `5-5 /v1 Pod /b {"apiVersion":"v1","kind":"Pod","metadata":{"name":"b"}}`},
	} {
		if got := told(c.data, Limits{}); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestLimits(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
	}
	fat := "apiVersion: v1\nkind: ConfigMap\nx: &x " + strings.Repeat("x", 100_000) + "\ny: [" + strings.Repeat("*x,", 10_000) + "]\n"
	for _, c := range []struct {
		name, data, want string
		limits           Limits
	}{
		{"file", strings.Repeat("#", 11), "f.yaml: is 11 bytes, more than the limit of 10: split the file", Limits{File: 10}},
		{"documents", "a\n---\nb\n---\nc", "f.yaml: holds 3 documents, more than the limit of 2: split the file", Limits{Documents: 2}},
		{"depth", "a:\n  b: [[c]]", "f.yaml:2: is nested more than 4 deep", Limits{Depth: 4}},
		{"depth of JSON", `{"a":{"b":[["c"]]}}`, "f.yaml:1: is nested more than 4 deep", Limits{Depth: 4}},
		{"nodes", "[1,2,3,4]", "f.yaml:1: has more than 3 nodes once its aliases are followed", Limits{Nodes: 3}},
		{"many nodes out of few", bomb, "f.yaml:6: has more than 500000 nodes once its aliases are followed", Limits{}},
		{"many bytes out of few", fat, "f.yaml:4: is more than 8388608 bytes once its aliases are followed", Limits{}},
		{"depth by aliases", "a: &a [[x]]\nb: &b [[*a]]\nc: [[*b]]", "f.yaml:3: is nested more than 6 deep once the alias *b is followed", Limits{Depth: 6}},
	} {
		if got := told(c.data, c.limits); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// TestPlaceCopies shows that what was remembered of a document stays as it was.
func TestPlaceCopies(t *testing.T) {
	objects, problems := Read([]byte("apiVersion: v1\nkind: List\nitems: ["+a+", x]"), Limits{})
	doc := Doc{Line: 10}
	doc.Place("x", objects, problems)
	if objects[0].Line != 3 || problems[0].Line != 3 || problems[0].Path != "" {
		t.Errorf("Place changed its arguments: %v %v", objects, problems)
	}
}

func TestEligible(t *testing.T) {
	for name, want := range map[string]bool{"a.yaml": true, "d/a.yml": true, "a.json": true, "a.YAML": false, "yaml": false, "a.yaml.tpl": false, "a.jsonnet": false} {
		if Eligible(name) != want {
			t.Errorf("Eligible(%q) is %v", name, !want)
		}
	}
}

func TestJSONIsSorted(t *testing.T) {
	objects, _ := File("f", []byte(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","annotations":{"z":"<","b":"1"}}}`), Limits{})
	var v any
	if err := json.Unmarshal(objects[0].JSON, &v); err != nil {
		t.Fatal(err)
	}
	if again, _ := json.Marshal(v); string(again) != string(objects[0].JSON) {
		t.Errorf("%s is not %s", objects[0].JSON, again)
	}
}
