package gatekeeper

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// place is where a document begins: a file of the tree, and a line of it.
type place struct {
	file string
	line int // 1 for the first
}

func (p place) String() string {
	return fmt.Sprintf("%s:%d", p.file, p.line)
}

// readDocument reads YAML as kubectl, Flux and Argo CD do: YAML 1.1, by way of
// JSON. A key that is there twice is an error, since which of the two counts is
// anybody's guess.
func readDocument(raw []byte) (*unstructured.Unstructured, error) {
	text, err := yaml.YAMLToJSONStrict(raw)
	if err != nil {
		return nil, err
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(text); err != nil {
		return nil, err
	}
	return object, nil
}
