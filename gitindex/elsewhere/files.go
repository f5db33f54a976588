package elsewhere

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/gitward/gitward/gitindex"
)

// files is an unpacked archive in memory: regular files only, and nothing
// changes it. It is fs.ReadFileFS, fs.ReadDirFS and fs.StatFS.
type files struct {
	data map[string][]byte
	dirs map[string][]fs.DirEntry
	size int64
}

// newFiles refuses names that could mean something outside, and a name that is
// a file and a directory at once.
func newFiles(data map[string][]byte) (*files, error) {
	f := &files{data: data, dirs: map[string][]fs.DirEntry{".": nil}}
	for name, content := range data {
		if err := checkName(name); err != nil {
			return nil, err
		}
		f.size += int64(len(content)) + int64(len(name))
	}
	for name, content := range data {
		f.enter(name, info{name: path.Base(name), size: int64(len(content))})
	}
	for name := range f.dirs {
		if _, both := data[name]; both {
			return nil, refused("%q is a file and a directory", gitindex.Clean(name, 200))
		}
	}
	for _, entries := range f.dirs {
		slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	}
	return f, nil
}

func (f *files) enter(name string, i info) {
	dir := path.Dir(name)
	_, known := f.dirs[dir]
	f.dirs[dir] = append(f.dirs[dir], fs.FileInfoToDirEntry(i))
	if !known {
		f.enter(dir, info{name: path.Base(dir), dir: true})
	}
}

// checkName takes a relative path that means the same on every system.
func checkName(name string) error {
	if !fs.ValidPath(name) || name == "." || len(name) > 1024 || strings.Count(name, "/") > 64 || strings.Contains(name, `\`) || gitindex.Clean(name, 2048) != name {
		return refused("the name %q leads outside or is none", gitindex.Clean(name, 200))
	}
	return nil
}

// Open opens a file or directory.
func (f *files) Open(name string) (fs.File, error) {
	i, err := f.stat("open", name)
	if err != nil {
		return nil, err
	}
	if i.dir {
		return &openDir{info: i, left: f.dirs[name]}, nil
	}
	return &openFile{info: i, Reader: bytes.NewReader(f.data[name])}, nil
}

// ReadFile gives a copy: nobody may change what others read.
func (f *files) ReadFile(name string) ([]byte, error) {
	data, ok := f.data[name]
	if !ok {
		_, err := f.stat("read", name)
		if err == nil {
			err = &fs.PathError{Op: "read", Path: name, Err: fs.ErrInvalid}
		}
		return nil, err
	}
	return bytes.Clone(data), nil
}

// ReadDir lists a directory, sorted.
func (f *files) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, ok := f.dirs[name]
	if !ok {
		_, err := f.stat("readdir", name)
		if err == nil {
			err = &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrInvalid}
		}
		return nil, err
	}
	return slices.Clone(entries), nil
}

// Stat describes a file or directory.
func (f *files) Stat(name string) (fs.FileInfo, error) {
	i, err := f.stat("stat", name)
	if err != nil {
		return nil, err
	}
	return i, nil
}

func (f *files) stat(op, name string) (info, error) {
	if data, ok := f.data[name]; ok {
		return info{name: path.Base(name), size: int64(len(data))}, nil
	}
	if _, ok := f.dirs[name]; ok {
		return info{name: path.Base(name), dir: true}, nil
	}
	if !fs.ValidPath(name) {
		return info{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return info{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

// info describes a file. It knows no time: rendering must not either.
type info struct {
	name string
	size int64
	dir  bool
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.dir }
func (i info) Sys() any           { return nil }

func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

type openFile struct {
	info info
	*bytes.Reader
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

type openDir struct {
	info info
	left []fs.DirEntry
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.name, Err: fs.ErrInvalid}
}

func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 || n > len(d.left) {
		if n > 0 && len(d.left) == 0 {
			return nil, io.EOF
		}
		n = len(d.left)
	}
	out := slices.Clone(d.left[:n])
	d.left = d.left[n:]
	return out, nil
}
