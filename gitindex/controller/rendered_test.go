package controller

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/gitindex/render/worker"
	"github.com/gitward/gitward/test/gitserver"
)

// counted renders in place, and counts.
type counted struct {
	units []string
}

func (c *counted) Render(src render.Sources, u render.Unit) (render.Output, error) {
	c.units = append(c.units, u.ID)
	return worker.Local{}.Render(src, u)
}

// since are the units rendered since it was last asked.
func (c *counted) since() []string {
	out := c.units
	c.units = nil
	slices.Sort(out)
	return out
}

func renderScene(t *testing.T) (*scene, *counted) {
	w, c := newScene(t), &counted{}
	w.settings.Renderer = c
	return w, c
}

func shopOf(name string) gitindex.Ref {
	return gitindex.Ref{Kind: "ConfigMap", Namespace: "shop", Name: name}
}

var overlay = map[string]string{
	"base/kustomization.yaml": "resources: [a.yaml, b.yaml]\n",
	"base/a.yaml":             cm("a", "1"),
	"base/b.yaml":             cm("b", "1"),
	"prod/kustomization.yaml": "resources: [../base]\nnameSuffix: -prod\n",
	"plain/p.yaml":            cm("p", "1"),
}

func TestRenderedProvenance(t *testing.T) {
	w, c := renderScene(t)
	first := w.commit(w.ada, overlay)
	s := w.sync()
	w.want(s, "a-prod", first)
	w.want(s, "p", first)
	if e := w.entry(s, "a"); len(e.Current) > 0 {
		t.Error("the base counts by itself although an overlay builds on it")
	}
	m := s.Lookup(shopOf("a-prod")).Current[0]
	if m.Level != gitindex.Rendered || m.Unit != "Kustomize prod" || m.Path != "base/a.yaml" {
		t.Errorf("the manifest is %s of %q from %s:%d", m.Level, m.Unit, m.Path, m.Line)
	}
	c.since()
	second := w.commit(w.ben, map[string]string{"base/a.yaml": cm("a", "2")})
	w.commit(w.ben, map[string]string{"plain/p.yaml": cm("p", "2"), "README.md": "x"})
	s = w.sync()
	w.want(s, "a-prod", second)
	w.want(s, "b-prod", first)
	w.commit(w.ada, map[string]string{"base/a.yaml": "# why\n" + cm("a", "2")})
	s = w.sync()
	w.want(s, "a-prod", second)
	c.since()
	w.commit(w.ada, map[string]string{"plain/q.yaml": cm("q", "1")})
	w.sync()
	if again := c.since(); len(again) > 0 {
		t.Errorf("a commit elsewhere renders %v again", again)
	}
	w.restart()
	s = w.sync()
	w.want(s, "a-prod", second)
	if again := c.since(); len(again) > 0 {
		t.Errorf("a restart renders %v again", again)
	}
	moved := w.commit(w.ada, map[string]string{"prod/kustomization.yaml": "", "live/kustomization.yaml": "resources: [../base]\nnameSuffix: -prod\n"})
	s = w.sync()
	w.want(s, "a-prod", second) // the same object, of another unit
	if s.Accepted.ID != moved {
		t.Errorf("the accepted revision is %s", s.Accepted.Short())
	}
}

func TestRenderedHeldBack(t *testing.T) {
	w, _ := renderScene(t)
	first := w.commit(w.ada, overlay)
	w.sync()
	evil := w.commit(w.alien, map[string]string{"base/a.yaml": cm("a", "evil"), "base/b.yaml": "", "base/kustomization.yaml": "resources: [a.yaml]\n"})
	s := w.sync()
	w.want(s, "a-prod", first)
	w.want(s, "b-prod", first)
	a, b := s.Lookup(shopOf("a-prod")), s.Lookup(shopOf("b-prod"))
	if len(a.Held) != 1 || a.Held[0].Commit.ID != evil || !strings.Contains(string(a.Held[0].Raw), "evil") {
		t.Errorf("what the stranger would have is not told: %v", a.Held)
	}
	if b.HeldRemoval == nil || b.HeldRemoval.ID != evil {
		t.Errorf("that the stranger takes b away is not told: %v", b.HeldRemoval)
	}
	good := w.commit(w.ada, map[string]string{"base/a.yaml": cm("a", "3"), "base/b.yaml": cm("b", "1"), "base/kustomization.yaml": "resources: [a.yaml, b.yaml]\n"})
	s = w.sync()
	w.want(s, "a-prod", good)
	w.want(s, "b-prod", first)
	if a, b := s.Lookup(shopOf("a-prod")), s.Lookup(shopOf("b-prod")); len(a.Held) > 0 || b.HeldRemoval != nil {
		t.Errorf("still held back: %v %v", a.Held, b.HeldRemoval)
	}
	if past := s.Lookup(shopOf("a-prod")).Past; len(past) != 1 || past[0].By.ID != good {
		t.Errorf("what was superseded is forgotten: %v", past)
	}
}

// TestBrokenUnit: a unit that does not render declares nothing, is named, and
// leaves the others alone.
func TestBrokenUnit(t *testing.T) {
	w, _ := renderScene(t)
	first := w.commit(w.ada, overlay)
	w.sync()
	w.commit(w.ada, map[string]string{"prod/kustomization.yaml": "resources: [../base, https://example.com/more.yaml]\n"})
	s := w.sync()
	if w.from(s, "a-prod") != "" || w.from(s, "a") != "" {
		t.Error("a broken unit declares something")
	}
	w.want(s, "p", first)
	if !strings.Contains(fmt.Sprint(s.Problems), "https://example.com/more.yaml") {
		t.Errorf("the problem is not named: %v", s.Problems)
	}
	if e := s.Lookup(shopOf("a-prod")); len(e.Unsure) != 1 {
		t.Errorf("the object of the broken unit is forgotten: %+v", e)
	}
	w.restart()
	w.commit(w.ada, map[string]string{"README.md": "still broken"})
	if e := w.sync().Lookup(shopOf("a-prod")); e == nil || len(e.Unsure) != 1 {
		t.Errorf("the object of the broken unit is forgotten later: %+v", e)
	}
	w.tracker.Close()
	w.settings.Dir = t.TempDir() // the index is lost
	w.open()
	if e := w.sync().Lookup(shopOf("a-prod")); e == nil || len(e.Unsure) != 1 || len(e.Current) != 0 {
		t.Errorf("the object of the broken unit is forgotten with the index: %+v", e)
	}
	mended := w.commit(w.ada, map[string]string{"prod/kustomization.yaml": "resources: [../base]\nnameSuffix: -prod\n"})
	s = w.sync()
	w.want(s, "a-prod", mended)
	if e := s.Lookup(shopOf("a-prod")); len(s.Problems) > 0 || len(e.Unsure) > 0 {
		t.Errorf("problems: %v, unsure: %v", s.Problems, e.Unsure)
	}
}

func TestRenderEntries(t *testing.T) {
	w, _ := renderScene(t)
	w.settings.Spec.Render = []v1alpha1.Render{
		{Path: "chart", Type: v1alpha1.RenderHelm, Namespace: "shop", Helm: &v1alpha1.HelmRender{ReleaseName: "rel", ValuesFiles: []string{"prod.yaml"}}},
		{Path: "over/dev", Namespace: "shop", Type: v1alpha1.RenderAuto}, {Path: "j/main.jsonnet", Type: v1alpha1.RenderJsonnet, Namespace: "shop"},
	}
	w.commit(w.ada, map[string]string{
		"chart/Chart.yaml":             "apiVersion: v2\nname: c\nversion: 1.0.0\n",
		"chart/values.yaml":            "v: one\n",
		"chart/prod.yaml":              "v: two\n",
		"chart/templates/cm.yaml":      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-cm}\ndata: {value: {{ .Values.v }}}\n",
		"over/dev/kustomization.yaml":  "resources: [../base]\nnamePrefix: dev-\n",
		"over/base/kustomization.yaml": "resources: [a.yaml]\n",
		"over/base/a.yaml":             cm("a", "1"),
		"over/base/unused.yaml":        cm("unused", "1"),
		"j/main.jsonnet":               "{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'j'}}",
	})
	s := w.sync()
	for _, name := range []string{"rel-cm", "dev-a", "j"} {
		if len(w.entry(s, name).Current) != 1 {
			t.Errorf("%s is not declared; problems: %v", name, s.Problems)
		}
	}
	if len(s.Objects) != 3 {
		t.Errorf("%d objects: %v", len(s.Objects), slices.Collect(maps.Keys(s.Objects)))
	}
	if m := s.Lookup(shopOf("rel-cm")); m == nil || m.Current[0].Applier == nil || m.Current[0].Applier.HelmRelease != "rel" ||
		!strings.Contains(string(m.Current[0].Raw), "two") {
		t.Errorf("the release is %+v", m)
	}
}

// TestIncrementalIsWhole: whatever is committed in whatever steps, the index
// built step by step says the same as one built at once from the whole history.
func TestIncrementalIsWhole(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 2))
	for round := range 15 {
		w, _ := renderScene(t)
		w.commit(w.ada, overlay)
		for range 12 {
			w.commit(w.anybody(random), w.edit(random))
			if random.IntN(3) > 0 {
				w.sync()
			}
		}
		step := w.sync()
		w.tracker.Close()
		w.settings.Dir = t.TempDir()
		w.open()
		whole := w.sync()
		if got, want := told(step), told(whole); got != want {
			t.Fatalf("round %d: step by step\n%s\nat once\n%s", round, got, want)
		}
	}
}

// anybody is one of the trusted, or now and then the stranger.
func (w *scene) anybody(r *rand.Rand) gitserver.Signer {
	return []gitserver.Signer{w.ada, w.ben, w.ada, w.ben, w.alien}[r.IntN(5)]
}

// edit changes one or two files in one of many ways.
func (w *scene) edit(r *rand.Rand) map[string]string {
	v := fmt.Sprint(r.IntN(4))
	edits := []map[string]string{
		{"base/a.yaml": cm("a", v)}, {"base/b.yaml": docs(cm("b", v), cm("c", v))}, {"base/b.yaml": cm("b", v)},
		{"plain/p.yaml": cm("p", v)}, {"plain/a.yaml": cm("a-prod", v)},
		{"prod/kustomization.yaml": "resources: [../base]\nnameSuffix: -prod\ncommonAnnotations: {v: x" + v + "}\n"},
		{"prod/kustomization.yaml": "resources: [../base]\nnameSuffix: -prod\n"},
		{"dev/kustomization.yaml": "resources: [../base]\nnamePrefix: dev" + v + "-\n"},
		{"prod/kustomization.yaml": "resources: [../nowhere]\n"},
		{"base/kustomization.yaml": "resources: [a.yaml, b.yaml]\nconfigMapGenerator: [{name: g, namespace: shop, literals: [v=" + v + "]}]\n"},
		{"base/kustomization.yaml": "resources: [a.yaml]\n"}, {"README.md": v},
	}
	return edits[r.IntN(len(edits))]
}

// told is what a snapshot says of all objects.
func told(s *gitindex.Snapshot) string {
	var lines []string
	for ref, e := range s.Objects {
		for _, m := range e.Current {
			lines = append(lines, fmt.Sprintf("%s %s %s %s %s", ref, m.Commit.Short(), m.Unit, m.Path, m.Raw))
		}
		for _, m := range e.Held {
			lines = append(lines, fmt.Sprintf("%s held %s %s %s", ref, m.Unit, m.Path, m.Raw))
		}
	}
	for _, p := range s.Problems {
		lines = append(lines, p.String())
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
