package gatekeeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	yamlv3 "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
	kjson "sigs.k8s.io/json"
)

// SuiteGroup is the API group of a Suite, of whatever version.
const SuiteGroup = "test.gatekeeper.sh"

// ErrNoSuite is what ReadSuite returns for a file that is something else.
var ErrNoSuite = errors.New("not a Suite of " + SuiteGroup)

// Suite is a file of tests of Templates and Constraints, with the fields that
// `gator verify` knows. All paths in it begin at the directory of the suite.
type Suite struct {
	File  string `json:"-"` // in the fs.FS that it was read from
	Tests []Test `json:"tests"`
	Skip  bool   `json:"skip"`

	// Ignored are the fields of the file that `gator` passes over, which may be
	// misspelt, like "tests[0].cases[2].asertions".
	Ignored []string `json:"-"`

	// Limit is what a case may take; zero is no bound. The Evaluator is told by the
	// deadline of its context.
	Limit time.Duration `json:"-"`
}

// Test is one Template with one Constraint, and the objects they are tried on.
type Test struct {
	Name       string `json:"name"`
	Template   string `json:"template"`
	Constraint string `json:"constraint"`
	Expansion  string `json:"expansion"` // a file of ExpansionTemplates
	Cases      []Case `json:"cases"`
	// Invalid says that the Template's schema must refuse the Constraint; then
	// no case is tried.
	Invalid bool `json:"invalid"`
	Skip    bool `json:"skip"`
}

// Case is one object, or one AdmissionReview, and what is said of it.
type Case struct {
	Name       string      `json:"name"`
	Object     string      `json:"object"`
	Inventory  []string    `json:"inventory"` // files of what else is in the cluster
	Assertions []Assertion `json:"assertions"`
	Skip       bool        `json:"skip"`
}

// Assertion is how many violations there must be with a message like Message.
type Assertion struct {
	Violations *intstr.IntOrString `json:"violations"` // a number, "no" or "yes", the default
	Message    *string             `json:"message"`    // a regular expression; nil means every message
}

// ReadSuite reads a file that holds a Suite, as `gator verify` does. The error
// is ErrNoSuite if it is YAML of another kind.
func ReadSuite(fsys fs.FS, name string) (*Suite, error) {
	raw, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("reading %v: %w", name, err)
	}
	object, text, err := decode(raw)
	if err != nil {
		return nil, fmt.Errorf("reading %v: %w", name, err)
	}
	if gvk := object.GroupVersionKind(); gvk.Group != SuiteGroup || gvk.Kind != "Suite" {
		return nil, fmt.Errorf("reading %v: %w", name, ErrNoSuite)
	}
	suite := &Suite{}
	if err := json.Unmarshal(text, suite); err != nil {
		return nil, fmt.Errorf("reading %v: %w", name, err)
	}
	suite.File, suite.Ignored = name, ignored(text)
	return suite, nil
}

// decode reads the first document of a file as `gator` does: YAML 1.2, so that
// "violations: yes" is a string. kubectl would read true there.
func decode(raw []byte) (*unstructured.Unstructured, []byte, error) {
	fields := map[string]any{}
	if err := yamlv3.Unmarshal(raw, fields); err != nil {
		return nil, nil, err
	}
	text, err := json.Marshal(fields)
	return &unstructured.Unstructured{Object: fields}, text, err
}

// ignored are the fields of a suite that this package and `gator` do not know.
func ignored(text []byte) []string {
	known := struct {
		Suite      `json:",inline"`
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   any    `json:"metadata"`
	}{}
	strict, _ := kjson.UnmarshalStrict(text, &known, kjson.DisallowUnknownFields)
	var fields []string
	for _, err := range strict {
		var field kjson.FieldError
		if errors.As(err, &field) {
			fields = append(fields, field.FieldPath())
		}
	}
	return fields
}

// beside is the path of a file that the suite names.
func (s *Suite) beside(name string) string {
	return path.Join(path.Dir(s.File), name)
}
