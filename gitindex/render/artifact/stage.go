package artifact

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/sourceignore"
	"github.com/gitward/gitward/gitindex"
)

// stage is the directory in which the copies come together.
type stage struct {
	nodes  map[string]*node
	budget *budget
}

// node is a directory or a file of the artifact.
type node struct {
	dir      bool
	children []string // of a directory, sorted
	source   string   // of a file: its name in the tree, or
	data     []byte   // what was made of several, or came out of an archive
	made     bool
}

func newStage(b *budget) *stage {
	return &stage{nodes: map[string]*node{".": {dir: true}}, budget: b}
}

var (
	errNoDirectory = errors.New("is a file there, and no directory")
	errLongName    = fmt.Errorf("a name is longer than %d bytes", maxName)
)

// place is a clean name in the artifact, for what a copy writes to.
func place(to string) (string, error) {
	name := path.Clean(to)
	if !fs.ValidPath(name) {
		return "", fmt.Errorf("%q lies outside of the artifact", gitindex.Clean(to, 200))
	}
	if len(name) > maxName {
		return "", errLongName
	}
	return name, nil
}

func (s *stage) isDir(name string) bool { n := s.nodes[name]; return n != nil && n.dir }

// mkdir makes a directory and those above it. Like the builder's it is content
// with a file of that name: only what is put into it fails.
func (s *stage) mkdir(name string) error {
	if s.nodes[name] != nil {
		return nil
	}
	if err := s.budget.look(1); err != nil {
		return err
	}
	parent := path.Dir(name)
	if err := s.mkdir(parent); err != nil {
		return err
	}
	if !s.isDir(parent) {
		return fmt.Errorf("%q %w", gitindex.Clean(parent, 200), errNoDirectory)
	}
	s.nodes[name] = &node{dir: true}
	return s.budget.dir()
}

// put writes a file over what is there.
func (s *stage) put(name string, n *node) error {
	parent := path.Dir(name)
	if err := s.mkdir(parent); err != nil {
		return err
	}
	if !s.isDir(parent) {
		return fmt.Errorf("%q %w", gitindex.Clean(parent, 200), errNoDirectory)
	}
	if s.isDir(name) {
		return fmt.Errorf("%q is a directory there, and no file", gitindex.Clean(name, 200))
	}
	if s.nodes[name] == nil {
		if err := s.budget.file(); err != nil {
			return err
		}
	}
	s.nodes[name] = n
	return nil
}

// packed is what source-watcher packs of the stage: what its default rules
// ignore is left out, whatever the sources' own rules are (builder.go, Build;
// pkg/artifact, storage/archive.go).
func (s *stage) packed(tree fs.FS) *files {
	ignored := sourceignore.NewDefaultMatcher(nil, nil)
	f := &files{tree: tree, nodes: map[string]*node{}}
	for name, n := range s.nodes {
		if name != "." && ignored.Match(strings.Split(name, "/"), n.dir) {
			continue
		}
		for f.nodes[name] == nil { // with what it lies in
			f.nodes[name] = s.nodes[name]
			name = path.Dir(name)
		}
	}
	for name := range f.nodes {
		if parent := f.nodes[path.Dir(name)]; name != "." {
			parent.children = append(parent.children, path.Base(name))
		}
	}
	for _, n := range f.nodes {
		slices.Sort(n.children)
	}
	return f
}
