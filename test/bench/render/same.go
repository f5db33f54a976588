//go:build unix

package main

import (
	"bytes"
	"fmt"
	"slices"

	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/gitindex/render"
)

// same renders the unit both ways and wants the same objects: their number. A
// figure for another output would mean nothing.
func (m *measurement) same(in input) (int, error) {
	_, theirs, err := m.command(in)
	if err != nil {
		return 0, err
	}
	for _, t := range []task{{Program: m.gitward}, {}} {
		t.Root, t.Units = in.root, []render.Unit{in.unit}
		got, err := call(t)
		if err != nil {
			return 0, err
		}
		ours := got.Objects[0]
		slices.Sort(ours)
		if err := equal(ours, theirs); err != nil {
			return 0, err
		}
	}
	return len(theirs), nil
}

func equal(ours, theirs []string) error {
	if len(ours) != len(theirs) {
		return fmt.Errorf("renders to %d objects, the command's are %d", len(ours), len(theirs))
	}
	if len(ours) == 0 {
		return fmt.Errorf("renders to nothing")
	}
	for i := range ours {
		if ours[i] != theirs[i] {
			return fmt.Errorf("renders otherwise than the command: %s", apart(ours[i], theirs[i]))
		}
	}
	return nil
}

// apart shows where two texts part.
func apart(ours, theirs string) string {
	at := 0
	for at < min(len(ours), len(theirs)) && ours[at] == theirs[at] {
		at++
	}
	from := max(0, at-200)
	return fmt.Sprintf("…%.400s… and …%.400s… of an object that begins %.150s", ours[from:], theirs[from:], ours)
}

// printed are the objects of what a command printed, as JSON, sorted. They are
// read with another parser than Gitward's.
func printed(text []byte) ([]string, error) {
	var all []string
	for doc := range bytes.SplitSeq(append([]byte("\n"), text...), []byte("\n---\n")) {
		object, err := yaml.YAMLToJSON(append(bytes.Clone(doc), '\n')) // a block of text may end with it
		if err != nil {
			return nil, fmt.Errorf("reading what the command printed: %w", err)
		}
		if string(object) != "null" {
			all = append(all, string(object))
		}
	}
	slices.Sort(all)
	return all, nil
}
