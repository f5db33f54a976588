package controller

import (
	"slices"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/gitrepo"
)

// voices finds the second voice of each merge: whoever signed all of a branch that
// the merge takes over as it is. A signature on a tree is not one on all that is
// in it, or whoever committed anything once could be made to vouch for what
// others did before; so every commit of the branch must be that signer's, the
// branch must leave the main line directly, and nothing that the merge changes may
// have been touched on the main line since: then what it changes is just what the
// branch did.
func (t *Tracker) voices(s *state, steps []gitrepo.Step) {
	if !slices.ContainsFunc(steps, func(step gitrepo.Step) bool { return len(step.Merged) > 0 }) {
		return
	}
	main := map[string]int{}
	for i := range s.Timeline.Len() {
		main[s.Timeline.Commit(i).ID] = i
	}
	touched := map[string]int{} // by new steps: the last that changed a path
	for i := range steps {
		step, at := &steps[i], s.Timeline.Len()+i
		if step.Commit.Verdict.Outcome == gitindex.Good {
			for j := range step.Merged {
				if voice := t.voice(s, step, &step.Merged[j], main, touched); voice != nil {
					step.Commit.Merged = append(step.Commit.Merged, *voice)
				}
			}
		}
		main[step.Commit.ID] = at
		for _, c := range step.Changes {
			touched[c.Path] = at
		}
	}
}

// voice is that of one merged commit; nil if it has none.
func (t *Tracker) voice(s *state, merge, tip *gitrepo.Step, main, touched map[string]int) *gitindex.Merged {
	branch, base, err := t.repo.Branch(tip.Commit.ID, func(id string) bool { _, on := main[id]; return on })
	if err != nil || len(branch) == 0 {
		return nil
	}
	var signer gitindex.Signer
	for i := range branch {
		c := &branch[i]
		c.Commit.FirstSeen = merge.Commit.FirstSeen
		v := t.verdict(c)
		if c.Malformed != nil || v.Outcome != gitindex.Good || i > 0 && v.Signer != signer {
			return nil
		}
		signer = v.Signer
	}
	for _, c := range merge.Changes {
		if last, ok := touched[c.Path]; ok && last > main[base] {
			return nil
		}
		if touches := s.Timeline.Path(c.Path); len(touches) > 0 && touches[len(touches)-1].Index > main[base] {
			return nil
		}
	}
	return &gitindex.Merged{ID: tip.Commit.ID, Author: tip.Commit.Author, Committer: tip.Commit.Committer, Signer: signer}
}
