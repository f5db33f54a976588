package controller

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/elsewhere"
	"github.com/gitward/gitward/gitindex/gitrepo"
	"github.com/gitward/gitward/gitindex/render"
)

// updateUnits brings the units up to date with the world. Same says that the
// directories are whose they were.
func (b *builder) updateUnits(same bool) []redo {
	before, was := b.units, b.renderings
	b.units, b.renderings = map[string]*Yield{}, b.world.renderings
	var search []*search
	for _, id := range slices.Sorted(maps.Keys(b.renderings)) {
		if r := b.renderings[id]; same && r == was[id] && before[id] != nil {
			b.units[id] = &Yield{Manifests: before[id].Manifests, Problems: before[id].Problems, Unsure: before[id].Unsure, From: r.From}
		} else {
			y, open := b.declareUnit(r)
			b.units[id] = y
			search = append(search, open...)
		}
	}
	b.settle(search)
	if b.rememberBroken(before); len(before) == 0 {
		b.recallBroken()
	}
	b.holdBackUnits()
	var out []redo
	for id := range union(before, b.units) {
		if before[id] == nil || b.units[id] == nil || !before[id].equal(b.units[id]) {
			out = append(out, redo{origin{id, true}, before[id], b.units[id]})
		}
	}
	slices.SortFunc(out, func(a, b redo) int { return bytes.Compare([]byte(a.name), []byte(b.name)) })
	return out
}

func union(a, b map[string]*Yield) map[string]bool {
	out := map[string]bool{}
	for id := range a {
		out[id] = true
	}
	for id := range b {
		out[id] = true
	}
	return out
}

// equal reports whether two yields hold the same manifests and say the same of
// what is held back.
func (y *Yield) equal(o *Yield) bool {
	return slices.Equal(y.Manifests, o.Manifests) && len(y.Held)+len(o.Held)+len(y.Removes)+len(o.Removes) == 0 &&
		slices.Equal(y.Unsure, o.Unsure) && slices.Equal(y.Problems, o.Problems) && y.From == o.From
}

// rememberBroken keeps what units declared that cannot be rendered now, or that
// such a unit opened: that Git has given their objects up is not known.
func (b *builder) rememberBroken(before map[string]*Yield) {
	for again := true; again; {
		again = false
		for id, old := range before {
			if y := b.units[id]; y == nil && b.broken(old.From) {
				b.units[id] = &Yield{Unsure: old.last(), From: old.From}
				again = true
			}
		}
	}
	for id, y := range b.units {
		if b.broken(id) && len(y.Unsure) == 0 && before[id] != nil {
			y.Unsure = before[id].last()
		}
	}
}

// mostRecalled bounds how many versions are looked through for what a broken
// unit declared.
const mostRecalled = 20

// recallBroken finds in history what units last declared that cannot be
// rendered now, where the index remembers nothing: it is new, or was lost.
func (b *builder) recallBroken() {
	missing := func(id string) bool { y := b.units[id]; return b.broken(id) && len(y.Unsure) == 0 }
	if !slices.ContainsFunc(slices.Collect(maps.Keys(b.units)), missing) {
		return
	}
	now := b.evaluator.memo
	defer func() { b.evaluator.memo = now }()
	b.evaluator.memo = maps.Clone(now)
	changes, w, at := b.changes(), b.world, b.timeline.Len()-1
	for range mostRecalled {
		if at = b.lastRelevant(w, changes, at); at <= 0 {
			return
		}
		w = b.evaluator.at(b.before(at))
		at--
		for id, r := range w.renderings {
			gone := b.units[id] == nil && b.broken(r.From)
			if r.Error != "" || !gone && !missing(id) {
				continue
			}
			if gone {
				b.units[id] = &Yield{From: r.From}
			}
			b.units[id].Unsure = b.asItWas(r, b.timeline.Commit(at))
		}
	}
}

// asItWas are the manifests of a rendering of the past.
func (b *builder) asItWas(r *rendering, c *gitindex.Commit) []*gitindex.Manifest {
	var out []*gitindex.Manifest
	for i := range r.Output.Objects {
		o := &r.Output.Objects[i]
		ms, _ := b.addressed(b.renderedForm(r, o), o, r.namespace())
		for _, m := range ms {
			m.Commit = c
		}
		out = append(out, ms...)
	}
	return out
}

// broken reports whether it is not known what a unit declares.
func (b *builder) broken(id string) bool {
	if b.units[id] == nil {
		return false
	}
	r := b.renderings[id]
	return r == nil || r.Error != ""
}

// last is what the unit declared when that was last known.
func (y *Yield) last() []*gitindex.Manifest {
	if len(y.Unsure) > 0 {
		return y.Unsure
	}
	return y.Manifests
}

// declareUnit makes the manifests of a rendering, and lists those whose commit
// is still to be found.
func (b *builder) declareUnit(r *rendering) (*Yield, []*search) {
	y := &Yield{Problems: slices.Clone(r.Output.Problems), From: r.From}
	if r.Error != "" {
		y.Problems = append(y.Problems, gitindex.Problem{Path: b.placeOf(r), Message: fmt.Sprintf("%s: %s; nothing of it is traceable", r.Unit.ID, r.Error)})
	}
	var open []*search
	for i := range r.Output.Objects {
		o := &r.Output.Objects[i]
		ms, err := b.addressed(b.renderedForm(r, o), o, r.namespace())
		if err != nil {
			y.Problems = append(y.Problems, gitindex.Problem{Path: or(o.Path, b.placeOf(r)), Line: o.Line, Message: err.Error()})
		}
		for _, m := range ms {
			if m.Commit = b.alreadyKnown(m); m.Commit == nil {
				open = append(open, &search{m})
			}
		}
		y.Manifests = append(y.Manifests, ms...)
	}
	return y, open
}

// placeOf is the path by which people find a unit.
func (b *builder) placeOf(r *rendering) string {
	if r.Unit.Opener == nil {
		return orRoot(r.Unit.Path)
	}
	return or(r.From, r.Unit.ID)
}

func (b *builder) renderedForm(r *rendering, o *render.Object) gitindex.Manifest {
	m := gitindex.Manifest{Recreate: r.recreates(o), Owner: r.owner(), Path: or(o.Path, orRoot(r.Unit.Path)), Line: o.Line, End: o.End, Unit: r.Unit.ID, Via: r.Via,
		Level: r.Output.Level, Applier: r.Output.Applier, Hook: o.Hook, Bare: o.Bare, Holes: o.Holes, Live: o.Live}
	if o.Path == "" && r.At.Path != "" { // of content from elsewhere: where that is asked for
		m.Path, m.Line, m.End = r.At.Path, r.At.Line, r.At.Line
	}
	if m.Level == "" {
		m.Level = gitindex.Rendered
	}
	if m.Level == gitindex.Rendered && r.pinned() {
		m.Level = gitindex.Pinned
	}
	if len(o.Holes) > 0 {
		m.Level = gitindex.Templated
	}
	if p, ok := b.parts.of(r.Unit.Path); ok && r.Unit.Opener == nil {
		m.Claimed = b.world.claimedBy(r.Unit.Path)
		if m.Applier == nil {
			m.Applier = p.applier
		}
	}
	return m
}

// pinned reports whether the unit holds content from elsewhere.
func (r *rendering) pinned() bool {
	for i, print := range r.Inputs {
		if (i.Kind == chart || i.Kind == base) && !strings.HasPrefix(print, "!") {
			return true
		}
	}
	return false
}

// alreadyKnown is the commit of an object that a unit declared in this form
// before; nil if there was none.
func (b *builder) alreadyKnown(m *gitindex.Manifest) *gitindex.Commit {
	e := b.objects[m.Ref]
	if e == nil {
		return nil
	}
	for _, old := range e.Current {
		if old.Unit != "" && bytes.Equal(old.Raw, m.Raw) {
			return old.Commit
		}
	}
	return nil
}

// search is a manifest whose commit is to be found.
type search struct {
	manifest *gitindex.Manifest
}

// mostRenderings bounds what one search through history may cost. Beyond it an
// object is traced to the last commit that was looked at, which the unit's
// problems say.
const mostRenderings = 20_000

// settle finds, for each object, the commit that last changed its rendered
// form: history is rendered backwards until the object is another one, or is
// not there. Only commits that touch what the units read are looked at, and of
// the units only those that they touch are rendered.
func (b *builder) settle(open []*search) {
	if len(open) == 0 {
		return
	}
	now, until := *b.evaluator, b.evaluator.rendered+mostRenderings
	defer func() { b.evaluator.memo, b.evaluator.outsides = now.memo, now.outsides }()
	b.evaluator.memo, b.evaluator.outsides = maps.Clone(now.memo), now.outsides.past()
	changes, last := b.changes(), b.newestTrusted()
	for w, at := b.world, b.timeline.Len()-1; len(open) > 0; at-- {
		if at = b.lastRelevant(w, changes, at); at < 0 {
			break
		}
		if last = b.timeline.Commit(at); b.evaluator.rendered > until {
			b.general = append(b.general, gitindex.Problem{Message: fmt.Sprintf(
				"the history of rendered objects is long: some are traced to %s although an older commit may have given them their form", last.Short())})
			break
		}
		w = b.evaluator.at(b.before(at))
		had := w.forms()
		open = slices.DeleteFunc(open, func(s *search) bool {
			if had[s.form()] {
				return false
			}
			s.manifest.Commit = last
			return true
		})
	}
	for _, s := range open {
		s.manifest.Commit = last
	}
}

// before is the trusted tree as it was before a commit.
func (b *builder) before(at int) *version {
	return &version{timeline: b.timeline, dirs: b.evaluator.dirs, blobs: b.reader.blobs, at: at - 1}
}

func (b *builder) newestTrusted() *gitindex.Commit {
	for i := b.timeline.Len() - 1; i > 0; i-- {
		if b.timeline.Counts(i) {
			return b.timeline.Commit(i)
		}
	}
	return b.timeline.Commit(0)
}

// changes are the paths that each trusted commit touches.
func (b *builder) changes() map[int][]string {
	out := map[int][]string{}
	for _, p := range b.timeline.Paths() {
		for _, t := range b.timeline.Trusted(p) {
			out[t.Index] = append(out[t.Index], p)
		}
	}
	return out
}

// lastRelevant is the newest commit, at the latest the given one, that may have
// changed what the units of the world make; -1 if there is none.
func (b *builder) lastRelevant(w *world, changes map[int][]string, at int) int {
	reads := w.reads()
	for ; at >= 0; at-- {
		for _, p := range changes[at] {
			if _, isMarker := marker(p); isMarker || p == elsewhere.LockPath || reads[p] || reads.lists(p) || b.opensAnything(p, at) {
				return at
			}
		}
	}
	return -1
}

// opensAnything reports whether a file held, before or after a commit, an
// object that opens a unit or is looked up.
func (b *builder) opensAnything(p string, at int) bool {
	if !render.Eligible(p) {
		return false
	}
	if _, ok := b.parts.of(p); !ok {
		return false
	}
	for _, i := range []int{at, at - 1} {
		v := version{timeline: b.timeline, at: i}
		if t, ok := v.touch(p); ok && unreadableMode(t.Mode) == "" && len(b.evaluator.interesting(p, t.Blob)) > 0 {
			return true
		}
	}
	return false
}

// reads are the paths that a world's units read, and the directories they list,
// with a slash at the end; and all links that they are reached through.
type reads map[string]bool

func (w *world) reads() reads {
	out := reads{}
	for _, r := range w.renderings {
		for i := range r.Inputs {
			slash := ""
			switch i.Kind {
			case readFile, statPath, linkItself:
			case listDir:
				slash = "/"
			default:
				continue
			}
			out[clean(i.Name)+slash] = true
			if p, err := w.version.trace(i.Name, i.Kind != linkItself, func(link string) { out[link] = true }); err == nil {
				out[p+slash] = true
			}
		}
	}
	return out
}

// lists reports whether the coming or going of a path may show in a listing, or
// in a directory's being there.
func (r reads) lists(p string) bool {
	for dir := directoryOf(p); ; dir = directoryOf(dir) {
		if r[dir+"/"] || r[dir] {
			return true
		}
		if dir == "" {
			return false
		}
	}
}

// form is an object's address and content, as its manifest has them.
type form struct {
	id   identity
	hash string
}

func (s *search) form() form {
	r := s.manifest.Ref
	return form{identity{r.Group, r.Kind, r.Namespace, r.Name}, printOf(s.manifest.Raw)}
}

// forms are all objects that the world's units make.
func (w *world) forms() map[form]bool {
	out := map[form]bool{}
	for _, r := range w.renderings {
		for _, f := range r.forms() {
			out[f] = true
		}
	}
	return out
}

// forms are the objects of a rendering, under the address of a namespaced one
// and of a cluster-scoped one.
func (r *rendering) forms() []form {
	if r.made != nil {
		return r.made
	}
	for i := range r.Output.Objects {
		o := &r.Output.Objects[i]
		for _, ns := range []string{or(o.Namespace, r.namespace()), ""} {
			if raw, err := withNamespace(o.JSON, o.Namespace, ns); err == nil {
				r.made = append(r.made, form{identity{o.Group, o.Kind, ns, o.Name}, printOf(raw)})
			}
		}
	}
	return r.made
}

// holdBackUnits notes what untrusted commits would make of the units, so that a
// refusal can say so.
func (b *builder) holdBackUnits() {
	held := b.timeline.HeldBack()
	if len(held) == 0 || len(b.renderings) == 0 && len(b.evaluator.markers) == 0 {
		return
	}
	e := *b.evaluator
	e.until = time.Now().Add(longAllPending)
	e.memo, e.also, e.renderer = map[string]*rendering{}, e.memo, sparing(e.renderer, e.until)
	maps.Copy(e.memo, b.pending)
	e.outsides = newOutsides(nil, nil) // nothing is fetched for a stranger
	w := e.at(b.tip(true))
	b.pending = w.renderings
	for _, id := range slices.Sorted(maps.Keys(w.renderings)) {
		r := w.renderings[id]
		if r != b.renderings[id] && r.Error == "" {
			b.holdBackUnit(r, newestOf(r, held))
		}
	}
	for id, y := range b.units {
		if r := w.renderings[id]; r == nil {
			b.removes(y, held[0].Commit, nil)
		}
	}
}

// What strangers push is rendered only for the sake of messages, so it may cost
// little: so many renderings an update, each so short, and all in so long a
// time. What is trusted waits for them.
const (
	mostPending    = 50
	longPending    = 5 * time.Second
	longAllPending = 5 * time.Second
)

// sparing is a renderer that soon has enough.
func sparing(r Renderer, until time.Time) Renderer {
	f := &frugal{r.Render, mostPending, until}
	if hasty, ok := r.(interface {
		Hasty(time.Duration) func(render.Sources, render.Unit) (render.Output, error)
	}); ok {
		f.render = hasty.Hasty(longPending)
	}
	return f
}

type frugal struct {
	render func(render.Sources, render.Unit) (render.Output, error)
	left   int
	until  time.Time
}

// Render renders while there are renderings and time left.
func (f *frugal) Render(src render.Sources, u render.Unit) (render.Output, error) {
	if f.left--; f.left < 0 || time.Now().After(f.until) {
		return render.Output{}, errors.New("too much of what is not trusted waits to be rendered")
	}
	return f.render(src, u)
}

// newestOf is the untrusted commit that made the rendering what it would be.
func newestOf(r *rendering, held []gitrepo.Held) *gitindex.Commit {
	var newest *gitrepo.Held
	for i := range held {
		_, read := r.Inputs[input{readFile, held[i].Path}]
		if read && (newest == nil || held[i].Touch.Index > newest.Touch.Index) {
			newest = &held[i]
		}
	}
	if newest == nil {
		newest = &held[0] // through its opener, or a directory's listing
	}
	return newest.Commit
}

func (b *builder) holdBackUnit(r *rendering, c *gitindex.Commit) {
	y := b.units[r.Unit.ID]
	if y == nil {
		y = &Yield{}
		b.units[r.Unit.ID] = y
	}
	have := map[gitindex.Ref][]byte{}
	for _, m := range y.Manifests {
		have[m.Ref] = m.Raw
	}
	still := map[gitindex.Ref]bool{}
	for i := range r.Output.Objects {
		o := &r.Output.Objects[i]
		ms, _ := b.addressed(b.renderedForm(r, o), o, r.namespace())
		for _, m := range ms {
			still[m.Ref] = true
			if m.Commit = c; !bytes.Equal(have[m.Ref], m.Raw) {
				y.Held = append(y.Held, m)
			}
		}
	}
	b.removes(y, c, still)
}

// removes notes the objects of a unit that an untrusted commit takes away.
func (b *builder) removes(y *Yield, c *gitindex.Commit, still map[gitindex.Ref]bool) {
	for _, m := range y.Manifests {
		if !still[m.Ref] {
			y.Removal, y.Removes = c, append(y.Removes, m.Ref)
		}
	}
}
