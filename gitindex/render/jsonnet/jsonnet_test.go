package jsonnet

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gitward/gitward/gitindex/render"
)

func alone(files map[string]string) render.Sources {
	tree := fstest.MapFS{}
	for name, text := range files {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return render.Alone{FS: tree}
}

const configMap = `{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'a'}}`

// names are "Kind name", in order.
func names(objects []render.Object) string {
	var all []string
	for _, o := range objects {
		all = append(all, o.Kind+" "+o.Name)
	}
	return strings.Join(all, ", ")
}

func TestBuild(t *testing.T) {
	src := render.Alone{FS: os.DirFS("testdata")}
	o := render.JsonnetOptions{
		Libraries: []string{"app", "lib", "/vendor"},
		ExtVars:   []render.JsonnetVar{{Name: "team", Value: "shop"}, {Name: "sizes", Value: "{small: 1, large: 1 + 2}", Code: true}},
		TLAs:      []render.JsonnetVar{{Name: "env", Value: "prod"}, {Name: "replicas", Value: "3", Code: true}},
	}
	got, err := Build(src, "app/main.jsonnet", o)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || names(got) != "Deployment web-prod, ConfigMap words, ConfigMap listed" {
		t.Fatalf("got %s", names(got))
	}
	want := `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"labels":{"from":"vendor","team":"shop"},"name":"web-prod"},"spec":{"replicas":3,"size":3}}`
	if string(got[0].JSON) != want {
		t.Errorf("got  %s\nwant %s", got[0].JSON, want)
	}
	if want := `{"apiVersion":"v1","data":{"text":"some words\n"},"kind":"ConfigMap","metadata":{"name":"words"}}`; string(got[1].JSON) != want {
		t.Errorf("got  %s\nwant %s", got[1].JSON, want)
	}
	if got[0].Path != "app/main.jsonnet" || got[0].Line != 0 {
		t.Errorf("at %s:%d", got[0].Path, got[0].Line)
	}
}

// TestResult plays what Argo CD makes of each form of a result.
func TestResult(t *testing.T) {
	for _, test := range []struct{ name, text, want, err string }{
		{"an object", configMap, "ConfigMap a", ""},
		{"an array", `[` + configMap + `, ` + configMap + `]`, "ConfigMap a, ConfigMap a", ""},
		{"null in an array", `[null, ` + configMap + `, null]`, "ConfigMap a", ""},
		{"null", `null`, "", ""},
		{"an empty array", `[]`, "", ""},
		{"an empty list", `{apiVersion: 'v1', kind: 'List', items: []}`, "", ""},
		{"a list", `{apiVersion: 'v1', kind: 'List', items: [` + configMap + `]}`, "ConfigMap a", ""},
		{"an array in an array", `[[` + configMap + `]]`, "", "item 0 of the result is no object"},
		{"a map of objects", `{a: ` + configMap + `}`, "", "has no apiVersion or no kind"},
		{"text", `'x'`, "", "neither an object nor an array"},
		{"a function", `function() ` + configMap, "ConfigMap a", ""},
		{"a function with an argument that nobody gives", `function(x) x`, "", "Missing argument"},
		{"a name that is missing", `{apiVersion: 'v1', kind: 'ConfigMap'}`, "", "has no metadata.name"},
		{"a syntax error", `{`, "", "evaluating a.jsonnet"},
		{"an error", `error 'the size is missing'`, "", "the size is missing"},
		{"an external variable that nobody gives", `std.extVar('x')`, "", "Undefined external variable"},
		{"a native function", `std.native('exec')('id')`, "", "expected function"},
		{"a recursion without end", `local f(x) = 1 + f(x + 1); f(0)`, "", "max stack frames exceeded"},
	} {
		got, err := Build(alone(map[string]string{"a.jsonnet": test.text}), "a.jsonnet", render.JsonnetOptions{})
		if test.err == "" && (err != nil || names(got) != test.want) {
			t.Errorf("%s: got %q, %v; want %q", test.name, names(got), err, test.want)
		}
		if test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s: got %q, %v; want an error with %q", test.name, names(got), err, test.err)
		}
	}
}

// TestNothingOutsideTheTree plays imports that must not leave it.
func TestNothingOutsideTheTree(t *testing.T) {
	for _, test := range []struct{ text, err string }{
		{`import '/etc/passwd'`, `"/etc/passwd" is an absolute path`},
		{`importstr '/etc/passwd'`, `"/etc/passwd" is an absolute path`},
		{`importbin '/etc/passwd'`, `"/etc/passwd" is an absolute path`},
		{`import '../../x'`, `"../../x" leads out of the tree`},
		{`importstr '../../../../../../../etc/passwd'`, `leads out of the tree`},
		{`import 'http://example.org/x.libsonnet'`, `"http://example.org/x.libsonnet" is an address`},
		{`import 'https://example.org/x.libsonnet'`, `is an address`},
		{`import 'file:///etc/passwd'`, `is an address`},
		{`import 'missing.libsonnet'`, `neither beside the file nor in a library`},
		{`import '.'`, `reading app`},
	} {
		src := alone(map[string]string{"app/a.jsonnet": test.text})
		_, err := Build(src, "app/a.jsonnet", render.JsonnetOptions{})
		if err == nil || !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %v; want %q", test.text, err, test.err)
		}
	}
	for _, file := range []string{"../a.jsonnet", "/etc/passwd", "app/../../x"} {
		if _, err := Build(alone(nil), file, render.JsonnetOptions{}); err == nil || !strings.Contains(err.Error(), "leads out of the tree") {
			t.Errorf("%s: %v", file, err)
		}
	}
	src := alone(map[string]string{"a.jsonnet": "{}"})
	if _, err := Build(src, "a.jsonnet", render.JsonnetOptions{Libraries: []string{"../lib"}}); err == nil || !strings.Contains(err.Error(), `"../lib" leads out`) {
		t.Errorf("a library outside: %v", err)
	}
}

// A relative import that leaves the tree beside the file may still be meant
// from a library, which FileImporter tries next.
func TestImportFromALibraryBelow(t *testing.T) {
	src := alone(map[string]string{"a.jsonnet": `import '../x.libsonnet'`, "lib/x.libsonnet": configMap, "lib/deep/y": ""})
	got, err := Build(src, "a.jsonnet", render.JsonnetOptions{Libraries: []string{"lib/deep"}})
	if err != nil || names(got) != "ConfigMap a" {
		t.Errorf("got %q, %v", names(got), err)
	}
}

// The last library wins, as in go-jsonnet's FileImporter.
func TestOrderOfLibraries(t *testing.T) {
	src := alone(map[string]string{"a.jsonnet": `{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: import 'n.libsonnet'}}`,
		"one/n.libsonnet": `'one'`, "two/n.libsonnet": `'two'`})
	got, err := Build(src, "a.jsonnet", render.JsonnetOptions{Libraries: []string{"one", "two"}})
	if err != nil || names(got) != "ConfigMap two" {
		t.Errorf("got %q, %v", names(got), err)
	}
}

// FuzzSplit holds what is made of a result against encoding/json.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{`{}`, `[]`, `[null, {"a": 1}]`, `null`, `[[{}]]`, `"x"`, ` [ {} ] `, `[1]`, `nul`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !json.Valid([]byte(text)) {
			return // go-jsonnet writes nothing else
		}
		documents, err := split([]byte(text))
		var objects []map[string]any
		one := json.Unmarshal([]byte("["+text+"]"), &objects) == nil
		many := json.Unmarshal([]byte(text), &objects) == nil
		if (err == nil) != (one || many) {
			t.Fatalf("%q: %v", text, err)
		}
		for _, d := range documents {
			if json.Unmarshal(d, &map[string]any{}) != nil {
				t.Errorf("%q gives %q", text, d)
			}
		}
	})
}
