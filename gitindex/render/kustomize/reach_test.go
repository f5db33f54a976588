package kustomize

import (
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/gitward/gitward/gitindex/render"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const configMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b}\n"

// world is what must not be reached: a git on the PATH that leaves a mark, and
// an HTTP server that counts.
type world struct {
	mark string
	hits atomic.Int32
	url  string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{}
	dir := t.TempDir()
	w.mark = filepath.Join(dir, "mark")
	script := "#!/bin/sh\necho \"$@\" >> '" + w.mark + "'\nexit 1\n"
	for _, name := range []string{"git", "helm"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":/bin:/usr/bin")
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		w.hits.Add(1)
		_, _ = rw.Write([]byte(configMap))
	}))
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

// reached reports whether anything was run or fetched since the last call.
func (w *world) reached() bool {
	hits := w.hits.Swap(0)
	err := os.Remove(w.mark)
	return hits > 0 || err == nil
}

func (w *world) tree(t *testing.T, files string) fstest.MapFS {
	t.Helper()
	tree := fstest.MapFS{}
	for _, part := range strings.Split(strings.ReplaceAll(files, "URL", w.url), "-- ")[1:] {
		name, text, _ := strings.Cut(part, "\n")
		tree[strings.TrimSuffix(name, " --")] = &fstest.MapFile{Data: []byte(text)}
	}
	if tree["a.yaml"] == nil {
		tree["a.yaml"] = &fstest.MapFile{Data: []byte(configMap)}
	}
	return tree
}

func onDisk(t *testing.T, tree fs.FS, dir string) error {
	t.Helper()
	root := t.TempDir()
	if err := os.CopyFS(root, tree); err != nil {
		t.Fatal(err)
	}
	o := krusty.MakeDefaultOptions()
	o.LoadRestrictions = types.LoadRestrictionsNone
	_, err := krusty.MakeKustomizer(o).Run(filesys.MakeFsOnDisk(), filepath.Join(root, dir))
	return err
}

// outward are kustomizations that reach out. URL is the listener's.
var outward = map[string]string{
	"a resource":                "-- kustomization.yaml --\nresources: [URL/a.yaml]\n",
	"in a file .yml":            "-- kustomization.yml --\nresources: [URL/a.yaml]\n",
	"in a file without ending":  "-- Kustomization --\nresources: [URL/a.yaml]\n",
	"an upper-case scheme":      "-- kustomization.yaml --\nresources: ['HTTPURL/a.yaml']\n",
	"in JSON":                   "-- kustomization.yaml --\n{\"resources\": [\"URL/a.yaml\"]}\n",
	"by an alias":               "-- kustomization.yaml --\ncommonAnnotations: {x: &u URL/a.yaml}\nresources: [*u]\n",
	"a field's name in capital": "-- kustomization.yaml --\nRESOURCES: [URL/a.yaml]\n",
	"escaped":                   "-- kustomization.yaml --\nresources: [\"\\x68ttpESCURL/a.yaml\"]\n",
	"a repository":              "-- kustomization.yaml --\nresources: ['github.com/acme/web']\n",
	"a repository's reference":  "-- kustomization.yaml --\nresources: ['GitHub.com/acme/web//deploy?ref=v1']\n",
	"git::":                     "-- kustomization.yaml --\nresources: ['git::https://127.0.0.1:1/acme/web']\n",
	"Git::":                     "-- kustomization.yaml --\nresources: ['Git::ssh://127.0.0.1/acme/web']\n",
	"ssh://":                    "-- kustomization.yaml --\nresources: ['SSH://git@127.0.0.1/acme/web.git']\n",
	"scp":                       "-- kustomization.yaml --\nresources: ['git@127.0.0.1:acme/web']\n",
	"another user":              "-- kustomization.yaml --\nresources: ['me@127.0.0.1:acme/web.git/deploy']\n",
	"file://":                   "-- kustomization.yaml --\nresources: ['file:///srv/web.git']\n",
	"_git":                      "-- kustomization.yaml --\nresources: ['https://127.0.0.1:1/acme/_git/web']\n",
	"bases":                     "-- kustomization.yaml --\nbases: ['github.com/acme/web']\n",
	"components":                "-- kustomization.yaml --\nresources: [a.yaml]\ncomponents: ['github.com/acme/web']\n",
	"crds":                      "-- kustomization.yaml --\nresources: [a.yaml]\ncrds: [URL/crd.yaml]\n",
	"configurations":            "-- kustomization.yaml --\nresources: [a.yaml]\nconfigurations: [URL/c.yaml]\n",
	"patches":                   "-- kustomization.yaml --\nresources: [a.yaml]\npatches: [{path: URL/p.yaml}]\n",
	"patchesJson6902":           "-- kustomization.yaml --\nresources: [a.yaml]\npatchesJson6902: [{path: URL/p.yaml, target: {kind: ConfigMap, version: v1, name: a}}]\n",
	"patchesStrategicMerge":     "-- kustomization.yaml --\nresources: [a.yaml]\npatchesStrategicMerge: [URL/p.yaml]\n",
	"replacements":              "-- kustomization.yaml --\nresources: [a.yaml]\nreplacements: [{path: URL/r.yaml}]\n",
	"openapi":                   "-- kustomization.yaml --\nresources: [a.yaml]\nopenapi: {path: URL/schema.json}\n",
	"configMapGenerator file":   "-- kustomization.yaml --\nconfigMapGenerator: [{name: x, files: [URL/f]}]\n",
	"configMapGenerator key":    "-- kustomization.yaml --\nconfigMapGenerator: [{name: x, files: ['k=URL/f']}]\n",
	"configMapGenerator env":    "-- kustomization.yaml --\nconfigMapGenerator: [{name: x, env: URL/f}]\n",
	"configMapGenerator envs":   "-- kustomization.yaml --\nconfigMapGenerator: [{name: x, envs: [URL/f]}]\n",
	"secretGenerator":           "-- kustomization.yaml --\nsecretGenerator: [{name: x, files: ['k=URL/f']}]\n",
	"generators":                "-- kustomization.yaml --\nresources: [a.yaml]\ngenerators: [URL/g.yaml]\n",
	"transformers":              "-- kustomization.yaml --\nresources: [a.yaml]\ntransformers: ['github.com/acme/web']\n",
	"validators":                "-- kustomization.yaml --\nresources: [a.yaml]\nvalidators: [URL/v.yaml]\n",
	"an inline generator":       "-- kustomization.yaml --\ngenerators:\n- |\n  apiVersion: builtin\n  kind: ConfigMapGenerator\n  metadata: {name: x}\n  files: ['k=URL/f']\n",
	"a generator's file":        "-- kustomization.yaml --\ngenerators: [g.yaml]\n-- g.yaml --\napiVersion: builtin\nkind: SecretGenerator\nmetadata: {name: x}\nENVS: [URL/f]\n",
	"a generator's directory":   "-- kustomization.yaml --\ngenerators: [g]\n-- g/kustomization.yaml --\nresources: [g.yaml]\n-- g/g.yaml --\napiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: x}\nfiles: ['k=URL/f']\n",
	"a reference put together": "-- kustomization.yaml --\ngenerators: [g]\n-- g/kustomization.yaml --\nresources: [g.yaml]\npatches:\n- patch: |\n    - {op: replace, path: /envs/0, value: URL/f}\n  target: {kind: ConfigMapGenerator}\n" +
		"-- g/g.yaml --\napiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: x}\nenvs: [f]\n",
	"an inline transformer":  "-- kustomization.yaml --\nresources: [a.yaml]\ntransformers:\n- |\n  apiVersion: builtin\n  kind: PatchTransformer\n  metadata: {name: x}\n  Path: URL/p.yaml\n",
	"a list of transformers": "-- kustomization.yaml --\nresources: [a.yaml]\ntransformers: [t.yaml]\n-- t.yaml --\napiVersion: v1\nkind: List\nitems:\n- apiVersion: builtin\n  kind: ReplacementTransformer\n  metadata: {name: x}\n  replacements: [{path: URL/r.yaml}]\n",
	"a json transformer":     "-- kustomization.yaml --\nresources: [a.yaml]\ntransformers: [t.yaml]\n-- t.yaml --\napiVersion: builtin\nkind: PatchJson6902Transformer\nmetadata: {name: x}\ntarget: {kind: ConfigMap, version: v1, name: a}\npath: URL/p.json\n",
	"a merge transformer":    "-- kustomization.yaml --\nresources: [a.yaml]\ntransformers: [t.yaml]\n-- t.yaml --\napiVersion: builtin\nkind: PatchStrategicMergeTransformer\nmetadata: {name: x}\npaths: [URL/p.yaml]\n",
	"in a base":              "-- kustomization.yaml --\nresources: [base]\n-- base/kustomization.yaml --\nresources: [URL/a.yaml]\n",
	"in a component":         "-- kustomization.yaml --\nresources: [a.yaml]\ncomponents: [c]\n-- c/kustomization.yaml --\napiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: ['github.com/acme/web']\n",
	"in a base's base":       "-- kustomization.yaml --\nresources: [b1]\n-- b1/Kustomization --\nresources: [../b2]\n-- b2/kustomization.yml --\nconfigMapGenerator: [{name: x, files: [URL/f]}]\n",
	"a file that fails":      "-- kustomization.yaml --\nresources: ['me@host/acme/web.yaml']\n-- me@host/acme/web.yaml --\n" + strings.ReplaceAll(configMap, "data:", "data") + "",
	"a file listed twice":    "-- kustomization.yaml --\nresources: ['me@host/acme/web.yaml', 'me@host/acme/web.yaml']\n-- me@host/acme/web.yaml --\n" + configMap,
	"a query":                "-- kustomization.yaml --\nresources: ['https://127.0.0.1:1/acme/web?timeout=1&submodules=false']\n",
}

// TestNothingIsRunOrFetched first shows that each of these makes kustomize
// itself run git or fetch, and then that nothing here does.
func TestNothingIsRunOrFetched(t *testing.T) {
	w := newWorld(t)
	for name, files := range outward {
		t.Run(name, func(t *testing.T) {
			files = strings.ReplaceAll(files, "HTTPURL", "HTTP"+strings.TrimPrefix(w.url, "http"))
			files = strings.ReplaceAll(files, "ESCURL", strings.TrimPrefix(w.url, "http"))
			tree := w.tree(t, files)
			_ = onDisk(t, tree, ".")
			if !w.reached() {
				t.Fatal("kustomize itself reaches nothing: the test does not bite")
			}
			for _, restrict := range []bool{false, true} {
				objects, err := Build(render.Alone{FS: tree}, "", Options{Restrict: restrict})
				if w.reached() {
					t.Fatalf("something was run or fetched: %v", err)
				}
				if err == nil {
					t.Fatalf("built %d objects", len(objects))
				}
			}
		})
	}
}

// TestHelmIsRefused names the field.
func TestHelmIsRefused(t *testing.T) {
	w := newWorld(t)
	for field, files := range map[string]string{
		"helmCharts":                  "-- kustomization.yaml --\nhelmCharts: [{name: x, repo: URL}]\n",
		"helmChartInflationGenerator": "-- kustomization.yaml --\nhelmChartInflationGenerator: [{chartName: x, chartRepoUrl: URL}]\n",
		"HelmChartInflationGenerator": "-- kustomization.yaml --\ngenerators: [g.yaml]\n-- g.yaml --\napiVersion: builtin\nkind: HelmChartInflationGenerator\nmetadata: {name: x}\nname: x\nrepo: URL\n",
	} {
		_, err := Build(render.Alone{FS: w.tree(t, files)}, "", Options{})
		if err == nil || !strings.Contains(err.Error(), field) || w.reached() {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// TestPluginsAreRefused: neither functions nor programs are run.
func TestPluginsAreRefused(t *testing.T) {
	w := newWorld(t)
	for name, files := range map[string]string{
		"a function": "-- kustomization.yaml --\nresources: [a.yaml]\ntransformers: [t.yaml]\n-- t.yaml --\napiVersion: example.org/v1\nkind: Fn\nmetadata:\n  name: x\n  annotations:\n    config.kubernetes.io/function: |\n      exec: {path: git}\n",
		"a program":  "-- kustomization.yaml --\ngenerators: [t.yaml]\n-- t.yaml --\napiVersion: example.org/v1\nkind: Gen\nmetadata: {name: x}\n",
	} {
		_, err := Build(render.Alone{FS: w.tree(t, files)}, "", Options{})
		if err == nil || !strings.Contains(err.Error(), "never run") || w.reached() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNeeds: what a base from elsewhere lacks can be told by type.
func TestNeeds(t *testing.T) {
	for _, ref := range []string{"github.com/acme/web", "https://example.org/a.yaml"} {
		tree := fstest.MapFS{"x/kustomization.yaml": {Data: []byte("resources: ['" + ref + "']\n")}}
		_, err := Build(render.Alone{FS: tree}, "x", Options{})
		var needs *render.NeedsError
		if !errors.As(err, &needs) || !strings.Contains(needs.What, ref) || !strings.Contains(err.Error(), "x/kustomization.yaml: resources") {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

// TestPathsStayInside: nothing outside the tree is read, whatever lies there.
func TestPathsStayInside(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "s.yaml")
	if err := os.WriteFile(secret, []byte(configMap), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string]string{
		"absolute":        "-- kustomization.yaml --\nresources: [" + secret + "]\n",
		"absolute inside": "-- kustomization.yaml --\nresources: [/tree/a.yaml]\n",
		"upwards":         "-- kustomization.yaml --\nresources: [../../../../../.." + secret + "]\n",
		"a mount":         "-- kustomization.yaml --\nresources: [../elsewhere/0/a.yaml]\n",
		"a file":          "-- kustomization.yaml --\nconfigMapGenerator: [{name: x, files: ['k=../..//etc/hostname']}]\n",
	} {
		w := &world{}
		if objects, err := Build(render.Alone{FS: w.tree(t, files)}, "", Options{}); err == nil {
			t.Errorf("%s: built %d objects", name, len(objects))
		}
	}
}
