package controller

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"strings"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/object"
	"github.com/gitward/gitward/gitindex/render"
)

// input is one thing that a rendering read.
type input struct {
	Kind inputKind
	Name string // a path, a reference, an object's group, kind, namespace and name
}

type inputKind byte

const (
	readFile   inputKind = 'f'
	listDir    inputKind = 'l'
	statPath   inputKind = 's'
	linkItself inputKind = 'k' // a path whose last part is not followed
	chart      inputKind = 'c'
	base       inputKind = 'b'
	declared   inputKind = 'o'
)

// inputs are all that a rendering read, each with a print of what it found
// there. The rendering need not be done again while every print is the same.
type inputs map[input]string

const absent = "-"

// sources are what the renderings of one version may read.
type sources struct {
	tree     *version
	outside  outside
	declared lookups
	keys     render.Keys
}

// Keys open what the tree holds encrypted. They are no input: with others the
// whole index is another (see Settings.digest).
func (s *sources) Keys() (render.Keys, error) { return s.keys, nil }

// seeing are the sources with these objects declared.
func (s sources) seeing(objects lookups) *sources {
	s.declared = objects
	return &s
}

// fits reports whether everything that was read would be found again.
func (s *sources) fits(in inputs) bool {
	for i, print := range in {
		if s.print(i) != print {
			return false
		}
	}
	return true
}

// print is what an input is now, in few bytes.
func (s *sources) print(i input) string {
	switch i.Kind {
	case readFile, statPath:
		return s.tree.print(i.Name, true)
	case linkItself:
		return s.tree.print(i.Name, false)
	case listDir:
		entries, err := s.tree.ReadDir(i.Name)
		return printOfList(entries, err)
	case chart:
		var ref render.ChartRef
		if json.Unmarshal([]byte(i.Name), &ref) != nil {
			return unpinned
		}
		return or(s.outside.ChartPin(ref), unpinned)
	case base:
		return or(s.outside.BasePin(i.Name), unpinned)
	case declared:
		return printOf(s.declared[refOf(i.Name)])
	}
	return ""
}

// print is a path's: the blob that lies there, or that it is a directory.
func (v *version) print(name string, follow bool) string {
	p, err := v.resolve(name, follow)
	if err != nil {
		return "!" + err.Error()
	}
	t, ok := v.touch(p)
	switch {
	case ok && (object.Entry{Mode: t.Mode}).IsSymlink():
		return "link " + t.Blob.String() // a file may have the same bytes
	case ok && !(object.Entry{Mode: t.Mode}).IsGitlink():
		return t.Blob.String()
	case p == "" || v.isDir(p):
		return "directory"
	}
	return absent
}

func printOfList(entries []fs.DirEntry, err error) string {
	if err != nil {
		return absent
	}
	var b strings.Builder
	for _, e := range entries {
		b.WriteString(e.Type().String() + e.Name() + "\x00")
	}
	return printOf([]byte(b.String()))
}

func printOf(data []byte) string {
	if data == nil {
		return absent
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// The prints of content from elsewhere that was not to be had. What is pinned
// and could not be fetched is no print that fits: it is tried again.
const (
	unpinned  = "!unpinned"
	unfetched = "!unfetched"
)

func printOfPin(toward string, pin render.Pin, err error) string {
	switch {
	case err == nil:
		return pin.Digest
	case toward == "":
		return unpinned
	}
	return unfetched
}

func nameOf(r gitindex.Ref) string {
	return strings.Join([]string{r.Group, r.Kind, r.Namespace, r.Name}, "\x00")
}

func refOf(name string) gitindex.Ref {
	p := strings.Split(name, "\x00")
	if len(p) != 4 {
		return gitindex.Ref{}
	}
	return gitindex.Ref{Group: p[0], Kind: p[1], Namespace: p[2], Name: p[3]}
}

// recorder hands a rendering its sources and notes what it reads.
type recorder struct {
	*sources
	read inputs
}

func (r *recorder) note(kind inputKind, name, print string) {
	r.read[input{kind, name}] = print
}

// Tree is the tree; what is read of it is noted.
func (r *recorder) Tree() fs.FS { return recorded{r} }

// Chart gives a chart from elsewhere, and notes its pin. That there is none is
// noted as well: once it is pinned, the unit is rendered again.
func (r *recorder) Chart(ref render.ChartRef) (fs.FS, render.Pin, error) {
	name, err := json.Marshal(ref)
	if err != nil {
		return nil, render.Pin{}, err
	}
	toward := r.outside.ChartPin(ref)
	files, pin, err := r.outside.Chart(ref)
	r.note(chart, string(name), printOfPin(toward, pin, err))
	return files, pin, err
}

// Base does the same for a kustomize base.
func (r *recorder) Base(url string) (fs.FS, render.Pin, error) {
	toward := r.outside.BasePin(url)
	files, pin, err := r.outside.Base(url)
	r.note(base, url, printOfPin(toward, pin, err))
	return files, pin, err
}

// Declared gives an object of the same version of the Origin.
func (r *recorder) Declared(ref gitindex.Ref) (json.RawMessage, error) {
	o := r.declared[ref]
	r.note(declared, nameOf(ref), printOf(o))
	return o, nil
}

// recorded is the tree under a recorder.
type recorded struct{ r *recorder }

func (t recorded) stat(name string) {
	t.r.note(statPath, name, t.r.tree.print(name, true))
}

// Open opens a file or directory.
func (t recorded) Open(name string) (fs.File, error) {
	f, err := t.r.tree.Open(name)
	t.stat(name)
	if info, e := t.r.tree.Stat(name); e == nil && info.IsDir() {
		_, _ = t.ReadDir(name)
	}
	return f, err
}

// ReadFile reads a file.
func (t recorded) ReadFile(name string) ([]byte, error) {
	t.r.note(readFile, name, t.r.tree.print(name, true))
	return t.r.tree.ReadFile(name)
}

// ReadDir lists a directory.
func (t recorded) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := t.r.tree.ReadDir(name)
	t.r.note(listDir, name, printOfList(entries, err))
	return entries, err
}

// Stat follows symbolic links.
func (t recorded) Stat(name string) (fs.FileInfo, error) {
	t.stat(name)
	return t.r.tree.Stat(name)
}

// Lstat does not follow a link that the path itself is.
func (t recorded) Lstat(name string) (fs.FileInfo, error) {
	t.r.note(linkItself, name, t.r.tree.print(name, false))
	return t.r.tree.Lstat(name)
}

// ReadLink gives a symbolic link's target.
func (t recorded) ReadLink(name string) (string, error) {
	t.r.note(linkItself, name, t.r.tree.print(name, false))
	return t.r.tree.ReadLink(name)
}
