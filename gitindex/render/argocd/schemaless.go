package argocd

import (
	"io/fs"
	"path"
	"slices"

	"github.com/gitward/gitward/gitindex/render"
)

// schemaFile is the one that Helm holds a chart's values against.
const schemaFile = "values.schema.json"

// schemaless is a file system without schemas of values, for helm.skipSchemaValidation.
// A schema is nothing else to Helm: templates do not see it.
type schemaless struct{ fs.FS }

func (s *schemaless) hides(op, name string) error {
	if path.Base(name) == schemaFile {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return nil
}

func (s *schemaless) Open(name string) (fs.File, error) {
	if err := s.hides("open", name); err != nil {
		return nil, err
	}
	return s.FS.Open(name)
}

func (s *schemaless) ReadFile(name string) ([]byte, error) {
	if err := s.hides("open", name); err != nil {
		return nil, err
	}
	return fs.ReadFile(s.FS, name)
}

func (s *schemaless) Stat(name string) (fs.FileInfo, error) {
	if err := s.hides("stat", name); err != nil {
		return nil, err
	}
	return fs.Stat(s.FS, name)
}

func (s *schemaless) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(s.FS, name)
	return slices.DeleteFunc(slices.Clone(entries), func(e fs.DirEntry) bool { return e.Name() == schemaFile }), err
}

// unchecked are sources without schemas.
type unchecked struct {
	render.Sources
	tree *schemaless
}

func (u unchecked) Tree() fs.FS { return u.tree }

func (u unchecked) Chart(ref render.ChartRef) (fs.FS, render.Pin, error) {
	files, pin, err := u.Sources.Chart(ref)
	if err != nil {
		return nil, pin, err
	}
	return &schemaless{files}, pin, nil
}

// uncheck gives the sources and the chart of a release without schemas.
func uncheck(src render.Sources, at place) (render.Sources, fs.FS) {
	all := unchecked{src, &schemaless{src.Tree()}}
	if at.elsewhere {
		return all, &schemaless{at.files}
	}
	return all, all.tree // one value, so that the chart is known to be of the tree
}
