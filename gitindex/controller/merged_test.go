package controller

import (
	"testing"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/test/gitserver"
)

// TestMergedVoices: a merged commit is a second voice only for what it has just
// as the merge has it, and only if its own signature counts.
func TestMergedVoices(t *testing.T) {
	const side = "refs/heads/side"
	for _, test := range []struct {
		name   string
		signer func(*scene) gitserver.Signer // of the side branch
		merge  map[string]string             // what the merge has of it
		voices int
	}{
		{"as it is", func(w *scene) gitserver.Signer { return w.ben }, map[string]string{"a.yaml": cm("a", "2")}, 1},
		{"mended on the way", func(w *scene) gitserver.Signer { return w.ben }, map[string]string{"a.yaml": cm("a", "3")}, 0},
		{"with something more", func(w *scene) gitserver.Signer { return w.ben }, map[string]string{"a.yaml": cm("a", "2"), "b.yaml": cm("b", "1")}, 0},
		{"of a stranger", func(w *scene) gitserver.Signer { return w.alien }, map[string]string{"a.yaml": cm("a", "2")}, 0},
		{"unsigned", func(*scene) gitserver.Signer { return nil }, map[string]string{"a.yaml": cm("a", "2")}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newScene(t)
			first := w.commit(w.ada, map[string]string{"a.yaml": cm("a", "1"), "c.yaml": cm("c", "1")})
			branch := w.add(gitserver.CommitOptions{Ref: side, Parents: []string{first}, Files: map[string]string{"a.yaml": cm("a", "2")}, Message: "a", Signer: test.signer(w)})
			second := w.commit(w.ada, map[string]string{"c.yaml": cm("c", "2")})
			merge := w.add(gitserver.CommitOptions{Parents: []string{second, branch}, Files: test.merge, Message: "merge", Signer: w.ada})
			s := w.sync()
			w.want(s, "a", merge)
			c := s.Lookup(shopOf("a")).Current[0].Commit
			if len(c.Merged) != test.voices {
				t.Fatalf("merged voices: %+v", c.Merged)
			}
			if test.voices > 0 && (c.Merged[0].ID != branch || c.Merged[0].Signer.Fingerprint != w.ben.Fingerprint || c.Verdict.Signer.Fingerprint != w.ada.Fingerprint) {
				t.Errorf("%+v", c)
			}
			w.restart()
			if c := w.tracker.Snapshot().Lookup(shopOf("a")).Current[0].Commit; len(c.Merged) != test.voices {
				t.Errorf("after a restart: %+v", c.Merged)
			}
			if c := s.Lookup(shopOf("c")).Current[0].Commit; len(c.Merged) != 0 || c.Verdict.Outcome != gitindex.Good {
				t.Errorf("what is on the main line has %+v", c.Merged)
			}
		})
	}
}

// TestOldVoices: whoever committed once does not vouch for what others did
// before, nor for what has been taken back since.
func TestOldVoices(t *testing.T) {
	const side = "refs/heads/side"
	t.Run("an ancestor", func(t *testing.T) {
		w := newScene(t)
		w.commit(w.ada, map[string]string{"a.yaml": cm("a", "1")})
		bens := w.commit(w.ben, map[string]string{"README.md": "unrelated"})
		undo := w.commit(w.ada, map[string]string{"a.yaml": ""})
		w.add(gitserver.CommitOptions{Files: map[string]string{"a.yaml": cm("a", "1")}, Message: "merge", Signer: w.ada, Parents: []string{undo, bens}})
		w.wantVoices("a", 0)
	})
	t.Run("on top of another's", func(t *testing.T) {
		w := newScene(t)
		first := w.commit(w.ada, map[string]string{"README.md": "1"})
		adas := w.add(gitserver.CommitOptions{Ref: side, Parents: []string{first}, Files: map[string]string{"a.yaml": cm("a", "1")}, Message: "a", Signer: w.ada})
		bens := w.add(gitserver.CommitOptions{Ref: side, Parents: []string{adas}, Files: map[string]string{"b.txt": "unrelated"}, Message: "b", Signer: w.ben})
		w.add(gitserver.CommitOptions{Files: map[string]string{"a.yaml": cm("a", "1"), "b.txt": "unrelated"}, Message: "merge", Signer: w.ada, Parents: []string{first, bens}})
		w.wantVoices("a", 0)
	})
	t.Run("taken back since", func(t *testing.T) {
		w := newScene(t)
		first := w.commit(w.ada, map[string]string{"a.yaml": cm("a", "1")})
		bens := w.add(gitserver.CommitOptions{Ref: side, Parents: []string{first}, Files: map[string]string{"a.yaml": cm("a", "2")}, Message: "a", Signer: w.ben})
		w.add(gitserver.CommitOptions{Files: map[string]string{"a.yaml": cm("a", "2")}, Message: "merge", Signer: w.ada, Parents: []string{first, bens}})
		w.wantVoices("a", 1)
		undo := w.commit(w.ada, map[string]string{"a.yaml": cm("a", "1")})
		w.add(gitserver.CommitOptions{Files: map[string]string{"a.yaml": cm("a", "2")}, Message: "again", Signer: w.ada, Parents: []string{undo, bens}})
		w.wantVoices("a", 0)
	})
	t.Run("an unsigned merge", func(t *testing.T) {
		w := newScene(t)
		w.settings.Spec.Signers.Require = "Head"
		first := w.commit(w.ada, map[string]string{"README.md": "1"})
		bens := w.add(gitserver.CommitOptions{Ref: side, Parents: []string{first}, Files: map[string]string{"a.yaml": cm("a", "1")}, Message: "a", Signer: w.ben})
		w.add(gitserver.CommitOptions{Files: map[string]string{"a.yaml": cm("a", "1")}, Message: "merge", Parents: []string{first, bens}})
		w.commit(w.ada, map[string]string{"README.md": "2"})
		w.wantVoices("a", 0)
	})
}

func (w *scene) wantVoices(name string, n int) {
	w.t.Helper()
	e := w.sync().Lookup(shopOf(name))
	if e == nil || len(e.Current) == 0 {
		w.t.Fatalf("%s is not declared", name)
	}
	if got := e.Current[0].Commit.Merged; len(got) != n {
		w.t.Errorf("%s has the voices %+v, want %d", name, got, n)
	}
}
