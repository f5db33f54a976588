// Package render answers: which objects does this file declare?
//
// It reads plain YAML and JSON as kubectl reads them, whatever another parser
// would make of the same bytes: what an object means always comes from
// sigs.k8s.io/yaml, and a second parser is asked only for lines, duplicate
// keys and the price of aliases. Where two appliers would read a document
// differently, it is refused with its place rather than guessed at.
package render

import (
	"bytes"
	"fmt"
	"path"
	"unicode/utf8"

	"github.com/gitward/gitward/gitindex"
)

// Object is one Kubernetes object as a file declares it. Nothing is filled in
// that the file leaves open, above all no namespace.
type Object struct {
	Group, Version, Kind, Namespace, Name, GenerateName string

	// JSON is what kubectl reads from the document, as compact JSON with
	// sorted keys. An item of a List is an object of its own.
	JSON []byte
	// Line and End are the object's first and last line in the file, from 1.
	Line, End int

	// Path is the nearest source in the tree of an object that a tool rendered,
	// and Line and End its place there; 0 where only the file is known. It is
	// empty for what File reads.
	Path string
	// Hook marks an object that its tool applies as a hook: Helm's own leave it
	// without the release's labels and annotations.
	Hook bool
	// Bare marks an object that its applier sends without the decorations it
	// adds to the unit's others: a CRD of a chart's crds directory.
	Bare bool
	// Holes are the values that Git leaves open.
	Holes []gitindex.Hole
	// Live are anchored paths at which the applier sends what is live already.
	Live []string
}

// Limits bound what one file may cost. A zero field means the default.
type Limits struct {
	File      int // bytes of a file, and of a document once its aliases are followed; 4 MiB
	Documents int // in a file; 2,000
	Depth     int // of nesting; 100
	Nodes     int // of a document once its aliases are followed; 500,000
}

func (l Limits) orDefaults() Limits {
	return Limits{
		File:      or(l.File, 4<<20),
		Documents: or(l.Documents, 2_000),
		Depth:     or(l.Depth, 100),
		Nodes:     or(l.Nodes, 500_000),
	}
}

func or(value, otherwise int) int {
	if value > 0 {
		return value
	}
	return otherwise
}

// Eligible reports whether the path is one this room reads. The ending's case
// counts, as it does for kubectl and Flux.
func Eligible(name string) bool {
	switch path.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// File reads one file. A broken document is a Problem with its line and does
// not take the file's other documents down; a file past its limits or in no
// readable encoding is one Problem and nothing else.
func File(name string, data []byte, limits Limits) ([]Object, []gitindex.Problem) {
	limits = limits.orDefaults()
	if message := refuseFile(data, limits); message != "" {
		return nil, []gitindex.Problem{{Path: name, Message: message}}
	}
	docs := Documents(data)
	if len(docs) > limits.Documents {
		return nil, []gitindex.Problem{{Path: name, Message: fmt.Sprintf(
			"holds %d documents, more than the limit of %d: split the file", len(docs), limits.Documents)}}
	}
	var objects []Object
	var problems []gitindex.Problem
	for _, doc := range docs {
		found, broken := Read(doc.Text, limits)
		found, broken = doc.Place(name, found, broken)
		objects, problems = append(objects, found...), append(problems, broken...)
	}
	return objects, problems
}

// refuseFile says why a whole file is not read; "" when it is.
func refuseFile(data []byte, limits Limits) string {
	switch {
	case len(data) > limits.File:
		return fmt.Sprintf("is %d bytes, more than the limit of %d: split the file", len(data), limits.File)
	case bytes.HasPrefix(data, []byte("version https://git-lfs.github.com/spec/")):
		return "is a Git LFS pointer: its content is not in the repository, so it declares nothing"
	case !utf8.Valid(data):
		return "is not UTF-8 text"
	}
	return ""
}
