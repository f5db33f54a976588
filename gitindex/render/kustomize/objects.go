package kustomize

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/yaml"
)

// Read gives the objects as kubectl reads them from the YAML that kustomize
// writes. What cannot be read is a problem with its place.
func (b *Built) Read() ([]render.Object, []gitindex.Problem) {
	var objects []render.Object
	var problems []gitindex.Problem
	for _, r := range b.Resources.Resources() {
		var found []render.Object
		var broken []gitindex.Problem
		text, err := written(r)
		if err == nil {
			found, broken = b.Object(text)
		} else {
			broken = b.broken(render.Object{Group: r.GetGvk().Group, Kind: r.GetGvk().Kind, Name: r.GetName()}, err.Error())
		}
		objects, problems = append(objects, found...), append(problems, broken...)
	}
	return objects, problems
}

// written is the YAML that kustomize writes.
func written(r *resource.Resource) (text []byte, err error) {
	defer func() { // kustomize panics on some broken objects
		if p := recover(); p != nil {
			err = fmt.Errorf("kustomize panicked: %s", gitindex.Clean(fmt.Sprint(p), 200))
		}
	}()
	return r.AsYAML()
}

// Object reads one object from the text that kustomize, or an applier after it,
// makes of a resource, and finds its place in the tree.
func (b *Built) Object(text []byte) ([]render.Object, []gitindex.Problem) {
	var found []render.Object
	var broken []gitindex.Problem
	if o, ok := b.encrypted(text); ok {
		found = []render.Object{o}
	} else {
		found, broken = render.Read(text, b.options.Limits)
	}
	for i := range found {
		o := &found[i]
		o.Path, o.Line, o.End = b.place(*o)
	}
	var placed []gitindex.Problem
	for _, p := range broken {
		placed = append(placed, b.broken(headline(text), p.Message)...)
	}
	return found, placed
}

// broken is a problem at the place of the object it concerns.
func (b *Built) broken(o render.Object, message string) []gitindex.Problem {
	file, line, _ := b.place(o)
	return []gitindex.Problem{{Path: file, Line: line, Message: fmt.Sprintf("%s %s: %s",
		gitindex.Clean(o.Kind, 60), gitindex.Clean(o.Name, 120), gitindex.Clean(message, 300))}}
}

// header is what names an object.
type header struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	SOPS struct {
		MAC string `json:"mac"`
	} `json:"sops"`
}

func (h header) object() render.Object {
	group, version, found := strings.Cut(h.APIVersion, "/")
	if !found {
		group, version = "", h.APIVersion
	}
	return render.Object{Group: group, Version: version, Kind: h.Kind, Namespace: h.Metadata.Namespace, Name: h.Metadata.Name}
}

func headline(text []byte) render.Object {
	var h header
	_ = yaml.Unmarshal(text, &h) // as much as can be read is enough to name it
	return h.object()
}

// encrypted reads a document that SOPS encrypted as it stands, where the caller
// asked for that.
func (b *Built) encrypted(text []byte) (render.Object, bool) {
	if !b.options.Encrypted || !bytes.Contains(text, []byte("\nsops:")) {
		return render.Object{}, false
	}
	var h header
	raw, err := yaml.YAMLToJSON(text)
	if err != nil || json.Unmarshal(raw, &h) != nil || h.SOPS.MAC == "" || h.Metadata.Name == "" {
		return render.Object{}, false
	}
	o := h.object()
	o.JSON = raw
	return o, true
}

// place is the nearest source of an object: the document that declares it, or
// the kustomization that generates it.
func (b *Built) place(o render.Object) (file string, line, end int) {
	if b.places == nil {
		b.places = b.tree.places()
	}
	if s, ok := b.places.find(o); ok {
		return s.path, s.line, s.end
	}
	return path.Join(b.dir, b.tree.kustomization(path.Join(treeRoot, b.dir))), 0, 0
}

// Place is the file and line of the object that a text holds.
func (b *Built) Place(text []byte) (file string, line int) {
	file, line, _ = b.place(headline(text))
	return file, line
}
