package canonical

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/test/corpus"
)

// object is one manifest of the corpus, read in the simplest way there is.
type object struct {
	place string
	raw   []byte
	tree  map[string]any
}

func corpusObjects(t testing.TB) []object {
	root := corpus.Dir(t)
	var all []object
	for _, group := range []string{"manifests", "kustomize", "flux", "ci"} {
		err := filepath.WalkDir(filepath.Join(root, group), func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(p, ".yaml") && !strings.HasSuffix(p, ".yml") && !strings.HasSuffix(p, ".json") {
				return err
			}
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			name, _ := filepath.Rel(root, p)
			for _, doc := range bytes.Split(data, []byte("\n---")) {
				var tree map[string]any
				if yaml.Unmarshal(doc, &tree) == nil {
					all = appendObjects(all, name, tree)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func appendObjects(all []object, place string, tree map[string]any) []object {
	if tree["apiVersion"] == nil || tree["kind"] == nil {
		return all
	}
	if items, ok := tree["items"].([]any); ok {
		for _, item := range items {
			if m, ok := item.(map[string]any); ok {
				all = appendObjects(all, place, m)
			}
		}
		return all
	}
	raw, _ := json.Marshal(tree)
	return append(all, object{place, raw, tree})
}

func corpusSchemas(t testing.TB, objects []object) *Schemas {
	var crds [][]byte
	for _, o := range objects {
		if o.tree["kind"] == "CustomResourceDefinition" && o.tree["apiVersion"] == "apiextensions.k8s.io/v1" {
			crds = append(crds, o.raw)
		}
	}
	s, errs := New(crds...)
	for _, err := range errs {
		t.Log(err)
	}
	t.Logf("%d CRDs, %d cannot be used", len(crds), len(errs))
	return s
}

// TestCorpus: every real manifest has a canonical form or a named error; the
// form is a fixed point, and holds what Declared says.
func TestCorpus(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds: left out with -short")
	}
	objects := corpusObjects(t)
	s := corpusSchemas(t, objects)
	outcomes := map[string]int{}
	for _, o := range objects {
		version := o.tree["apiVersion"].(string)
		if _, v, ok := strings.Cut(version, "/"); ok {
			version = v
		}
		form, err := s.Canonical(o.raw, version)
		switch {
		case errors.Is(err, ErrUnknownKind):
			outcomes["unknown kind"]++
			continue
		case err != nil:
			outcomes["error"]++
			t.Logf("%s: %v", o.place, err)
			continue
		}
		outcomes["canonical"]++
		checkFixed(t, s, o.place, form, version)
		checkDeclared(t, s, o, version)
	}
	t.Logf("%d objects: %v", len(objects), outcomes)
}

func checkFixed(t *testing.T, s *Schemas, place string, form []byte, version string) {
	t.Helper()
	again, err := s.Canonical(form, version)
	if err != nil {
		t.Errorf("%s: again: %v", place, err)
		return
	}
	if !bytes.Equal(form, again) {
		t.Errorf("%s: not a fixed point:\n%s\n%s", place, form, again)
	}
}

func checkDeclared(t *testing.T, s *Schemas, o object, version string) {
	t.Helper()
	form, _ := s.Canonical(o.raw, version)
	said, err := s.Declared(o.raw, version)
	if err != nil {
		t.Errorf("%s: declared: %v", o.place, err)
		return
	}
	if path, ok := within(tree(said), tree(form), ""); !ok {
		t.Errorf("%s: declared but not canonical: %s", o.place, path)
	}
}

func tree(raw []byte) any {
	var v any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	_ = d.Decode(&v)
	return v
}

// within reports whether every leaf of part is in whole, or where it is not.
func within(part, whole any, path string) (string, bool) {
	switch part := part.(type) {
	case map[string]any:
		whole, ok := whole.(map[string]any)
		if !ok {
			return path, false
		}
		for key, v := range part {
			w, ok := whole[key]
			if !ok {
				return path + "." + key, false
			}
			if at, ok := within(v, w, path+"."+key); !ok {
				return at, false
			}
		}
		return "", true
	case []any:
		whole, ok := whole.([]any)
		if !ok || len(whole) != len(part) {
			return path, false
		}
		for i := range part {
			if at, ok := within(part[i], whole[i], fmt.Sprintf("%s[%d]", path, i)); !ok {
				return at, false
			}
		}
		return "", true
	}
	return path, reflect.DeepEqual(part, whole)
}

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

type review struct {
	Phase string
	Req   struct {
		Operation string
		Kind      struct{ Group, Version, Kind string }
		Object    map[string]any
		SubResource,
		Name string
	}
}

func reviews(t testing.TB) []review {
	data, err := os.ReadFile(filepath.Join(corpus.Dir(t), "reviews", "reviews.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var all []review
	for line := range bytes.Lines(data) {
		var r review
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// TestReviews holds the canonical form of manifests that kubectl applied
// against the objects a real API server showed its webhooks. What differs must
// be the server's own.
func TestReviews(t *testing.T) {
	all := reviews(t)
	s, errs := New(reviewCRDs(all)...)
	if len(errs) > 0 {
		t.Error(errs)
	}
	left := map[string]string{}
	count, equal := 0, 0
	kinds := map[string]int{}
	for _, r := range all {
		manifest := appliedManifest(r)
		if manifest == "" {
			continue
		}
		form, err := s.Canonical([]byte(manifest), r.Req.Kind.Version)
		if err != nil {
			t.Errorf("%s %s: %v", r.Req.Kind.Kind, r.Req.Name, err)
			continue
		}
		count++
		kinds[r.Req.Kind.Kind]++
		found := differences(r.Phase+" "+r.Req.Kind.Kind, tree(form), served(r.Req.Object))
		if len(found) == 0 {
			equal++
		}
		for path, example := range found {
			left[path] = example
			if !serversOwn(path) {
				t.Errorf("%s differs and is not known to be the server's: %s", path, example)
			}
		}
	}
	paths := make([]string, 0, len(left))
	for path := range left {
		paths = append(paths, path)
	}
	sort.Strings(paths)
	for _, path := range paths {
		t.Logf("%s: %s", path, left[path])
	}
	t.Logf("%d requests of %d kinds %v, %d equal byte for byte", count, len(kinds), kinds, equal)
	if count < 30 {
		t.Errorf("only %d requests carry what was applied", count)
	}
}

// redefaulted are the places where decoding what the server showed changes it.
var redefaulted = map[string]bool{
	// A Job without labels takes its template's when it is decoded; the strategy
	// puts labels into the template only afterwards.
	"/validate Job.metadata.labels": true,
	// The 0 that only the conversion writes.
	"/mutate DaemonSet.metadata.annotations":                                          true,
	"/mutate DaemonSet.metadata.annotations.deprecated.daemonset.template.generation": true,
}

// TestServedIsCanonical: whoever sent it, what a real API server shows its
// webhooks is its own canonical form.
func TestServedIsCanonical(t *testing.T) {
	all := reviews(t)
	s, _ := New(reviewCRDs(all)...)
	checked, unknown, left := 0, map[string]int{}, map[string]string{}
	for _, r := range all {
		if r.Req.Object == nil || r.Req.SubResource != "" {
			continue
		}
		raw, _ := json.Marshal(r.Req.Object)
		form, err := s.Canonical(raw, r.Req.Kind.Version)
		if errors.Is(err, ErrUnknownKind) {
			unknown[r.Req.Kind.Kind]++
			continue
		}
		if err != nil {
			t.Errorf("%s %s: %v", r.Req.Kind.Kind, r.Req.Name, err)
			continue
		}
		checked++
		again := served(tree(form).(map[string]any))
		for path, example := range differences(r.Phase+" "+r.Req.Kind.Kind, any(again), any(served(r.Req.Object))) {
			if !redefaulted[path] {
				t.Errorf("%s: %s", path, example)
			}
			left[path] = example
		}
	}
	for path, example := range left {
		t.Logf("%s: %s", path, example)
	}
	t.Logf("%d requests, of unknown kinds %v", checked, unknown)
}

func reviewCRDs(all []review) (crds [][]byte) {
	for _, r := range all {
		if r.Req.Kind.Kind == "CustomResourceDefinition" && r.Req.Object != nil {
			raw, _ := json.Marshal(r.Req.Object)
			crds = append(crds, raw)
		}
	}
	return crds
}

// appliedManifest is the manifest of a kubectl apply that creates; "" for all
// other requests.
func appliedManifest(r review) string {
	if r.Req.Operation != "CREATE" || r.Req.SubResource != "" {
		return ""
	}
	m, _ := r.Req.Object["metadata"].(map[string]any)
	annotations, _ := m["annotations"].(map[string]any)
	manifest, _ := annotations[lastApplied].(string)
	var head struct{ Kind string }
	if json.Unmarshal([]byte(manifest), &head) != nil || head.Kind != r.Req.Kind.Kind {
		return "" // somebody's own text, or copied to a ControllerRevision from its parent
	}
	return manifest
}

// served is the object without what Canonical leaves out by its contract.
func served(o map[string]any) map[string]any {
	delete(o, "status")
	m := o["metadata"].(map[string]any)
	for _, name := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields"} {
		delete(m, name)
	}
	annotations, _ := m["annotations"].(map[string]any)
	delete(annotations, lastApplied)
	if len(annotations) == 0 {
		delete(m, "annotations")
	}
	return o
}

// differences are the leaves that differ, by path without indices.
func differences(path string, want, got any) map[string]string {
	found := map[string]string{}
	compare(path, want, got, found)
	return found
}

func compare(path string, want, got any, found map[string]string) {
	w, okW := want.(map[string]any)
	g, okG := got.(map[string]any)
	if okW && okG {
		for key := range w {
			compare(path+"."+key, w[key], g[key], found)
		}
		for key := range g {
			if _, ok := w[key]; !ok {
				compare(path+"."+key, nil, g[key], found)
			}
		}
		return
	}
	wl, okW := want.([]any)
	gl, okG := got.([]any)
	if okW && okG && len(wl) == len(gl) {
		for i := range wl {
			compare(path+"[]", wl[i], gl[i], found)
		}
		return
	}
	if reflect.DeepEqual(want, got) {
		return
	}
	w1, _ := json.Marshal(want)
	g1, _ := json.Marshal(got)
	found[path] = fmt.Sprintf("canonical %.80s, served %.120s", w1, g1)
}

// server names what a real API server adds after decoding: allocation,
// registry strategies and admission plugins. Each has been looked up.
var server = []string{
	// The registry's allocators and strategies.
	"Service.spec.clusterIP",
	"Service.spec.clusterIPs",
	"Service.spec.ipFamilies",
	"Service.spec.ipFamilyPolicy",
	"Job.spec.selector",
	"Job.spec.template.metadata.labels",
	"DaemonSet.metadata.annotations",
	// The admission plugin StorageObjectInUseProtection.
	"PersistentVolume.metadata.finalizers",
	"PersistentVolumeClaim.metadata.finalizers",
}

func serversOwn(path string) bool {
	_, path, _ = strings.Cut(path, " ")
	for _, own := range server {
		if path == own || strings.HasSuffix(own, "*") && strings.HasPrefix(path, strings.TrimSuffix(own, "*")) {
			return true
		}
	}
	return false
}
