package kustomize

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/test/corpus"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// elsewhere is a tree beside which bases are pinned.
type elsewhere struct {
	render.Alone
	bases map[string]fs.FS
}

func (e elsewhere) Base(url string) (fs.FS, render.Pin, error) {
	if files, ok := e.bases[url]; ok {
		return files, render.Pin{Digest: "sha256:" + strings.Repeat("0", 64)}, nil
	}
	return e.Alone.Base(url)
}

func mapFS(files map[string]string) fstest.MapFS {
	tree := fstest.MapFS{}
	for name, text := range files {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return tree
}

func build(t *testing.T, src render.Sources, dir string, o Options) map[string]render.Object {
	t.Helper()
	objects, err := Build(src, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]render.Object{}
	for _, o := range objects {
		named[o.Kind+" "+o.Namespace+"/"+o.Name] = o
	}
	return named
}

// TestPinnedBases builds on a repository and a file from elsewhere.
func TestPinnedBases(t *testing.T) {
	repository := mapFS(map[string]string{
		"deploy/kustomization.yaml": "resources: [../common, d.yaml]\n",
		"deploy/d.yaml":             strings.ReplaceAll(configMap, "name: a", "name: d"),
		"common/kustomization.yaml": "resources: [c.yaml]\n",
		"common/c.yaml":             strings.ReplaceAll(configMap, "name: a", "name: c"),
	})
	src := elsewhere{render.Alone{FS: mapFS(map[string]string{
		"apps/web/kustomization.yaml": "namespace: shop\nnamePrefix: x-\nresources:\n- https://github.com/acme/web//deploy?ref=v1\n- https://example.org/f.yaml\n" +
			"configMapGenerator: [{name: g, files: ['https://example.org/data.txt'], options: {disableNameSuffixHash: true}}]\n",
	})}, map[string]fs.FS{
		"https://github.com/acme/web//deploy?ref=v1": repository,
		"https://example.org/f.yaml":                 mapFS(map[string]string{"f.yaml": strings.ReplaceAll(configMap, "name: a", "name: f")}),
		"https://example.org/data.txt":               mapFS(map[string]string{"data.txt": "text"}),
	}}
	for _, restrict := range []bool{false, true} {
		got := build(t, src, "apps/web", Options{Restrict: restrict})
		for _, name := range []string{"c", "d", "f", "g"} {
			o, ok := got["ConfigMap shop/x-"+name]
			if !ok || o.Path != "apps/web/kustomization.yaml" && name != "f" {
				t.Errorf("%s: %v in %q", name, ok, o.Path)
			}
		}
		if !strings.Contains(string(got["ConfigMap shop/x-g"].JSON), `"data.txt":"text"`) {
			t.Error("the generator read something else")
		}
	}
	built, err := Run(src, "apps/web", Options{})
	if err != nil || built.Level != gitindex.Pinned {
		t.Errorf("the level is %v: %v", built.Level, err)
	}
}

// TestPinnedBasesStayInside: a base from elsewhere reads nothing of the tree.
func TestPinnedBasesStayInside(t *testing.T) {
	for _, text := range []string{"resources: [../../../tree/a.yaml]\n", "resources: [../a.yaml]\n", "resources: ['file:///tree']\n",
		"configMapGenerator: [{name: g, files: [../../tree/a.yaml]}]\n", "configMapGenerator: [{name: g, files: [../b.yaml]}]\n"} {
		src := elsewhere{render.Alone{FS: mapFS(map[string]string{"kustomization.yaml": "resources: ['github.com/acme/web//d']\n", "a.yaml": configMap})},
			map[string]fs.FS{"github.com/acme/web//d": mapFS(map[string]string{"d/kustomization.yaml": text, "b.yaml": configMap})}}
		if objects, err := Build(src, "", Options{}); err == nil {
			t.Errorf("%q: built %d objects", text, len(objects))
		}
	}
}

// TestRestrict is kustomize's load restriction.
func TestRestrict(t *testing.T) {
	src := render.Alone{FS: mapFS(map[string]string{"a/kustomization.yaml": "resources: [../a.yaml]\n", "a.yaml": configMap})}
	build(t, src, "a", Options{})
	if _, err := Build(src, "a", Options{Restrict: true}); err == nil || !strings.Contains(err.Error(), "security") {
		t.Error(err)
	}
}

// TestLinks: the load restriction looks at where a link leads.
func TestLinks(t *testing.T) {
	root := t.TempDir()
	if err := os.CopyFS(root, mapFS(map[string]string{"a/kustomization.yaml": "resources: [l.yaml]\n", "a.yaml": configMap})); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../a.yaml", filepath.Join(root, "a", "l.yaml")); err != nil {
		t.Fatal(err)
	}
	src := render.Alone{FS: os.DirFS(root)}
	build(t, src, "a", Options{})
	if _, err := Build(src, "a", Options{Restrict: true}); err == nil {
		t.Error("a link leads out of the directory")
	}
	if _, err := Build(src, "a", Options{NoLinks: true}); err == nil {
		t.Error("links are not there")
	}
}

// TestLinkedKustomization: a kustomization that is a link is examined like any
// other, and refers to what lies where the link is.
func TestLinkedKustomization(t *testing.T) {
	root := t.TempDir()
	files := mapFS(map[string]string{"k.txt": "resources: ['github.com/acme/web']\n", "l.txt": "resources: [a.yaml]\n", "a/a.yaml": configMap, "b/a.yaml": configMap})
	if err := os.CopyFS(root, files); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"a/kustomization.yaml": "../l.txt", "b/kustomization.yaml": "../k.txt", "c": "b"} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t)
	src := render.Alone{FS: os.DirFS(root)}
	build(t, src, "a", Options{})
	for _, dir := range []string{"b", "c"} {
		_, err := Build(src, dir, Options{})
		var needs *render.NeedsError
		if !errors.As(err, &needs) || w.reached() {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// TestOverlay replaces and adds files.
func TestOverlay(t *testing.T) {
	src := render.Alone{FS: mapFS(map[string]string{"a/kustomization.yaml": "resources: [gone.yaml]\n"})}
	got := build(t, src, "a", Options{Overlay: map[string][]byte{
		"a/kustomization.yaml": []byte("resources: [../b]\nnamePrefix: x-\n"),
		"b/kustomization.yaml": []byte("resources: [n.yaml]\n"), "b/n.yaml": []byte(configMap)}})
	if o := got["ConfigMap /x-a"]; o.Path != "b/n.yaml" || o.Line != 1 || o.End != 4 {
		t.Errorf("%+v", got)
	}
}

// TestSOPS: an encrypted document is refused by name, unless the caller asks.
func TestSOPS(t *testing.T) {
	src := render.Alone{FS: mapFS(map[string]string{"kustomization.yaml": "resources: [s.yaml]\n",
		"s.yaml": "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\ndata: {a: 'ENC[x]'}\nsops: {mac: x}\n"})}
	if _, err := Build(src, "", Options{}); err == nil || !strings.Contains(err.Error(), "s.yaml:1: Secret s: Secret is encrypted") {
		t.Error(err)
	}
	build(t, src, "", Options{Encrypted: true})
}

// TestCost: what would cost too much is refused.
func TestCost(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += string(c) + ": &" + string(c) + " [" + strings.TrimSuffix(strings.Repeat("*"+string(c-1)+",", 10), ",") + "]\n"
	}
	files := map[string]string{"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": configMap + bomb}
	if _, err := Build(render.Alone{FS: mapFS(files)}, "", Options{}); err == nil || !strings.Contains(err.Error(), "unfold") {
		t.Error(err)
	}
	files = map[string]string{"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": configMap + "# " + strings.Repeat("x", 5<<20)}
	if _, err := Build(render.Alone{FS: mapFS(files)}, "", Options{}); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Error(err)
	}
}

// TestSchemaIsForgotten: one build's schema must not change the next, which
// plain kustomize lets happen within a process.
func TestSchemaIsForgotten(t *testing.T) {
	custom := mapFS(map[string]string{"kustomization.yaml": "resources: [d.yaml]\nopenapi: {path: s.json}\n", "s.json": `{"definitions":{}}`, "d.yaml": configMap})
	plain := mapFS(map[string]string{"kustomization.yaml": "resources: [d.yaml]\npatches: [{path: p.yaml}]\n",
		"d.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {template: {spec: {containers: [{name: a, image: a}, {name: b, image: b}]}}}\n",
		"p.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {template: {spec: {containers: [{name: b, image: c}]}}}\n"})
	before := build(t, render.Alone{FS: plain}, "", Options{})
	build(t, render.Alone{FS: custom}, "", Options{})
	after := build(t, render.Alone{FS: plain}, "", Options{})
	if one, two := string(before["Deployment /d"].JSON), string(after["Deployment /d"].JSON); one != two || !strings.Contains(one, `"name":"a"`) {
		t.Errorf("%s\n%s", one, two)
	}
}

// BenchmarkBuild builds a kustomization of the corpus, here and by kustomize
// itself from the disk.
func BenchmarkBuild(b *testing.B) {
	root := filepath.Join(corpus.Dir(b), "kustomize", "kubeflow-manifests")
	dir := "applications/katib/upstream/installs/katib-with-kubeflow"
	b.Run("gitward", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Build(render.Alone{FS: os.DirFS(root)}, dir, Options{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("krusty", func(b *testing.B) {
		b.ReportAllocs()
		o := krusty.MakeDefaultOptions()
		o.LoadRestrictions = types.LoadRestrictionsNone
		for b.Loop() {
			m, err := krusty.MakeKustomizer(o).Run(filesys.MakeFsOnDisk(), filepath.Join(root, dir))
			if err != nil {
				b.Fatal(err)
			}
			if _, err := m.AsYaml(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
