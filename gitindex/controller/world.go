package controller

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/canonical"
	"github.com/gitward/gitward/gitindex/object"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/gitindex/render/argocd"
)

// Renderer makes objects of a unit. That it fails is the unit's affair: nothing
// else is touched.
type Renderer interface {
	Render(src render.Sources, u render.Unit) (render.Output, error)
}

// rendering is one unit as it was rendered once.
type rendering struct {
	Unit   render.Unit
	Inputs inputs
	Output render.Output
	Error  string // why nothing of it is traceable; empty if it went well
	// From and Root say through what the unit was opened: see opener.
	From, Root string
	At         spot // where its opener stands
	// Via is the Origin whose object opened it, where that is another one.
	Via string
	// Passing says that the failure lies with the renderer, so that it may go
	// well another time.
	Passing bool

	made []form // see forms
}

// world is all that an Origin declares at one version of its tree: the files
// that are read as they stand, and the units, with those that objects of
// either open in turn.
type world struct {
	version    *version
	plain      []string // sorted
	renderings map[string]*rendering
	problems   []gitindex.Problem
	opened     []Opened // units whose content is in other repositories

	objects map[string]lookups     // by the Origin that opened: see view
	owned   map[string]render.Tool // the directories that are a tool's
	claims  []claim
	parts   parts
}

// lookups are objects that renderings may ask for.
type lookups map[gitindex.Ref]json.RawMessage

// view is what the units that an Origin opened may look up: what this one
// declares, and what that one's units make of it. What a neighbour makes is
// nothing that this Origin's own units see: it can change all that it renders.
func (w *world) view(via string) lookups {
	if v, ok := w.objects[via]; ok {
		return v
	}
	return w.objects[""]
}

// readsAsItStands reports whether a file of a part counts by itself.
func (w *world) readsAsItStands(p *part, file string) bool {
	return p.standsAlone(file, w.owned) && !w.taken(file, file)
}

// layout is what readsAsItStands depends on, in short.
func (w *world) layout() string {
	b, err := json.Marshal([]any{w.owned, w.claims})
	if err != nil {
		panic(fmt.Sprintf("directories cannot be written as JSON: %v", err))
	}
	return printOf(b)
}

// Bounds of what one Origin may open. They are far above what people have, and
// end what would go round in circles.
const (
	mostUnits  = 5_000
	mostRounds = 25
)

// seen is, of a blob, what opens units or is looked up; bases is what the
// survey needs of a kustomization's blob. Both stay good for ever.
type (
	seen  map[object.ID][]render.Object
	bases map[object.ID]kustomizationFile
)

// evaluator finds worlds. One goroutine uses it.
type evaluator struct {
	repository render.Repository
	parts      parts
	cluster    render.Cluster
	schemas    *canonical.Schemas
	reader     *reader
	renderer   Renderer
	outsides   *outsides
	// neighbours are the other Origins, and clusters the names under which an
	// Argo CD elsewhere knows this cluster.
	neighbours Neighbours
	clusters   []string
	artifacts  map[gitindex.Ref]string // Flux sources that hold a directory of the tree
	dirs       directories
	// eligible and markers are the paths of the timeline that may be plain
	// files, and those that make a directory a tool's. Sorted.
	eligible, markers []string

	seen     seen
	bases    bases
	keys     render.Keys
	memo     map[string]*rendering // the latest of each unit
	also     map[string]*rendering // another memo, for where the first has nothing that fits
	rendered int                   // how many renderings were made
	until    time.Time             // if set, no file is read for openers after it
}

func newEvaluator(s *Settings, paths []string, schemas *canonical.Schemas, r *reader) *evaluator {
	e := &evaluator{repository: s.repository(), parts: newParts(s.Spec.Render), schemas: schemas, reader: r,
		renderer: s.Renderer, keys: s.Keys, outsides: newOutsides(s.Fetching, r.blobs), dirs: directoriesOf(paths), memo: map[string]*rendering{}}
	if e.renderer == nil {
		e.renderer = noRenderer{}
	}
	if c := s.Spec.Cluster; c != nil {
		e.cluster = render.Cluster{KubeVersion: c.KubeVersion, APIVersions: c.APIVersions, Clusters: argoClusters(c.ArgoCD)}
		e.clusters = c.Names
	}
	e.outsides.always = s.always
	e.artifacts = map[gitindex.Ref]string{}
	for _, a := range s.Spec.Artifacts {
		e.artifacts[gitindex.Ref{Group: "source.toolkit.fluxcd.io", Kind: a.Kind, Namespace: or(a.Namespace, "flux-system"), Name: a.Name}] = clean(a.Path)
	}
	for _, p := range paths {
		if _, ok := marker(p); ok {
			e.markers = append(e.markers, p)
		}
		if _, ok := e.parts.of(p); ok && render.Eligible(p) {
			e.eligible = append(e.eligible, p)
		}
	}
	return e
}

func argoClusters(list []v1alpha1.ArgoCluster) []render.ArgoCluster {
	var out []render.ArgoCluster
	for _, c := range list {
		out = append(out, render.ArgoCluster(c))
	}
	return out
}

// noRenderer stands where none was given.
type noRenderer struct{}

func (noRenderer) Render(render.Sources, render.Unit) (render.Output, error) {
	return render.Output{}, errors.New("this process renders nothing")
}

// at finds the world at a version. A unit whose inputs are the same as when it
// was last rendered is not rendered again.
func (e *evaluator) at(v *version) *world {
	w := &world{version: v, owned: e.owned(v), parts: e.parts}
	r := e.survey(w)
	e.open(w, r)
	if w.claims = e.claimsOf(w); len(w.claims) > 0 {
		e.open(w, r.without(w))
	}
	return w
}

// roots are what an Origin declares by itself, before anything is opened.
type roots struct {
	units    []render.Unit
	files    []string
	problems []gitindex.Problem
}

// without leaves out what opened units render: see claim.
func (r *roots) without(w *world) *roots {
	return &roots{
		units:    slices.DeleteFunc(slices.Clone(r.units), func(u render.Unit) bool { return w.taken(u.Path, u.ID) }),
		files:    slices.DeleteFunc(slices.Clone(r.files), func(f string) bool { return w.taken(f, f) }),
		problems: slices.DeleteFunc(slices.Clone(r.problems), func(p gitindex.Problem) bool { return w.taken(p.Path, p.Path) }),
	}
}

// open renders the roots, and what their objects open, until nothing new comes.
func (e *evaluator) open(w *world, r *roots) {
	w.plain, w.renderings = r.files, map[string]*rendering{}
	defer func() { w.problems = append(w.problems, r.problems...) }()
	src := sources{tree: w.version, outside: e.outsides.at(w.version), keys: e.keys}
	fixed, standing := e.fromFiles(w.version, r.files)
	w.objects = map[string]lookups{"": standing}
	for round := 0; ; round++ {
		w.problems, w.opened = nil, nil
		wanted := e.wanted(w, r.units, fixed)
		next := make(map[string]*rendering, len(wanted))
		for _, id := range slices.Sorted(maps.Keys(wanted)) {
			next[id] = e.render(src.seeing(w.view(wanted[id].via)), wanted[id])
		}
		own, foreign := changed(w.renderings, next)
		w.renderings = next
		w.objects = e.lookups(standing, next)
		if !own && !foreign {
			return
		}
		if round == mostRounds {
			w.endless(own)
			return
		}
	}
}

// changed reports whether renderings differ, of those that the Origin opens
// itself, and of those that a neighbour does.
func changed(a, b map[string]*rendering) (own, foreign bool) {
	for _, ab := range [][2]map[string]*rendering{{a, b}, {b, a}} {
		for id, r := range ab[0] {
			if ab[1][id] != r {
				own, foreign = own || r.Via == "", foreign || r.Via != ""
			}
		}
	}
	return own, foreign
}

// endless gives up what is opened, since nobody knows what that is; only what
// neighbours open, if it is theirs that does not end.
func (w *world) endless(own bool) {
	w.problems = append(w.problems, gitindex.Problem{Message: "the Flux and Argo CD objects of the repository open each other without end; what they open is left out"})
	for id, r := range w.renderings {
		if r.From != "" && (own || r.Via != "") {
			w.renderings[id] = &rendering{Unit: r.Unit, Inputs: r.Inputs, From: r.From, Root: r.Root, At: r.At, Via: r.Via,
				Error: "is one of objects that open each other without end", Passing: true}
		}
	}
}

// request is a unit that is to be rendered, with where it comes from.
type request struct {
	unit       render.Unit
	from, root string
	at         spot
	via        string
	refused    string // why it is not rendered
}

// wanted are the units of the roots and all that the objects at hand open. What
// neighbours open comes last: it takes neither name nor room from what is here.
func (e *evaluator) wanted(w *world, units []render.Unit, fixed []opener) requests {
	wanted := requests{}
	for _, u := range units {
		wanted[u.ID] = request{unit: u, root: u.ID}
	}
	openers := slices.Clone(fixed)
	for _, r := range ownFirst(w.renderings) {
		openers = append(openers, e.openersOf(r)...)
	}
	slices.SortStableFunc(openers, func(a, b opener) int {
		return cmp.Or(strings.Compare(a.via, b.via), strings.Compare(a.id(), b.id()))
	})
	foreign := slices.IndexFunc(openers, func(o opener) bool { return o.via != "" })
	if foreign < 0 {
		foreign = len(openers)
	}
	e.want(w, wanted, openers[:foreign])
	for _, o := range e.neighbours.Opened {
		wanted.add(request{unit: o.Unit, from: "Origin " + o.By, root: "Origin " + o.By, via: o.By})
	}
	e.want(w, wanted, openers[foreign:])
	return wanted
}

// want adds the units that openers open.
func (e *evaluator) want(w *world, wanted requests, openers []opener) {
	for i := range openers {
		o := &openers[i]
		if _, twice := wanted[o.id()]; twice {
			wanted.add(request{unit: render.Unit{ID: o.id(), Opener: o.json}, from: o.from, via: o.via})
		} else if d := e.dispose(w, o); d.ours {
			wanted.add(request{unit: d.unit, from: o.from, root: o.root, at: o.at, via: o.via, refused: d.refused})
		}
	}
}

// requests are by unit.
type requests map[string]request

// add adds a request. One object from two places with two contents: either may
// be what the applier sees, so neither is taken for it; but no neighbour's
// stands against one of the Origin's own.
func (wanted requests) add(q request) {
	old, twice := wanted[q.unit.ID]
	switch {
	case !twice && len(wanted) >= mostUnits:
		q.refused = fmt.Sprintf("is one of more than %d units that the Origin has", mostUnits)
	case twice && (old.via != q.via && old.via == "" || bytes.Equal(old.unit.Opener, q.unit.Opener)):
		return
	case twice:
		old.refused = fmt.Sprintf("is declared differently in %s and in %s", old.from, q.from)
		q = old
	}
	wanted[q.unit.ID] = q
}

// disposition is what becomes of an opener.
type disposition struct {
	unit    render.Unit
	ours    bool   // it is rendered here
	refused string // or not, and why
}

// dispose says whose an opener's content is. A unit of another repository is
// left to the Origin that tracks it.
func (e *evaluator) dispose(w *world, o *opener) disposition {
	if o.tool == render.Argo && !argocd.InCluster(o.json, e.clusters...) {
		return disposition{} // for another cluster
	}
	u := o.unit(e.cluster)
	contents := w.contents(o)
	for _, c := range contents {
		h := holding{here: true}
		switch {
		case c.chart: // is pinned by itself
		case c.object.Kind != "":
			h = e.holds(w.view(o.via), c.object, 3)
		case c.repoURL != "" && !e.repository.Holds(c.repoURL, c.revision):
			h = holding{url: c.repoURL, branch: c.revision}
		}
		if h.here {
			u.Here = true
			if h.artifact.Root != "" || len(h.artifact.Copies) > 0 {
				u.Artifact = &h.artifact
			}
			continue
		}
		if h.url == "" {
			continue // its renderer says what it needs
		}
		if len(contents) > 1 {
			return disposition{unit: u, ours: true, refused: "takes part of its content from " + whereabouts(h.url, h.branch) + ", which is not what this Origin tracks"}
		}
		if o.via != "" {
			w.problems = append(w.problems, gitindex.Problem{Path: o.from, Message: fmt.Sprintf(
				"%s takes its content from %s: what an object of Origin %s opened opens nothing in a third repository", o.id(), whereabouts(h.url, h.branch), o.via)})
			return disposition{}
		}
		u.Here = true
		w.opened = append(w.opened, Opened{Unit: u, URL: h.url, Branch: h.branch})
		if !e.neighbours.tracks(h.url, h.branch) {
			w.problems = append(w.problems, gitindex.Problem{Path: o.from,
				Message: o.id() + " takes its content from " + whereabouts(h.url, h.branch) + ", which no Origin tracks: nothing of it is traceable"})
		}
		return disposition{}
	}
	return disposition{unit: u, ours: true}
}

// render renders a unit, or finds that it need not.
func (e *evaluator) render(src *sources, q request) *rendering {
	q.unit.Repository = e.repository
	for _, memo := range []map[string]*rendering{e.memo, e.also} {
		if old := memo[q.unit.ID]; old != nil && q.refused == "" && old.answers(&q) && src.fits(old.Inputs) {
			if old.At != q.at { // its opener only moved
				moved := *old
				moved.At = q.at
				old = &moved
				e.memo[q.unit.ID] = old
			}
			return old
		}
	}
	r := &rendering{Unit: q.unit, Inputs: inputs{}, From: q.from, Root: q.root, At: q.at, Via: q.via, Error: q.refused}
	if q.refused == "" {
		e.rendered++
		var err error
		if r.Output, err = e.renderer.Render(&recorder{sources: src, read: r.Inputs}, q.unit); err != nil {
			r.Output, r.Error = render.Output{Problems: r.Output.Problems}, err.Error()
			var passing interface{ Passing() bool }
			r.Passing = errors.As(err, &passing) && passing.Passing()
		}
	}
	if old := e.memo[q.unit.ID]; old != nil && old.same(r) {
		return old // so that the rounds come to an end
	}
	e.memo[q.unit.ID] = r
	return r
}

// answers reports whether the rendering is of the very unit that is asked for.
func (r *rendering) answers(q *request) bool {
	return r.From == q.from && r.Root == q.root && r.Via == q.via && sameUnit(&r.Unit, &q.unit)
}

func sameUnit(a, b *render.Unit) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func (r *rendering) same(o *rendering) bool {
	if !sameUnit(&r.Unit, &o.Unit) || r.Error != o.Error || r.From != o.From || r.Root != o.Root || r.At != o.At || r.Via != o.Via ||
		!maps.Equal(r.Inputs, o.Inputs) || len(r.Output.Objects) != len(o.Output.Objects) {
		return false
	}
	for i := range r.Output.Objects {
		if !bytes.Equal(r.Output.Objects[i].JSON, o.Output.Objects[i].JSON) {
			return false
		}
	}
	return true
}

// refIn is an object's address; ns is for one that names no namespace.
func (e *evaluator) refIn(o *render.Object, ns string) gitindex.Ref {
	ref := gitindex.Ref{Group: o.Group, Kind: o.Kind, Name: o.Name, Namespace: or(o.Namespace, ns)}
	if e.schemas.Scope(o.Group, o.Kind) == canonical.Cluster {
		ref.Namespace = ""
	}
	return ref
}

// namespaceOf is for objects of a rendering that name none.
func (r *rendering) namespace() string { return or(r.Output.Namespace, r.Unit.Namespace) }

func (e *evaluator) openersOf(r *rendering) []opener {
	var out []opener
	for i := range r.Output.Objects {
		if o, ok := e.opener(&r.Output.Objects[i], r.namespace()); ok {
			o.from, o.root, o.via, o.at = r.Unit.ID, r.Root, r.Via, spot{r.Output.Objects[i].Path, r.Output.Objects[i].Line}
			out = append(out, o)
		}
	}
	return out
}

func (e *evaluator) opener(o *render.Object, ns string) (opener, bool) {
	tool := opens(o.Group, o.Kind)
	if tool == "" {
		return opener{}, false
	}
	ref := e.refIn(o, ns)
	raw, err := withNamespace(o.JSON, o.Namespace, ref.Namespace)
	if err != nil {
		return opener{}, false
	}
	return opener{ref: ref, tool: tool, json: raw}, true
}

// fromFiles reads, of the files that are read as they stand, what opens units
// and what may be looked up.
func (e *evaluator) fromFiles(v *version, files []string) ([]opener, lookups) {
	var openers []opener
	objects := lookups{}
	for _, f := range files {
		t, ok := v.touch(f)
		if !ok || unreadableMode(t.Mode) != "" {
			continue
		}
		p, _ := e.parts.of(f)
		found := e.interesting(f, t.Blob)
		for i := range found {
			if o, ok := e.opener(&found[i], p.namespace); ok {
				o.from, o.root, o.at = f, f, spot{f, found[i].Line}
				openers = append(openers, o)
				continue
			}
			e.keep(objects, &found[i], p.namespace)
		}
	}
	return openers, objects
}

func (e *evaluator) keep(objects lookups, o *render.Object, ns string) {
	if !lookedUp(o.Group, o.Kind) {
		return
	}
	ref := e.refIn(o, ns)
	if raw, err := withNamespace(o.JSON, o.Namespace, ref.Namespace); err == nil {
		objects[ref] = raw
	}
}

func (e *evaluator) interesting(path string, blob object.ID) []render.Object {
	if found, ok := e.seen[blob]; ok {
		return found
	}
	if !e.until.IsZero() && time.Now().After(e.until) {
		return nil
	}
	var found []render.Object
	r := e.reader.read(path, blob)
	if r.unread {
		return nil // it may be readable another time
	}
	for _, o := range r.objects {
		if opens(o.Group, o.Kind) != "" || lookedUp(o.Group, o.Kind) {
			found = append(found, o)
		}
	}
	e.seen[blob] = found
	return found
}

// lookups are the objects that renderings may ask for: those of the files, and
// those that units rendered; by the Origin that opened the units that ask.
func (e *evaluator) lookups(standing lookups, renderings map[string]*rendering) map[string]lookups {
	out := map[string]lookups{"": maps.Clone(standing)}
	for _, r := range ownFirst(renderings) {
		if out[r.Via] == nil {
			out[r.Via] = maps.Clone(out[""])
		}
		for i := range r.Output.Objects {
			if o := &r.Output.Objects[i]; len(o.Holes) == 0 {
				e.keep(out[r.Via], o, r.namespace())
			}
		}
	}
	return out
}

// ownFirst lists renderings by name, those that a neighbour opened last.
func ownFirst(renderings map[string]*rendering) []*rendering {
	out := slices.Collect(maps.Values(renderings))
	slices.SortFunc(out, func(a, b *rendering) int {
		return cmp.Or(strings.Compare(a.Via, b.Via), strings.Compare(a.Unit.ID, b.Unit.ID))
	})
	return out
}
