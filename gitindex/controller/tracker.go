package controller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/canonical"
	"github.com/gitward/gitward/gitindex/gitrepo"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/gitindex/signature"
)

// Settings are what an Origin's tracker is made from.
type Settings struct {
	Name        string
	Spec        v1alpha1.OriginSpec // with defaults set
	Credentials gitrepo.Credentials
	Keyring     *signature.Keyring
	// Keys open what the repository holds encrypted; of none, such values are
	// open. They are never written.
	Keys render.Keys
	// HighWater is the accepted revision that the Origin's status remembers;
	// nothing that does not contain it is ever accepted. Empty for a new one.
	HighWater string
	// Dir is where the Origin's repository and index are kept.
	Dir        string
	AllowLocal bool
	// Repository is how Flux and Argo CD sources name what is tracked, where that
	// is not what Spec names: a checkout is read in its place.
	Repository render.Repository
	// Renderer makes objects of units; without one, units are named and nothing
	// of them is traceable.
	Renderer Renderer
	// Fetching gets charts and bases from outside the repository; without it
	// there are none.
	Fetching *Fetching
	always   outside // in place of what Fetching would get
	Timeout  time.Duration
	Now      func() time.Time
}

// digest tells whether two settings would build the same index.
func (s *Settings) digest() string {
	spec := s.Spec
	spec.Interval, spec.Suspend, spec.SecretRef = nil, false, nil
	data, err := json.Marshal(spec)
	if err != nil {
		panic(fmt.Sprintf("an Origin's spec cannot be written as JSON: %v", err))
	}
	data = append(data, s.Keyring.Digest()...)
	sum := sha256.Sum256(append(data, s.Keys.Sum([]byte("the index"))...))
	return hex.EncodeToString(sum[:])
}

// repository is how sources name what is tracked.
func (s *Settings) repository() render.Repository {
	if s.Repository != (render.Repository{}) {
		return s.Repository
	}
	r := render.Repository{URL: s.Spec.URL}
	if f := s.Spec.Ref; f != nil {
		r.Branch = render.Follows(f.Commit, f.Name, f.SemVer, f.Tag, f.Branch)
	}
	return r
}

// Tracker keeps one Origin's snapshot current. Snapshot may be called from any
// goroutine; Sync and Save are for one goroutine, which is the Hub's.
type Tracker struct {
	settings Settings
	repo     *gitrepo.Repo
	blobs    blobs // of repo

	mu    sync.Mutex
	state *state
	dirty bool // the state is newer than the file
	// looked is when failures were last given another chance.
	looked time.Time
	// seen and bases are what the evaluator keeps of blobs: see there.
	seen  seen
	bases bases
	// pending is what untrusted commits would make of units: see holdBackUnits.
	pending map[string]*rendering

	snapshot    atomic.Pointer[gitindex.Snapshot]
	neighbours  atomic.Pointer[Neighbours]
	openedUnits atomic.Pointer[[]Opened]
}

// state is what a tracker knows, and what it writes to disk.
type state struct {
	Digest    string
	Tip       string // the newest commit in the timeline
	Timeline  *gitrepo.Timeline
	Files     map[string]*file
	Units     map[string]*Yield
	Rendered  map[string]*rendering
	Layout    string
	Met       string   // the print of the neighbours that the units were found with
	Opened    []Opened // over other repositories
	Objects   map[gitindex.Ref]*gitindex.Entry
	General   []gitindex.Problem
	FetchedAt time.Time
}

// NewTracker opens the Origin's repository and its persisted index, if there is
// one that fits the settings. It does not touch the network.
func NewTracker(s Settings) (*Tracker, error) {
	remote := gitrepo.Remote{URL: s.Spec.URL, Ref: ref(s.Spec.Ref), Credentials: s.Credentials, AllowLocal: s.AllowLocal, Timeout: s.Timeout}
	repo, err := gitrepo.Open(filepath.Join(s.Dir, "repository"), remote, gitrepo.DefaultLimits())
	if err != nil {
		return nil, fmt.Errorf("opening the repository of Origin %s: %w", s.Name, err)
	}
	t := &Tracker{settings: s, repo: repo, blobs: repo, seen: seen{}, bases: bases{}}
	old, err := loadState(t.indexFile())
	switch {
	case err == nil && old.Digest == s.digest():
		t.state = old
		t.publish(old.Tip, "")
	case err == nil:
		// The trust or the rendering changed: what was seen when is still true.
		t.state = &state{Timeline: old.Timeline, Tip: old.Tip}
	}
	return t, nil
}

// Close ends the use of the repository.
func (t *Tracker) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.repo.Close()
}

func (t *Tracker) indexFile() string { return filepath.Join(t.settings.Dir, "index") }

// Snapshot is the latest one; nil before the first was built.
func (t *Tracker) Snapshot() *gitindex.Snapshot { return t.snapshot.Load() }

func ref(r *v1alpha1.GitRef) gitrepo.Ref {
	if r == nil {
		return gitrepo.Ref{}
	}
	return gitrepo.Ref{Branch: r.Branch, Tag: r.Tag, SemVer: r.SemVer, Name: r.Name, Commit: r.Commit}
}

// Sync fetches the ref and brings the snapshot up to date. On an error the
// snapshot stays as it was. A ref that was moved by force is no error: the
// snapshot then says why it does not follow.
func (t *Tracker) Sync(ctx context.Context) (*gitindex.Snapshot, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tip, err := t.repo.Fetch(ctx)
	if err != nil {
		return t.Snapshot(), fmt.Errorf("fetching Origin %s: %w", t.settings.Name, err)
	}
	if err := t.advance(ctx, tip); err != nil {
		var moved *gitrepo.NotDescendantError
		if errors.As(err, &moved) {
			t.publish(tip, moved.Error()+"; the accepted revision only moves forward: revert instead")
			return t.Snapshot(), nil
		}
		return t.Snapshot(), fmt.Errorf("indexing Origin %s: %w", t.settings.Name, err)
	}
	return t.Snapshot(), nil
}

// advance takes in the commits up to tip.
func (t *Tracker) advance(ctx context.Context, tip string) error {
	current := t.state != nil && t.state.Digest == t.settings.digest()
	if current && t.state.Tip == tip && t.wantsAnotherLook() {
		s := t.state.clone()
		t.rebuild(s, nil)
		if s.Met != t.state.Met || !maps.Equal(s.Rendered, t.state.Rendered) {
			t.state, t.dirty = s, true
			t.publish(tip, "")
		}
	}
	if current && t.state.Tip == tip {
		t.state.FetchedAt = t.settings.Now()
		snap := *t.Snapshot()
		snap.Tip, snap.FetchedAt, snap.Frozen = tip, t.state.FetchedAt, t.belowHighWater(t.state)
		t.snapshot.Store(&snap)
		return nil
	}
	s := &state{Digest: t.settings.digest(), Timeline: &gitrepo.Timeline{}}
	seen := map[string]time.Time{}
	if current {
		s = t.state.clone()
	} else if t.state != nil {
		seen = firstSeen(t.state.Timeline)
		if _, err := t.repo.Walk(ctx, tip, t.state.Tip); err != nil {
			return err // also a change of trust does not move the ref back
		}
	}
	steps, err := t.repo.Walk(ctx, tip, s.Tip)
	if err != nil {
		return err
	}
	if steps, err = t.judge(ctx, s, steps, seen); err != nil {
		return err
	}
	t.take(s, steps)
	s.FetchedAt = t.settings.Now() // also where nothing was let in: the ref was read
	t.repo.Forget()
	t.state = s
	t.dirty = true
	t.publish(tip, "")
	return nil
}

// Read gives do the trusted tree of the accepted revision, which it may use until
// it returns.
func (t *Tracker) Read(do func(tree fs.FS, revision string) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	snap := t.Snapshot()
	if snap == nil || snap.Accepted == nil {
		return fmt.Errorf("Origin %s has no accepted revision", t.settings.Name)
	}
	defer t.repo.Forget()
	lines := t.state.Timeline
	return do(&version{timeline: lines, dirs: directoriesOf(lines.Paths()), blobs: t.blobs, at: lines.Len() - 1}, snap.Accepted.ID)
}

// Save writes the index to disk if it has changed. It is apart from Sync, and
// holds no lock while it writes, so that nobody waits for the disk who waits for
// a decision. Like Sync it is for one goroutine at a time.
func (t *Tracker) Save() error {
	t.mu.Lock()
	s, dirty := t.state, t.dirty
	t.dirty = false
	t.mu.Unlock()
	if !dirty {
		return nil
	}
	if err := saveState(t.indexFile(), s); err != nil {
		t.mu.Lock()
		t.dirty = true
		t.mu.Unlock()
		return err
	}
	return nil
}

// judge gives each new commit its verdict, and returns those that the Origin's
// require lets in.
func (t *Tracker) judge(ctx context.Context, s *state, steps []gitrepo.Step, seen map[string]time.Time) ([]gitrepo.Step, error) {
	now := t.settings.Now()
	sealed, err := t.sealed(s, steps)
	if err != nil {
		return nil, err
	}
	for i := range steps {
		c := &steps[i].Commit
		c.FirstSeen = now
		if at, ok := seen[c.ID]; ok {
			c.FirstSeen = at
		}
		if i < sealed {
			c.Verdict = gitindex.Verdict{Outcome: gitindex.Sealed}
			continue
		}
		c.Verdict = t.verdict(&steps[i])
	}
	t.voices(s, steps)
	switch t.settings.Spec.Signers.Require {
	case v1alpha1.RequireHead:
		return vouchedByHead(steps), nil
	case v1alpha1.RequireHistory:
		return t.unbroken(ctx, s.Tip, steps, sealed)
	}
	return steps, nil
}

func (t *Tracker) verdict(step *gitrepo.Step) gitindex.Verdict {
	if t.settings.Keyring.Empty() {
		return gitindex.Verdict{Outcome: gitindex.NotChecked, Detail: "no signers are configured for this Origin"}
	}
	v := t.settings.Keyring.Verify(step.Raw, step.Commit.FirstSeen)
	if step.Boundary && v.Outcome == gitindex.Good {
		v.Outcome, v.Detail = gitindex.NotChecked, "the remote's history is cut off here, so this signature does not speak for what came before"
	}
	return v
}

// sealed counts the leading steps that lie at or before the anchor.
func (t *Tracker) sealed(s *state, steps []gitrepo.Step) (int, error) {
	after := t.settings.Spec.Signers.After
	if after == "" || s.Timeline.Len() > 0 {
		return 0, nil
	}
	i := slices.IndexFunc(steps, func(s gitrepo.Step) bool { return s.Commit.ID == after })
	if i < 0 {
		return 0, fmt.Errorf("signers.after %s is not on the first-parent history of the ref", gitindex.Short(after))
	}
	return i + 1, nil
}

// vouchedByHead lets everything in up to the newest trusted commit, whose
// signature vouches for the tree it names.
func vouchedByHead(steps []gitrepo.Step) []gitrepo.Step {
	for i := len(steps) - 1; i >= 0; i-- {
		if !steps[i].Commit.Verdict.Outcome.Trusted() || steps[i].Malformed != nil {
			continue
		}
		for j := range steps[:i] {
			if v := &steps[j].Commit.Verdict; !v.Outcome.Trusted() {
				*v = gitindex.Verdict{Outcome: gitindex.Sealed, Detail: "under " + steps[i].Commit.Short() + ", whose signature vouches for the whole tree"}
			}
		}
		return steps[:i+1]
	}
	return nil
}

// unbroken lets in as many commits as come, with all they bring in, without one
// that is not trusted.
func (t *Tracker) unbroken(ctx context.Context, known string, steps []gitrepo.Step, sealed int) ([]gitrepo.Step, error) {
	for i := range steps {
		if i < sealed {
			known = steps[i].Commit.ID
			continue
		}
		if !steps[i].Commit.Verdict.Outcome.Trusted() || steps[i].Malformed != nil {
			return steps[:i], nil
		}
		all := true
		err := t.repo.Reachable(ctx, steps[i].Commit.ID, known, func(_ string, raw []byte) error {
			all = all && t.settings.Keyring.Verify(raw, t.settings.Now()).Outcome.Trusted()
			return nil
		})
		if err != nil {
			return nil, err
		}
		if !all {
			return steps[:i], nil
		}
		known = steps[i].Commit.ID
	}
	return steps, nil
}

// take adds the steps to the state and works out what they changed.
func (t *Tracker) take(s *state, steps []gitrepo.Step) {
	if len(steps) == 0 {
		return
	}
	var paths []string
	for _, step := range steps {
		for _, c := range step.Changes {
			paths = append(paths, c.Path)
		}
	}
	slices.Sort(paths)
	s.Timeline.Append(steps...)
	s.Tip = steps[len(steps)-1].Commit.ID
	s.FetchedAt = t.settings.Now()
	s.Rendered = maps.Clone(s.Rendered)
	maps.DeleteFunc(s.Rendered, func(_ string, r *rendering) bool { return r.Passing })
	t.rebuild(s, slices.Compact(paths))
}

// anotherLook is how long what failed for no fault of Git's is left alone: a
// refused request has the ref looked at, and must not wait for all that again.
const anotherLook = 30 * time.Second

// wantsAnotherLook reports whether the same commit may now give another index:
// other Origins have come or changed, pins have, or something could not be
// fetched, or its renderer died, and may go well now.
func (t *Tracker) wantsAnotherLook() bool {
	if t.circumstances() != t.state.Met {
		return true
	}
	now := t.settings.Now()
	if now.Sub(t.looked) < anotherLook {
		return false
	}
	t.looked = now
	for _, r := range t.state.Rendered {
		if r.Passing || r.unfetched() {
			return true
		}
	}
	return false
}

// circumstances are what the index depends on beside the commit, in short.
func (t *Tracker) circumstances() string {
	print := t.met().print()
	if f := t.settings.Fetching; f != nil && f.FirstUse != nil {
		print += " " + f.FirstUse.print()
	}
	return print
}

func (t *Tracker) met() *Neighbours {
	if n := t.neighbours.Load(); n != nil {
		return n
	}
	return &Neighbours{}
}

// rebuild works out what the paths changed.
func (t *Tracker) rebuild(s *state, paths []string) {
	b := t.builder(s)
	b.update(paths)
	t.pending = b.pending
	s.Met, s.Opened = t.circumstances(), b.world.opened
	s.Files, s.Units, s.Rendered, s.Layout = b.files, b.units, b.renderings, b.layout
	s.Objects, s.General = b.objects, b.general
}

func (t *Tracker) builder(s *state) *builder {
	schemas, _ := canonical.New()
	r := newReader(t.blobs)
	e := newEvaluator(&t.settings, s.Timeline.Paths(), schemas, r)
	e.seen, e.bases = t.seen, t.bases
	maps.Copy(e.memo, s.Rendered)
	e.neighbours = *t.met()
	return &builder{origin: t.settings.Name, timeline: s.Timeline, evaluator: e, parts: e.parts, schemas: schemas, reader: r,
		now: t.settings.Now(), files: s.Files, units: s.Units, renderings: s.Rendered, pending: t.pending, layout: s.Layout, objects: s.Objects, general: s.General}
}

// publish makes the snapshot that decisions read.
func (t *Tracker) publish(tip, frozen string) {
	s := t.state
	if s == nil || s.Files == nil && s.Timeline.Len() == 0 {
		s = &state{Timeline: &gitrepo.Timeline{}}
	}
	snap := &gitindex.Snapshot{
		Origin: t.settings.Name, URL: t.settings.Spec.URL, Ref: ref(t.settings.Spec.Ref).String(),
		Tip: tip, FetchedAt: s.FetchedAt, Frozen: frozen, Objects: s.Objects, Files: len(s.Files),
	}
	if n := s.Timeline.Len(); n > 0 && s.Digest == t.settings.digest() {
		snap.Accepted = s.Timeline.Commit(n - 1)
	}
	b := &builder{files: s.Files, units: s.Units, objects: s.Objects, general: s.General}
	snap.Problems = b.problems()
	for _, h := range s.Timeline.HeldBack() {
		snap.Held = append(snap.Held, gitindex.HeldChange{Path: h.Path, Commit: h.Commit})
	}
	if frozen != "" {
		snap.FetchedAt = t.settings.Now()
	}
	if why := t.belowHighWater(s); why != "" {
		snap.Accepted, snap.Frozen = nil, why
	}
	if !t.settings.Keys.None() {
		snap.Keyed(t.settings.Keys.Sum)
	}
	t.snapshot.Store(snap.Seal())
	t.openedUnits.Store(&s.Opened)
}

// belowHighWater says why nothing may be decided from the history at hand: it
// lacks the revision that the Origin's status remembers as accepted.
func (t *Tracker) belowHighWater(s *state) string {
	mark := t.settings.HighWater
	if mark == "" || s.Timeline.Len() == 0 {
		return ""
	}
	for i := s.Timeline.Len() - 1; i >= 0; i-- {
		if s.Timeline.Commit(i).ID == mark {
			return ""
		}
	}
	return fmt.Sprintf("the ref does not contain %s, which was accepted before", gitindex.Short(mark))
}

func firstSeen(t *gitrepo.Timeline) map[string]time.Time {
	seen := make(map[string]time.Time, t.Len())
	for i := range t.Len() {
		c := t.Commit(i)
		seen[c.ID] = c.FirstSeen
	}
	return seen
}
