package controller

import (
	"bytes"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/gitrepo"
	"github.com/gitward/gitward/gitindex/render"
)

// Provenance is the commit that last changed one object's rendered form in the
// trusted tree. It is found by reading the file's trusted versions backwards
// until the object is another one, or is not there. An edit elsewhere in the
// file, a new comment, a commit that only moves the object to another file: none
// of them changes what it says, so none of them moves its provenance.

// identity is an object's key as its file declares it.
type identity struct{ group, kind, namespace, name string }

func identityOf(o *render.Object) identity { return identity{o.Group, o.Kind, o.Namespace, o.Name} }

// historian finds provenance in one timeline.
type historian struct {
	timeline *gitrepo.Timeline
	read     func(path string, t gitrepo.Touch) []render.Object
	// known gives the provenance of an object as it stood after a touch, where
	// an earlier run has settled it; nil if it has not.
	known func(path string, t gitrepo.Touch, o *render.Object) *gitindex.Commit

	edits map[int][]place              // by commit: files it changed that had been there before
	gone  map[int]map[identity][]place // by commit: objects it took out of a file
}

// place is an object in a version of a file.
type place struct {
	path    string
	touches []gitrepo.Touch // trusted ones
	at      int
}

// lastChange is the commit that gave the object, which stands at p, the form
// it has there.
func (h *historian) lastChange(p place, o *render.Object) *gitindex.Commit {
	for {
		touch := p.touches[p.at]
		if h.known != nil {
			if c := h.known(p.path, touch, o); c != nil {
				return c
			}
		}
		before, ok := h.before(p, o)
		if !ok {
			return h.timeline.Commit(touch.Index)
		}
		p = before
	}
}

// before finds where the object stood in the same form before the touch at p:
// in the same file, or in another that gave it up in the same commit (the first
// by path, should several have done so).
func (h *historian) before(p place, o *render.Object) (place, bool) {
	id := identityOf(o)
	if p.at > 0 {
		earlier := place{p.path, p.touches, p.at - 1}
		if old := h.find(earlier, id); old != nil {
			return earlier, bytes.Equal(old.JSON, o.JSON)
		}
	}
	for _, from := range h.gaveUp(p.touches[p.at].Index)[id] {
		if old := h.find(from, id); from.path != p.path && old != nil && bytes.Equal(old.JSON, o.JSON) {
			return from, true
		}
	}
	return place{}, false
}

func (h *historian) find(p place, id identity) *render.Object {
	t := p.touches[p.at]
	if t.Removed() {
		return nil
	}
	objects := h.read(p.path, t)
	for i := range objects {
		if identityOf(&objects[i]) == id {
			return &objects[i]
		}
	}
	return nil
}

// gaveUp lists the objects that a commit took out of files, with where they
// stood before.
func (h *historian) gaveUp(commit int) map[identity][]place {
	if gone, ok := h.gone[commit]; ok {
		return gone
	}
	if h.edits == nil {
		h.edits, h.gone = h.editsByCommit(), map[int]map[identity][]place{}
	}
	gone := map[identity][]place{}
	for _, p := range h.edits[commit] {
		h.noteRemovals(gone, p)
	}
	h.gone[commit] = gone
	return gone
}

// editsByCommit lists, for each commit, the files it changed or removed that
// had been there before.
func (h *historian) editsByCommit() map[int][]place {
	edits := map[int][]place{}
	for _, path := range h.timeline.Paths() {
		if !render.Eligible(path) {
			continue
		}
		touches := h.timeline.Trusted(path)
		for i, t := range touches {
			if i > 0 && !touches[i-1].Removed() {
				edits[t.Index] = append(edits[t.Index], place{path, touches, i})
			}
		}
	}
	return edits
}

func (h *historian) noteRemovals(gone map[identity][]place, p place) {
	still := map[identity]bool{}
	if !p.touches[p.at].Removed() {
		for _, o := range h.read(p.path, p.touches[p.at]) {
			still[identityOf(&o)] = true
		}
	}
	for _, o := range h.read(p.path, p.touches[p.at-1]) {
		if id := identityOf(&o); !still[id] {
			gone[id] = append(gone[id], place{p.path, p.touches, p.at - 1})
		}
	}
}
