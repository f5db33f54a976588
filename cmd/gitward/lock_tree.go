package main

import (
	"bytes"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/gitward/gitward/gitindex/gitrepo"
	"github.com/gitward/gitward/gitindex/render"
)

// repositoryTree is one commit's tree as a file system. Symbolic links that
// stay inside are followed; submodules are empty directories.
type repositoryTree struct {
	repo    *gitrepo.Repo
	commit  string
	entries map[string]gitrepo.FileEntry
	dirs    map[string][]string // the names in each directory, sorted
}

const (
	modeLink      = 0o120000
	modeSubmodule = 0o160000
	mostLinks     = 32
)

func newRepositoryTree(repo *gitrepo.Repo, commit string, entries map[string]gitrepo.FileEntry) *repositoryTree {
	t := &repositoryTree{repo: repo, commit: commit, entries: entries, dirs: map[string][]string{".": nil}}
	for name, e := range entries {
		if e.Mode == modeSubmodule {
			t.dirs[name] = nil
		}
		t.enter(name)
	}
	for _, names := range t.dirs {
		slices.Sort(names)
	}
	return t
}

func (t *repositoryTree) enter(name string) {
	dir := path.Dir(name)
	_, known := t.dirs[dir]
	t.dirs[dir] = append(t.dirs[dir], path.Base(name))
	if !known {
		t.enter(dir)
	}
}

var errLink = errors.New("its symbolic link leads outside the repository, or in a circle")

// resolve follows the links on the way to a path, and the last one too if it is
// asked to.
func (t *repositoryTree) resolve(name string, last bool) (string, error) {
	if !fs.ValidPath(name) {
		return "", fs.ErrInvalid
	}
	parts, at := strings.Split(name, "/"), "."
	for links := 0; len(parts) > 0; {
		next := path.Join(at, parts[0])
		e, ok := t.entries[next]
		if !ok || e.Mode != modeLink || len(parts) == 1 && !last {
			at, parts = next, parts[1:]
			continue
		}
		target, err := t.repo.Blob(e.ID)
		if err != nil {
			return "", err
		}
		to := path.Join(at, string(target))
		if links++; links > mostLinks || path.IsAbs(string(target)) || to == ".." || strings.HasPrefix(to, "../") || len(target) > 4096 {
			return "", errLink
		}
		parts, at = append(strings.Split(to, "/"), parts[1:]...), "."
	}
	return at, nil
}

func (t *repositoryTree) info(op, name string, last bool) (string, render.FileInfo, error) {
	at, err := t.resolve(name, last)
	if err == nil {
		if _, dir := t.dirs[at]; dir {
			return at, render.FileInfo{Base: path.Base(name), Perm: fs.ModeDir | 0o755}, nil
		}
		if e, ok := t.entries[at]; ok {
			return at, render.FileInfo{Base: path.Base(name), Perm: fileMode(e.Mode)}, nil
		}
		err = fs.ErrNotExist
	}
	return "", render.FileInfo{}, &fs.PathError{Op: op, Path: name, Err: err}
}

func fileMode(mode uint32) fs.FileMode {
	switch {
	case mode == modeLink:
		return fs.ModeSymlink | 0o777
	case mode&0o111 != 0:
		return 0o755
	}
	return 0o644
}

// ReadFile reads a file.
func (t *repositoryTree) ReadFile(name string) ([]byte, error) {
	at, i, err := t.info("read", name, true)
	if err != nil {
		return nil, err
	}
	if i.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrInvalid}
	}
	data, err := t.repo.Blob(t.entries[at].ID)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return bytes.Clone(data), nil
}

// ReadDir lists a directory.
func (t *repositoryTree) ReadDir(name string) ([]fs.DirEntry, error) {
	at, i, err := t.info("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if !i.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrInvalid}
	}
	var out []fs.DirEntry
	for _, below := range t.dirs[at] {
		_, i, err := t.info("readdir", path.Join(at, below), false)
		if err != nil {
			return nil, err
		}
		out = append(out, treeEntry{i, t, path.Join(at, below)})
	}
	return out, nil
}

// Stat follows symbolic links, Lstat does not.
func (t *repositoryTree) Stat(name string) (fs.FileInfo, error) { return t.sized("stat", name, true) }

// Lstat does not follow the last symbolic link.
func (t *repositoryTree) Lstat(name string) (fs.FileInfo, error) {
	return t.sized("lstat", name, false)
}

func (t *repositoryTree) sized(op, name string, last bool) (fs.FileInfo, error) {
	at, i, err := t.info(op, name, last)
	if err == nil && !i.IsDir() {
		var data []byte
		data, err = t.repo.Blob(t.entries[at].ID)
		i.Bytes = int64(len(data))
	}
	if err != nil {
		return nil, err
	}
	return i, nil
}

// ReadLink gives a symbolic link's target.
func (t *repositoryTree) ReadLink(name string) (string, error) {
	at, i, err := t.info("readlink", name, false)
	if err == nil && i.Perm.Type() != fs.ModeSymlink {
		err = &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	if err != nil {
		return "", err
	}
	target, err := t.repo.Blob(t.entries[at].ID)
	return string(target), err
}

// Open opens a file or directory.
func (t *repositoryTree) Open(name string) (fs.File, error) { return render.Open(t, name) }

// treeEntry reads a file only if somebody asks for its size.
type treeEntry struct {
	render.FileInfo
	tree *repositoryTree
	path string
}

func (e treeEntry) Type() fs.FileMode          { return e.Perm.Type() }
func (e treeEntry) Info() (fs.FileInfo, error) { return e.tree.Lstat(e.path) }
func (e treeEntry) String() string             { return fs.FormatDirEntry(e) }
