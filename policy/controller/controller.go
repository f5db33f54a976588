// Package controller answers: which policies are in force? It follows the
// directories that Gates name, as the Origins' accepted revisions have them. A
// new state of one comes into force only when it has stood trial; until then,
// and if it fails, the last good one stays.
package controller

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/policy"
	"github.com/gitward/gitward/policy/worker"
)

// Place is where policies lie: a directory of an Origin's trusted tree; the path
// is "." for all of it.
type Place struct{ Origin, Path string }

func (p Place) String() string { return p.Origin + ":" + p.Path }

// Use is a Gate's use of policies. Action is the strictest that may follow from
// a finding, for trying policies out.
type Use struct {
	Place
	Action policy.Action
	// NewDenials is how many in a hundred of the last requests that the policies in
	// force let pass a new state may deny.
	NewDenials int
}

// Trees gives the trusted trees of Origins: gitindex/controller's Hub does.
type Trees interface {
	// Revision is that of the tree that Read would give; empty if there is none.
	Revision(origin string) string
	Read(origin string, do func(tree fs.FS, revision string) error) error
}

// Controller keeps policies in force. Want, Look and Ask may be called by any
// goroutine.
type Controller struct {
	Trees  Trees
	Worker worker.Config
	// Dir keeps what is in force over a restart; empty keeps nothing.
	Dir string
	Log *slog.Logger
	// Inventory gives all objects of some kinds that Git declares, as JSON of
	// Gatekeeper's data.inventory; "*" is any kind. It may be nil.
	Inventory func(kinds []string) []byte
	// Changed is called when the state of any policies is another; it may be nil.
	Changed func()

	wake chan struct{}
	once sync.Once

	mu     sync.Mutex
	wanted map[string][]Use // by Gate
	states map[Place]*state
	recent map[string]*recent // by Gate
	// reading are the places that are being read, and where what is read comes.
	reading map[Place]*reading

	court atomic.Pointer[court]

	// looks counts the calls of Look: Git may have become another by each.
	looks atomic.Int64
	stock stock
}

// stock is the inventory that a panel has.
type stock struct {
	mu     sync.Mutex
	panel  *worker.Panel
	digest [32]byte
	looks  int64 // at which it was good
}

// state is what is known of one place.
type state struct {
	active   *version // in force, or about to be
	revision string   // that brought the active files
	// refused is the newest state that failed, and why; empty if the newest is in
	// force.
	refused   string // its digest
	refusedAt string
	problems  []gitindex.Problem
	// settled is the revision, and the terms, for which there is nothing left to do.
	settled string
}

// version is one state of a directory's files.
type version struct {
	Digest string
	Files  policy.Files
}

// court is a panel, and where in it each place's bundle is.
type court struct {
	panel *worker.Panel
	at    map[Place]int
	kinds []string // of which the policies want an inventory
	// crowded says that it is larger than a child could hold.
	crowded atomic.Bool
}

// mostInventory is how large the inventory may be, in bytes of JSON: of these a
// child makes some twenty times as many.
func (c *Controller) mostInventory() int {
	return cmp.Or(c.Worker.Memory, worker.DefaultMemory) / 40
}

func (c *Controller) begin() {
	c.once.Do(func() {
		c.wake = make(chan struct{}, 1)
		c.states, c.recent, c.reading = map[Place]*state{}, map[string]*recent{}, map[Place]*reading{}
	})
}

// Want says which policies the Gates use.
func (c *Controller) Want(gates map[string][]Use) {
	c.begin()
	c.mu.Lock()
	c.wanted = gates
	c.mu.Unlock()
	c.Look()
}

// Look has the controller look whether Git has something new. It returns at
// once.
func (c *Controller) Look() {
	c.begin()
	c.looks.Add(1)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Run follows until ctx ends.
func (c *Controller) Run(ctx context.Context) {
	c.begin()
	defer c.Close()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
			c.Sync(ctx)
		}
	}
}

// Close ends the children. Afterwards nothing is in force.
func (c *Controller) Close() {
	if court := c.court.Swap(nil); court != nil && court.panel != nil {
		court.panel.Close()
	}
}

// Sync looks once, and returns when what is new is in force or refused. It is for
// one goroutine at a time.
func (c *Controller) Sync(ctx context.Context) {
	c.begin()
	places := c.places()
	changed := c.drop(places)
	for _, place := range places {
		if ctx.Err() != nil {
			return
		}
		changed = c.follow(ctx, place) || changed
	}
	if err := c.convene(Place{}, nil); err != nil {
		c.Log.Error("the policies could not be put into force together", "error", err)
	}
	if court := c.court.Load(); court != nil {
		c.restock(court)
	}
	if changed && c.Changed != nil {
		c.Changed()
	}
}

// places are all that the Gates use.
func (c *Controller) places() []Place {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[Place]bool{}
	for _, uses := range c.wanted {
		for _, u := range uses {
			all[u.Place] = true
		}
	}
	return slices.SortedFunc(maps.Keys(all), func(a, b Place) int { return strings.Compare(a.String(), b.String()) })
}

// drop forgets what nobody uses any more.
func (c *Controller) drop(places []Place) (changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for place := range c.states {
		if !slices.Contains(places, place) {
			delete(c.states, place)
			changed = true
		}
	}
	return changed
}

// follow looks at one place. Its files are read once for each revision.
func (c *Controller) follow(ctx context.Context, place Place) (changed bool) {
	s, terms := c.state(place), c.terms(place)
	if at := c.Trees.Revision(place.Origin); at != "" && s.settled == at+terms {
		return false
	}
	read := c.read(ctx, place)
	if read == nil {
		return false
	}
	if read.err != nil {
		return c.note(place, func(s *state) {
			s.problems = []gitindex.Problem{{Path: place.Path, Message: gitindex.Clean(read.err.Error(), 300)}}
		})
	}
	files, revision := read.files, read.revision
	settled := revision + terms
	v := &version{Digest: digest(files), Files: files}
	switch {
	case s.active != nil && s.active.Digest == v.Digest:
		return c.note(place, func(s *state) { s.refused, s.refusedAt, s.problems, s.settled = "", "", nil, settled })
	case s.refused == v.Digest+terms:
		return c.note(place, func(s *state) { s.refusedAt, s.settled = revision, settled })
	}
	loaded, problems, err := c.try(ctx, place, files)
	if err == nil && len(problems) == 0 {
		err = c.convene(place, v)
	}
	if err != nil { // not the policies' fault, or not theirs alone: another time it may go
		c.Log.Warn("policies not put into force", "policies", place.String(), "commit", revision, "error", err)
		return c.note(place, func(s *state) {
			s.refusedAt, s.problems = revision, []gitindex.Problem{{Path: place.Path, Message: gitindex.Clean(err.Error(), 300)}}
		})
	}
	if len(problems) > 0 {
		c.Log.Warn("policies not put into force", "policies", place.String(), "commit", revision, "problem", problems[0].String(), "problems", len(problems))
		c.note(place, func(s *state) {
			s.refused, s.refusedAt, s.problems, s.settled = v.Digest+terms, revision, problems, settled
		})
		c.keep(place)
		return true
	}
	c.Log.Info("policies put into force", "policies", place.String(), "commit", revision, "count", len(loaded.Policies), "rego", loaded.Dialect)
	c.note(place, func(s *state) {
		s.active, s.revision, s.refused, s.refusedAt, s.problems, s.settled = v, revision, "", "", nil, settled
	})
	c.keep(place)
	return true
}

// terms are what Gates ask of a place's new states: under other terms one that was
// refused is tried again.
func (c *Controller) terms(place Place) string {
	var out []string
	for gate, u := range c.usersOf(place) {
		out = append(out, fmt.Sprintf(" %s %v %d", gate, u.Action, u.NewDenials))
	}
	slices.Sort(out)
	return strings.Join(out, ";")
}

// state gives what is known of a place, from disk the first time.
func (c *Controller) state(place Place) state {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.states[place]; s != nil {
		return *s
	}
	s := &state{}
	if k, err := c.kept(place); err == nil {
		s.active, s.revision, s.refused, s.refusedAt, s.problems = &k.Version, k.Revision, k.Refused, k.RefusedAt, k.Problems
	}
	c.states[place] = s
	return *s
}

// note changes what is known of a place, and reports whether anybody would see a
// difference.
func (c *Controller) note(place Place, change func(*state)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.states[place]
	before := *s
	change(s)
	return before.revision != s.revision || before.refusedAt != s.refusedAt || len(before.problems) != len(s.problems) || c.court.Load() == nil
}

// tree is what was read of a place.
type tree struct {
	files    policy.Files
	revision string
	err      error
}

// atOnce is how long a reading may take: longer takes an Origin that is being
// fetched, and its policies have time.
const atOnce = time.Second

// reading is one that is going on.
type reading struct {
	done chan *tree
	late atomic.Bool // nobody waits for it any more
}

// read reads a place; nil means that it is not to be had now. When it is, the
// controller looks again: one Origin's slow repository delays no other's policies.
func (c *Controller) read(ctx context.Context, place Place) *tree {
	c.mu.Lock()
	r := c.reading[place]
	if r == nil {
		r = &reading{done: make(chan *tree, 1)}
		c.reading[place] = r
		go func() {
			r.done <- c.readTree(place)
			if r.late.Load() {
				c.Look()
			}
		}()
	}
	c.mu.Unlock()
	t := r.wait(ctx)
	if t != nil {
		c.mu.Lock()
		delete(c.reading, place)
		c.mu.Unlock()
	}
	return t
}

func (r *reading) wait(ctx context.Context) *tree {
	select {
	case <-ctx.Done():
	case t := <-r.done:
		return t
	case <-time.After(atOnce):
	}
	r.late.Store(true)
	select {
	case t := <-r.done:
		return t
	default:
		return nil
	}
}

func (c *Controller) readTree(place Place) *tree {
	t := &tree{}
	t.err = c.Trees.Read(place.Origin, func(fsys fs.FS, revision string) error {
		t.revision = revision
		if _, err := fs.Stat(fsys, place.Path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		sub, err := fs.Sub(fsys, place.Path)
		if err != nil {
			return err
		}
		t.files, err = policy.Collect(sub)
		return err
	})
	if t.err == nil && len(t.files) == 0 {
		t.err = errors.New("there are no policies here")
	}
	return t
}

func digest(files policy.Files) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%q %d\n", name, len(files[name]))
		h.Write(files[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// convene starts a panel with all that is in force, and with a new state of one
// place if there is one, and puts it in the place of the one before. On an error
// the one before stays.
func (c *Controller) convene(place Place, v *version) error {
	for {
		next, bundles := c.agenda(place, v)
		if same(c.court.Load(), bundles) {
			return nil
		}
		if len(bundles) > 0 {
			config := c.Worker
			config.Patience = time.Minute + time.Duration(len(bundles))*2*longest
			panel, err := worker.Start(config, bundles)
			if err != nil {
				return fmt.Errorf("putting all policies into force together: %w", err)
			}
			if v != nil && len(panel.Loaded[next.at[place]].Problems) > 0 {
				panel.Close()
				return fmt.Errorf("it compiles alone, and not beside the others: %s", panel.Loaded[next.at[place]].Problems[0])
			}
			if c.dismiss(next, panel) {
				panel.Close()
				continue
			}
			next.panel, next.kinds = panel, panel.Kinds()
		}
		c.restock(next)
		if before := c.court.Swap(next); before != nil && before.panel != nil {
			go before.panel.Close()
		}
		return nil
	}
}

// agenda is a court to be, with the bundles that it is to have.
func (c *Controller) agenda(place Place, v *version) (*court, []worker.Bundle) {
	next := &court{at: map[Place]int{}}
	var bundles []worker.Bundle
	for _, p := range c.places() {
		c.mu.Lock()
		s := c.states[p]
		c.mu.Unlock()
		var files policy.Files
		switch {
		case v != nil && p == place:
			files = v.Files
		case s != nil && s.active != nil:
			files = s.active.Files
		default:
			continue
		}
		next.at[p] = len(bundles)
		bundles = append(bundles, worker.Bundle{Name: p.String(), Files: files})
	}
	return next, bundles
}

// dismiss takes out of force what does not compile, and reports whether there was
// anything: what another version of this program kept on disk may be in a Rego
// that is not this one's.
func (c *Controller) dismiss(next *court, panel *worker.Panel) (found bool) {
	for p, i := range next.at {
		problems := panel.Loaded[i].Problems
		if len(problems) == 0 {
			continue
		}
		found = true
		c.Log.Error("policies that were in force do not compile any more", "policies", p.String(), "problem", problems[0].String())
		c.note(p, func(s *state) { s.active, s.revision, s.problems, s.settled = nil, "", problems, "" })
	}
	return found
}

// restock gives the policies what Git declares now, of the kinds that they want,
// if that may be another than before. A request that follows the index at once
// may be the first to need it.
func (c *Controller) restock(court *court) {
	if court.panel == nil || c.Inventory == nil || len(court.kinds) == 0 {
		return
	}
	now := c.looks.Load()
	s := &c.stock
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.panel == court.panel && s.looks >= now {
		return
	}
	text := c.Inventory(court.kinds)
	court.crowded.Store(len(text) > c.mostInventory())
	if court.crowded.Load() {
		text = []byte("{}") // nobody who wants it is asked: see Ask
	}
	if sum := sha256.Sum256(text); s.panel != court.panel || sum != s.digest {
		s.digest, s.panel = sum, court.panel
		court.panel.Stock(text)
	}
	s.looks = now
}

// wants reports whether some of the policies used want the inventory.
func (c *court) wants(uses []Use) bool {
	return slices.ContainsFunc(uses, func(u Use) bool {
		return slices.ContainsFunc(c.panel.Loaded[c.at[u.Place]].Policies, func(d worker.Described) bool { return len(d.Inventory) > 0 })
	})
}

// same reports whether a court has just these bundles.
func same(c *court, bundles []worker.Bundle) bool {
	if c == nil || len(c.at) != len(bundles) || c.panel == nil {
		return false
	}
	return c.panel.Has(bundles)
}

// Ask asks the policies of a Gate. Where one of its directories is not in force,
// nothing is known.
func (c *Controller) Ask(ctx context.Context, gate string, point policy.Point, input []byte) ([]policy.Finding, error) {
	for {
		uses, court, states, err := c.bench(gate)
		if err != nil {
			return nil, err
		}
		if len(uses) == 0 {
			return nil, fmt.Errorf("Gate %s and its policies have not been read yet", gate)
		}
		q := worker.Question{Point: point, Input: input}
		for _, u := range uses {
			q.Bundles = append(q.Bundles, court.at[u.Place])
		}
		c.restock(court)
		if court.crowded.Load() && court.wants(uses) {
			return nil, fmt.Errorf("what its policies want to know of all objects in Git is more than %d MiB: have them name the kinds (custom.gitward.inventory)", c.mostInventory()>>20)
		}
		found, err := court.panel.Ask(ctx, q)
		if errors.Is(err, worker.ErrReplaced) && c.court.Load() != court {
			continue
		}
		if err != nil {
			return nil, err
		}
		out, denied := make([]policy.Finding, 0, len(found)), false
		for _, f := range found {
			out = append(out, placed(f, uses, court, states))
			denied = denied || out[len(out)-1].Action == policy.Deny
		}
		if point == policy.Admission {
			c.recentOf(gate).note(input, denied)
		}
		return out, nil
	}
}

// bench is what a Gate's policies are asked with.
func (c *Controller) bench(gate string) ([]Use, *court, map[Place]string, error) {
	c.begin()
	c.mu.Lock()
	defer c.mu.Unlock()
	uses := c.wanted[gate]
	court, revisions := c.court.Load(), map[Place]string{}
	for _, u := range uses {
		s := c.states[u.Place]
		if court == nil || s == nil || s.active == nil {
			why := "they have not been read yet"
			if s != nil && len(s.problems) > 0 {
				why = s.problems[0].String()
			}
			return nil, nil, nil, fmt.Errorf("the policies %s are not in force: %s", u.Place, why)
		}
		if _, ok := court.at[u.Place]; !ok {
			return nil, nil, nil, fmt.Errorf("the policies %s are not in force yet", u.Place)
		}
		revisions[u.Place] = s.revision
	}
	return uses, court, revisions, nil
}

// placed says of a finding where in Git its policy lies.
func placed(f worker.Found, uses []Use, court *court, revisions map[Place]string) policy.Finding {
	out := f.Finding
	for _, u := range uses {
		if court.at[u.Place] != f.Bundle {
			continue
		}
		out.Origin, out.Revision = u.Origin, revisions[u.Place]
		if u.Path != "." {
			out.File = u.Path + "/" + out.File
		}
		out.Action = max(out.Action, u.Action)
	}
	return out
}

// Status is the state of one place, for people.
type Status struct {
	Place
	// Revision is what is in force; empty if nothing is.
	Revision string
	Policies []worker.Described
	Dialect  string
	// Refused is the newer revision that is not put into force, for the Problems.
	Refused  string
	Problems []gitindex.Problem
	// Quarantined are policies that ran away.
	Quarantined []string
}

// Status is the state of a Gate's policies, in its order.
func (c *Controller) Status(gate string) []Status {
	c.begin()
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Status
	for _, u := range c.wanted[gate] {
		st := Status{Place: u.Place}
		if s := c.states[u.Place]; s != nil {
			st.Revision, st.Refused, st.Problems = s.revision, s.refusedAt, s.problems
		}
		if court := c.court.Load(); court != nil && court.panel != nil {
			if i, ok := court.at[u.Place]; ok {
				st.Quarantined = court.panel.Quarantined(i)
				st.Policies, st.Dialect = court.panel.Loaded[i].Policies, court.panel.Loaded[i].Dialect
			}
		}
		out = append(out, st)
	}
	return out
}

// Ready says which policies have not been looked at yet; nil when all have, good
// or not.
func (c *Controller) Ready() error {
	c.begin()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, uses := range c.wanted {
		for _, u := range uses {
			s, court := c.states[u.Place], c.court.Load()
			if s == nil || s.active == nil && len(s.problems) == 0 {
				return fmt.Errorf("the policies %s have not been looked at yet", u.Place)
			}
			if s.active != nil && court == nil {
				return fmt.Errorf("the policies %s are not in force yet", u.Place)
			}
		}
	}
	return nil
}
