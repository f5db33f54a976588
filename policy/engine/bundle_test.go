package engine

import (
	"strings"
	"testing"

	"github.com/gitward/gitward/policy"
)

func TestDialect(t *testing.T) {
	for text, want := range map[string]string{"package a\n\ndeny contains 1 if true": "v1", "package a\n\ndeny[1] { true }": "v0", "package a": "v1"} {
		if got := Read(policy.Files{"a.rego": []byte(text)}).Dialect(); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// TestOrder: what a bundle says does not hang on the order of a map.
func TestOrder(t *testing.T) {
	files := policy.Files{}
	for _, name := range []string{"a", "b", "c", "d"} {
		files[name+"/x.rego"] = []byte("package same\n\ndeny contains \"" + name + "\" if true\n")
		files[name+"/y.rego"] = []byte("package other." + name + "\n\ndeny contains \"" + name + "\" if true\n")
	}
	want := ""
	for range 20 {
		e, problems := Read(files).Engine()
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		var got strings.Builder
		v := posed(t, []byte(someMap))
		for _, p := range e.Policies() {
			for _, f := range v.Evaluate(p) {
				got.WriteString(f.Policy + " " + f.Message + " " + f.File + "\n")
			}
		}
		if want == "" {
			want = got.String()
		}
		if got.String() != want {
			t.Fatalf("%s\nthen\n%s", want, got.String())
		}
	}
	if strings.Count(want, "\n") != 8 {
		t.Error(want)
	}
}

// TestNoProblemsNoEngine: half of a bundle is no bundle.
func TestProblems(t *testing.T) {
	for name, text := range map[string]string{
		"a.rego":    "package a\n\ndeny contains 1 if nothing\n",
		"a.yaml":    "apiVersion: constraints.gatekeeper.sh/v1beta1\nkind: [\n",
		"b.yaml":    "apiVersion: templates.gatekeeper.sh/v1\nkind: ConstraintTemplate\n",
		".manifest": "{",
		"data.json": "7",
	} {
		e, problems := Read(policy.Files{"good.rego": []byte("package good\n\ndeny contains \"good\" if true\n"), name: []byte(text)}).Engine()
		if e != nil || len(problems) == 0 || problems[0].Path != name {
			t.Errorf("%s: %v", name, problems)
		}
	}
}

// FuzzRead: nobody's files are more than wrong. What compiles is asked.
func FuzzRead(f *testing.F) {
	for _, s := range []string{
		"== a.rego\npackage a\n\ndeny contains input.metadata.name if true\n== data.json\n{\"a\": {\"b\": 1}}\n== .manifest\n{\"rego_version\": 1}\n",
		"== a/a.rego\npackage a\n\ndeny[msg] { msg := data.b[_] }\n== b/a.rego\npackage a\n\nexception[[\"x\"]] { true }\n== a/a_test.rego\npackage a\n\ntest_a { deny }\n",
		"-- t.yaml --" + always + "== c.yaml\napiVersion: constraints.gatekeeper.sh/v1beta1\nkind: Always\nmetadata: {name: a}\nspec: {match: {kinds: [{kinds: ['*']}]}}\n",
		"== a.rego\n# METADATA\n# custom:\n#   gitward: {action: warn, match: {scope: '*'}}\npackage a\n\ndeny := {\"a\": true} if input.review\n",
		"== a/data.yaml\n- 1\n== a/b/data.yml\na: &a [*a]\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		files := policy.Files{}
		for file := range strings.SplitSeq(text, "== ") {
			name, data, _ := strings.Cut(file, "\n")
			files[name] = []byte(data)
		}
		b := Read(files)
		b.Dialect()
		e, problems := b.Engine()
		if (e == nil) == (len(problems) == 0) {
			t.Fatalf("an engine: %v, and problems: %v", e != nil, problems)
		}
	})
}

// TestInventory: which kinds a policy wants is read off its rules, or said above
// them.
func TestInventory(t *testing.T) {
	for text, want := range map[string]string{
		"deny contains 1 if data.inventory.namespace[_].v1.Service[_]":                                                            "Service",
		"deny contains 1 if data.inventory.cluster.v1.Namespace[input.metadata.namespace]\n\ndeny_b contains 1 if data.inventory": "* Namespace",
		"# METADATA\n# custom:\n#   gitward: {inventory: [Pod]}\ndeny contains 1 if data.inventory.cluster.v1.Node[_]":            "Node Pod",
		"deny contains 1 if input.metadata": "",
	} {
		e := engineOf(t, map[string]string{"a.rego": "package a\n\n" + text + "\n"})
		if got := strings.Join(e.Policies()[0].Inventory(), " "); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	e := engineOf(t, map[string]string{"a.rego": "# METADATA\n# custom:\n#   gitward: {inventory: [Pod]}\npackage a\n\ndeny contains 1 if data.inventory[_]\n"})
	if got := e.Policies()[0].Inventory(); len(got) != 1 || got[0] != "Pod" {
		t.Errorf("%v", got)
	}
}
