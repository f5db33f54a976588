package flux

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/fluxcd/pkg/envsubst"
	"github.com/fluxcd/pkg/envsubst/parse"
	"github.com/gitward/gitward/gitindex/render"
)

// FuzzOrder: the variables of a text are met in the order in which envsubst
// asks for them.
func FuzzOrder(f *testing.F) {
	for _, s := range []string{"", "${A}", "${A:-${B}}${C}", "$${A} ${B}", "${A:=b${C}d}", "${A/${B}/${C}}", "${#A}", "${A:1:2}", "${A^^}", "${A:+${B}${C}}", "${A", "${}", "${A##*/}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tree, err := parse.Parse(s)
		if err != nil {
			return
		}
		nodes, next := inOrder(tree.Root, nil), 0
		_, err = envsubst.Eval(s, func(name string) (string, bool) {
			if next >= len(nodes) || nodes[next].Param != name {
				t.Fatalf("%q: %q is asked for in place %d", s, name, next)
			}
			next++
			return "x", true
		})
		if err == nil && next != len(nodes) {
			t.Fatalf("%q: %d of %d variables are asked for", s, next, len(nodes))
		}
	})
}

// FuzzHoles: whatever an unknown variable's value is, what Flux makes of a text
// as one line of a ConfigMap either fits the holes or is no such object.
func FuzzHoles(f *testing.F) {
	for _, value := range []string{"", "x", "a b", "a: b", "a #b", "'", "\"", "{}", "[a]", "null", "1", "true", "*x", "&x", "!!int 1", "%", "@", "`", "|", ">", "- a", "\\n"} {
		f.Add("x-${V}", value)
		f.Add("${V}", value)
		f.Add("'${V:-y}' z", value)
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		if strings.Contains(value, "\n") || !strings.Contains(text, "${V") {
			return
		}
		object := map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "x", "namespace": "y"}, "data": map[string]any{"a": text}}
		manifest, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		build := func(postBuild string) (render.Output, error) {
			src := render.Alone{FS: fstest.MapFS{"x.yaml": {Data: manifest}}}
			return Build(src, render.Unit{Opener: json.RawMessage(`{"apiVersion":"kustomize.toolkit.fluxcd.io/v1","kind":"Kustomization","metadata":{"name":"k","namespace":"n"},
"spec":{"sourceRef":{"kind":"GitRepository","name":"s"},"postBuild":` + postBuild + `}}`)})
		}
		inline, _ := json.Marshal(map[string]any{"substitute": map[string]string{"V": value}})
		real, err := build(string(inline))
		if err != nil || len(real.Objects) != 1 {
			return
		}
		open, err := build(`{"substituteFrom":[{"kind":"Secret","name":"s"}]}`)
		if err != nil || len(open.Objects) != 1 {
			return
		}
		var now struct{ Data map[string]any }
		if json.Unmarshal(real.Objects[0].JSON, &now) != nil {
			return
		}
		a, isText := now.Data["a"].(string)
		if len(now.Data) != 1 || !isText {
			return // an object that nobody admits
		}
		for _, h := range open.Objects[0].Holes {
			if h.Path != "data.a" {
				t.Fatalf("a hole at %s", h.Path)
			}
			fits := h.Pattern == "" || regexp.MustCompile(`\A(?:`+h.Pattern+`)\z`).MatchString(a)
			if !fits && !strings.ContainsAny(value, "#\"'\\:\x00\t ") && value == strings.TrimSpace(value) {
				t.Fatalf("%q with %q is %q, which does not fit %q", text, value, a, h.Pattern)
			}
		}
	})
}
