package artifact

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// The strategies of a copy. None is Overwrite.
const (
	overwrite = "Overwrite"
	merge     = "Merge"
	extract   = "Extract"
)

// builder lays out an artifact, one copy after the other: later ones write
// over what earlier ones left.
type builder struct {
	tree    fs.FS
	budget  *budget
	stage   *stage
	sources map[string]*source // by their directory in the tree
}

// step is one copy under way.
type step struct {
	*builder
	render.Copy
	source  *source
	exclude excludes
}

func (b *builder) copy(c render.Copy) error {
	switch c.Strategy {
	case "", overwrite, merge, extract:
	default:
		return fmt.Errorf("there is no strategy %q", gitindex.Clean(c.Strategy, 40))
	}
	from, err := newPattern(c.From)
	if c.Strategy != extract && errors.Is(err, errAlternatives) {
		err = nil // braces say nothing there
	}
	if err != nil {
		return err
	}
	if c.Strategy != extract {
		from.alternatives = 1
	}
	s := step{builder: b, Copy: c}
	if s.source, err = b.open(c.Root); err != nil {
		return err
	}
	s.source.cost = 1
	if s.exclude, err = newExcludes(c.Exclude, b.budget); err != nil {
		return err
	}
	if strings.ContainsAny(c.From, "*?[]") {
		s.source.cost = from.cost(c.From)
		err = s.glob()
	} else {
		err = s.single()
	}
	if s.source.err != nil {
		return s.source.err
	}
	return err
}

func (b *builder) open(root string) (*source, error) {
	dir, err := directory(b.tree, root)
	if err != nil {
		return nil, err
	}
	if b.sources[dir] == nil {
		b.sources[dir] = &source{tree: b.tree, root: dir, budget: b.budget, kinds: map[string]fs.FileMode{}}
	}
	return b.sources[dir], nil
}

// single copies the one file or directory that is named, as cp -r would
// (builder.go, applySingleSourceCopy): a directory always becomes one within
// the destination, whether slashes follow or not.
func (s step) single() error {
	from := path.Clean(s.From)
	if !fs.ValidPath(from) {
		return errors.New("it lies outside of the source")
	}
	kind, err := s.source.kind(from)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("the source has no such file or directory")
	case err != nil:
		return err
	case !kind.IsDir():
		return s.file(from)
	case s.Strategy == extract:
		return errors.New("a directory cannot be extracted")
	}
	s.exclude = s.exclude.from(from)
	return s.into(from, path.Join(s.To, path.Base(from)))
}

// file copies a file that is named. To leave it out by an exclude pattern is
// no error.
func (s step) file(from string) error {
	out, err := s.exclude.match(from)
	if err != nil || out {
		return err
	}
	if s.Strategy == extract {
		if !isArchive(from) {
			return errors.New("only .tar.gz and .tgz files can be extracted")
		}
		return s.extract(from)
	}
	to, err := s.fileName(path.Base(from))
	if err != nil {
		return err
	}
	return s.into(from, to)
}

// fileName is where a file that is named goes: into the destination if that
// ends with a slash or is a directory by now, otherwise it is the destination.
func (s step) fileName(base string) (string, error) {
	if s.To == "" || strings.HasSuffix(s.To, "/") {
		return path.Join(s.To, base), nil
	}
	// The builder leaves ".." to the operating system here, where it depends on
	// what exists. Nobody needs it.
	for part := range strings.SplitSeq(s.To, "/") {
		if part == ".." {
			return "", errors.New(`the destination of a file has ".." in it`)
		}
	}
	to, err := place(s.To)
	switch {
	case err != nil:
		return "", err
	case s.stage.isDir(to):
		return path.Join(to, base), nil
	case strings.HasSuffix(s.To, "/."):
		return "", errors.New("the destination is no file name")
	}
	return to, nil
}

// glob copies what a pattern matches (builder.go, applyCopyOperation). But for
// Extract it is Go's own io/fs.Glob, to which "**" says no more than "*": what
// makes "dir/**" recursive is that directories are copied whole.
func (s step) glob() error {
	matches, err := s.match()
	if err != nil {
		return err
	}
	if len(matches) == 0 {
		return errors.New("nothing in the source matches")
	}
	s.exclude = s.exclude.from(literal(s.From))
	var kept []string
	for _, m := range matches {
		out, err := s.exclude.match(m)
		if err != nil {
			return err
		}
		if !out && m != "." && m != ".." {
			kept = append(kept, m)
		}
	}
	if len(kept) == 0 {
		return errors.New("everything that matches is excluded")
	}
	for _, m := range kept {
		if err := s.matched(m); err != nil {
			return err
		}
	}
	return nil
}

func (s step) match() ([]string, error) {
	find := fs.Glob
	if s.Strategy == extract {
		find = func(files fs.FS, pattern string) ([]string, error) { return doublestar.Glob(files, pattern) }
	}
	matches, err := find(s.source, s.From)
	if err == nil {
		err = s.source.err
	}
	return matches, err
}

// matched copies one match: to its whole path below the destination, or after
// "dir/**" to its path below dir.
func (s step) matched(m string) error {
	if s.Strategy == extract {
		if !isArchive(m) {
			return nil
		}
		return s.extract(m)
	}
	below := m
	if dir, ok := strings.CutSuffix(s.From, "/**"); ok {
		below = strings.TrimPrefix(m, dir+"/")
	}
	return s.into(m, path.Join(s.To, below))
}

// literal is the part of a pattern before the first element with a wildcard.
func literal(pattern string) string {
	var out []string
	for part := range strings.SplitSeq(path.Clean(pattern), "/") {
		if strings.ContainsAny(part, "*?[]") {
			break
		}
		out = append(out, part)
	}
	return path.Join(append([]string{"."}, out...)...)
}

// into copies a file or directory of the source to a name in the artifact.
func (s step) into(from, to string) error {
	name, err := place(to)
	if err != nil {
		return err
	}
	kind, err := s.source.kind(from)
	switch {
	case err != nil:
		return fmt.Errorf("%q: %w", gitindex.Clean(from, 200), err)
	case kind.IsDir():
		return s.directory(from, name)
	case s.Strategy == merge && s.stage.nodes[name] != nil:
		return s.merge(from, name)
	}
	return s.stage.put(name, &node{source: s.source.full(from)})
}

// directory copies a whole directory but for what is excluded. Within one,
// nothing is merged: files are written over (builder.go, copyDirWithRoots).
func (s step) directory(from, to string) error {
	return fs.WalkDir(s.source, from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == from {
			return s.stage.mkdir(to)
		}
		out, err := s.exclude.match(name)
		switch {
		case err != nil:
			return err
		case out && d.IsDir():
			return fs.SkipDir
		case out:
			return nil
		}
		below := name
		if from != "." {
			below = strings.TrimPrefix(name, from+"/")
		}
		if d.IsDir() {
			return s.stage.mkdir(path.Join(to, below))
		}
		return s.stage.put(path.Join(to, below), &node{source: s.source.full(name)})
	})
}
