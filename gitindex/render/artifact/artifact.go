// Package artifact answers: what does a Flux source's artifact hold of this
// tree?
//
// An artifact is either one directory of the tree (a GitRepository's is the
// whole of it, an OCIRepository's is the directory that was pushed) or what an
// ArtifactGenerator (source.extensions.fluxcd.io/v1beta1) copies together. The
// latter is laid out as source-watcher v2.2.1 does it: the facts are those of
// its internal/builder (builder.go, merge.go, extract.go), which its page
// docs/spec/v1beta1/artifactgenerators.md tells in part. Where the two differ,
// the builder counts: "configs/*.yaml" to "apps/" makes apps/configs/a.yaml.
//
// The tree is taken to be what the sources hold: rules of .sourceignore and of
// a GitRepository's spec.ignore are applied to it before, not here.
package artifact

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// View is the artifact as a file system: fs.ReadFileFS, fs.ReadDirFS,
// fs.StatFS and fs.ReadLinkFS.
//
// One directory is the tree below it, as it is. Copies are laid out at once,
// from listings of what they cover; files are read only when they are asked
// for, but for those that Merge and Extract make others of. Symbolic links of
// the tree are no part of it, since source-controller does not pack them. An
// error means that there is no such artifact: Flux would make none, or it is
// past the limits here.
func View(tree fs.FS, a render.Artifact) (fs.FS, error) {
	switch {
	case len(a.Copies) == 0:
		return below(tree, a.Root)
	case a.Root != "":
		return nil, errors.New("an artifact is a directory or copies, not both")
	}
	b := &builder{tree: tree, budget: newBudget(), sources: map[string]*source{}}
	b.stage = newStage(b.budget)
	for i, c := range a.Copies {
		if err := b.copy(c); err != nil {
			return nil, fmt.Errorf("copy %d, from %q to %q: %w", i+1, gitindex.Clean(c.From, 200), gitindex.Clean(c.To, 200), err)
		}
	}
	return b.stage.packed(tree), nil
}

// Source is the name in the tree of a file of what View gave; "" if the file was
// made of several, or is none.
func Source(view fs.FS, name string) string {
	switch v := view.(type) {
	case sub:
		return path.Join(v.root, name)
	case *files:
		if n := v.nodes[path.Clean(name)]; n != nil {
			return n.source
		}
		return ""
	}
	return name
}

// below is one directory of the tree.
func below(tree fs.FS, root string) (fs.FS, error) {
	dir, err := directory(tree, root)
	if err != nil || dir == "." {
		return tree, err
	}
	files, err := fs.Sub(tree, dir)
	if err != nil {
		return nil, err
	}
	return sub{files, tree, dir}, nil
}

// directory is the name of a directory that a source stands for.
func directory(tree fs.FS, root string) (string, error) {
	dir := path.Clean(root)
	if !fs.ValidPath(dir) {
		return "", fmt.Errorf("%q lies outside of the tree", gitindex.Clean(root, 200))
	}
	info, err := fs.Stat(tree, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("the tree has no directory %q", gitindex.Clean(root, 200))
	case err != nil:
		return "", err
	case !info.IsDir():
		return "", fmt.Errorf("%q is no directory of the tree", gitindex.Clean(root, 200))
	}
	return dir, nil
}

// sub is fs.Sub with what it leaves out: Stat without Open.
type sub struct {
	fs.FS
	tree fs.FS
	root string
}

func (s sub) ReadFile(name string) ([]byte, error)       { return fs.ReadFile(s.FS, name) }
func (s sub) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(s.FS, name) }
func (s sub) Lstat(name string) (fs.FileInfo, error)     { return fs.Lstat(s.FS, name) }
func (s sub) ReadLink(name string) (string, error)       { return fs.ReadLink(s.FS, name) }

func (s sub) Stat(name string) (fs.FileInfo, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrInvalid}
	}
	info, err := fs.Stat(s.tree, path.Join(s.root, name))
	if err == nil && name == "." {
		return renamed{info, "."}, nil
	}
	return info, err
}

// renamed is what is known of a file, under another name.
type renamed struct {
	fs.FileInfo
	name string
}

func (r renamed) Name() string { return r.name }
