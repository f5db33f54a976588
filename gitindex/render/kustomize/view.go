package kustomize

import (
	"io/fs"
	"path"
	"path/filepath"

	"github.com/gitward/gitward/gitindex/render"
	"sigs.k8s.io/kustomize/api/konfig"
)

// View is the tree as a build with the same options would see it, for an
// applier that looks around before it builds. Paths are clean and relative to
// the tree's root; "" is the root.
type View struct{ tree *tree }

// Look gives the view.
func Look(src render.Sources, o Options) View { return View{newTree(src, o)} }

// IsDir reports whether a directory is there.
func (v View) IsDir(name string) bool { return v.tree.IsDir(path.Join(treeRoot, name)) }

// Exists reports whether anything is there.
func (v View) Exists(name string) bool { return v.tree.Exists(path.Join(treeRoot, name)) }

// ReadFile reads a file as it is.
func (v View) ReadFile(name string) ([]byte, error) {
	real, err := v.tree.resolve(path.Join(treeRoot, name))
	if err != nil {
		return nil, err
	}
	return v.tree.raw(real)
}

// Kustomization is the name of the first kustomization file in the directory,
// "" if there is none.
func (v View) Kustomization(dir string) string {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		if name = path.Join(dir, name); v.Exists(name) && !v.IsDir(name) {
			return name
		}
	}
	return ""
}

// Walk goes through a directory as filepath.Walk does.
func (v View) Walk(dir string, fn filepath.WalkFunc) error {
	return v.tree.Walk(path.Join(treeRoot, dir), func(name string, info fs.FileInfo, err error) error {
		rel, _ := below(name, treeRoot)
		return fn(rel, info, err)
	})
}

// Local reports that kustomize takes a base's reference for a path of the same
// tree, however it is read.
func Local(ref string) bool { return plainly(ref) && !path.IsAbs(ref) }
