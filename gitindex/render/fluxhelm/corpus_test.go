package fluxhelm

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/test/corpus"
)

// repository is what a tree of the corpus declares, found by kind and name: many
// files leave their namespace to a kustomization.
type repository struct {
	render.Alone
	byName map[[2]string]json.RawMessage
	asked  []render.ChartRef
	stub   fs.FS // stands for every chart, if set
}

func (r *repository) Declared(ref gitindex.Ref) (json.RawMessage, error) {
	return r.byName[[2]string{ref.Kind, ref.Name}], nil
}

func (r *repository) Chart(ref render.ChartRef) (fs.FS, render.Pin, error) {
	r.asked = append(r.asked, ref)
	if r.stub != nil {
		return r.stub, render.Pin{Digest: "sha256:" + strings.Repeat("0123456789abcdef", 4)}, nil
	}
	return r.Alone.Chart(ref)
}

func read(t *testing.T, dir string) (r *repository, releases []render.Object) {
	r = &repository{Alone: render.Alone{FS: os.DirFS(dir)}, byName: map[[2]string]json.RawMessage{}}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !render.Eligible(p) {
			return err
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		objects, _ := render.File(p, text, render.Limits{})
		for _, o := range objects {
			if o.Group == SourceGroup || o.Group == "" {
				r.byName[[2]string{o.Kind, o.Name}] = o.JSON
			}
			if o.Group == Group && o.Kind == "HelmRelease" {
				o.Path, _ = filepath.Rel(dir, p)
				releases = append(releases, o)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return r, releases
}

// inNamespace fills the namespace in that a kustomization would.
func inNamespace(t *testing.T, o render.Object) json.RawMessage {
	var object map[string]any
	if err := json.Unmarshal(o.JSON, &object); err != nil {
		t.Fatal(err)
	}
	meta := object["metadata"].(map[string]any)
	if meta["namespace"] == nil {
		meta["namespace"] = "flux-system"
	}
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

var names = regexp.MustCompile(`(ConfigMap|Secret|OCIRepository|HelmRepository|GitRepository|HelmChart) \S+`)

// TestCorpus asks for the chart of every HelmRelease of three real clusters:
// each answer is a chart from elsewhere, or a refusal by name.
func TestCorpus(t *testing.T) {
	root := corpus.Dir(t)
	outcomes := map[string]int{}
	total := 0
	for _, tree := range []string{"flux2-kustomize-helm-example", "flux2-multi-tenancy", "xunholy-k8s-gitops"} {
		r, releases := read(t, filepath.Join(root, "flux", tree))
		for _, o := range releases {
			total++
			if !strings.Contains(string(o.JSON), `"sourceRef"`) && !strings.Contains(string(o.JSON), `"chartRef"`) {
				outcomes["a patch of a HelmRelease, with no chart in it"]++
				if _, err := Build(r, render.Unit{Opener: inNamespace(t, o)}); err == nil {
					t.Errorf("%s: rendered without a chart", o.Path)
				}
				continue
			}
			r.asked = nil
			out, err := Build(r, render.Unit{Opener: inNamespace(t, o)})
			var needs *render.NeedsError
			switch {
			case err == nil:
				t.Errorf("%s: %d objects of a chart that is not here", o.Path, len(out.Objects))
			case !errors.As(err, &needs):
				t.Errorf("%s: %v", o.Path, err)
			case len(r.asked) == 1 && needs.What == "the chart "+r.asked[0].String():
				kind := "asks for a chart of an index"
				if r.asked[0].OCI != "" {
					kind = "asks for a chart by OCI"
				}
				if r.asked[0].Digest != "" {
					kind += ", by digest"
				}
				outcomes[kind]++
			default:
				outcomes["needs "+names.ReplaceAllString(needs.What, "$1 …")+": "+needs.Why]++
				t.Logf("%s: %v", o.Path, err)
			}
			if _, _, err := Place(r, inNamespace(t, o)); err != nil {
				t.Errorf("%s: %v", o.Path, err)
			}
		}
	}
	if total != 93 {
		t.Errorf("%d HelmReleases", total)
	}
	var lines []string
	for k := range outcomes {
		lines = append(lines, k)
	}
	slices.Sort(lines)
	for _, k := range lines {
		t.Logf("%4d %s", outcomes[k], k)
	}
}

// TestCorpusValues gives every HelmRelease the same small chart, which prints the
// values it gets.
func TestCorpusValues(t *testing.T) {
	root := corpus.Dir(t)
	outcomes := map[string]int{}
	for _, tree := range []string{"flux2-kustomize-helm-example", "flux2-multi-tenancy", "xunholy-k8s-gitops"} {
		r, releases := read(t, filepath.Join(root, "flux", tree))
		r.stub = fstest.MapFS{
			"Chart.yaml":          {Data: []byte("apiVersion: v2\nname: stub\nversion: 1.0.0\n")},
			"templates/text.yaml": {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: text, labels: {release: {{ .Release.Name }}, chart: {{ .Chart.Version | replace \"+\" \"_\" | quote }}}}\ndata: {v: {{ toYaml .Values | quote }}}\n")},
			"templates/tree.yaml": {Data: []byte("apiVersion: example.org/v1\nkind: Values\nmetadata: {name: tree}\nspec: {{ toJson .Values }}\n")},
		}
		for _, o := range releases {
			if !strings.Contains(string(o.JSON), `"sourceRef"`) && !strings.Contains(string(o.JSON), `"chartRef"`) {
				continue
			}
			out, err := Build(r, render.Unit{Opener: inNamespace(t, o)})
			var needs *render.NeedsError
			switch {
			case errors.As(err, &needs):
				outcomes["needs "+regexp.MustCompile(` \S+, key`).ReplaceAllString(needs.What, " …, key")+": "+needs.Why]++
			case err != nil && strings.Contains(err.Error(), "no matches for Id"):
				outcomes["a patch of an object that only the real chart has"]++
			case err != nil:
				t.Errorf("%s: %v", o.Path, err)
			case len(out.Objects) != 2+strings.Count(string(o.JSON), `"sourceRef"`) || out.Applier.FluxHelmName != o.Name:
				t.Errorf("%s: %d objects, %+v", o.Path, len(out.Objects), out.Applier)
			default:
				outcomes["rendered, "+string(out.Level)]++
			}
		}
	}
	total := 0
	for k, n := range outcomes {
		t.Logf("%4d %s", n, k)
		total += n
	}
	if total != 91 {
		t.Errorf("%d of 91 HelmReleases", total)
	}
}
