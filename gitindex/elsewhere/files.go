package elsewhere

import (
	"bytes"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
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
		f.enter(name, fileInfo(name, content))
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

func (f *files) enter(name string, i render.FileInfo) {
	dir := path.Dir(name)
	_, known := f.dirs[dir]
	f.dirs[dir] = append(f.dirs[dir], fs.FileInfoToDirEntry(i))
	if !known {
		f.enter(dir, dirInfo(dir))
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
func (f *files) Open(name string) (fs.File, error) { return render.Open(f, name) }

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

func (f *files) stat(op, name string) (render.FileInfo, error) {
	if data, ok := f.data[name]; ok {
		return fileInfo(name, data), nil
	}
	if _, ok := f.dirs[name]; ok {
		return dirInfo(name), nil
	}
	if !fs.ValidPath(name) {
		return render.FileInfo{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return render.FileInfo{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

func fileInfo(name string, data []byte) render.FileInfo {
	return render.FileInfo{Base: path.Base(name), Perm: 0o444, Bytes: int64(len(data))}
}

func dirInfo(name string) render.FileInfo {
	return render.FileInfo{Base: path.Base(name), Perm: fs.ModeDir | 0o555}
}
