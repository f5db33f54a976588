package gitrepo

import (
	"fmt"

	"github.com/gitward/gitward/gitindex"
)

// mostMerged is how many of a merge's parents are looked at.
const mostMerged = 8

// merged finds the parents, but for the first, from which a merge takes all that
// it changes as it stands there: whoever signed such a parent signed the same
// content. Of a merge that mends anything on the way there are none.
func (r *Repo) merged(step *Step, head header) error {
	if len(head.parents) < 2 || len(step.Changes) == 0 {
		return nil
	}
	changed := make(map[string]bool, len(step.Changes))
	for _, c := range step.Changes {
		changed[c.Path] = true
	}
	for _, parent := range head.parents[1:min(len(head.parents), mostMerged)] {
		if !r.store.has(parent) {
			continue
		}
		raw, err := r.store.commit(parent)
		if err != nil {
			return err
		}
		there, err := readHeader(raw)
		if err != nil {
			continue // the strict parser has refused it, or will
		}
		var beside Step
		if err := r.differ(&beside, there.tree, head.tree); err != nil {
			return fmt.Errorf("comparing %s with what it merges: %w", gitindex.Short(step.Commit.ID), err)
		}
		same := true
		for _, c := range beside.Changes {
			same = same && !changed[c.Path]
		}
		if s := describe(&spot{parent, raw, there}); same && s.Malformed == nil && beside.Malformed == nil {
			step.Merged = append(step.Merged, s)
		}
	}
	return nil
}
