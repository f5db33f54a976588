package artifact

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"regexp"

	"github.com/gitward/gitward/gitindex"
	goyaml "go.yaml.in/yaml/v3"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// merge lays a file of the source over the one that is there, as Helm does it
// with values: maps are merged, everything else is replaced (merge.go). The
// libraries are the builder's, so that the text is the same.
func (s step) merge(from, to string) error {
	under, err := s.staged(to)
	if err != nil {
		return fmt.Errorf("%q: %w", gitindex.Clean(to, 200), err)
	}
	over, err := s.source.read(from)
	if err != nil {
		return fmt.Errorf("%q: %w", gitindex.Clean(from, 200), err)
	}
	base, err := values(under)
	if err != nil {
		return fmt.Errorf("%q cannot be merged into: %w", gitindex.Clean(to, 200), err)
	}
	top, err := values(over)
	if err != nil {
		return fmt.Errorf("%q cannot be merged: %w", gitindex.Clean(from, 200), err)
	}
	merged, err := yaml.Marshal(merged(base, top))
	if err != nil {
		return errors.New("what was merged cannot be written as YAML")
	}
	if len(merged) > maxMerge {
		return fmt.Errorf("what was merged is longer than %d bytes", maxMerge)
	}
	if err := s.budget.read(len(merged)); err != nil {
		return err
	}
	return s.stage.put(to, &node{data: merged, made: true})
}

// staged is the content of a file that an earlier copy left.
func (s step) staged(name string) ([]byte, error) {
	n := s.stage.nodes[name]
	switch {
	case n.dir:
		return nil, errors.New("is a directory")
	case n.made:
		return n.data, s.budget.read(len(n.data))
	}
	whole := source{tree: s.tree, root: ".", budget: s.budget, cost: 1, kinds: map[string]fs.FileMode{n.source: 0}}
	return whole.read(n.source)
}

var lineOf = regexp.MustCompile(`\bline (\d+)\b`)

// values are the maps of all documents of a file, merged. An error does not
// quote the file: it may hold what is secret.
func values(text []byte) (map[string]any, error) {
	if len(text) > maxMerge {
		return nil, fmt.Errorf("it is longer than %d bytes", maxMerge)
	}
	all, size := map[string]any{}, 0
	docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for i := 1; ; i++ {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err == nil {
			size, err = expand(doc, size)
		}
		one := map[string]any{}
		if err == nil {
			err = yaml.Unmarshal(doc, &one)
		}
		if err != nil {
			where := fmt.Sprintf("document %d", i)
			if m := lineOf.FindStringSubmatch(err.Error()); m != nil {
				where += ", line " + m[1]
			}
			return nil, fmt.Errorf("%s: it is no YAML map, or too large a one", where)
		}
		all = merged(all, one)
	}
}

// merged leaves both maps as they are.
func merged(base, over map[string]any) map[string]any {
	out := maps.Clone(base)
	if out == nil {
		out = map[string]any{}
	}
	for key, v := range over {
		below, isMap := v.(map[string]any)
		there, wasMap := out[key].(map[string]any)
		if isMap && wasMap {
			v = merged(there, below)
		}
		out[key] = v
	}
	return out
}

var errTooLarge = errors.New("too large")

// expand adds what a document takes with its aliases replaced, and refuses one
// that takes too much. The library that reads it counts nodes, not how long
// they are.
func expand(doc []byte, before int) (int, error) {
	if !bytes.ContainsRune(doc, '*') || !bytes.ContainsRune(doc, '&') {
		return before, nil
	}
	var n goyaml.Node
	if err := goyaml.Unmarshal(doc, &n); err != nil {
		return 0, err
	}
	size, err := expanded(&n, map[*goyaml.Node]int{})
	if size += before; err == nil && size > maxExpanded {
		err = errTooLarge
	}
	return size, err
}

// expanded is what a node takes, roughly, with all aliases replaced, as far as
// that is not too much. Known sizes of anchors keep it from being dear.
func expanded(n *goyaml.Node, known map[*goyaml.Node]int) (int, error) {
	if size, ok := known[n]; ok {
		if size < 0 {
			return 0, errors.New("an alias within what it stands for")
		}
		return size, nil
	}
	known[n] = -1
	size := 64 + len(n.Value)
	parts := n.Content
	if n.Alias != nil {
		parts = append([]*goyaml.Node{n.Alias}, parts...)
	}
	for _, part := range parts {
		more, err := expanded(part, known)
		if err != nil {
			return 0, err
		}
		size = min(size+more, maxExpanded+1)
	}
	known[n] = size
	return size, nil
}
