package controller

import (
	"fmt"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/object"
	"github.com/gitward/gitward/gitindex/render"
)

// blobs reads file contents; a gitrepo.Repo is one.
type blobs interface {
	Blob(id object.ID) ([]byte, error)
}

// reader renders blobs, and remembers the latest: history is read backwards,
// and the same versions of a file are asked for again and again.
type reader struct {
	blobs      blobs
	limits     render.Limits
	young, old map[object.ID]rendered
	bytes      int
}

type rendered struct {
	objects  []render.Object
	problems []gitindex.Problem
	unread   bool // the blob is not to be had
}

// memory bounds what the reader remembers, in bytes of rendered JSON, in each
// of two generations.
const memory = 16 << 20

func newReader(b blobs) *reader {
	return &reader{blobs: b, young: map[object.ID]rendered{}}
}

// read renders one version of a file. What cannot be read is a problem of that
// file, and declares nothing.
func (r *reader) read(path string, id object.ID) rendered {
	if v, ok := r.young[id]; ok {
		return v.at(path)
	}
	v, ok := r.old[id]
	if !ok {
		v = r.render(path, id)
	}
	for i := range v.objects {
		r.bytes += len(v.objects[i].JSON) + 200
	}
	if r.bytes > memory {
		r.old, r.young, r.bytes = r.young, map[object.ID]rendered{}, 0
	}
	r.young[id] = v
	return v.at(path)
}

// forget drops everything, once an index has been built.
func (r *reader) forget() { r.young, r.old, r.bytes = map[object.ID]rendered{}, nil, 0 }

func (r *reader) render(path string, id object.ID) rendered {
	data, err := r.blobs.Blob(id)
	if err != nil {
		return rendered{problems: []gitindex.Problem{{Path: path, Message: fmt.Sprintf("cannot be read: %v", err)}}, unread: true}
	}
	objects, problems := render.File(path, data, r.limits)
	return rendered{objects: objects, problems: problems}
}

// at names the problems' path: one blob may stand in many places.
func (v rendered) at(path string) rendered {
	for i, p := range v.problems {
		if p.Path != path {
			problems := append([]gitindex.Problem(nil), v.problems...)
			for j := range problems[i:] {
				problems[i+j].Path = path
			}
			return rendered{v.objects, problems, v.unread}
		}
	}
	return v
}
