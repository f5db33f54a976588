package argocd

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
	"testing/fstest"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/gitindex/render/helm"
	"github.com/gitward/gitward/gitindex/render/kustomize"
	"github.com/gitward/gitward/test/corpus"
)

// checkout is a tree of the corpus with the repository that it is.
type checkout struct {
	render.Alone
	repository string
	clusters   []Cluster
}

func (c checkout) Holds(repoURL, _ string) bool {
	return strings.HasSuffix(strings.TrimSuffix(repoURL, ".git"), c.repository)
}

func (c checkout) Clusters() ([]Cluster, bool) { return c.clusters, c.clusters != nil }

// outcomes counts what became of units, by kind.
type outcomes struct {
	t     *testing.T
	kinds map[string]int
	made  map[string]int
	why   map[string][]string
}

func newOutcomes(t *testing.T) *outcomes {
	return &outcomes{t: t, kinds: map[string]int{}, made: map[string]int{}, why: map[string][]string{}}
}

var (
	detail = regexp.MustCompile(`https?://\S+|oci://\S+|"[^"]*"|\b(components|configs|argo-cd-apps|charts|hack)/\S+`)
	unit   = regexp.MustCompile(`^the Application(Set)? \S+: (source \d+, [^:]+: )?`)
)

func (o *outcomes) note(unitKind, name string, out render.Output, err error) {
	kind := unitKind + ": ok"
	if err != nil {
		var need *render.NeedsError
		kind = unitKind + ": error"
		if errors.As(err, &need) {
			kind = unitKind + ": needs"
		}
		kind += " " + detail.ReplaceAllString(unit.ReplaceAllString(err.Error(), ""), "…")
		o.why[kind] = append(o.why[kind], name+": "+err.Error())
	}
	o.kinds[kind]++
	o.made[kind] += len(out.Objects)
	for _, p := range out.Problems {
		o.kinds[unitKind+": problem "+detail.ReplaceAllString(p.Message, "…")]++
	}
}

func (o *outcomes) table() {
	kinds := make([]string, 0, len(o.kinds))
	for k := range o.kinds {
		kinds = append(kinds, k)
	}
	sort.Strings(kinds)
	for _, k := range kinds {
		o.t.Logf("%4d × %4d objects  %.220s", o.kinds[k], o.made[k], k)
		for _, w := range o.why[k][:min(1, len(o.why[k]))] {
			o.t.Logf("        first: %.400s", w)
		}
	}
}

func (o *outcomes) ok(kind string) int { return o.kinds[kind+": ok"] }

// TestInfraDeployments plays a repository of ApplicationSets: every overlay is
// built with kustomize, each ApplicationSet in it expanded, each Application of
// the tree built.
func TestInfraDeployments(t *testing.T) {
	if testing.Short() {
		t.Skip("left out by -short: whole real repositories, for many seconds")
	}
	root := corpus.Dir(t, "argocd", "infra-deployments")
	tree := os.DirFS(root)
	src := checkout{Alone: render.Alone{FS: tree}, repository: "github.com/redhat-appstudio/infra-deployments"}
	all := newOutcomes(t)
	seen := map[string]bool{}
	overlays := 0
	for _, dir := range directories(t, tree, "argo-cd-apps/overlays", "argo-cd-apps/app-of-app-sets", "argo-cd-apps/base") {
		objects, err := kustomize.Build(src, dir, kustomize.Options{})
		all.note("overlay", dir, render.Output{Objects: objects}, err)
		if err != nil {
			continue
		}
		overlays++
		src.clusters = clustersOf(t, objects)
		for _, o := range objects {
			if o.Group != "argoproj.io" || o.Kind != "ApplicationSet" && o.Kind != "Application" {
				continue
			}
			apps := []render.Object{o}
			if o.Kind == "ApplicationSet" {
				out, err := Expand(src, render.Unit{Opener: o.JSON})
				all.note("ApplicationSet", dir+" "+o.Name, out, err)
				var need *render.NeedsError
				if errors.As(err, &need) {
					invented := src
					invented.clusters = wanted(t, o.JSON)
					out, err = Expand(invented, render.Unit{Opener: o.JSON})
					all.note("ApplicationSet with the clusters that it asks for", dir+" "+o.Name, out, err)
				}
				apps = out.Objects
			}
			for _, app := range apps {
				key := string(app.JSON)
				if seen[key] {
					continue
				}
				seen[key] = true
				out, err := Build(src, render.Unit{Opener: app.JSON})
				all.note("Application", dir+" "+app.Name, out, err)
				if err == nil {
					again(t, src, app.JSON, out)
				}
				same(t, root, app.JSON, out, err, all)
			}
		}
	}
	all.table()
	if overlays < 20 || all.ok("ApplicationSet") < 60 || all.ok("Application") < 10 || all.ok("same as kustomize") < 10 {
		t.Error("less was rendered than the corpus holds")
	}
}

// again holds that a unit renders to the same each time.
func again(t *testing.T, src render.Sources, opener json.RawMessage, first render.Output) {
	second, err := Build(src, render.Unit{Opener: opener})
	if a, b := tell(first, nil, nil), tell(second, err, nil); a != b {
		t.Errorf("two renderings differ:\n%s\n%s", a, b)
	}
}

// same holds an Application that is a plain kustomization against krusty itself
// on the same directory of the disk.
func same(t *testing.T, root string, opener json.RawMessage, out render.Output, err error, all *outcomes) {
	places, _ := Sources(opener)
	if err != nil || len(places) != 1 || !places[0].Git {
		return
	}
	if tool, _ := detect(os.DirFS(root), places[0].Path); tool != render.Kustomize {
		return
	}
	options := krusty.MakeDefaultOptions()
	options.LoadRestrictions = types.LoadRestrictionsNone
	want, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), filepath.Join(root, places[0].Path))
	if err != nil {
		all.note("same as kustomize", places[0].Path, render.Output{}, fmt.Errorf("kustomize fails where Build does not: %w", err))
		t.Errorf("%s: kustomize fails: %v", places[0].Path, err)
		return
	}
	var a, b []string
	for _, o := range out.Objects {
		a = append(a, string(o.JSON))
	}
	for _, r := range want.Resources() {
		text, err := r.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(text, &v); err != nil {
			t.Fatal(err)
		}
		annotations, _ := annotationsOf(text)
		if _, sent := hookOf(annotations); !sent {
			continue
		}
		text, _ = json.Marshal(v)
		b = append(b, string(text))
	}
	slices.Sort(a)
	slices.Sort(b)
	if !slices.Equal(a, b) {
		t.Errorf("%s: not what kustomize builds: %d objects, %d", places[0].Path, len(a), len(b))
		return
	}
	all.note("same as kustomize", places[0].Path, out, nil)
}

// directories are those below that hold a kustomization.
func directories(t *testing.T, tree fs.FS, below ...string) []string {
	var all []string
	for _, dir := range below {
		err := fs.WalkDir(tree, dir, func(name string, d fs.DirEntry, err error) error {
			if err == nil && filepath.Base(name) == "kustomization.yaml" {
				all = append(all, filepath.Dir(name))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// clustersOf are those whose Secrets stand among the objects; nil for none.
func clustersOf(t *testing.T, objects []render.Object) []Cluster {
	var all []Cluster
	for _, o := range objects {
		var secret struct {
			Metadata   struct{ Labels, Annotations map[string]string }
			Data       map[string]string
			StringData map[string]string
		}
		if o.Kind != "Secret" || json.Unmarshal(o.JSON, &secret) != nil || secret.Metadata.Labels["argocd.argoproj.io/secret-type"] != "cluster" {
			continue
		}
		for name, value := range secret.Data {
			text, err := base64.StdEncoding.DecodeString(value)
			if err != nil {
				t.Fatal(err)
			}
			if secret.StringData == nil {
				secret.StringData = map[string]string{}
			}
			secret.StringData[name] = string(text)
		}
		all = append(all, Cluster{Name: secret.StringData["name"], Server: secret.StringData["server"], Project: secret.StringData["project"],
			Labels: secret.Metadata.Labels, Annotations: secret.Metadata.Annotations})
	}
	return all
}

// wanted are clusters with the labels that an ApplicationSet's selectors ask for
// and the names of its lists: what Git would have to declare.
func wanted(t *testing.T, set json.RawMessage) []Cluster {
	labels, names := map[string]string{}, map[string]bool{"any": true}
	var collect func(v any)
	collect = func(v any) {
		switch x := v.(type) {
		case []any:
			for _, item := range x {
				collect(item)
			}
		case map[string]any:
			match, _ := x["matchLabels"].(map[string]any)
			for key, value := range match {
				labels[key], _ = value.(string)
			}
			if key, ok := x["key"].(string); ok && x["operator"] == "Exists" {
				labels[key] = "x"
			}
			if name, ok := x["nameNormalized"].(string); ok {
				names[name] = true
			}
			for _, item := range x {
				collect(item)
			}
		}
	}
	var v any
	if err := json.Unmarshal(set, &v); err != nil {
		t.Fatal(err)
	}
	collect(v)
	var all []Cluster
	for name := range sorted(names) {
		all = append(all, Cluster{Name: name, Server: "https://" + name, Labels: labels})
	}
	return all
}

// TestGOVUK plays an app of apps that Helm templates make, for each environment.
// The files that hold image tags and chart versions have no ending and are not
// in the corpus: the test puts some there.
func TestGOVUK(t *testing.T) {
	if testing.Short() {
		t.Skip("left out by -short: whole real repositories, for many seconds")
	}
	tree := copied(t, corpus.Dir(t, "argocd", "govuk-helm-charts"))
	src := checkout{Alone: render.Alone{FS: tree}, repository: "github.com/alphagov/govuk-helm-charts"}
	all := newOutcomes(t)
	for _, environment := range []string{"integration", "staging", "production"} {
		values, err := json.Marshal(map[string]any{"govukEnvironment": environment, "awsAccountId": "123456789012"})
		if err != nil {
			t.Fatal(err)
		}
		o := render.HelmOptions{ReleaseName: "argo-bootstrap", Namespace: "cluster-services", Values: values}
		bootstrap, err := helm.Build(src, tree, "charts/argo-bootstrap", o, render.Cluster{})
		all.note("bootstrap", environment, render.Output{Objects: bootstrap}, err)
		for _, app := range applicationsOf(bootstrap) {
			out, err := Build(src, render.Unit{Opener: app.JSON})
			if err != nil {
				t.Fatal(err)
			}
			for _, inner := range applicationsOf(out.Objects) {
				tag(tree, environment, inner)
			}
		}
		queue := applicationsOf(bootstrap)
		for len(queue) > 0 {
			app := queue[0]
			queue = queue[1:]
			out, err := Build(src, render.Unit{Opener: app.JSON})
			all.note("Application", environment+" "+app.Name, out, err)
			if err == nil {
				again(t, src, app.JSON, out)
			}
			queue = append(queue, applicationsOf(out.Objects)...)
		}
	}
	all.table()
	if all.ok("Application") < 150 {
		t.Error("less was rendered than the corpus holds")
	}
}

func applicationsOf(objects []render.Object) []render.Object {
	var all []render.Object
	for _, o := range objects {
		if o.Kind == "Application" && o.Group == "argoproj.io" {
			all = append(all, o)
		}
	}
	return all
}

// copied is a tree in memory, to which a test may add.
func copied(t *testing.T, root string) fstest.MapFS {
	tree := fstest.MapFS{}
	files := os.DirFS(root)
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		tree[name] = &fstest.MapFile{Data: data}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// tag puts the file there that names an Application's image.
func tag(tree fstest.MapFS, environment string, app render.Object) {
	annotations, _ := annotationsOf(app.JSON)
	if name := annotations["repoName"]; name != "" {
		tree["charts/app-config/image-tags/"+environment+"/"+name] = &fstest.MapFile{Data: []byte("image_tag: v1\n")}
	}
}
