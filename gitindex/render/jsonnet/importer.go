package jsonnet

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/google/go-jsonnet"

	"github.com/gitward/gitward/gitindex"
)

// What one evaluation may read.
const (
	maxFile  = 16 << 20
	maxReads = 10_000
)

// importer finds files as go-jsonnet's FileImporter does: beside the importing
// file, then in the libraries, the last one first. It knows no other place than
// the tree.
type importer struct {
	tree      fs.FS
	libraries []string
	read      map[string]*jsonnet.Contents // by path; nil for one that is not there
}

// Import is called by go-jsonnet, for the file itself with importedFrom "".
func (i *importer) Import(importedFrom, importedPath string) (jsonnet.Contents, string, error) {
	shown := gitindex.Clean(importedPath, 200)
	switch {
	case strings.Contains(importedPath, "://"):
		return jsonnet.Contents{}, "", fmt.Errorf("the import %q is an address: only files of the tree are imported", shown)
	case path.IsAbs(importedPath):
		return jsonnet.Contents{}, "", fmt.Errorf("the import %q is an absolute path: only files of the tree are imported", shown)
	}
	left := false
	for _, dir := range i.places(importedFrom) {
		name := path.Join(dir, importedPath)
		if outside(name) {
			left = true
			continue
		}
		contents, err := i.open(name)
		if err != nil {
			return jsonnet.Contents{}, "", err
		}
		if contents != nil {
			return *contents, name, nil
		}
	}
	if left {
		return jsonnet.Contents{}, "", fmt.Errorf("the import %q leads out of the tree", shown)
	}
	return jsonnet.Contents{}, "", fmt.Errorf("the import %q is neither beside the file nor in a library", shown)
}

func (i *importer) places(importedFrom string) []string {
	places := []string{path.Dir(importedFrom)}
	for n := len(i.libraries) - 1; n >= 0; n-- {
		places = append(places, i.libraries[n])
	}
	return places
}

// open gives the same contents each time, which go-jsonnet demands.
func (i *importer) open(name string) (*jsonnet.Contents, error) {
	if contents, known := i.read[name]; known {
		return contents, nil
	}
	if len(i.read) >= maxReads {
		return nil, fmt.Errorf("more than %d files are imported", maxReads)
	}
	data, err := fs.ReadFile(i.tree, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		i.read[name] = nil
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", gitindex.Clean(name, 200), err)
	case len(data) > maxFile:
		return nil, fmt.Errorf("%s is larger than %d MiB", gitindex.Clean(name, 200), maxFile>>20)
	}
	contents := jsonnet.MakeContentsRaw(data)
	i.read[name] = &contents
	return &contents, nil
}

// libraries are directories of the tree, from its root; a leading "/" is the
// tree's root too, as Argo CD has it.
func libraries(dirs []string) ([]string, error) {
	clean := make([]string, 0, len(dirs))
	for _, dir := range dirs {
		name := path.Clean("./" + dir)
		if outside(name) {
			return nil, fmt.Errorf("the library %q leads out of the tree", gitindex.Clean(dir, 200))
		}
		clean = append(clean, name)
	}
	return clean, nil
}

// outside reports whether a clean path is none of the tree.
func outside(name string) bool { return !fs.ValidPath(name) }
