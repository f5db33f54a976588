package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/test/controlplane"
	repositories "github.com/gitward/gitward/test/corpus"
	"github.com/gitward/gitward/test/gitserver"
	"github.com/gitward/gitward/test/server"
)

// declaration is one object in one file of the corpus.
type declaration struct {
	path      string
	line      int
	namespace string // for an object that names none: its directory's
	gvk       schema.GroupVersionKind
	ref       gitindex.Ref
	json      []byte
	commit    string // that brought the file
	author    string
	// take counts declarations of one object: only one of them can be in the
	// cluster at a time.
	take int
}

func (d *declaration) String() string {
	return fmt.Sprintf("%s:%d %s", d.path, d.line, d.ref)
}

// manifest is the object as an applier sends it.
func (d *declaration) manifest() *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(d.json); err != nil {
		panic(fmt.Sprintf("%s: %v", d, err))
	}
	if d.ref.Namespace != "" {
		u.SetNamespace(d.ref.Namespace)
	}
	return u
}

// outcome is what became of one declaration.
type outcome struct {
	err     error
	live    *unstructured.Unstructured
	moved   string // why a second application was not the no-op it should be
	settled bool   // the second application gave the stamp an owner
}

// play is what became of all, by one method.
type play map[*declaration]*outcome

// corpus is real desired state, in the repository and in the cluster.
type corpus struct {
	*lab
	files        map[string][]byte
	declarations []*declaration
	namespaces   map[string]string // by directory
	refused      []string          // objects of a kind that this API server does not have
	problems     int
	wrongDenials int
}

// TestCorpus brings several hundred real objects through the gate, each in
// four ways. Without Gitward the same is done first: what Kubernetes itself
// refuses there is nobody's denial here.
func TestCorpus(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a real API server, which -short leaves out")
	}
	root := repositories.Dir(t)
	c := &corpus{lab: newLab(t, controlplane.ForTest(t, controlplane.Options{})), files: readCorpus(t, root), namespaces: map[string]string{}}
	c.nameNamespaces()
	c.commitCorpus()
	c.readDeclarations()

	before := map[string]play{}
	for _, m := range methods {
		before[m.name] = c.play(m, false)
	}
	c.installOrigin(func(o *v1alpha1.Origin) { o.Spec.Render = c.render() })
	c.installGate("default", nil)
	started := time.Now()
	status := c.awaitAccepted(c.repo.Ref(gitserver.MainRef))
	t.Logf("%d objects of %d files accepted after %v", status.Objects, len(c.files), time.Since(started).Round(time.Millisecond))

	var admitted []string
	for _, m := range methods {
		started := time.Now()
		n := c.compare(m, before[m.name], c.play(m, true))
		admitted = append(admitted, fmt.Sprintf("%d by %s (%v)", n, m.name, time.Since(started).Round(time.Second)))
	}
	c.tellRefused(before)
	t.Logf("corpus: %d objects, admitted: %s; %d files with problems left out; %d wrong denials",
		len(c.declarations)+len(c.refused), strings.Join(admitted, ", "), c.problems, c.wrongDenials)
	c.edits(before["server-side apply"])
}

func readCorpus(t *testing.T, root string) map[string][]byte {
	files := map[string][]byte{}
	err := filepath.WalkDir(filepath.Join(root, "manifests"), func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(filepath.Join(root, "manifests"), name)
		files[filepath.ToSlash(relative)] = data
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// nameNamespaces gives each directory a namespace of its own for the objects
// that name none, so that variants of one application do not meet.
func (c *corpus) nameNamespaces() {
	for _, file := range c.paths() {
		dir := path.Dir(file)
		if c.namespaces[dir] == "" && render.Eligible(file) {
			c.namespaces[dir] = fmt.Sprintf("corpus-%03d", len(c.namespaces))
		}
	}
}

func (c *corpus) paths() []string {
	paths := make([]string, 0, len(c.files))
	for p := range c.files {
		paths = append(paths, p)
	}
	sort.Strings(paths)
	return paths
}

func (c *corpus) render() []v1alpha1.Render {
	var out []v1alpha1.Render
	for dir, namespace := range c.namespaces {
		out = append(out, v1alpha1.Render{Path: dir, Type: v1alpha1.RenderPlain, Namespace: namespace})
	}
	slices.SortFunc(out, func(a, b v1alpha1.Render) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// commitCorpus commits a directory at a time, by several people, and then
// comments into some of the files, which must move nobody's provenance.
func (c *corpus) commitCorpus() {
	authors := []gitindex.Person{{Name: "Ada Example", Email: "ada@example.org"}, {Name: "Björn Þór", Email: "b@example.org"},
		{Name: "李 Example", Email: "li@example.org"}}
	byDir := map[string]map[string]string{}
	for p, data := range c.files {
		if byDir[path.Dir(p)] == nil {
			byDir[path.Dir(p)] = map[string]string{}
		}
		byDir[path.Dir(p)][p] = string(data)
	}
	dirs := make([]string, 0, len(byDir))
	for dir := range byDir {
		dirs = append(dirs, dir)
	}
	sort.Strings(dirs)
	c.check(c.repo.Batch(func() error {
		for i, dir := range dirs {
			_, err := c.repo.Commit(gitserver.CommitOptions{Files: byDir[dir], Signer: c.signer, Message: "add " + dir, Author: authors[i%len(authors)]})
			if err != nil {
				return err
			}
		}
		_, err := c.repo.Commit(gitserver.CommitOptions{Files: c.comments(), Signer: c.signer, Message: "comment", Author: authors[0]})
		return err
	}))
}

// comments are some files with a comment more, where that says the same.
func (c *corpus) comments() map[string]string {
	out := map[string]string{}
	for i, p := range c.paths() {
		if i%4 != 0 || path.Ext(p) != ".yaml" || len(c.files[p]) > 1<<20 {
			continue
		}
		text := string(c.files[p]) + "\n# reviewed\n"
		before, _ := render.File(p, c.files[p], render.Limits{})
		after, _ := render.File(p, []byte(text), render.Limits{})
		same := slices.EqualFunc(before, after, func(a, b render.Object) bool { return bytes.Equal(a.JSON, b.JSON) && a.Line == b.Line })
		if same && len(before) > 0 {
			out[p] = text
		}
	}
	return out
}

// history is who brought each file and with which commit, as git has it. No
// file says anything else later, so that commit is the last change of each of
// its objects.
func (c *corpus) history() map[string][2]string {
	out, err := c.repo.Git("-c", "core.quotepath=off", "log", "--diff-filter=A", "--format=@%H %an <%ae>", "--name-only", "main")
	c.check(err)
	by := map[string][2]string{}
	var commit, author string
	for line := range strings.SplitSeq(out, "\n") {
		if rest, ok := strings.CutPrefix(line, "@"); ok {
			commit, author, _ = strings.Cut(rest, " ")
		} else if line != "" {
			by[line] = [2]string{commit, author}
		}
	}
	return by
}

// readDeclarations finds the objects. CRDs go into the cluster for a moment, so
// that it can say which kinds it knows with them.
func (c *corpus) readDeclarations() {
	history := c.history()
	for _, p := range c.paths() {
		if !render.Eligible(p) {
			continue
		}
		objects, problems := render.File(p, c.files[p], render.Limits{})
		if len(problems) > 0 {
			c.problems++
		}
		for _, o := range objects {
			c.declarations = append(c.declarations, &declaration{path: p, line: o.Line, json: o.JSON, namespace: c.namespaces[path.Dir(p)],
				gvk: schema.GroupVersionKind{Group: o.Group, Version: o.Version, Kind: o.Kind},
				ref: gitindex.Ref{Group: o.Group, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}, commit: history[p][0], author: history[p][1]})
		}
	}
	crds := c.only(isCRD)
	for _, d := range crds {
		c.check(createOnce(context.Background(), c.dynamic.Resource(crdResource), d.manifest()))
	}
	for _, d := range crds {
		c.awaitCRD(d.ref.Name)
	}
	c.remap()
	c.place()
	for _, d := range crds {
		c.check(c.remove(context.Background(), d))
	}
	c.awaitGone(crds)
}

var crdResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// place finds out where each object belongs, and sets aside those of unknown
// kind.
func (c *corpus) place() {
	takes := map[gitindex.Ref]int{}
	var known []*declaration
	for _, d := range c.declarations {
		mapping, err := c.mapper.RESTMapping(d.gvk.GroupKind(), d.gvk.Version)
		if err != nil {
			c.refused = append(c.refused, d.gvk.String())
			continue
		}
		if mapping.Scope.Name() == meta.RESTScopeNameRoot {
			d.ref.Namespace = ""
		} else if d.ref.Namespace == "" {
			d.ref.Namespace = d.namespace
		}
		d.take = takes[d.ref]
		takes[d.ref]++
		known = append(known, d)
	}
	c.declarations = known
	for _, d := range c.only(func(d *declaration) bool { return d.ref.Namespace != "" && !c.declares(d.ref.Namespace) }) {
		c.ensureNamespace(d.ref.Namespace)
	}
}

func (c *corpus) declares(namespace string) bool {
	return slices.ContainsFunc(c.declarations, func(d *declaration) bool { return d.gvk.Kind == "Namespace" && d.ref.Name == namespace })
}

func isCRD(d *declaration) bool { return d.gvk.Kind == "CustomResourceDefinition" }

func (c *corpus) only(want func(*declaration) bool) []*declaration {
	return slices.DeleteFunc(slices.Clone(c.declarations), func(d *declaration) bool { return !want(d) })
}

// play applies everything by one method, twice, to an empty cluster, and takes
// it out again.
func (c *corpus) play(m method, gated bool) play {
	results := play{}
	for take := 0; ; take++ {
		now := c.only(func(d *declaration) bool { return d.take == take })
		if len(now) == 0 {
			break
		}
		if take > 0 {
			c.removeAll(now)
		}
		c.setGated(gated)
		c.applyAll(m, now, results)
		c.setGated(false)
	}
	c.removeAll(c.declarations)
	return results
}

// applyAll applies what others need first, then the rest.
func (c *corpus) applyAll(m method, ds []*declaration, results play) {
	for _, stage := range stages(ds) {
		outcomes := make([]*outcome, len(stage))
		parallel(stage, func(i int, d *declaration) { outcomes[i] = c.apply(m, d) })
		var kinds []*declaration
		for i, d := range stage {
			results[d] = outcomes[i]
			if isCRD(d) && outcomes[i].err == nil {
				kinds = append(kinds, d)
			}
		}
		c.awaitKinds(kinds)
	}
}

// stages are declarations in the order in which they have to come.
func stages(ds []*declaration) [][]*declaration {
	out := make([][]*declaration, 4)
	for _, d := range ds {
		i := slices.Index([]string{"Namespace", "CustomResourceDefinition", "PriorityClass"}, d.gvk.Kind)
		if i < 0 {
			i = 3
		}
		out[i] = append(out[i], d)
	}
	return out
}

// parallel calls do for each item, a few at a time.
func parallel[T any](items []T, do func(int, T)) {
	var group errgroup.Group
	group.SetLimit(6)
	for i, item := range items {
		group.Go(func() error { do(i, item); return nil })
	}
	_ = group.Wait() // nothing in it returns an error
}

func (c *corpus) apply(m method, d *declaration) *outcome {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	o := &outcome{}
	client, err := c.resource(d.gvk, d.ref.Namespace)
	if err != nil {
		o.err = err
		return o
	}
	if o.err = m.apply(ctx, client, d.manifest()); o.err != nil {
		return o
	}
	if o.live, o.err = client.Get(ctx, d.ref.Name, metav1.GetOptions{}); o.err != nil {
		return o
	}
	o.moved, o.settled = m.again(ctx, client, d, o.live)
	return o
}

// again applies once more, which must change nothing. An object whose manifest
// sets no field at all (a bare ServiceAccount) is the one exception: server-side
// apply then finds annotations that nobody owns, the stamp, and gives them an
// owner, once.
func (m method) again(ctx context.Context, client dynamic.ResourceInterface, d *declaration, first *unstructured.Unstructured) (problem string, settled bool) {
	before := first
	for try := 1; ; try++ {
		if err := m.apply(ctx, client, d.manifest()); err != nil {
			return err.Error(), false
		}
		now, err := client.Get(ctx, d.ref.Name, metav1.GetOptions{})
		if err != nil {
			return err.Error(), false
		}
		problem, onlyOwners := moved(before, now)
		if problem == "" || try == 2 || !onlyOwners || len(before.GetManagedFields()) > 0 {
			return problem, problem == "" && try == 2
		}
		before = now
	}
}

// moved says what a second write changed, and whether that is only who owns
// which field. The API server itself writes the status of some kinds at any
// time; that is no movement.
func moved(first, second *unstructured.Unstructured) (problem string, onlyOwners bool) {
	if first.GetResourceVersion() == second.GetResourceVersion() {
		return "", false
	}
	a, b := first.DeepCopy(), second.DeepCopy()
	for _, u := range []*unstructured.Unstructured{a, b} {
		u.SetResourceVersion("")
		unstructured.RemoveNestedField(u.Object, "status")
		if fields := u.GetManagedFields(); fields != nil {
			u.SetManagedFields(slices.DeleteFunc(fields, func(f metav1.ManagedFieldsEntry) bool { return f.Subresource == "status" }))
		}
	}
	if reflect.DeepEqual(a.Object, b.Object) {
		return "", false
	}
	problem = fmt.Sprintf("from %s to %s", asJSON(a.Object), asJSON(b.Object))
	a.SetManagedFields(nil)
	b.SetManagedFields(nil)
	return problem, reflect.DeepEqual(a.Object, b.Object)
}

// awaitKinds waits until the API server serves what CRDs define.
func (c *corpus) awaitKinds(crds []*declaration) {
	for _, d := range crds {
		c.awaitCRD(d.ref.Name)
		u := d.manifest()
		group, _, _ := unstructured.NestedString(u.Object, "spec", "group")
		plural, _, _ := unstructured.NestedString(u.Object, "spec", "names", "plural")
		versions, _, _ := unstructured.NestedSlice(u.Object, "spec", "versions")
		for _, v := range versions {
			version := v.(map[string]any)["name"].(string)
			server.Await(c.t, d.ref.Name, 20*time.Second, func() error {
				_, err := c.dynamic.Resource(schema.GroupVersionResource{Group: group, Version: version, Resource: plural}).
					List(context.Background(), metav1.ListOptions{Limit: 1})
				return err
			})
		}
	}
}

// removeAll empties the cluster of the declared objects. It is not gated.
func (c *corpus) removeAll(ds []*declaration) {
	ordered := stages(ds)
	slices.Reverse(ordered)
	for _, stage := range ordered {
		parallel(stage, func(_ int, d *declaration) {
			if err := c.remove(context.Background(), d); err != nil {
				c.t.Errorf("removing %s: %v", d, err)
			}
		})
	}
	c.awaitGone(ds)
}

// awaitGone is patient: on a busy machine the API server fails to clear a
// definition's objects, and tries anew after ever longer pauses. Any change of
// the definition makes it try at once. This is not gated.
func (c *corpus) awaitGone(ds []*declaration) {
	parallel(ds, func(_ int, d *declaration) {
		client, err := c.resource(d.gvk, d.ref.Namespace)
		if err != nil {
			return
		}
		var last *unstructured.Unstructured
		nudged := time.Now()
		for deadline := time.Now().Add(4 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			u, err := client.Get(context.Background(), d.ref.Name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return
			}
			if err == nil {
				last = u
			}
			if isCRD(d) && time.Since(nudged) > 3*time.Second {
				nudged = time.Now()
				nudge := fmt.Sprintf(`{"metadata":{"annotations":{"example.org/nudge":"%d"}}}`, nudged.UnixNano())
				_, _ = client.Patch(context.Background(), d.ref.Name, types.MergePatchType, []byte(nudge), metav1.PatchOptions{})
			}
		}
		if last == nil {
			last = &unstructured.Unstructured{}
		}
		conditions, _, _ := unstructured.NestedSlice(last.Object, "status", "conditions")
		c.t.Errorf("%s does not go away: finalizers %v, conditions %s", d, last.GetFinalizers(), asJSON(conditions))
	})
}

// compare holds what happened behind the gate against what happened without
// it, and counts what was admitted.
func (c *corpus) compare(m method, before, after play) (admitted int) {
	c.t.Helper()
	wrong, settled := map[string]int{}, 0
	for _, d := range c.declarations {
		b, a := before[d], after[d]
		switch {
		case b.err != nil:
			continue
		case a.err != nil:
			wrong[kindOfRefusal(a.err)]++
			c.wrongDenials++
			if wrong[kindOfRefusal(a.err)] <= 3 {
				c.t.Errorf("%s of %s: %v", m.name, d, a.err)
			}
			continue
		case a.moved != b.moved:
			c.t.Errorf("%s of %s, the second time: %q (without Gitward %q)", m.name, d, a.moved, b.moved)
		}
		admitted++
		c.checkStamps(m, d, a.live)
		if a.settled {
			settled++
		}
		if x, y := comparable(b.live, "status"), comparable(a.live, "status"); !reflect.DeepEqual(x, y) {
			c.t.Errorf("%s of %s made another object than without Gitward:\n%s\n%s", m.name, d, asJSON(x), asJSON(y))
		}
	}
	if settled > 0 {
		c.t.Logf("%s: %d objects without a field of their own had their stamp owned by the second application", m.name, settled)
	}
	for kind, n := range wrong {
		c.t.Logf("%s: %d wrong denials: %s", m.name, n, kind)
	}
	return admitted
}

// checkStamps holds the annotations against what git says.
func (c *corpus) checkStamps(m method, d *declaration, live *unstructured.Unstructured) {
	c.t.Helper()
	// Where several files declare the same, the first of them is named.
	for _, other := range c.declarations {
		if other.ref == d.ref && other.path < d.path && bytes.Equal(other.json, d.json) {
			d = other
		}
	}
	want := map[string]string{"gitward.dev/origin": origin, "gitward.dev/commit": d.commit, "gitward.dev/author": d.author,
		"gitward.dev/path": d.path, "gitward.dev/signer": "ssh:" + c.signer.Fingerprint + " (ada@example.org)"}
	if got := stamps(live); !reflect.DeepEqual(got, want) {
		c.t.Errorf("%s of %s: stamp %v, want %v", m.name, d, got, want)
	}
}

func stamps(u *unstructured.Unstructured) map[string]string {
	out := map[string]string{}
	for k, v := range u.GetAnnotations() {
		if strings.HasPrefix(k, "gitward.dev/") {
			out[k] = v
		}
	}
	return out
}

// comparable is an object without what differs from one creation to the next,
// without stamps, and without the fields that the caller names.
func comparable(u *unstructured.Unstructured, without ...string) map[string]any {
	uid := string(u.GetUID())
	text := string(must(json.Marshal(u.Object)))
	if uid != "" {
		text = strings.ReplaceAll(text, uid, "UID")
	}
	text = timeOfDay.ReplaceAllString(tokenVolume.ReplaceAllString(text, "kube-api-access-xxxxx"), "TIME")
	v := map[string]any{}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		panic(err)
	}
	n := &unstructured.Unstructured{Object: v}
	for _, f := range [][]string{{"metadata", "uid"}, {"metadata", "resourceVersion"}, {"metadata", "generation"}, {"metadata", "creationTimestamp"},
		{"metadata", "managedFields"}} {
		unstructured.RemoveNestedField(v, f...)
	}
	for _, f := range without {
		delete(v, f)
	}
	annotations := n.GetAnnotations()
	for k := range annotations {
		if strings.HasPrefix(k, "gitward.dev/") {
			delete(annotations, k)
		}
	}
	if n.SetAnnotations(annotations); len(annotations) == 0 {
		n.SetAnnotations(nil)
	}
	if n.GetKind() == "Service" {
		withoutAllocations(v)
	}
	return v
}

var (
	tokenVolume = regexp.MustCompile(`kube-api-access-[a-z0-9]{5}`)
	timeOfDay   = regexp.MustCompile(`20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z`)
)

// withoutAllocations blanks the addresses and ports that the server chose.
func withoutAllocations(service map[string]any) {
	spec, ok := service["spec"].(map[string]any)
	if !ok {
		return
	}
	if spec["clusterIP"] != "None" {
		delete(spec, "clusterIP")
		delete(spec, "clusterIPs")
	}
	ports, _ := spec["ports"].([]any)
	for _, p := range ports {
		delete(p.(map[string]any), "nodePort")
	}
}

func asJSON(v any) string { return string(must(json.Marshal(v))) }

// tellRefused lists what this API server refuses without Gitward.
func (c *corpus) tellRefused(before map[string]play) {
	kinds := map[string]int{}
	for _, gvk := range c.refused {
		kinds["no such kind here: "+gvk]++
	}
	for _, m := range methods {
		for _, o := range before[m.name] {
			if o.err != nil {
				kinds[m.name+": "+kindOfRefusal(o.err)]++
			}
		}
	}
	names := make([]string, 0, len(kinds))
	for k := range kinds {
		names = append(names, k)
	}
	sort.Strings(names)
	for _, k := range names {
		c.t.Logf("refused by Kubernetes itself: %3d × %s", kinds[k], k)
	}
}

var named = regexp.MustCompile(`\S+ differs from Git`)

var quoted = regexp.MustCompile(`"[^"]*"|[0-9]+`)

// kindOfRefusal is an error without what differs from object to object.
func kindOfRefusal(err error) string {
	reason := string(apierrors.ReasonForError(err))
	text := quoted.ReplaceAllString(err.Error(), "…")
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		text = text[:i]
	}
	text = named.ReplaceAllString(text, " differs from Git")
	return reason + ": " + gitindex.Clean(text, 200)
}
