package kustomize

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// Where things lie in the file system that kustomize sees. The tree is not its
// root, so that a path which leaves the tree leads nowhere.
const (
	treeRoot  = "/tree"
	mountRoot = "/elsewhere"
)

// What one build may read. A base that is included again and again, each time
// under another prefix, can cost more than all files of the tree.
const (
	maxReads = 100_000
	maxBytes = 512 << 20
	maxLinks = 40
)

// tree is the file system that kustomize sees: the trusted tree, the overlay,
// and bases from elsewhere. It is read only and never touches the disk.
type tree struct {
	src       render.Sources
	options   Options
	files     fs.FS
	overlay   map[string][]byte // by path in this file system
	dirs      map[string]bool   // that only the overlay has
	mounts    []fs.FS           // by number, below mountRoot
	namedBy   []string          // the file of the tree that brought each in
	bases     map[string]string // where a reference was mounted
	examined  map[string][]byte // kustomizations, as kustomize may see them
	plugins   map[string]bool   // plugin configurations that were examined
	refused   error             // the first kustomization that was refused
	elsewhere bool
	hashed    []string
	opened    map[string]bool // files that Options.Decrypt replaced
	reads     int
	bytes     int
	order     []string          // files in the order of their first reading
	content   map[string][]byte // of those
	real      map[string]string // paths with their links followed
}

var _ filesys.FileSystem = (*tree)(nil)

func newTree(src render.Sources, o Options) *tree {
	t := &tree{src: src, options: o, files: src.Tree(), overlay: map[string][]byte{}, dirs: map[string]bool{},
		bases: map[string]string{}, examined: map[string][]byte{}, plugins: map[string]bool{}, content: map[string][]byte{}, real: map[string]string{}, opened: map[string]bool{}}
	for name, data := range o.Overlay {
		t.add(path.Join(treeRoot, path.Clean("/"+name)), data)
	}
	return t
}

func (t *tree) add(name string, data []byte) {
	t.overlay[name] = data
	for dir := path.Dir(name); dir != treeRoot && dir != "/"; dir = path.Dir(dir) {
		t.dirs[dir] = true
	}
}

// in says which file system holds a path, and under which name.
func (t *tree) in(name string) (files fs.FS, rel string, err error) {
	if rest, ok := below(name, treeRoot); ok {
		return t.files, rest, nil
	}
	if rest, ok := below(name, mountRoot); ok {
		number, rest, _ := strings.Cut(rest, "/")
		if n, err := strconv.Atoi(number); err == nil && n >= 0 && n < len(t.mounts) {
			if rest == "" {
				rest = "."
			}
			return t.mounts[n], rest, nil
		}
	}
	return nil, "", &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// below is the name relative to the directory, "." for the directory itself.
func below(name, dir string) (string, bool) {
	if name == dir {
		return ".", true
	}
	rest, ok := strings.CutPrefix(name, dir+"/")
	return rest, ok
}

// resolve follows symbolic links, so that kustomize's load restriction looks at
// where a file lies and not at where a link to it does.
func (t *tree) resolve(name string) (string, error) {
	given := name
	if real, ok := t.real[given]; ok {
		return real, nil
	}
	name = path.Clean("/" + name)
	for range maxLinks {
		next, err := t.follow(name)
		if err != nil {
			return name, err
		}
		if next == name {
			t.real[given] = name
			return name, nil
		}
		name = next
	}
	return "", &fs.PathError{Op: "open", Path: name, Err: errors.New("too many symbolic links")}
}

// linker is what a file system with symbolic links offers beside the rest.
type linker interface {
	ReadLink(name string) (string, error)
	Lstat(name string) (fs.FileInfo, error)
}

// follow replaces the first link in a path by what it points at.
func (t *tree) follow(name string) (string, error) {
	files, rel, err := t.in(name)
	links, ok := files.(linker)
	if err != nil || !ok || rel == "." || t.overlay[name] != nil {
		return name, nil
	}
	root := strings.TrimSuffix(name, "/"+rel)
	for at := 0; at >= 0; {
		end := strings.IndexByte(rel[at:], '/')
		part := rel
		if end >= 0 {
			part = rel[:at+end]
			at += end + 1
		} else {
			at = -1
		}
		info, err := links.Lstat(part)
		if err != nil {
			return name, nil // whoever opens it will be told
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			continue
		}
		if t.options.NoLinks {
			return "", &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		target, err := links.ReadLink(part)
		if err != nil {
			return "", err
		}
		if path.IsAbs(target) {
			return "", &fs.PathError{Op: "open", Path: name, Err: errors.New("a symbolic link leads out of the tree")}
		}
		next := path.Join(root, path.Dir(part), target, strings.TrimPrefix(rel[len(part):], "/"))
		if _, inside := below(next, root); !inside {
			return "", &fs.PathError{Op: "open", Path: name, Err: errors.New("a symbolic link leads out of the tree")}
		}
		return next, nil
	}
	return name, nil
}

func (t *tree) stat(name string) (dir bool, err error) {
	name, err = t.resolve(name)
	if err != nil {
		return false, err
	}
	if _, ok := t.overlay[name]; ok {
		return false, nil
	}
	files, rel, err := t.in(name)
	if err != nil {
		return false, err
	}
	info, err := fs.Stat(files, rel)
	if err == nil && t.hidden(name, rel, info.IsDir()) {
		err = &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	if err != nil && t.dirs[name] {
		return true, nil
	}
	return err == nil && info.IsDir(), err
}

func (t *tree) hidden(name, rel string, dir bool) bool {
	if t.options.Hidden == nil || rel == "." {
		return false
	}
	_, ok := below(name, treeRoot)
	return ok && t.options.Hidden(rel, dir)
}

// IsDir reports whether the path is a directory.
func (t *tree) IsDir(name string) bool {
	dir, err := t.stat(name)
	return err == nil && dir
}

// Exists reports whether the path is there.
func (t *tree) Exists(name string) bool {
	_, err := t.stat(name)
	return err == nil
}

// CleanedAbs divides a path into a directory that is there and a file's name.
func (t *tree) CleanedAbs(name string) (filesys.ConfirmedDir, string, error) {
	real, err := t.resolve(name)
	if err != nil {
		return "", "", err
	}
	dir, err := t.stat(real)
	if err != nil {
		return "", "", err
	}
	if dir {
		return filesys.ConfirmedDir(real), "", nil
	}
	return filesys.ConfirmedDir(path.Dir(real)), path.Base(real), nil
}

// ReadFile reads a file. A kustomization is examined first: what kustomize asks
// for by such a name is one, wherever a link of that name leads, and what it
// refers to is relative to where it was asked for.
func (t *tree) ReadFile(name string) ([]byte, error) {
	asked := path.Clean("/" + name)
	if data, ok := t.examined[asked]; ok {
		return data, t.charge(asked, len(data))
	}
	real, err := t.resolve(asked)
	if err != nil {
		return nil, err
	}
	data, err := t.raw(real)
	if err != nil {
		return nil, err
	}
	if _, ok := t.content[asked]; !ok {
		t.order = append(t.order, asked)
		t.content[asked] = data
		if err := unfolds(data, t.limit()); err != nil {
			return nil, t.refuse(fmt.Errorf("%s: %w", t.shown(asked), err))
		}
	}
	if !slices.Contains(konfig.RecognizedKustomizationFileNames(), path.Base(asked)) {
		return data, nil
	}
	if data, err = t.examine(asked, data); err != nil {
		return nil, t.refuse(err)
	}
	t.examined[asked] = data
	return data, nil
}

// refuse remembers an error that kustomize would overlook.
func (t *tree) refuse(err error) error {
	if t.refused == nil {
		t.refused = err
	}
	return err
}

// raw reads a file as it is.
func (t *tree) raw(name string) ([]byte, error) {
	if data, ok := t.overlay[name]; ok {
		return data, t.charge(name, len(data))
	}
	files, rel, err := t.in(name)
	if err != nil {
		return nil, err
	}
	if t.hidden(name, rel, false) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	data, err := fs.ReadFile(files, rel)
	if err != nil {
		return nil, err
	}
	return data, t.charge(name, len(data))
}

func (t *tree) limit() int {
	if t.options.Limits.File > 0 {
		return t.options.Limits.File
	}
	return 4 << 20
}

// charge keeps a build within its means.
func (t *tree) charge(name string, size int) error {
	if size > t.limit() {
		return t.refuse(fmt.Errorf("%s is %d bytes, more than the limit of %d", t.shown(name), size, t.limit()))
	}
	t.reads++
	t.bytes += size
	if t.reads > maxReads || t.bytes > maxBytes {
		return t.refuse(fmt.Errorf("the build reads more than %d files or %d bytes", maxReads, maxBytes))
	}
	return nil
}

// shown is a path as people know it.
func (t *tree) shown(name string) string {
	if rel, ok := below(name, treeRoot); ok {
		return gitindex.Clean(rel, 200)
	}
	return gitindex.Clean(name, 200)
}

// ReadDir lists the names in a directory, sorted.
func (t *tree) ReadDir(name string) ([]string, error) {
	name, err := t.resolve(name)
	if err != nil {
		return nil, err
	}
	files, rel, err := t.in(name)
	if err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(files, rel)
	if err != nil && !t.dirs[name] {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if t.Exists(path.Join(name, e.Name())) {
			names = append(names, e.Name())
		}
	}
	for added := range t.overlay {
		if path.Dir(added) == name {
			names = append(names, path.Base(added))
		}
	}
	for added := range t.dirs {
		if path.Dir(added) == name {
			names = append(names, path.Base(added))
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Glob gives the paths that match; hidden ones only if the pattern says so.
// kustomize's build does not use it.
func (t *tree) Glob(pattern string) ([]string, error) {
	var all []string
	err := t.Walk(treeRoot, func(name string, _ fs.FileInfo, err error) error {
		if err != nil {
			return err
		}
		ok, err := path.Match(pattern, name)
		if ok && (filesys.IsHiddenFilePath(pattern) || !filesys.IsHiddenFilePath(name)) {
			all = append(all, name)
		}
		return err
	})
	return all, err
}

// Walk goes through a directory in the order of names, and follows no links,
// as filepath.Walk.
func (t *tree) Walk(name string, fn filepath.WalkFunc) error {
	info, err := t.lstat(name)
	if err != nil {
		return fn(name, nil, err)
	}
	err = t.walk(name, info, fn)
	if errors.Is(err, filepath.SkipDir) || errors.Is(err, filepath.SkipAll) {
		return nil
	}
	return err
}

func (t *tree) walk(name string, info fs.FileInfo, fn filepath.WalkFunc) error {
	if err := fn(name, info, nil); err != nil || !info.IsDir() {
		return err
	}
	names, err := t.ReadDir(name)
	if err != nil {
		return fn(name, info, err)
	}
	for _, child := range names {
		child = path.Join(name, child)
		info, err := t.lstat(child)
		if err != nil {
			if err := fn(child, nil, err); err != nil && !errors.Is(err, filepath.SkipDir) {
				return err
			}
			continue
		}
		if err := t.walk(child, info, fn); err != nil && (!info.IsDir() || !errors.Is(err, filepath.SkipDir)) {
			return err
		}
	}
	return nil
}

func (t *tree) lstat(name string) (fs.FileInfo, error) {
	if data, ok := t.overlay[name]; ok {
		return entry{path.Base(name), int64(len(data)), 0o644}, nil
	}
	files, rel, err := t.in(name)
	if err != nil {
		return nil, err
	}
	info, err := fs.Lstat(files, rel)
	if err == nil && t.hidden(name, rel, info.IsDir()) {
		err = &fs.PathError{Op: "lstat", Path: name, Err: fs.ErrNotExist}
	}
	if err != nil && t.dirs[name] {
		return entry{path.Base(name), 0, fs.ModeDir | 0o755}, nil
	}
	return info, err
}

var errReadOnly = &fs.PathError{Op: "write", Path: treeRoot, Err: os.ErrPermission}

// Create refuses, as everything that writes.
func (t *tree) Create(string) (filesys.File, error) { return nil, errReadOnly }

// Mkdir refuses.
func (t *tree) Mkdir(string) error { return errReadOnly }

// MkdirAll refuses.
func (t *tree) MkdirAll(string) error { return errReadOnly }

// RemoveAll refuses.
func (t *tree) RemoveAll(string) error { return errReadOnly }

// WriteFile refuses.
func (t *tree) WriteFile(string, []byte) error { return errReadOnly }

// Open refuses: kustomize's build reads whole files.
func (t *tree) Open(string) (filesys.File, error) { return nil, errReadOnly }
