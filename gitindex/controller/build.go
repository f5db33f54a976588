package controller

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/canonical"
	"github.com/gitward/gitward/gitindex/gitrepo"
	"github.com/gitward/gitward/gitindex/object"
	"github.com/gitward/gitward/gitindex/render"
)

// keepPast is how long superseded manifests are remembered: longer than any
// lag, so that a refusal can still say what was superseded and when.
const keepPast = 72 * time.Hour

// mostPast bounds how many superseded manifests of one object are remembered.
const mostPast = 5

// Yield is what one file that is read as it stands, or one rendered unit,
// declares.
type Yield struct {
	Manifests []*gitindex.Manifest
	Held      []*gitindex.Manifest
	Removal   *gitindex.Commit // an untrusted commit that takes all or some of it away
	Removes   []gitindex.Ref
	Problems  []gitindex.Problem
	// Unsure are a unit's manifests from when it could last be rendered; From is
	// the unit or file that opened it.
	Unsure []*gitindex.Manifest
	From   string
}

// file is what the index keeps of one path of the trusted tree.
type file struct {
	Blob  object.ID
	Touch int // index of the commit that the trusted tree has it from
	Yield
}

// origin names where a manifest comes from: a file, or a rendered unit.
type origin struct {
	name string
	unit bool
}

func originOf(m *gitindex.Manifest) origin {
	if m.Unit != "" {
		return origin{m.Unit, true}
	}
	return origin{m.Path, false}
}

// builder turns a timeline into files, units and objects. It works on one
// Origin, in one goroutine; what it publishes is never written to again.
type builder struct {
	origin    string
	timeline  *gitrepo.Timeline
	evaluator *evaluator
	parts     parts
	schemas   *canonical.Schemas
	reader    *reader
	now       time.Time

	files      map[string]*file
	units      map[string]*Yield
	renderings map[string]*rendering
	pending    map[string]*rendering // with what is not trusted
	objects    map[gitindex.Ref]*gitindex.Entry
	general    []gitindex.Problem // about directories, not files
	layout     string             // which directories are whose, in short

	heldFor   time.Duration // that reading of what is held back took
	world     *world
	historian *historian
}

// update brings files, units and objects up to date with the timeline for the
// given paths.
func (b *builder) update(paths []string) {
	b.world = b.evaluator.at(b.tip(false))
	b.general = b.world.problems
	layout := b.world.layout()
	same := b.files != nil && layout == b.layout
	if !same {
		b.layout, paths = layout, b.timeline.Paths()
	}
	redone := b.updateFiles(paths)
	redone = append(redone, b.updateUnits(same)...)
	b.index(redone)
	b.historian = nil
	b.reader.forget()
}

// tip is the newest version of the tree.
func (b *builder) tip(pending bool) *version {
	return &version{timeline: b.timeline, dirs: b.evaluator.dirs, blobs: b.reader.blobs, at: b.timeline.Len() - 1, pending: pending}
}

// redo is one source of manifests that was worked out anew.
type redo struct {
	origin
	old, next *Yield // nil where there was, or is, nothing
}

func (b *builder) updateFiles(paths []string) []redo {
	before := b.files
	b.files = maps.Clone(before)
	if b.files == nil {
		b.files = map[string]*file{}
	}
	b.historian = &historian{timeline: b.timeline, known: b.settled(before),
		read: func(path string, t gitrepo.Touch) []render.Object { return b.reader.read(path, t.Blob).objects }}
	var out []redo
	for _, p := range paths {
		r := redo{origin: origin{name: p}}
		if old := before[p]; old != nil {
			r.old = &old.Yield
		}
		if next := b.file(p); next != nil {
			b.files[p], r.next = next, &next.Yield
		} else {
			delete(b.files, p)
		}
		if r.old != nil || r.next != nil {
			out = append(out, r)
		}
	}
	return out
}

// refs are the objects that a yield has anything to say of.
func (y *Yield) refs() map[gitindex.Ref]bool {
	refs := map[gitindex.Ref]bool{}
	if y == nil {
		return refs
	}
	for _, m := range y.Manifests {
		refs[m.Ref] = true
	}
	for _, m := range y.Held {
		refs[m.Ref] = true
	}
	for _, m := range y.Unsure {
		refs[m.Ref] = true
	}
	for _, r := range y.Removes {
		refs[r] = true
	}
	return refs
}

// settled lets the historian stop where an earlier run has been.
func (b *builder) settled(before map[string]*file) func(string, gitrepo.Touch, *render.Object) *gitindex.Commit {
	return func(path string, t gitrepo.Touch, o *render.Object) *gitindex.Commit {
		f := before[path]
		if f == nil || f.Touch != t.Index || f.Blob != t.Blob {
			return nil
		}
		for _, m := range f.Manifests {
			if m.Ref.Group == o.Group && m.Ref.Kind == o.Kind && m.Ref.Name == o.Name && m.Declared == identityOf(o).namespace {
				return m.Commit
			}
		}
		return nil
	}
}

// file computes one path: what the trusted tree declares there, and what is
// held back. It is nil where there is nothing to say.
func (b *builder) file(path string) *file {
	part, ok := b.parts.of(path)
	if !ok || !render.Eligible(path) || !b.world.readsAsItStands(&part, path) {
		return nil
	}
	f := &file{Touch: -1}
	trusted := b.timeline.Trusted(path)
	if n := len(trusted); n > 0 && !trusted[n-1].Removed() {
		b.declare(f, path, part, trusted)
	}
	b.holdBack(f, path, part)
	if f.Touch < 0 && len(f.Held) == 0 {
		return nil
	}
	return f
}

func (b *builder) declare(f *file, path string, p part, trusted []gitrepo.Touch) {
	last := trusted[len(trusted)-1]
	f.Blob, f.Touch = last.Blob, last.Index
	if why := unreadableMode(last.Mode); why != "" {
		f.Problems = []gitindex.Problem{{Path: path, Message: why}}
		return
	}
	r := b.reader.read(path, last.Blob)
	f.Problems = r.problems
	for i := range r.objects {
		o := &r.objects[i]
		c := b.historian.lastChange(place{path, trusted, len(trusted) - 1}, o)
		ms, err := b.manifests(path, p, last.Blob, o, c)
		if err != nil {
			f.Problems = append(slices.Clip(f.Problems), gitindex.Problem{Path: path, Line: o.Line, Message: err.Error()})
		}
		f.Manifests = append(f.Manifests, ms...)
	}
}

// unreadableMode says why a tree entry is not a manifest; "" for a file.
func unreadableMode(mode uint32) string {
	e := object.Entry{Mode: mode}
	switch {
	case e.IsSymlink():
		return "is a symbolic link, which is not followed: it declares nothing"
	case e.IsGitlink():
		return "is a submodule, which is not followed: it declares nothing"
	}
	return ""
}

// holdBack notes what untrusted commits would make of the path, so that a
// refusal can say so.
func (b *builder) holdBack(f *file, path string, p part) {
	all := b.timeline.Path(path)
	pending := all
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Index == f.Touch || b.counts(all[i]) {
			pending = all[i+1:]
			break
		}
	}
	if len(pending) == 0 {
		return
	}
	if b.heldFor > longAllPending {
		return // a refusal then does not say what is held back
	}
	defer func(start time.Time) { b.heldFor += time.Since(start) }(time.Now())
	newest := pending[len(pending)-1]
	have := map[gitindex.Ref]*gitindex.Manifest{}
	for _, m := range f.Manifests {
		have[m.Ref] = m
	}
	f.Removal = b.timeline.Commit(newest.Index)
	gone := maps.Clone(have)
	if !newest.Removed() && unreadableMode(newest.Mode) == "" {
		objects := b.reader.read(path, newest.Blob).objects
		for i := range objects {
			o := &objects[i]
			ms, _ := b.manifests(path, p, newest.Blob, o, b.heldSince(path, pending, o))
			for _, m := range ms {
				delete(gone, m.Ref)
				if t := have[m.Ref]; t == nil || !bytes.Equal(t.Raw, m.Raw) {
					f.Held = append(f.Held, m)
				}
			}
		}
	}
	for ref := range gone {
		f.Removes = append(f.Removes, ref)
	}
}

func (b *builder) counts(t gitrepo.Touch) bool {
	return b.timeline.Counts(t.Index)
}

// heldSince is the oldest of the pending commits that gave the object the form
// it has in the newest.
func (b *builder) heldSince(path string, pending []gitrepo.Touch, o *render.Object) *gitindex.Commit {
	h := &historian{timeline: b.timeline, read: b.historian.read}
	i := len(pending) - 1
	for ; i > 0; i-- {
		before := h.find(place{path, pending, i - 1}, identityOf(o))
		if before == nil || !bytes.Equal(before.JSON, o.JSON) {
			break
		}
	}
	return b.timeline.Commit(pending[i].Index)
}

// manifests makes the Manifest of one rendered object. It is two where the
// kind's scope is not known: the object is then found under either address.
func (b *builder) manifests(path string, p part, blob object.ID, o *render.Object, c *gitindex.Commit) ([]*gitindex.Manifest, error) {
	m := gitindex.Manifest{Path: path, Blob: blob.String(), Line: o.Line, End: o.End, Applier: p.applier, Level: gitindex.Exact, Commit: c,
		Claimed: b.world.claimedBy(path)}
	return b.addressed(m, o, p.namespace)
}

// addressed completes a manifest with the object and its address. It is two
// where the kind's scope is not known.
func (b *builder) addressed(form gitindex.Manifest, o *render.Object, namespace string) ([]*gitindex.Manifest, error) {
	var namespaces []string
	switch b.schemas.Scope(o.Group, o.Kind) {
	case canonical.Cluster:
		namespaces = []string{""}
	case canonical.Namespaced:
		namespaces = []string{or(o.Namespace, namespace)}
	default:
		namespaces = []string{or(o.Namespace, namespace), ""}
	}
	var out []*gitindex.Manifest
	var problem error
	for i, ns := range namespaces {
		m := new(form)
		m.Ref = gitindex.Ref{Group: o.Group, Kind: o.Kind, Namespace: ns, Name: o.Name}
		m.APIVersion = schema.GroupVersion{Group: o.Group, Version: o.Version}.String()
		m.Origin, m.Declared, m.Alternate = b.origin, o.Namespace, i > 0
		raw, err := withNamespace(o.JSON, o.Namespace, ns)
		if err == nil {
			raw, err = withoutMarks(raw, form.Applier, form.Hook, form.Bare)
		}
		if err != nil {
			return nil, err
		}
		m.Raw = raw
		if b.schemas.Known(o.Group, o.Version, o.Kind) {
			if m.Canonical, err = b.schemas.Canonical(raw, o.Version); err != nil {
				m.CanonicalError = err.Error()
				problem = fmt.Errorf("%s cannot be brought to its canonical form: %w", m.Ref, err)
			}
		}
		out = append(out, m)
	}
	return out, problem
}

func or(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}

// index rebuilds the entries of the objects that any of the yields is about.
func (b *builder) index(redone []redo) {
	before := b.objects
	b.objects = maps.Clone(before)
	if b.objects == nil {
		b.objects = map[gitindex.Ref]*gitindex.Entry{}
	}
	again := make(map[origin]bool, len(redone))
	fresh := map[gitindex.Ref]*gitindex.Entry{}
	for _, r := range redone {
		again[r.origin] = true
		for _, y := range []*Yield{r.old, r.next} {
			for ref := range y.refs() {
				fresh[ref] = nil
			}
		}
	}
	for ref := range fresh {
		e := &gitindex.Entry{}
		if old := before[ref]; old != nil {
			e.Current = keep(old.Current, again)
			e.Held = keep(old.Held, again)
			e.Unsure = keep(old.Unsure, again)
			e.HeldRemoval = old.HeldRemoval
		}
		fresh[ref] = e
	}
	for _, r := range redone {
		if r.next != nil {
			r.next.enter(fresh)
		}
	}
	for ref, e := range fresh {
		if len(e.Current) == 0 || !b.stillRemoved(ref, e) {
			e.HeldRemoval = nil
		}
		slices.SortFunc(e.Current, byPlace)
		e.Past = b.past(before[ref], e, again)
		if len(e.Current)+len(e.Held)+len(e.Past)+len(e.Unsure) == 0 {
			delete(b.objects, ref)
		} else {
			b.objects[ref] = e
		}
	}
}

func (y *Yield) enter(entries map[gitindex.Ref]*gitindex.Entry) {
	for _, m := range y.Manifests {
		entries[m.Ref].Current = append(entries[m.Ref].Current, m)
	}
	for _, m := range y.Held {
		entries[m.Ref].Held = append(entries[m.Ref].Held, m)
	}
	for _, m := range y.Unsure {
		entries[m.Ref].Unsure = append(entries[m.Ref].Unsure, m)
	}
	for _, ref := range y.Removes {
		entries[ref].HeldRemoval = y.Removal
	}
}

// yield is what a source of manifests declares now; nil if there is none.
func (b *builder) yield(o origin) *Yield {
	if o.unit {
		return b.units[o.name]
	}
	if f := b.files[o.name]; f != nil {
		return &f.Yield
	}
	return nil
}

// stillRemoved reports whether some source of the entry is still taken away by
// an untrusted commit.
func (b *builder) stillRemoved(ref gitindex.Ref, e *gitindex.Entry) bool {
	return slices.ContainsFunc(e.Current, func(m *gitindex.Manifest) bool {
		y := b.yield(originOf(m))
		return y != nil && slices.Contains(y.Removes, ref)
	})
}

func keep(ms []*gitindex.Manifest, redone map[origin]bool) []*gitindex.Manifest {
	var out []*gitindex.Manifest
	for _, m := range ms {
		if !redone[originOf(m)] {
			out = append(out, m)
		}
	}
	return out
}

func byPlace(a, b *gitindex.Manifest) int {
	if c := strings.Compare(a.Path, b.Path); c != 0 {
		return c
	}
	if a.Line != b.Line {
		return a.Line - b.Line
	}
	return strings.Compare(a.Unit, b.Unit)
}

// past is what an entry remembers of earlier manifests: those it had until now
// that no current one repeats, and those it remembered already.
func (b *builder) past(old, now *gitindex.Entry, redone map[origin]bool) []gitindex.Past {
	if old == nil {
		return nil
	}
	var out []gitindex.Past
	for _, m := range old.Current {
		if !redone[originOf(m)] || repeats(now.Current, m) {
			continue
		}
		out = append(out, gitindex.Past{Manifest: m, By: b.successor(m, now), At: b.now})
	}
	for _, p := range old.Past {
		if b.now.Sub(p.At) < keepPast && !repeats(now.Current, p.Manifest) && len(out) < mostPast {
			out = append(out, p)
		}
	}
	return out
}

func repeats(current []*gitindex.Manifest, m *gitindex.Manifest) bool {
	return slices.ContainsFunc(current, func(c *gitindex.Manifest) bool { return bytes.Equal(c.Raw, m.Raw) })
}

// successor is the commit that superseded m.
func (b *builder) successor(m *gitindex.Manifest, now *gitindex.Entry) *gitindex.Commit {
	if len(now.Current) > 0 {
		return now.Current[0].Commit
	}
	if trusted := b.timeline.Trusted(m.Path); m.Unit == "" && len(trusted) > 0 {
		return b.timeline.Commit(trusted[len(trusted)-1].Index)
	}
	if n := b.timeline.Len(); m.Unit != "" && n > 0 {
		return b.timeline.Commit(n - 1)
	}
	return m.Commit
}

// whence says where a manifest comes from: "a/b.yaml:7", or a unit's name.
func whence(m *gitindex.Manifest) string {
	if m.Line == 0 {
		return or(m.Unit, m.Path)
	}
	return fmt.Sprintf("%s:%d", m.Path, m.Line)
}

// problems are all that people should mend, in the order of the files.
func (b *builder) problems() []gitindex.Problem {
	out := slices.Clone(b.general)
	for _, f := range b.files {
		out = append(out, f.Problems...)
	}
	for _, y := range b.units {
		out = append(out, y.Problems...)
	}
	for ref, e := range b.objects {
		for i, m := range e.Current {
			if i > 0 && !m.Alternate && !e.Current[0].Alternate && !bytes.Equal(e.Current[0].Raw, m.Raw) {
				out = append(out, gitindex.Problem{Path: m.Path, Line: m.Line,
					Message: fmt.Sprintf("declares %s, which %s declares as well; either counts", ref, whence(e.Current[0]))})
			}
		}
	}
	slices.SortFunc(out, func(a, b gitindex.Problem) int {
		if c := strings.Compare(a.Path, b.Path); c != 0 {
			return c
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return strings.Compare(a.Message, b.Message)
	})
	return slices.Compact(out)
}
