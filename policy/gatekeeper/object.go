package gatekeeper

import (
	"fmt"
	"io/fs"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// readObject reads the first document of a file, and overlooks others, as
// `gator` does with a template and a constraint.
func readObject(fsys fs.FS, name string) (*unstructured.Unstructured, error) {
	raw, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("reading %v: %w", name, err)
	}
	object, err := parseObject(raw)
	if err != nil {
		return nil, fmt.Errorf("reading %v: %w", name, err)
	}
	return object, nil
}

// readObjects reads all documents of a file; none is an error.
func readObjects(fsys fs.FS, name string) ([]*unstructured.Unstructured, error) {
	raw, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("reading %v: %w", name, err)
	}
	var objects []*unstructured.Unstructured
	for _, document := range strings.Split(string(raw), "\n---") {
		if document = withoutComments(document); document == "" {
			continue
		}
		object, err := parseObject([]byte(document))
		if err != nil {
			return nil, fmt.Errorf("reading %v: %w", name, err)
		}
		objects = append(objects, object)
	}
	if len(objects) == 0 {
		return nil, fmt.Errorf("reading %v: it holds no object", name)
	}
	return objects, nil
}

// withoutComments drops the lines that are empty or begin with #: within a block
// of text too, as they are before `gator` parses a document. A case on a
// ConfigMap may turn on it.
func withoutComments(document string) string {
	var kept strings.Builder
	for line := range strings.SplitSeq(document, "\n") {
		if text := strings.TrimSpace(line); text != "" && !strings.HasPrefix(text, "#") {
			kept.WriteString(line + "\n")
		}
	}
	return kept.String()
}

// parseObject goes through JSON, so that every number has a type that
// apimachinery knows.
func parseObject(raw []byte) (*unstructured.Unstructured, error) {
	_, text, err := decode(raw)
	if err != nil {
		return nil, err
	}
	object := &unstructured.Unstructured{}
	return object, object.UnmarshalJSON(text)
}
