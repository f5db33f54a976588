package e2e

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/test/server"
)

const (
	editSeed        = 20261122
	editsAnObject   = 22
	createsAnObject = 8
	realEdits       = 400
)

// tally counts what became of edits.
type tally struct {
	sync.Mutex
	counts map[string]int
	wrong  int
	ops    map[string]map[string]int // by kind of edit and result
}

// The results of an edit.
const (
	byGate       = "refused by the gate"
	byKubernetes = "refused by Kubernetes' own validation"
	noEffect     = "without effect"
	towardsGit   = "took away what Git does not declare"
	admitted     = "ADMITTED WRONGLY"
	broken       = "NOT DECIDED"
)

func (t *tally) note(op, result string) {
	t.Lock()
	defer t.Unlock()
	t.counts[result]++
	if t.ops[op] == nil {
		t.ops[op] = map[string]int{}
	}
	t.ops[op][result]++
	if result == admitted || result == broken {
		t.wrong++
	}
}

func (t *tally) String() string {
	sent := 0
	var parts []string
	for _, result := range []string{byGate, byKubernetes, noEffect, towardsGit, broken} {
		sent += t.counts[result]
		if t.counts[result] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", t.counts[result], result))
		}
	}
	sent += t.counts[admitted]
	return fmt.Sprintf("%d sent, %s, %d wrong admissions", sent, strings.Join(parts, ", "), t.counts[admitted])
}

// edits sends single changes of every object that Kubernetes takes: as
// creations before it is there, as updates afterwards. None may pass.
func (c *corpus) edits(before play) {
	started := time.Now()
	t := &tally{counts: map[string]int{}, ops: map[string]map[string]int{}}
	variants := c.withVariants()
	ds := c.only(func(d *declaration) bool { return d.take == 0 && before[d].err == nil && !variants[d.ref] })
	c.t.Logf("edits: %d objects that several files declare differently are left out: one edit of them may be the other file's object", len(variants))
	results := play{}
	c.suspendOrigin()
	c.setGated(true)
	for _, stage := range stages(ds) {
		parallel(stage, func(_ int, d *declaration) { c.editedCreations(t, d) })
		c.applyAll(methods[0], stage, results)
	}
	creations := time.Since(started)
	parallel(ds, func(_ int, d *declaration) { c.editedUpdates(t, d, results[d]) })
	c.setGated(false)
	c.removeAll(ds)
	for _, op := range slices.Sorted(maps.Keys(t.ops)) {
		c.t.Logf("edits: %-18s %v", op, t.ops[op])
	}
	c.t.Logf("edits of %d objects, seed %d, %v and %v", len(ds), editSeed, creations.Round(time.Second), (time.Since(started) - creations).Round(time.Second))
	c.t.Logf("edits: %s", t)
	if t.counts[byGate] == 0 {
		c.t.Error("no edit was refused by the gate: the test does not bite")
	}
}

// withVariants are the objects that several files declare, each differently.
func (c *corpus) withVariants() map[gitindex.Ref]bool {
	first, out := map[gitindex.Ref]*declaration{}, map[gitindex.Ref]bool{}
	for _, d := range c.declarations {
		if f := first[d.ref]; f == nil {
			first[d.ref] = d
		} else if !bytes.Equal(f.json, d.json) {
			out[d.ref] = true
		}
	}
	return out
}

func seedOf(d *declaration) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, d)
	return h.Sum64() ^ editSeed
}

var dryRun = []string{metav1.DryRunAll}

// editedCreations sends edited objects that are not there yet.
func (c *corpus) editedCreations(t *tally, d *declaration) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	client, err := c.resource(d.gvk, d.ref.Namespace)
	if err != nil {
		c.t.Error(err)
		return
	}
	send := func(u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
		return client.Create(ctx, u, metav1.CreateOptions{DryRun: dryRun, FieldManager: "kubectl-create"})
	}
	unedited, err := send(d.manifest())
	if err != nil {
		if server.Refused(err) {
			c.t.Errorf("%s unedited: %v", d, err)
		}
		return // what kubectl cannot create, server-side apply can
	}
	base := withDefaults(d, unedited)
	if _, err := send(base); err != nil {
		c.t.Errorf("%s with the server's own defaults written out: %v", d, err)
		return
	}
	for _, e := range sample(editsOf(base.Object), createsAnObject, seedOf(d)) {
		u := base.DeepCopy()
		e.on(u.Object)
		got, err := send(u)
		c.judge(t, d, &e, "create", unedited, got, err)
	}
}

// chosen are fields of spec that the server chooses where a manifest is silent;
// nobody else may write them out.
var chosen = map[string][]string{
	"Service": {"clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort"},
	"Pod":     {"priority", "preemptionPolicy"},
}

// withDefaults is the manifest with the server's defaults written out, which
// are places for edits too. What the server chooses for one object is none.
func withDefaults(d *declaration, created *unstructured.Unstructured) *unstructured.Unstructured {
	switch d.gvk.Kind {
	case "Job":
		return d.manifest() // its selector names its uid
	case "Service":
		if strings.Contains(string(d.json), `"nodePort"`) {
			return d.manifest() // comparable takes the ports off
		}
	case "DaemonSet":
		created = created.DeepCopy()
		unstructured.RemoveNestedField(created.Object, "metadata", "annotations", "deprecated.daemonset.template.generation")
	}
	base := &unstructured.Unstructured{Object: comparable(created, "status")}
	for _, f := range chosen[d.gvk.Kind] {
		if _, declared, _ := unstructured.NestedFieldNoCopy(d.manifest().Object, "spec", f); !declared {
			unstructured.RemoveNestedField(base.Object, "spec", f)
		}
	}
	return base
}

// editedUpdates sends edited objects in place of the live one.
func (c *corpus) editedUpdates(t *tally, d *declaration, o *outcome) {
	if o == nil || o.err != nil {
		c.t.Errorf("%s is not there to be edited: %v", d, o)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	client, err := c.resource(d.gvk, d.ref.Namespace)
	if err != nil {
		c.t.Error(err)
		return
	}
	live, err := client.Get(ctx, d.ref.Name, metav1.GetOptions{})
	if err != nil {
		c.t.Error(err)
		return
	}
	for i, e := range sample(editsOf(live.Object), editsAnObject, seedOf(d)+1) {
		u := live.DeepCopy()
		e.on(u.Object)
		got, err := client.Update(ctx, u, metav1.UpdateOptions{DryRun: dryRun, FieldManager: "kubectl-edit"})
		result := c.judge(t, d, &e, "update", live, got, err)
		// The first one that the gate refused is tried in earnest.
		if i == 0 && result == byGate {
			c.inEarnest(t, d, client, live, &e)
		}
	}
}

// inEarnest sends an edit without a dry run and looks at what is there then.
func (c *corpus) inEarnest(t *tally, d *declaration, client dynamic.ResourceInterface, live *unstructured.Unstructured, e *edit) {
	u := live.DeepCopy()
	e.on(u.Object)
	_, err := client.Update(context.Background(), u, metav1.UpdateOptions{FieldManager: "kubectl-edit"})
	now, readErr := client.Get(context.Background(), d.ref.Name, metav1.GetOptions{})
	if readErr != nil {
		c.t.Error(readErr)
		return
	}
	if !server.Refused(err) || !reflect.DeepEqual(comparable(live, "status"), comparable(now, "status")) {
		c.t.Errorf("%s of %s for real: %v", e, d, err)
	}
	t.note("for real", byGate)
}

// judge says what became of one edit.
func (c *corpus) judge(t *tally, d *declaration, e *edit, verb string, base, got *unstructured.Unstructured, err error) string {
	result := byGate
	switch {
	case server.Refused(err):
	case err != nil && strings.Contains(err.Error(), "failed calling webhook"), apierrors.IsTooManyRequests(err), apierrors.IsTimeout(err), apierrors.IsServerTimeout(err):
		result = broken
		c.t.Errorf("%s: %s of %s: %v", verb, e, d, err)
	case err != nil:
		result = byKubernetes
	default:
		result = effect(d, base, got)
		if result == admitted {
			c.t.Errorf("%s: %s of %s was admitted: %s", verb, e, d, strings.Join(differences(nil, comparable(base), comparable(got)), "; "))
		}
	}
	t.note(verb+": "+e.op, result)
	return result
}

// effect compares what the server would have stored with what is there.
func effect(d *declaration, base, got *unstructured.Unstructured) string {
	a, b := comparable(base), comparable(got)
	if reflect.DeepEqual(a, b) {
		return noEffect
	}
	declared := d.manifest().Object
	for _, difference := range differences(nil, a, b) {
		path, isRemoval := strings.CutPrefix(difference, "- ")
		if !isRemoval || declares(declared, path) {
			return admitted
		}
	}
	return towardsGit
}

// differences lists where two values differ, as "- path" for what is missing in
// the second, "+ path" for what is new, "~ path" for the rest.
func differences(path []any, a, b any) []string {
	if reflect.DeepEqual(a, b) {
		return nil
	}
	if x, ok := a.(map[string]any); ok {
		if y, ok := b.(map[string]any); ok {
			return fieldDifferences(path, x, y)
		}
	}
	x, _ := a.([]any)
	y, ok := b.([]any)
	if ok && len(x) > len(y) && slices.EqualFunc(x[:len(y)], y, func(p, q any) bool { return reflect.DeepEqual(p, q) }) {
		return []string{"- " + pathText(path)}
	}
	return []string{"~ " + pathText(path)}
}

func fieldDifferences(path []any, x, y map[string]any) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(x)) {
		at := append(slices.Clone(path), k)
		if v, ok := y[k]; ok {
			out = append(out, differences(at, x[k], v)...)
		} else {
			out = append(out, "- "+pathText(at))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(y)) {
		if _, ok := x[k]; !ok {
			out = append(out, "+ "+pathText(append(slices.Clone(path), k)))
		}
	}
	return out
}

// declares reports whether Git's manifest says something at the path.
func declares(manifest map[string]any, path string) bool {
	var found func(v any, prefix string) bool
	found = func(v any, prefix string) bool {
		if prefix == path {
			return true
		}
		m, _ := v.(map[string]any)
		for k, f := range m {
			at := strings.TrimPrefix(prefix+"."+k, ".")
			if at == path || strings.HasPrefix(path, at+".") && found(f, at) {
				return true
			}
		}
		return false
	}
	return found(manifest, "")
}
