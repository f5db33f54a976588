//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/test/corpus"
)

// input is one unit of the tree at root.
type input struct {
	name, root string
	unit       render.Unit
}

// set is what is measured together as well: units of one tree and tool.
type set struct {
	name, root string
	inputs     []input
}

func (s *set) add(name string, u render.Unit) {
	s.inputs = append(s.inputs, input{name, s.root, u})
}

func kustomization(dir string) render.Unit { return render.Unit{Tool: render.Kustomize, Path: dir} }

func chart(dir string, values ...string) render.Unit {
	return render.Unit{Tool: render.Helm, Path: dir,
		Helm: &render.HelmOptions{ReleaseName: "rel", Namespace: "shop", KubeVersion: "v1.37.0", ValuesFiles: values}}
}

// inputs are generated, in dir, and taken from real repositories if they are
// here.
func inputs(m *measurement, dir string) ([]set, error) {
	if err := write(dir, generatedKustomization(), generatedChart()); err != nil {
		return nil, err
	}
	k := set{name: "kustomization", root: dir}
	k.add("kustomization, generated", kustomization("kustomize/overlay"))
	h := set{name: "chart", root: dir}
	h.add("chart, generated", chart("chart", "prod.yaml"))
	sets := []set{k, h}
	root, err := corpus.Find()
	if err != nil {
		fmt.Fprintln(os.Stderr, "the corpus of real repositories is not here: generated units alone are measured")
		return sets, nil
	}
	for _, want := range []struct {
		tool  string
		count int
		unit  func(dir string) render.Unit
	}{
		{"kustomize", 10, kustomization},
		{"helm", 3, func(dir string) render.Unit { return chart(dir) }},
	} {
		s := set{name: "corpus, " + want.tool, root: root}
		rows, err := corpusRows(root, want.tool)
		if err != nil {
			return nil, err
		}
		for i := range want.count {
			if err := s.pick(m, rows[i*len(rows)/want.count:], want.unit); err != nil {
				return nil, err
			}
		}
		sets = append(sets, s)
	}
	return sets, nil
}

// pick adds the first directory that the command builds with its own settings;
// the table was made without its load restriction.
func (s *set) pick(m *measurement, dirs []string, unit func(string) render.Unit) error {
	var last error
	for _, dir := range dirs {
		in := input{dir, s.root, unit(dir)}
		if _, _, last = m.command(in); last == nil {
			s.inputs = append(s.inputs, in)
			return nil
		}
	}
	return fmt.Errorf("the corpus has too little for %s: %w", s.name, last)
}

// corpusRows are the directories that the tool makes objects of.
func corpusRows(root, tool string) ([]string, error) {
	rows, err := corpus.Rows(root, tool)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, r := range rows {
		if r.Result != "ok" || r.Objects == 0 {
			continue
		}
		if _, err := os.Stat(filepath.Join(root, r.Path())); err == nil {
			dirs = append(dirs, r.Path())
		}
	}
	if len(dirs) == 0 {
		return nil, fmt.Errorf("the corpus's table has nothing of %s", tool)
	}
	return dirs, nil
}

func write(dir string, trees ...map[string]string) error {
	for _, files := range trees {
		for name, text := range files {
			path := filepath.Join(dir, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}
