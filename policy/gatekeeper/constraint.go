package gatekeeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/open-policy-agent/frameworks/constraint/pkg/apis/constraints"
	"github.com/open-policy-agent/frameworks/constraint/pkg/client/crds"
	"github.com/open-policy-agent/gatekeeper/v3/pkg/mutation/match"
	"github.com/open-policy-agent/gatekeeper/v3/pkg/target"
	gatekeeperutil "github.com/open-policy-agent/gatekeeper/v3/pkg/util"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// ConstraintGroup is the API group of Constraints.
const ConstraintGroup = constraints.Group

// ErrSchema is what the error of a Constraint wraps that its template's schema
// refuses.
var ErrSchema = constraints.ErrSchema

// Point is where a Constraint is enforced, by Gatekeeper's name for it.
type Point string

const (
	Admission Point = gatekeeperutil.WebhookEnforcementPoint
	Scan      Point = gatekeeperutil.AuditEnforcementPoint
	CI        Point = gatekeeperutil.GatorEnforcementPoint
)

// What a violation leads to. Of several, the first of this list is the hardest.
const (
	Deny   = string(gatekeeperutil.Deny)
	Warn   = string(gatekeeperutil.Warn)
	Dryrun = string(gatekeeperutil.Dryrun)
)

// Constraint puts a Template to use. It is not changed after it was read, and
// may be asked by several goroutines at a time.
type Constraint struct {
	Kind, Name string
	File       string
	Line       int // of its document in File

	// Parameters are spec.parameters with the defaults of the template's
	// schema, and empty if there are none: the input.parameters of the Rego.
	Parameters map[string]any
	// Action is spec.enforcementAction: deny, which is the default, warn, dryrun
	// or scoped. What it comes to at a point is said by Actions.
	Action string

	scoped map[string][]string // by point, if Action is scoped
	match  *match.Match        // nil: concerns every request
}

// Constraint reads a document that is a Constraint of this template, beginning
// at a line of a file.
//
// It is treated as on its way into a cluster: the API server sets the defaults
// of the template's schema, and validates it; Gatekeeper's webhook refuses wrong
// selectors, and actions and points that it does not know. A field that the
// schema does not know, which the API server would drop, is an error here as it
// is for `gator`. Every error names file, line and Constraint; one by the schema
// wraps ErrSchema.
func (t *Template) Constraint(file string, line int, raw []byte) (*Constraint, error) {
	at := place{file, line}
	object, err := readDocument(raw)
	if err != nil {
		return nil, fmt.Errorf("reading %v: %w", at, err)
	}
	defaulting.Default(object.Object, t.structural)
	c, err := t.newConstraint(at, object)
	if err != nil {
		return nil, err
	}
	if err := gatekeeperutil.ValidateEnforcementAction(gatekeeperutil.EnforcementAction(c.Action), object.Object); err != nil {
		return nil, fmt.Errorf("reading %v: %s %s: %w", at, c.Kind, c.Name, err)
	}
	return c, nil
}

// newConstraint reads a Constraint from a document that is parsed already, as
// `gator` does: it is validated first, and the defaults are set then.
func (t *Template) newConstraint(at place, object *unstructured.Unstructured) (*Constraint, error) {
	c := &Constraint{Kind: object.GetKind(), Name: object.GetName(), File: at.file, Line: at.line}
	err := t.validate(object)
	if err == nil {
		defaulting.Default(object.Object, t.structural)
		err = c.fill(object)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %v: %s %s: %w", at, c.Kind, c.Name, err)
	}
	return c, nil
}

func (t *Template) validate(object *unstructured.Unstructured) error {
	if kind := object.GetKind(); kind != t.Kind {
		return fmt.Errorf("kind %s is not %s, which is what ConstraintTemplate %s is for", kind, t.Kind, t.Name)
	}
	if err := (&target.K8sValidationTarget{}).ValidateConstraint(object); err != nil {
		return err
	}
	return crds.ValidateCR(object, t.crd)
}

func (c *Constraint) fill(object *unstructured.Unstructured) error {
	var err error
	if c.Parameters, err = parameters(object); err != nil {
		return err
	}
	if c.Action, err = constraints.GetEnforcementAction(object); err != nil {
		return err
	}
	if c.Action == "" {
		c.Action = Deny // Gatekeeper's webhook takes an empty one for the default
	}
	if constraints.IsEnforcementActionScoped(c.Action) {
		points := []string{string(Admission), string(Scan), string(CI)}
		if c.scoped, err = constraints.GetEnforcementActionsForEP(object, points); err != nil {
			return err
		}
	}
	c.match, err = readMatch(object)
	return err
}

func parameters(object *unstructured.Unstructured) (map[string]any, error) {
	value, _, err := unstructured.NestedFieldNoCopy(object.Object, "spec", "parameters")
	if err != nil || value == nil {
		return map[string]any{}, err
	}
	fields, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("spec.parameters is not an object")
	}
	return fields, nil
}

// readMatch reads what a Constraint matches. Gatekeeper's target says whether it
// can be read; it keeps to itself what it read.
func readMatch(object *unstructured.Unstructured) (*match.Match, error) {
	if _, err := (&target.K8sValidationTarget{}).ToMatcher(object); err != nil {
		return nil, err
	}
	fields, found, err := unstructured.NestedMap(object.Object, "spec", "match")
	if err != nil || !found || fields == nil {
		return nil, err
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	m := &match.Match{}
	return m, json.Unmarshal(text, m)
}

// Actions are what a violation leads to at a point, the hardest first. None
// means that the Constraint is not enforced there, and need not be evaluated.
func (c *Constraint) Actions(at Point) []string {
	if !constraints.IsEnforcementActionScoped(c.Action) {
		return []string{c.Action}
	}
	actions := map[string]bool{}
	for _, action := range c.scoped[string(at)] {
		actions[action] = true
	}
	hardest := []string{Deny, Warn, Dryrun}
	return slices.SortedFunc(maps.Keys(actions), func(a, b string) int {
		return slices.Index(hardest, a) - slices.Index(hardest, b)
	})
}

// Match is what it matches, as JSON of spec.match; nil if that is everything.
func (c *Constraint) Match() json.RawMessage {
	if c.match == nil {
		return nil
	}
	text, err := json.Marshal(c.match)
	if err != nil {
		return nil
	}
	return text
}

// ReadMatch reads a match alone, as JSON of what a Constraint has under
// spec.match: for policies that are no Constraints.
func ReadMatch(fields []byte) (*Constraint, error) {
	var m map[string]any
	if err := json.Unmarshal(fields, &m); err != nil {
		return nil, err
	}
	object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": ConstraintGroup + "/v1beta1", "kind": "Match", "spec": map[string]any{"match": m}}}
	if err := (&target.K8sValidationTarget{}).ValidateConstraint(object); err != nil {
		return nil, err
	}
	read, err := readMatch(object)
	if err != nil {
		return nil, err
	}
	return &Constraint{Kind: "Match", match: read}, nil
}
