package artifact

import (
	"errors"
	"io/fs"
	"path"

	"github.com/gitward/gitward/gitindex/render"
)

// source is one directory of the tree as the artifact that it was packed into:
// directories and regular files, without links and what lies behind them. It
// is a file system for the globs and walks of others, some of which pass over
// errors: the first that says more than that something is missing is kept.
type source struct {
	tree   fs.FS
	root   string
	budget *budget
	cost   int                    // of looking at one name
	kinds  map[string]fs.FileMode // of what was seen
	err    error
}

// full is the name in the tree.
func (s *source) full(name string) string { return path.Join(s.root, name) }

func (s *source) failed(err error) error {
	if s.err == nil && !errors.Is(err, fs.ErrNotExist) {
		s.err = err
	}
	return err
}

// kind is fs.ErrNotExist for what is not part of the source.
func (s *source) kind(name string) (fs.FileMode, error) {
	if !fs.ValidPath(name) {
		return 0, fs.ErrInvalid
	}
	if mode, ok := s.kinds[name]; ok {
		return mode, nil
	}
	if name == "." {
		return fs.ModeDir, nil
	}
	parent, err := s.kind(path.Dir(name))
	if err != nil {
		return 0, err
	}
	if !parent.IsDir() {
		return 0, fs.ErrNotExist
	}
	mode, err := s.lstat(name)
	if err != nil {
		return 0, s.failed(err)
	}
	if !packable(mode) {
		return 0, fs.ErrNotExist
	}
	s.kinds[name] = mode
	return mode, nil
}

func packable(mode fs.FileMode) bool { return mode.IsRegular() || mode.IsDir() }

// lstat asks the listing where the tree cannot tell a link from its target.
func (s *source) lstat(name string) (fs.FileMode, error) {
	if err := s.budget.look(s.cost); err != nil {
		return 0, err
	}
	if links, ok := s.tree.(interface {
		Lstat(string) (fs.FileInfo, error)
	}); ok {
		info, err := links.Lstat(s.full(name))
		if err != nil {
			return 0, err
		}
		return info.Mode().Type(), nil
	}
	entries, err := fs.ReadDir(s.tree, path.Dir(s.full(name)))
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		if e.Name() == path.Base(name) {
			return e.Type(), nil
		}
	}
	return 0, fs.ErrNotExist
}

// ReadDir lists what the source has of a directory.
func (s *source) ReadDir(name string) ([]fs.DirEntry, error) {
	mode, err := s.kind(name)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	if !mode.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	entries, err := fs.ReadDir(s.tree, s.full(name))
	if err == nil {
		err = s.budget.look((1 + len(entries)) * s.cost)
	}
	if err != nil {
		s.err = errors.Join(s.err, err) // a directory that was seen cannot be missing
		return nil, err
	}
	kept := make([]fs.DirEntry, 0, len(entries))
	for _, e := range entries {
		if packable(e.Type()) {
			s.kinds[path.Join(name, e.Name())] = e.Type()
			kept = append(kept, e)
		}
	}
	return kept, nil
}

// Stat knows the kind of a thing, and no more.
func (s *source) Stat(name string) (fs.FileInfo, error) {
	mode, err := s.kind(name)
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return render.FileInfo{Base: path.Base(name), Perm: mode}, nil
}

// Open opens a file or directory.
func (s *source) Open(name string) (fs.File, error) {
	if _, err := s.kind(name); err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return s.tree.Open(s.full(name))
}

// read is a file's content, for Merge and Extract.
func (s *source) read(name string) ([]byte, error) {
	mode, err := s.kind(name)
	if err != nil {
		return nil, err
	}
	if !mode.IsRegular() {
		return nil, errors.New("is a directory")
	}
	data, err := fs.ReadFile(s.tree, s.full(name))
	if err != nil {
		return nil, err
	}
	return data, s.budget.read(len(data))
}
