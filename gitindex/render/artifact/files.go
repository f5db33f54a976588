package artifact

import (
	"bytes"
	"errors"
	"io/fs"
	"path"

	"github.com/gitward/gitward/gitindex/render"
)

// files is an artifact that was laid out. A file that one copy brought is read
// from the tree when it is asked for.
type files struct {
	tree  fs.FS
	nodes map[string]*node
}

func pathError(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

func (f *files) find(op, name string) (*node, error) {
	if !fs.ValidPath(name) {
		return nil, pathError(op, name, fs.ErrInvalid)
	}
	n := f.nodes[name]
	if n == nil {
		return nil, pathError(op, name, fs.ErrNotExist)
	}
	return n, nil
}

// ReadFile reads a file.
func (f *files) ReadFile(name string) ([]byte, error) {
	n, err := f.find("read", name)
	switch {
	case err != nil:
		return nil, err
	case n.dir:
		return nil, pathError("read", name, errors.New("is a directory"))
	case n.made:
		return bytes.Clone(n.data), nil
	}
	data, err := fs.ReadFile(f.tree, n.source)
	if err != nil {
		return nil, pathError("read", name, err)
	}
	return data, nil
}

// ReadDir lists a directory.
func (f *files) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := f.find("readdir", name)
	if err != nil {
		return nil, err
	}
	if !n.dir {
		return nil, pathError("readdir", name, errors.New("not a directory"))
	}
	out := make([]fs.DirEntry, len(n.children))
	for i, child := range n.children {
		out[i] = entry{f, path.Join(name, child)}
	}
	return out, nil
}

// Stat says of a file what the tree says of the one that it was copied from.
func (f *files) Stat(name string) (fs.FileInfo, error) {
	n, err := f.find("stat", name)
	switch {
	case err != nil:
		return nil, err
	case n.dir:
		return render.FileInfo{Base: path.Base(name), Perm: fs.ModeDir | 0o755}, nil
	case n.made:
		return render.FileInfo{Base: path.Base(name), Perm: 0o644, Bytes: int64(len(n.data))}, nil
	}
	of, err := fs.Stat(f.tree, n.source)
	if err != nil {
		return nil, pathError("stat", name, err)
	}
	return render.FileInfo{Base: path.Base(name), Perm: of.Mode().Perm(), Bytes: of.Size()}, nil
}

// Lstat is Stat: there are no links.
func (f *files) Lstat(name string) (fs.FileInfo, error) { return f.Stat(name) }

// ReadLink finds no link.
func (f *files) ReadLink(name string) (string, error) {
	if _, err := f.find("readlink", name); err != nil {
		return "", err
	}
	return "", pathError("readlink", name, fs.ErrInvalid)
}

// Open opens a file or directory.
func (f *files) Open(name string) (fs.File, error) { return render.Open(f, name) }

// entry asks the tree about a file only if it is asked itself.
type entry struct {
	files *files
	name  string
}

func (e entry) Name() string               { return path.Base(e.name) }
func (e entry) IsDir() bool                { return e.files.nodes[e.name].dir }
func (e entry) Info() (fs.FileInfo, error) { return e.files.Stat(e.name) }
func (e entry) String() string             { return fs.FormatDirEntry(e) }

func (e entry) Type() fs.FileMode {
	if e.IsDir() {
		return fs.ModeDir
	}
	return 0
}
