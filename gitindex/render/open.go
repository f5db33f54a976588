package render

import (
	"bytes"
	"io"
	"io/fs"
	"time"
)

// Tree is what a file system has to do for the rest to follow: see Open.
type Tree interface {
	ReadFile(name string) ([]byte, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	Stat(name string) (fs.FileInfo, error)
}

// Open opens a file or directory of a tree, as its fs.FS.Open.
func Open(t Tree, name string) (fs.File, error) {
	info, err := t.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		entries, err := t.ReadDir(name)
		if err != nil {
			return nil, err
		}
		return &openDir{name, info, entries}, nil
	}
	data, err := t.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return &openFile{info, bytes.NewReader(data)}, nil
}

// FileInfo describes a file of a tree. It knows no time: what is rendered must
// not depend on one. The size may be left out where it is dear to know.
type FileInfo struct {
	Base  string
	Perm  fs.FileMode // with its type
	Bytes int64
}

// Name is the last part of the path.
func (i FileInfo) Name() string { return i.Base }

// Size is in bytes.
func (i FileInfo) Size() int64 { return i.Bytes }

// Mode has the type too.
func (i FileInfo) Mode() fs.FileMode { return i.Perm }

// ModTime is never known.
func (i FileInfo) ModTime() time.Time { return time.Time{} }

// IsDir reports whether it is a directory.
func (i FileInfo) IsDir() bool { return i.Perm.IsDir() }

// Sys is nothing.
func (i FileInfo) Sys() any { return nil }

type openFile struct {
	info fs.FileInfo
	*bytes.Reader
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

type openDir struct {
	name string
	info fs.FileInfo
	left []fs.DirEntry
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: fs.ErrInvalid}
}

func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n > 0 && len(d.left) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(d.left) {
		n = len(d.left)
	}
	out := d.left[:n:n]
	d.left = d.left[n:]
	return out, nil
}
