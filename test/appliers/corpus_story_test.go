package appliers

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/corpus"
	"github.com/gitward/gitward/test/server"
)

// sampled is how many kustomizations of the corpus are applied. All are rendered
// and compared in gitindex/render; here each object costs several requests.
const sampled = 25

// unfit are kinds that change what the API server does with everything else,
// since what they point to is not there.
var unfit = regexp.MustCompile(`WebhookConfiguration$|^APIService$|^ResourceQuota$|^LimitRange$|AdmissionPolicy(Binding)?$`)

// overlay is one kustomization of the corpus, as kustomize builds it.
type overlay struct {
	path, namespace string
	objects         []*unstructured.Unstructured
}

// TestCorpus: real kustomizations, each an entry of the Origin's, built by
// kustomize itself and applied by kubectl, client side and server side.
func TestCorpus(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a real API server, which -short leaves out")
	}
	root := corpus.Dir(t)
	l := newLabIn(t, controlplane.OwnForTest(t, controlplane.Options{}))
	job := l.actor("system:serviceaccount:ci:deployer")
	overlays := l.sample(root)
	l.prepare(overlays)
	l.commit(merged(l.copied(filepath.Join(root, "kustomize"), "kustomize"), l.copied(filepath.Join(root, "argocd"), "argocd")))
	var entries []v1alpha1.Render
	for _, o := range overlays {
		entries = append(entries, v1alpha1.Render{Path: o.path, Type: v1alpha1.RenderKustomize, Namespace: o.namespace})
	}
	began := time.Now()
	l.trust(entries...)
	t.Logf("%d kustomizations accepted in %v", len(overlays), time.Since(began).Round(time.Millisecond))
	files := l.filesOf(overlays)
	l.chapter("client-side apply", func(*testing.T) { l.applyAll(job, files, "apply") })
	l.chapter("server-side apply", func(*testing.T) { l.applyAll(job, files, "apply", "--server-side", "--force-conflicts") })
}

// sample picks kustomizations evenly among those that render without anything
// from elsewhere, and builds them.
func (l *lab) sample(root string) []*overlay {
	l.t.Helper()
	all := l.rendering()
	var out []*overlay
	for i := range min(sampled, len(all)) {
		path := all[i*len(all)/min(sampled, len(all))]
		o := &overlay{path: path, namespace: fmt.Sprintf("corpus-%03d", i)}
		text, err := buildAt(filepath.Join(root, path))
		if err != nil {
			l.t.Fatalf("%s: %v", path, err)
		}
		o.objects = slices.DeleteFunc(parse(l.t, text), func(u *unstructured.Unstructured) bool { return unfit.MatchString(u.GetKind()) })
		if len(o.objects) > 0 {
			out = append(out, o)
		}
	}
	l.t.Logf("%d of %d kustomizations", len(out), len(all))
	return out
}

// rendering are the kustomizations that kustomize renders alone, as the corpus
// says itself.
func (l *lab) rendering() []string {
	l.t.Helper()
	var out []string
	for _, r := range corpus.Rendered(l.t, "kustomize") {
		if r.Result == "ok" && (strings.HasPrefix(r.Path(), "kustomize/") || strings.HasPrefix(r.Path(), "argocd/")) {
			out = append(out, r.Path())
		}
	}
	return out
}

// prepare gives the cluster the namespaces that are named, and a definition of
// each kind that neither it nor the sample has, which takes any field.
func (l *lab) prepare(overlays []*overlay) {
	l.t.Helper()
	l.remap()
	scopes, missing := map[schema.GroupKind]string{}, map[schema.GroupKind][]string{}
	var names []string
	each(overlays, func(_ *overlay, u *unstructured.Unstructured) {
		if u.GetKind() == "CustomResourceDefinition" {
			kind, scope := definedBy(u)
			scopes[kind] = scope
		}
	})
	each(overlays, func(o *overlay, u *unstructured.Unstructured) {
		kind := u.GroupVersionKind()
		_, defined := scopes[kind.GroupKind()]
		mapping, err := l.mapper.RESTMapping(kind.GroupKind(), kind.Version)
		switch {
		case err == nil:
			scopes[kind.GroupKind()] = "Namespaced"
			if mapping.Scope.Name() == meta.RESTScopeNameRoot {
				scopes[kind.GroupKind()] = "Cluster"
			}
		case defined && missing[kind.GroupKind()] == nil:
		case !strings.Contains(kind.Group, ".") || strings.HasSuffix(kind.Group, ".k8s.io"): // a version of Kubernetes' own that is gone
		default:
			scopes[kind.GroupKind()] = "Namespaced"
			if strings.HasPrefix(kind.Kind, "Cluster") {
				scopes[kind.GroupKind()] = "Cluster"
			}
			if !slices.Contains(missing[kind.GroupKind()], kind.Version) {
				missing[kind.GroupKind()] = append(missing[kind.GroupKind()], kind.Version)
			}
		}
		if scopes[kind.GroupKind()] == "Namespaced" && u.GetNamespace() == "" {
			u.SetNamespace(o.namespace)
		}
		if u.GetNamespace() != "" && !slices.Contains(names, u.GetNamespace()) {
			names = append(names, u.GetNamespace())
		}
	})
	for _, name := range names {
		l.namespace(name)
	}
	for kind, served := range missing {
		l.define(permissiveCRD(kind.Group, kind.Kind, strings.ToLower(kind.Kind)+"s", scopes[kind], served...))
	}
	l.t.Logf("%d namespaces, %d kinds defined that the corpus does not define itself", len(names), len(missing))
	l.settle()
	l.remap()
}

func each(overlays []*overlay, do func(*overlay, *unstructured.Unstructured)) {
	for _, o := range overlays {
		for _, u := range o.objects {
			do(o, u)
		}
	}
}

// definedBy is the kind that a definition defines, and its scope.
func definedBy(crd *unstructured.Unstructured) (schema.GroupKind, string) {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
	scope, _, _ := unstructured.NestedString(crd.Object, "spec", "scope")
	return schema.GroupKind{Group: group, Kind: kind}, scope
}

// filesOf are what kubectl applies, definitions first. Of an object that several
// kustomizations declare, each otherwise, one is taken: nobody applies a base and
// all of its overlays to one cluster.
func (l *lab) filesOf(overlays []*overlay) [][]string {
	l.t.Helper()
	const parallel = 3
	var definitions strings.Builder
	rest := make([]strings.Builder, parallel)
	seen, objects := map[string]bool{}, 0
	each(overlays, func(_ *overlay, u *unstructured.Unstructured) {
		key := u.GroupVersionKind().GroupKind().String() + " " + u.GetNamespace() + "/" + u.GetName()
		if seen[key] {
			return
		}
		seen[key] = true
		to := &rest[objects%parallel]
		if u.GetKind() == "CustomResourceDefinition" {
			to = &definitions
		}
		objects++
		fmt.Fprintf(to, "---\n%s", must(yaml.Marshal(u.Object)))
	})
	first, second := []string{l.beside("corpus/definitions.yaml", definitions.String())}, []string(nil)
	for i := range rest {
		second = append(second, l.beside(fmt.Sprintf("corpus/%d.yaml", i), rest[i].String()))
	}
	l.t.Logf("%d objects", objects)
	return [][]string{first, second}
}

// define puts a definition without waiting for each.
func (l *lab) define(text string) {
	l.t.Helper()
	u := parse(l.t, text)[0]
	client, err := l.client(l.dynamic, u)
	l.check(err)
	_, err = client.Create(context.Background(), u, metav1.CreateOptions{})
	l.check(err)
}

// applyAll applies the definitions, and then the rest, several files at a time.
// What Kubernetes itself refuses is counted apart: real repositories have such
// objects.
func (l *lab) applyAll(job *actor, files [][]string, how ...string) {
	l.t.Helper()
	began := time.Now()
	var mu sync.Mutex
	var said []string
	for _, together := range files {
		var wg sync.WaitGroup
		for _, file := range together {
			wg.Go(func() {
				if _, err := job.kubectl(append(slices.Clone(how), "-f", file)...); err != nil {
					mu.Lock()
					said = append(said, strings.Split(err.Error(), "\n")...)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		l.settle()
	}
	for _, line := range said {
		if !server.IsDenial(line) && (strings.Contains(line, "rror") || strings.Contains(line, "invalid") || strings.Contains(line, "no matches")) {
			l.t.Logf("by Kubernetes: %.250s", line)
		}
	}
	l.t.Logf("%s in %v", strings.Join(how, " "), time.Since(began).Round(time.Second))
	job.tell(l.t, strings.Join(how, " "))
}

// settle waits until all definitions are served.
func (l *lab) settle() {
	l.t.Helper()
	server.Await(l.t, "definitions", 30*time.Second, func() error {
		list, err := l.dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}).List(context.Background(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for i := range list.Items {
			if !hasCondition(&list.Items[i], "Established") {
				return fmt.Errorf("%s is not established", list.Items[i].GetName())
			}
		}
		return nil
	})
}
