package flux

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	oracle "github.com/fluxcd/pkg/kustomize"
	"github.com/fluxcd/pkg/ssa/normalize"
	ssautil "github.com/fluxcd/pkg/ssa/utils"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/test/corpus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// repo is one repository with everything that its plain files declare.
type repo struct {
	name, root string
	src        render.Alone
	units      []render.Unit
}

func openRepo(t testing.TB, root, name string) repo {
	t.Helper()
	r := repo{name: name, root: filepath.Join(root, "flux", name)}
	if _, err := os.Stat(filepath.Join(r.root, "kubernetes", "clusters")); err == nil {
		r.root = filepath.Join(r.root, "kubernetes") // what its pipeline pushes as an OCI artifact
	}
	r.src = render.Alone{FS: os.DirFS(r.root), Objects: map[gitindex.Ref]json.RawMessage{}}
	err := fs.WalkDir(r.src.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !render.Eligible(name) {
			return err
		}
		data, err := fs.ReadFile(r.src.FS, name)
		objects, _ := render.File(name, data, render.Limits{})
		for _, o := range objects {
			ref := gitindex.Ref{Group: o.Group, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}
			if ref.Namespace == "" && o.Kind == "ConfigMap" {
				ref.Namespace = "flux-system"
			}
			r.src.Objects[ref] = o.JSON
			if o.Group == group && o.Kind == "Kustomization" {
				r.units = append(r.units, render.Unit{ID: name + " " + o.Name, Tool: render.Flux, Namespace: "flux-system", Opener: o.JSON})
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// at is the repository as the unit's source has it: an ExternalArtifact may be
// one directory of it. The one that has the unit's path is taken.
func (r repo) at(t testing.TB, u render.Unit) (at repo, below string) {
	t.Helper()
	k, err := decode(u)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := fs.ReadDir(r.src.FS, ".")
	if err != nil {
		t.Fatal(err)
	}
	where := path.Clean("/" + k.Spec.Path)[1:]
	if _, err := fs.Stat(r.src.FS, path.Join(".", where)); err == nil {
		return r, ""
	}
	for _, e := range entries {
		if sub, err := fs.Sub(r.src.FS, e.Name()); err == nil && e.IsDir() && e.Name() != "clusters" {
			if _, err := fs.Stat(sub, where); err == nil {
				r.src.FS = sub
				return r, e.Name()
			}
		}
	}
	return r, ""
}

// secretValue is what the oracle's Secrets hold for every variable.
const secretValue = "of-a-secret"

var variableIn = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)`)

// cluster is what Flux would find there: the ConfigMaps that Git declares, and
// Secrets with a value for every variable of the repository.
func (r repo) cluster(t testing.TB, also ...string) client.Client {
	t.Helper()
	names := map[string][]byte{}
	for _, name := range also {
		names[name] = []byte(secretValue)
	}
	err := fs.WalkDir(r.src.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(r.src.FS, name)
		for _, m := range variableIn.FindAllSubmatch(data, -1) {
			names[string(m[1])] = []byte(secretValue)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	b := fake.NewClientBuilder().WithScheme(scheme.Scheme)
	for ref, raw := range r.src.Objects {
		if ref.Kind == "ConfigMap" && ref.Group == "" {
			var m corev1.ConfigMap
			if err := json.Unmarshal(raw, &m); err != nil {
				t.Fatal(err)
			}
			b.WithObjects(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name}, Data: m.Data})
		}
	}
	b.WithObjects(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "flux-system", Name: "cluster-secrets"}, Data: names})
	return b.Build()
}

// ask does on disk, with Flux's own library, what kustomize-controller does.
func ask(t testing.TB, c client.Client, root string, u render.Unit) ([]*unstructured.Unstructured, error) {
	t.Helper()
	k := unstructured.Unstructured{}
	if err := k.UnmarshalJSON(u.Opener); err != nil {
		t.Fatal(err)
	}
	if k.GetNamespace() == "" {
		k.SetNamespace(u.Namespace)
	}
	where, _, _ := unstructured.NestedString(k.Object, "spec", "path")
	dir := filepath.Join(root, where)
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	defer keep(t, dir)()
	if _, err := oracle.NewGenerator(root, k).WriteFile(dir); err != nil {
		return nil, err
	}
	m, err := oracle.SecureBuild(root, dir, false)
	if err != nil {
		return nil, err
	}
	for _, r := range m.Resources() {
		if _, found, _ := unstructured.NestedMap(k.Object, "spec", "postBuild"); !found {
			break
		}
		changed, err := oracle.SubstituteVariables(context.Background(), c, k, r, oracle.SubstituteWithStrict(true))
		if err != nil {
			return nil, err
		}
		if changed != nil {
			if _, err := m.Replace(r); err != nil {
				return nil, err
			}
		}
	}
	text, err := m.AsYaml()
	if err != nil {
		return nil, err
	}
	objects, err := ssautil.ReadObjects(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		if _, found := o.Object["sops"]; found {
			delete(o.Object, "sops")
			o.Object = pretendDecrypted(o.Object, o.GetKind() == "Secret", "").(map[string]any)
		}
	}
	if err := normalize.UnstructuredList(objects); err != nil {
		return nil, err
	}
	labels, _, _ := unstructured.NestedStringMap(k.Object, "spec", "commonMetadata", "labels")
	annotations, _, _ := unstructured.NestedStringMap(k.Object, "spec", "commonMetadata", "annotations")
	ssautil.SetCommonMetadata(objects, labels, annotations)
	return objects, nil
}

// keep puts the directory's kustomization back as it was.
func keep(t testing.TB, dir string) func() {
	before := map[string][]byte{}
	for _, name := range []string{"kustomization.yaml", "kustomization.yml", "Kustomization"} {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			before[name] = data
		}
	}
	return func() {
		for _, name := range []string{"kustomization.yaml", "kustomization.yml", "Kustomization"} {
			err := os.Remove(filepath.Join(dir, name))
			if data, ok := before[name]; ok {
				err = os.WriteFile(filepath.Join(dir, name), data, 0o644)
			}
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
	}
}

// pretendDecrypted puts a value in the place of each that SOPS encrypted.
func pretendDecrypted(v any, secret bool, below string) any {
	switch x := v.(type) {
	case map[string]any:
		for name := range x {
			under := below
			if under == "" {
				under = name
			}
			x[name] = pretendDecrypted(x[name], secret, under)
		}
	case []any:
		for i := range x {
			x[i] = pretendDecrypted(x[i], secret, below)
		}
	case string:
		if strings.HasPrefix(x, "ENC[") {
			if secret && below == "data" {
				return base64.StdEncoding.EncodeToString([]byte(secretValue))
			}
			return secretValue
		}
	}
	return v
}

// TestOracle holds every Kustomization of the corpus against what Flux's own
// library makes of it: the same objects, value by value; where they differ, a
// hole must stand that takes the value.
func TestOracle(t *testing.T) {
	if testing.Short() {
		t.Skip("left out by -short: whole real repositories, for many seconds")
	}
	root := corpus.Dir(t)
	entries, err := os.ReadDir(filepath.Join(root, "flux"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Run(e.Name(), func(t *testing.T) {
			r := openRepo(t, root, e.Name())
			copied := t.TempDir()
			if err := os.CopyFS(copied, r.src.FS); err != nil {
				t.Fatal(err)
			}
			n := tally{}
			c := r.cluster(t)
			for _, u := range r.units {
				at, below := r.at(t, u)
				n.unit(t, at, u, func() ([]*unstructured.Unstructured, error) { return ask(t, c, filepath.Join(copied, below), u) })
			}
			t.Logf("%+v", n)
			if n.Same == 0 {
				t.Error("nothing was compared")
			}
		})
	}
}

type tally struct{ Units, Same, OtherSource, Elsewhere, BothFail, Objects, Holes, Problems int }

func (n *tally) unit(t *testing.T, r repo, u render.Unit, ask func() ([]*unstructured.Unstructured, error)) {
	n.Units++
	if _, err := Build(r.src, u); err != nil {
		var needs *render.NeedsError
		if !errors.As(err, &needs) {
			t.Logf("%s: %v", u.ID, err)
		} else {
			n.OtherSource++
		}
	}
	out, err := BuildHere(r.src, u)
	var needs *render.NeedsError
	if errors.As(err, &needs) {
		n.Elsewhere++
		t.Logf("%s: %v", u.ID, err)
		return
	}
	want, wantErr := ask()
	if (err == nil) != (wantErr == nil) {
		t.Errorf("%s: here %v, Flux says %v", u.ID, err, wantErr)
		return
	}
	if err != nil {
		n.BothFail++
		t.Logf("%s: both fail: %v", u.ID, err)
		return
	}
	n.Problems += len(out.Problems)
	for _, p := range out.Problems {
		t.Logf("%s: %v", u.ID, p)
	}
	if len(want) != len(out.Objects)+len(out.Problems) {
		t.Errorf("%s: %d objects and %d problems here, Flux has %d", u.ID, len(out.Objects), len(out.Problems), len(want))
	}
	byName := map[string]*unstructured.Unstructured{}
	for _, w := range want {
		byName[w.GetAPIVersion()+w.GetKind()+w.GetNamespace()+"/"+w.GetName()] = w
	}
	ok := true
	for i := range out.Objects {
		n.Objects++
		n.Holes += len(out.Objects[i].Holes)
		ok = n.object(t, u, &out.Objects[i], byName) && ok
	}
	if ok {
		n.Same++
	}
}

func (n *tally) object(t *testing.T, u render.Unit, o *render.Object, want map[string]*unstructured.Unstructured) bool {
	got := &unstructured.Unstructured{}
	if err := got.UnmarshalJSON(o.JSON); err != nil {
		t.Fatal(err)
	}
	w := want[got.GetAPIVersion()+got.GetKind()+got.GetNamespace()+"/"+got.GetName()]
	if w == nil {
		t.Errorf("%s: %s %s is not among Flux's", u.ID, o.Kind, o.Name)
		return false
	}
	w = w.DeepCopy()
	unstructured.RemoveNestedField(w.Object, "metadata", "creationTimestamp")
	before := len(diffs(nil, nil, nil))
	for _, d := range diffs(got.Object, w.Object, nil) {
		if !filled(o, d) {
			t.Errorf("%s: %s %s differs at %s: here %.200v, Flux %.200v", u.ID, o.Kind, o.Name, shown(d.steps), d.got, d.want)
			before++
		}
	}
	return before == 0
}

type diff struct {
	steps     []any
	got, want any
}

func diffs(got, want any, steps []any) (all []diff) {
	g, ok1 := got.(map[string]any)
	w, ok2 := want.(map[string]any)
	if ok1 && ok2 {
		for name := range g {
			all = append(all, diffs(g[name], w[name], append(slices.Clone(steps), name))...)
		}
		for name := range w {
			if _, ok := g[name]; !ok {
				all = append(all, diff{append(slices.Clone(steps), name), nil, w[name]})
			}
		}
		return all
	}
	gl, ok1 := got.([]any)
	wl, ok2 := want.([]any)
	if ok1 && ok2 && len(gl) == len(wl) {
		for i := range gl {
			all = append(all, diffs(gl[i], wl[i], append(slices.Clone(steps), i))...)
		}
		return all
	}
	if !reflect.DeepEqual(got, want) {
		all = append(all, diff{steps, got, want})
	}
	return all
}

// filled reports whether one of the object's holes takes the difference.
func filled(o *render.Object, d diff) bool {
	var object map[string]any
	if json.Unmarshal(o.JSON, &object) != nil {
		return false
	}
	places := anchored(object, d.steps)
	if o.Kind == "Secret" && len(d.steps) == 2 && d.steps[0] == "data" {
		places = append(places, anchored(object, []any{"stringData", d.steps[1]})...)
	}
	for _, h := range o.Holes {
		if !slices.Contains(places, h.Path) {
			continue
		}
		text, ok := d.want.(string)
		if o.Kind == "Secret" && strings.HasPrefix(places[0], "data") {
			plain, err := base64.StdEncoding.DecodeString(text)
			text, ok = string(plain), err == nil
		}
		if h.Pattern == "" || ok && regexp.MustCompile(`\A(?:`+h.Pattern+`)\z`).MatchString(text) {
			return fmt.Sprintf("%T", d.got) == fmt.Sprintf("%T", d.want)
		}
	}
	return false
}

// wide is a Kustomization with most of what one can say.
const wide = `{"apiVersion":"kustomize.toolkit.fluxcd.io/v1","kind":"Kustomization","metadata":{"name":"wide","namespace":"flux-system"},
"spec":{"path":%q,"sourceRef":{"kind":"GitRepository","name":"flux-system"},"targetNamespace":"wide","namePrefix":"p-","nameSuffix":"-s",
"commonMetadata":{"labels":{"team":"shop"},"annotations":{"owner":"ada"}},
"images":[{"name":"nginx","newTag":"9"},{"name":"kubeflow/katib-ui","newName":"example.org/ui","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000"}],
"patches":[{"patch":"- op: add\n  path: /metadata/annotations\n  value: {patched: yes-it-is, host: 'web.${DOMAIN}', both: '${DOMAIN}-${REGION}-${NONE:=x}'}","target":{"kind":"Deployment|Service"}}],
"postBuild":{"substitute":{"REGION":"eu"},"substituteFrom":[{"kind":"Secret","name":"cluster-secrets"}]}}}`

// TestOracleWide gives such a Kustomization to directories of other repositories,
// whether they have a kustomization or not.
func TestOracleWide(t *testing.T) {
	if testing.Short() {
		t.Skip("left out by -short: whole real repositories, for many seconds")
	}
	root := corpus.Dir(t)
	for tree, stride := range map[string]int{"kustomize/gitops-catalog": 5, "kustomize/kubeflow-manifests": 13, "manifests/microservices-demo": 2, "flux/flux2-multi-tenancy": 2} {
		t.Run(path.Base(tree), func(t *testing.T) {
			r := repo{name: tree, root: filepath.Join(root, tree), src: render.Alone{FS: os.DirFS(filepath.Join(root, tree))}}
			copied := t.TempDir()
			if err := os.CopyFS(copied, r.src.FS); err != nil {
				t.Fatal(err)
			}
			c := r.cluster(t, "DOMAIN")
			n, seen := tally{}, 0
			err := fs.WalkDir(r.src.FS, ".", func(name string, d fs.DirEntry, err error) error {
				if err != nil || !d.IsDir() {
					return err
				}
				if seen++; seen%stride == 0 {
					u := render.Unit{ID: name, Tool: render.Flux, Opener: fmt.Appendf(nil, wide, name)}
					n.unit(t, r, u, func() ([]*unstructured.Unstructured, error) { return ask(t, c, copied, u) })
				}
				return nil
			})
			t.Logf("%+v", n)
			if err != nil || n.Same == 0 {
				t.Errorf("nothing was compared: %v", err)
			}
		})
	}
}
