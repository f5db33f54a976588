package appliers

import (
	"os"
	"path/filepath"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// kustomize is what `kustomize build` prints for a directory of the checkout.
func (l *lab) kustomize(dir string) (string, error) { return buildAt(l.path(dir)) }

// buildAt is what it prints for a directory on disk.
func buildAt(dir string) (string, error) {
	options := krusty.MakeDefaultOptions()
	options.LoadRestrictions = types.LoadRestrictionsNone
	result, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return "", err
	}
	text, err := result.AsYaml()
	return string(text), err
}

// built writes what kustomize makes of a directory to a file beside the
// repository, as a job does.
func (l *lab) built(dir string) string {
	l.t.Helper()
	text, err := l.kustomize(dir)
	l.check(err)
	return l.beside(dir+".yaml", text)
}

// copied are the files below a directory on disk, under another name.
func (l *lab) copied(from, to string) map[string]string {
	l.t.Helper()
	files := map[string]string{}
	l.check(filepath.WalkDir(from, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		files[filepath.ToSlash(filepath.Join(to, relative))] = string(text)
		return err
	}))
	return files
}
