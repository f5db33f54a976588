package controller

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/gitward/gitward/gitindex/gitrepo"
	"github.com/gitward/gitward/gitindex/object"
	"github.com/gitward/gitward/gitindex/render"
)

// directories lists, for every directory there ever was in a timeline, the
// names that were ever in it. The root is "".
type directories map[string][]string

func directoriesOf(paths []string) directories {
	d := directories{}
	for _, p := range paths {
		for p != "" {
			dir, name := split(p)
			if names := d[dir]; len(names) > 0 && names[len(names)-1] == name {
				break // paths come sorted: what lies above is known too
			}
			d[dir] = append(d[dir], name)
			p = dir
		}
	}
	for dir, names := range d {
		slices.Sort(names)
		d[dir] = slices.Compact(names)
	}
	return d
}

func split(p string) (dir, name string) {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i], p[i+1:]
	}
	return "", p
}

// version is one version of a repository's tree, as a file system: the trusted
// tree after one commit, or the tree as it would be if every commit counted.
type version struct {
	timeline *gitrepo.Timeline
	dirs     directories
	blobs    blobs
	at       int  // the commits up to this one, itself included, make the tree
	pending  bool // those that are not trusted count as well

	known map[string]bool // directories that are, or are not, there
}

// touch is the last change that counts of a path.
func (v *version) touch(p string) (gitrepo.Touch, bool) {
	touches := v.timeline.Path(p)
	n := sort.Search(len(touches), func(i int) bool { return touches[i].Index > v.at })
	for n--; n >= 0; n-- {
		if v.pending || v.timeline.Counts(touches[n].Index) {
			return touches[n], !touches[n].Removed()
		}
	}
	return gitrepo.Touch{}, false
}

// isDir reports whether anything lies below the path.
func (v *version) isDir(dir string) bool {
	if there, ok := v.known[dir]; ok {
		return there
	}
	there := slices.ContainsFunc(v.dirs[dir], func(name string) bool {
		p := join(dir, name)
		_, file := v.touch(p)
		return file || v.isDir(p)
	})
	if v.known == nil {
		v.known = map[string]bool{}
	}
	v.known[dir] = there
	return there
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// links bounds how many symbolic links one path may lead through.
const links = 40

var (
	errOutside = errors.New("leads out of the repository")
	errLinks   = errors.New("leads through too many symbolic links")
)

// resolve follows the symbolic links in a path, its last part too if follow is
// set. The result names nothing outside the tree.
func (v *version) resolve(name string, follow bool) (string, error) {
	return v.trace(name, follow, func(string) {})
}

// trace is resolve, and tells of each link on the way. Part by part, since ".."
// after a link leads to what lies above the link's target.
func (v *version) trace(name string, follow bool, met func(link string)) (string, error) {
	if !fs.ValidPath(name) {
		return "", fs.ErrInvalid
	}
	rest, done := name, ""
	for hops := 0; rest != ""; {
		part, after, _ := strings.Cut(rest, "/")
		switch part {
		case "", ".":
			rest = after
			continue
		case "..":
			if done == "" {
				return "", errOutside
			}
			if !v.isDir(done) {
				return "", fs.ErrNotExist
			}
			done, rest = directoryOf(done), after
			continue
		}
		p := join(done, part)
		t, there := v.touch(p)
		if !there || !(object.Entry{Mode: t.Mode}).IsSymlink() || after == "" && !follow {
			done, rest = p, after
			continue
		}
		met(p)
		if hops++; hops > links {
			return "", errLinks
		}
		target, err := v.blobs.Blob(t.Blob)
		if err != nil {
			return "", err
		}
		if path.IsAbs(string(target)) {
			return "", errOutside
		}
		rest = strings.TrimSuffix(string(target)+"/"+after, "/")
	}
	return done, nil
}

func pathError(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// Open opens a file or directory.
func (v *version) Open(name string) (fs.File, error) { return render.Open(v, name) }

// ReadFile reads a regular file.
func (v *version) ReadFile(name string) ([]byte, error) {
	p, err := v.resolve(name, true)
	if err != nil {
		return nil, pathError("read", name, err)
	}
	t, ok := v.touch(p)
	switch {
	case !ok && v.isDir(p):
		return nil, pathError("read", name, errors.New("is a directory"))
	case !ok, (object.Entry{Mode: t.Mode}).IsGitlink():
		return nil, pathError("read", name, fs.ErrNotExist)
	}
	data, err := v.blobs.Blob(t.Blob)
	if err != nil {
		return nil, pathError("read", name, err)
	}
	return data, nil
}

// Stat follows symbolic links.
func (v *version) Stat(name string) (fs.FileInfo, error) {
	p, err := v.resolve(name, true)
	if err != nil {
		return nil, pathError("stat", name, err)
	}
	return v.info("stat", name, p)
}

// Lstat does not follow a symbolic link that the path itself is.
func (v *version) Lstat(name string) (fs.FileInfo, error) {
	p, err := v.resolve(name, false)
	if err != nil {
		return nil, pathError("lstat", name, err)
	}
	return v.info("lstat", name, p)
}

// ReadLink gives a symbolic link's target.
func (v *version) ReadLink(name string) (string, error) {
	p, err := v.resolve(name, false)
	if err != nil {
		return "", pathError("readlink", name, err)
	}
	t, ok := v.touch(p)
	if !ok || !(object.Entry{Mode: t.Mode}).IsSymlink() {
		return "", pathError("readlink", name, fs.ErrInvalid)
	}
	target, err := v.blobs.Blob(t.Blob)
	return string(target), err
}

func (v *version) info(op, name, p string) (fs.FileInfo, error) {
	if t, ok := v.touch(p); ok && !(object.Entry{Mode: t.Mode}).IsGitlink() {
		return render.FileInfo{Base: path.Base(name), Perm: modeOf(t.Mode)}, nil
	}
	if p == "" || v.isDir(p) {
		return render.FileInfo{Base: path.Base(name), Perm: fs.ModeDir | 0o755}, nil
	}
	return nil, pathError(op, name, fs.ErrNotExist)
}

func modeOf(mode uint32) fs.FileMode {
	switch e := (object.Entry{Mode: mode}); {
	case e.IsSymlink():
		return fs.ModeSymlink | 0o777
	case mode&0o111 != 0:
		return 0o755
	}
	return 0o644
}

// ReadDir lists a directory, sorted by name. Submodules are left out.
func (v *version) ReadDir(name string) ([]fs.DirEntry, error) {
	dir, err := v.resolve(name, true)
	if err != nil {
		return nil, pathError("readdir", name, err)
	}
	if _, file := v.touch(dir); file || dir != "" && !v.isDir(dir) {
		return nil, pathError("readdir", name, fs.ErrNotExist)
	}
	var out []fs.DirEntry
	for _, child := range v.dirs[dir] {
		if info, err := v.info("readdir", child, join(dir, child)); err == nil {
			out = append(out, fs.FileInfoToDirEntry(info))
		}
	}
	return out, nil
}
