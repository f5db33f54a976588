package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/object"
)

// Step is one commit of the first-parent history, and what it changed.
type Step struct {
	Commit gitindex.Commit // Verdict and FirstSeen are left to the caller
	Raw    []byte          // the commit object, for whoever judges its signature
	// Changes are against the first parent, or against nothing for a root.
	Changes []Change
	// Malformed is set when the commit, or a directory that it changed, is
	// refused by the strict parser. Its Changes are then read leniently, as git
	// would, so that they are known as this commit's and not taken for the next
	// one's; nobody may trust them.
	Malformed error
	// Boundary is set when the commit has parents that the remote does not
	// have: its Changes are the whole tree, and most of them are not its own.
	Boundary bool
	// Merged are the parents, but for the first, that have all of Changes as this
	// commit has them.
	Merged []Step
}

// Change is one file, symbolic link or submodule that a commit changed.
type Change struct {
	Path     string
	Old, New object.ID // zero: absent
	Mode     uint32    // after the change, or before it for a removal
}

// ErrNotDescendant is wrapped by NotDescendantError.
var ErrNotDescendant = errors.New("not on the first-parent history of the tip")

// NotDescendantError says that the tip does not continue from the known commit:
// a force-push, a rollback, or a merge the wrong way round.
type NotDescendantError struct {
	Tip, Known string
	// Ancestor: known is behind tip, but not along first parents. Somebody
	// merged the tracked ref into another branch and then moved it there.
	Ancestor bool
	// Rollback: tip is behind known.
	Rollback bool
}

func (e *NotDescendantError) Error() string {
	tip, known := gitindex.Short(e.Tip), gitindex.Short(e.Known)
	switch {
	case e.Rollback:
		return fmt.Sprintf("the ref went back from %s to its ancestor %s", known, tip)
	case e.Ancestor:
		return fmt.Sprintf("the tip %s contains %s, but not along first parents", tip, known)
	}
	return fmt.Sprintf("the ref was moved by force: the tip %s does not contain %s", tip, known)
}

func (e *NotDescendantError) Is(target error) bool { return target == ErrNotDescendant }

// Walk gives the first-parent steps from tip back to known, which is not among
// them, oldest first. With known empty it goes back to the root, or to where
// the remote's history is cut off. If known is not on the way, the error is a
// NotDescendantError.
func (r *Repo) Walk(ctx context.Context, tip, known string) ([]Step, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	steps, err := r.walk(ctx, tip, known)
	if err != nil {
		return nil, fmt.Errorf("walking from %s: %w", gitindex.Short(tip), err)
	}
	return steps, nil
}

// spot is one commit on the way, before its changes are known.
type spot struct {
	id   object.ID
	raw  []byte
	head header
}

func (r *Repo) walk(ctx context.Context, tip, known string) ([]Step, error) {
	from, err := object.ParseID(tip)
	if err != nil {
		return nil, err
	}
	var to object.ID
	if known != "" {
		if to, err = object.ParseID(known); err != nil {
			return nil, err
		}
	}
	spots, end, err := r.chain(ctx, from, to)
	if err != nil {
		return nil, err
	}
	if end != to {
		return nil, r.notDescendant(ctx, from, to)
	}
	var below object.ID // the tree under the oldest step
	if !to.IsZero() {
		head, err := r.header(to)
		if err != nil {
			return nil, err
		}
		below = head.tree
	}
	steps := make([]Step, len(spots))
	for i := range spots {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		old := below
		if i+1 < len(spots) {
			old = spots[i+1].head.tree
		}
		step := &steps[len(spots)-1-i]
		*step = describe(&spots[i])
		step.Boundary = i+1 == len(spots) && to.IsZero() && len(spots[i].head.parents) > 0
		if err := r.differ(step, old, spots[i].head.tree); err != nil {
			return nil, fmt.Errorf("comparing %s with its parent: %w", gitindex.Short(step.Commit.ID), err)
		}
		r.merged(step, spots[i].head)
	}
	return steps, nil
}

// chain collects the commits from tip down to the one before known, newest
// first; end is where it came out: known, or zero at a root or boundary.
func (r *Repo) chain(ctx context.Context, tip, known object.ID) (spots []spot, end object.ID, err error) {
	for id := tip; id != known; {
		if ctx.Err() != nil {
			return nil, end, ctx.Err()
		}
		raw, err := r.store.commit(id)
		if err != nil {
			return nil, end, err
		}
		head, err := readHeader(raw)
		if err != nil {
			return nil, end, fmt.Errorf("commit %v: %w", id, err)
		}
		if spots = append(spots, spot{id, raw, head}); int64(len(spots)) > r.limits.Commits {
			return nil, end, tooLarge("commits: more than", r.limits.Commits, r.limits.Commits)
		}
		if len(head.parents) == 0 || r.cut(id, head) {
			return spots, object.ID{}, nil
		}
		id = head.parents[0]
	}
	return spots, known, nil
}

// cut reports whether history ends at a commit because the remote has no more
// of it. A parent that is merely missing is an error, found when it is read.
func (r *Repo) cut(id object.ID, head header) bool {
	return r.store.shallow[id] && !r.store.has(head.parents[0])
}

func (r *Repo) notDescendant(ctx context.Context, tip, known object.ID) error {
	out := &NotDescendantError{Tip: tip.String(), Known: known.String()}
	var err error
	if out.Ancestor, err = r.contains(ctx, tip, known); err != nil {
		return err
	}
	if !out.Ancestor && r.store.has(known) {
		if out.Rollback, err = r.contains(ctx, known, tip); err != nil {
			return err
		}
	}
	return out
}

func (r *Repo) header(id object.ID) (header, error) {
	raw, err := r.store.commit(id)
	if err != nil {
		return header{}, err
	}
	return readHeader(raw)
}

// describe reads a commit strictly. One that is refused still has its id and
// parents, so that the history goes on below it.
func describe(s *spot) Step {
	step := Step{Raw: s.raw}
	c, err := object.ParseCommit(s.raw)
	if err != nil {
		step.Malformed = err
	} else {
		step.Commit = gitindex.Commit{Author: c.Author, Committer: c.Committer, Subject: c.Subject()}
	}
	step.Commit.ID = s.id.String()
	for _, p := range s.head.parents {
		step.Commit.Parents = append(step.Commit.Parents, p.String())
	}
	return step
}

// header is the part of a commit that the walk lives on.
type header struct {
	tree    object.ID
	parents []object.ID
}

// readHeader reads tree and parents where git reads them: at the very
// beginning, and nowhere else. It is no judgement; object.ParseCommit judges.
func readHeader(raw []byte) (h header, err error) {
	line, rest, _ := bytes.Cut(raw, []byte("\n"))
	if h.tree, err = headerID(line, "tree "); err != nil {
		return header{}, err
	}
	for bytes.HasPrefix(rest, []byte("parent ")) {
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		id, err := headerID(line, "parent ")
		if err != nil {
			return header{}, err
		}
		h.parents = append(h.parents, id)
	}
	return h, nil
}

func headerID(line []byte, key string) (object.ID, error) {
	value, ok := bytes.CutPrefix(line, []byte(key))
	if !ok {
		return object.ID{}, fmt.Errorf("%w: no %sline where it belongs", object.ErrMalformed, key)
	}
	return object.ParseID(string(value))
}
