package gitrepo

import (
	"context"
	"fmt"
	"slices"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/object"
)

// ancestry remembers all commits behind one, so that following a ref step by
// step does not walk its whole history at every step.
type ancestry struct {
	of   object.ID
	seen map[object.ID]bool
}

// Reachable calls visit once for every commit that is reachable from tip, by
// any parent, and not from known: what a signed history has to vouch for. With
// known empty that is all of history. The order is not specified. An error of
// visit ends it and is returned as it is.
func (r *Repo) Reachable(ctx context.Context, tip, known string, visit func(id string, raw []byte) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	from, err := object.ParseID(tip)
	if err != nil {
		return err
	}
	behind := ancestry{seen: map[object.ID]bool{}}
	if known != "" {
		if behind, err = r.behind(ctx, known); err != nil {
			return err
		}
	}
	// From here on the set is partial until the walk is through.
	r.reach = ancestry{}
	above := from == behind.of
	err = r.spread(ctx, from, behind.seen, func(id object.ID, raw []byte, head header) error {
		above = above || slices.Contains(head.parents, behind.of)
		return visit(id.String(), raw)
	})
	// Only if known is behind tip is the set now exactly what tip has behind it.
	if err == nil && above {
		r.reach = ancestry{of: from, seen: behind.seen}
	}
	return err
}

// behind gives all commits that known has behind it. It cannot be told by
// their dates, which are whatever the authors wrote: so they are walked, once.
func (r *Repo) behind(ctx context.Context, known string) (ancestry, error) {
	id, err := object.ParseID(known)
	if err != nil || id == r.reach.of {
		return r.reach, err
	}
	out := ancestry{of: id, seen: map[object.ID]bool{}}
	return out, r.spread(ctx, id, out.seen, func(object.ID, []byte, header) error { return nil })
}

// spread visits what is reachable from a commit and not yet seen.
func (r *Repo) spread(ctx context.Context, from object.ID, seen map[object.ID]bool, visit func(object.ID, []byte, header) error) error {
	if seen[from] {
		return nil
	}
	seen[from] = true
	todo := []object.ID{from}
	for len(todo) > 0 {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		id := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		raw, err := r.store.commit(id)
		if err != nil {
			return err
		}
		head, err := readHeader(raw)
		if err != nil {
			return fmt.Errorf("commit %s: %w", gitindex.Short(id.String()), err)
		}
		if err := visit(id, raw, head); err != nil {
			return err
		}
		for _, p := range head.parents {
			if !seen[p] && !(r.store.shallow[id] && !r.store.has(p)) {
				seen[p] = true
				todo = append(todo, p)
			}
		}
	}
	return nil
}

// contains reports whether one commit is reachable from another.
func (r *Repo) contains(ctx context.Context, from, wanted object.ID) (bool, error) {
	seen := map[object.ID]bool{}
	err := r.spread(ctx, from, seen, func(object.ID, []byte, header) error { return nil })
	return seen[wanted], err
}
