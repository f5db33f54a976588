package gitrepo

import (
	"errors"

	"github.com/gitward/gitward/gitindex/object"
)

// mostMerged is how many of a merge's parents are looked at.
const mostMerged = 8

// merged finds the parents, but for the first, from which a merge takes all that
// it changes as it stands there. Of a merge that mends anything on the way there
// are none. That somebody signed such a parent is not yet to have made the change:
// see gitindex/controller's voices.
func (r *Repo) merged(step *Step, head header) {
	if len(head.parents) < 2 || len(step.Changes) == 0 {
		return
	}
	changed := make(map[string]bool, len(step.Changes))
	for _, c := range step.Changes {
		changed[c.Path] = true
	}
	for _, parent := range head.parents[1:min(len(head.parents), mostMerged)] {
		if !r.store.has(parent) {
			continue
		}
		// Of a parent that cannot be read there is no voice. It must not keep the main
		// line from being read: anybody can push one.
		raw, err := r.store.commit(parent)
		if err != nil {
			continue
		}
		there, err := readHeader(raw)
		if err != nil {
			continue
		}
		var beside Step
		if err := r.differ(&beside, there.tree, head.tree); err != nil {
			continue
		}
		same := true
		for _, c := range beside.Changes {
			same = same && !changed[c.Path]
		}
		if s := describe(&spot{parent, raw, there}); same && s.Malformed == nil && beside.Malformed == nil {
			step.Merged = append(step.Merged, s)
		}
	}
}

// longestBranch is how many commits of a branch are looked at.
const longestBranch = 50

// ErrNoBranch says that a commit is no branch off a line: it has merges in it, is
// too long, or does not begin there.
var ErrNoBranch = errors.New("no branch off this line")

// Branch is the commits from a tip, newest first, down to the first one that on
// reports, whose id is base: one line without merges.
func (r *Repo) Branch(tip string, on func(id string) bool) (commits []Step, base string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := tip; !on(id); {
		if len(commits) == longestBranch {
			return nil, "", ErrNoBranch
		}
		parsed, err := object.ParseID(id)
		if err != nil {
			return nil, "", err
		}
		raw, err := r.store.commit(parsed)
		if err != nil {
			return nil, "", err
		}
		head, err := readHeader(raw)
		if err != nil || len(head.parents) != 1 {
			return nil, "", ErrNoBranch
		}
		commits = append(commits, describe(&spot{parsed, raw, head}))
		id = head.parents[0].String()
		base = id
	}
	return commits, base, nil
}
