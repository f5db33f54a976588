package controller

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gitward/gitward/gitindex"
)

// The model tells the same story forwards and naively: it keeps the trusted tree
// commit by commit, and moves an object's provenance when its text changes.
type model struct {
	tree    map[string]map[string]string // trusted: objects' values by path
	tip     map[string]map[string]string // of the ref
	commits map[[2]string]string         // by path and object
}

func (m *model) commit(id string, trusted bool, next map[string]map[string]string) {
	changed := map[string]bool{}
	for p := range maps.Keys(m.tip) {
		if !maps.Equal(m.tip[p], next[p]) {
			changed[p] = true
		}
	}
	for p := range next {
		if !maps.Equal(m.tip[p], next[p]) {
			changed[p] = true
		}
	}
	m.tip = next
	if !trusted {
		return
	}
	before, was := clone(m.tree), maps.Clone(m.commits)
	for p := range changed {
		m.tree[p] = maps.Clone(next[p])
	}
	for p := range changed {
		for o := range before[p] {
			delete(m.commits, [2]string{p, o})
		}
	}
	for p := range changed {
		for o, v := range m.tree[p] {
			m.commits[[2]string{p, o}] = id
			if old, ok := before[p][o]; ok {
				if old == v {
					m.commits[[2]string{p, o}] = was[[2]string{p, o}]
				}
				continue
			}
			for _, q := range slices.Sorted(maps.Keys(changed)) {
				_, still := m.tree[q][o]
				if old, ok := before[q][o]; ok && !still && old == v {
					m.commits[[2]string{p, o}] = was[[2]string{q, o}]
					break
				}
			}
		}
	}
}

func clone(t map[string]map[string]string) map[string]map[string]string {
	out := map[string]map[string]string{}
	for p, objects := range t {
		out[p] = maps.Clone(objects)
	}
	return out
}

func text(objects map[string]string) string {
	var parts []string
	for _, o := range slices.Sorted(maps.Keys(objects)) {
		parts = append(parts, cm(o, objects[o]))
	}
	return docs(parts...)
}

// TestProvenanceAgainstModel plays random histories, in random portions, and
// holds every object's commit against the model's.
func TestProvenanceAgainstModel(t *testing.T) {
	paths, names, values := []string{"a.yaml", "b.yaml", "d/c.yaml"}, []string{"one", "two", "three", "four"}, []string{"1", "2"}
	rapid.Check(t, func(rt *rapid.T) {
		w := newScene(t)
		m := &model{tree: map[string]map[string]string{}, tip: map[string]map[string]string{}, commits: map[[2]string]string{}}
		for range rapid.IntRange(1, 12).Draw(rt, "commits") {
			next := clone(m.tip)
			for range rapid.IntRange(1, 3).Draw(rt, "edits") {
				edit(rt, next, paths, names, values)
			}
			files := map[string]string{}
			for _, p := range paths {
				if !maps.Equal(next[p], m.tip[p]) {
					files[p] = text(next[p])
				}
			}
			if len(files) == 0 {
				continue
			}
			trusted := rapid.IntRange(0, 3).Draw(rt, "trusted") > 0
			id := ""
			if trusted {
				id = w.commit(w.ada, files)
			} else {
				id = w.commit(nil, files)
			}
			m.commit(id, trusted, next)
			if rapid.Bool().Draw(rt, "sync") {
				agree(rt, m, w)
			}
		}
		if w.repo.Ref("refs/heads/main") != "" {
			agree(rt, m, w)
		}
	})
}

// edit changes, adds, removes or moves one object.
func edit(rt *rapid.T, tree map[string]map[string]string, paths, names, values []string) {
	p, o := rapid.SampledFrom(paths).Draw(rt, "path"), rapid.SampledFrom(names).Draw(rt, "object")
	if tree[p] == nil {
		tree[p] = map[string]string{}
	}
	switch rapid.IntRange(0, 3).Draw(rt, "edit") {
	case 0, 1:
		tree[p][o] = rapid.SampledFrom(values).Draw(rt, "value")
	case 2:
		delete(tree[p], o)
	case 3:
		for q := range tree {
			if v, ok := tree[q][o]; ok && q != p {
				delete(tree[q], o)
				tree[p][o] = v
				break
			}
		}
	}
}

func agree(rt *rapid.T, m *model, w *scene) {
	s := w.sync()
	got := map[[2]string]string{}
	for ref, e := range s.Objects {
		for _, c := range e.Current {
			got[[2]string{c.Path, ref.Name}] = c.Commit.ID
		}
	}
	if !maps.Equal(got, m.commits) {
		rt.Fatalf("provenance differs\n got %v\nwant %v\n%s", short(got), short(m.commits), history(w))
	}
}

func short(m map[[2]string]string) []string {
	var out []string
	for k, v := range m {
		out = append(out, fmt.Sprintf("%s#%s@%s", k[0], k[1], gitindex.Short(v)))
	}
	slices.Sort(out)
	return out
}

func history(w *scene) string {
	log, _ := w.repo.Git("log", "--reverse", "-p", "--format=%h %G?", "refs/heads/main")
	return strings.TrimSpace(log)
}
