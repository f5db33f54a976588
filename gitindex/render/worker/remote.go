package worker

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"path"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// remote are the Sources as the child has them: every read is a question to the
// parent. What was asked once in a rendering is not asked again.
type remote struct {
	line *line
	tree *remoteTree
	dead error // the parent does not answer any more
}

func newRemote(l *line) *remote {
	r := &remote{line: l}
	r.tree = &remoteTree{remote: r, known: map[question]*answer{}}
	return r
}

func (r *remote) ask(m message) *answer {
	a := &answer{}
	if r.dead == nil {
		if r.dead = r.line.out.Encode(&m); r.dead == nil {
			r.dead = r.line.in.Decode(a)
		}
	}
	if r.dead != nil {
		return &answer{Err: failureOf(r.dead)}
	}
	return a
}

// Tree is the repository's.
func (r *remote) Tree() fs.FS { return r.tree }

// Chart asks for a chart from elsewhere.
func (r *remote) Chart(ref render.ChartRef) (fs.FS, render.Pin, error) {
	return r.handedOut(r.ask(message{Op: opChart, Ref: ref}))
}

// Base asks for a kustomize base from elsewhere.
func (r *remote) Base(url string) (fs.FS, render.Pin, error) {
	return r.handedOut(r.ask(message{Op: opBase, Name: url}))
}

func (r *remote) handedOut(a *answer) (fs.FS, render.Pin, error) {
	if a.Err != nil {
		return nil, a.Pin, a.Err
	}
	t := &remoteTree{remote: r, number: a.Tree, known: map[question]*answer{}}
	if a.BaseDir != "" {
		return remoteBase{t, a.BaseDir}, a.Pin, nil
	}
	return t, a.Pin, nil
}

// remoteBase is a base whose repository came with it.
type remoteBase struct {
	*remoteTree
	dir string
}

// BaseDir is the directory or file that was asked for.
func (b remoteBase) BaseDir() string { return b.dir }

// Declared asks for an object of the Origin.
func (r *remote) Declared(ref gitindex.Ref) (json.RawMessage, error) {
	a := r.ask(message{Op: opDeclared, Object: ref})
	return a.Data, a.Err.err()
}

// Keys asks for what opens encrypted files.
func (r *remote) Keys() (render.Keys, error) {
	a := r.ask(message{Op: opKeys})
	return a.Keys, a.Err.err()
}

// remoteTree is one of the parent's file systems.
type remoteTree struct {
	remote *remote
	number int
	known  map[question]*answer
}

type question struct {
	op   op
	name string
}

func (t *remoteTree) ask(o op, name string) *answer {
	key := question{o, name}
	if a := t.known[key]; a != nil {
		return a
	}
	a := t.remote.ask(message{Op: o, Tree: t.number, Name: name})
	t.known[key] = a
	return a
}

// Open opens a file or directory.
func (t *remoteTree) Open(name string) (fs.File, error) { return render.Open(t, name) }

// ReadFile reads a file. The caller may change what it gets.
func (t *remoteTree) ReadFile(name string) ([]byte, error) {
	a := t.ask(opReadFile, name)
	return bytes.Clone(a.Data), a.Err.err()
}

// ReadDir lists a directory.
func (t *remoteTree) ReadDir(name string) ([]fs.DirEntry, error) {
	a := t.ask(opReadDir, name)
	var out []fs.DirEntry
	for _, e := range a.Entries {
		out = append(out, fs.FileInfoToDirEntry(render.FileInfo{Base: e.Name, Perm: e.Mode}))
	}
	return out, a.Err.err()
}

// Stat follows symbolic links.
func (t *remoteTree) Stat(name string) (fs.FileInfo, error) { return t.info(opStat, name) }

// Lstat does not.
func (t *remoteTree) Lstat(name string) (fs.FileInfo, error) { return t.info(opLstat, name) }

func (t *remoteTree) info(o op, name string) (fs.FileInfo, error) {
	a := t.ask(o, name)
	if a.Err != nil {
		return nil, a.Err
	}
	if len(a.Entries) != 1 {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrInvalid}
	}
	return render.FileInfo{Base: path.Base(name), Perm: a.Entries[0].Mode}, nil
}

// ReadLink gives a link's target.
func (t *remoteTree) ReadLink(name string) (string, error) {
	a := t.ask(opReadLink, name)
	return string(a.Data), a.Err.err()
}
