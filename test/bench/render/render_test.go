//go:build unix

package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/gitindex/render/worker"
)

// The figures are told of units of a given size.
func TestGeneratedUnits(t *testing.T) {
	dir := t.TempDir()
	if err := write(dir, generatedKustomization(), generatedChart()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		unit    render.Unit
		objects int
		holds   string // some object, so that the overlay or the values count
	}{
		{kustomization("kustomize/overlay"), 30, `"replicas":9`},
		{chart("chart", "prod.yaml"), 20, `shop.example.org`},
	} {
		out, err := worker.Local{}.Render(render.Alone{FS: os.DirFS(dir)}, c.unit)
		if err != nil || len(out.Problems) > 0 || len(out.Objects) != c.objects {
			t.Errorf("%s: %d objects, %v, %v", c.unit.Tool, len(out.Objects), out.Problems, err)
		}
		if !slices.ContainsFunc(out.Objects, func(o render.Object) bool { return strings.Contains(string(o.JSON), c.holds) }) {
			t.Errorf("%s: no object has %s", c.unit.Tool, c.holds)
		}
	}
}

func TestPrinted(t *testing.T) {
	got, err := printed([]byte("---\n# Source: x\nb: |\n  text\n---\n# nothing\n---\na: 1\n"))
	if want := []string{`{"a":1}`, `{"b":"text\n"}`}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	if equal(got, []string{`{"a":1}`, `{"b":"text"}`}) == nil || equal(got, got[:1]) == nil || equal(nil, nil) == nil {
		t.Error("what differs, or is empty, passes for equal")
	}
}
