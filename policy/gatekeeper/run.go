package gatekeeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	clienterrors "github.com/open-policy-agent/frameworks/constraint/pkg/client/errors"
	"github.com/open-policy-agent/gatekeeper/v3/pkg/gator/expand"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Evaluator is the engine that a Suite is run with.
type Evaluator interface {
	// Compile says whether the Rego of a template compiles. It is asked once for
	// each test, before all Violations of its template.
	Compile(context.Context, *Template) error
	// Violations are the messages of the violations, one for each pair of msg
	// and details that differs. That the evaluation itself failed, as when two
	// values contend for one rule, is a violation too, of which that is the
	// message: so it is for Gatekeeper. An error means that the engine could not
	// evaluate.
	Violations(context.Context, Evaluation) ([]string, error)
}

// Evaluation is one question to an Evaluator.
type Evaluation struct {
	Template   *Template
	Constraint *Constraint     // its Parameters are input.parameters
	Review     json.RawMessage // input.review
	Inventory  map[string]any  // data.inventory: there even if it is empty
}

// Outcome is what became of a case. The zero value is Failed.
type Outcome int

const (
	Failed Outcome = iota
	Passed
	Skipped
)

// CaseResult is the outcome of one case; without Case, that of a whole test
// which has none or did not come to it; without Test too, that of a suite which
// is skipped.
type CaseResult struct {
	Suite, Test, Case string
	Outcome           Outcome
	Messages          []string // of the violations, whatever the outcome
	Cause             error    // why it failed
}

// Run tries every case, and comes to the verdict that `gator verify` v3.23.1
// without its CEL engine comes to. Constraints are enforced as at the point CI.
func (s *Suite) Run(ctx context.Context, fsys fs.FS, e Evaluator) []CaseResult {
	if s.Skip {
		return []CaseResult{{Suite: s.File, Outcome: Skipped}}
	}
	var results []CaseResult
	for i := range s.Tests {
		t := &trial{suite: s, test: &s.Tests[i], fsys: fsys, evaluator: e}
		results = append(results, t.run(ctx)...)
	}
	return results
}

// trial is one test while it is run.
type trial struct {
	suite     *Suite
	test      *Test
	fsys      fs.FS
	evaluator Evaluator

	template   *Template
	constraint *Constraint
	expander   *expand.Expander // nil if the test has no ExpansionTemplates
}

func (t *trial) run(ctx context.Context) []CaseResult {
	if t.test.Skip {
		return []CaseResult{t.result("", Skipped, nil)}
	}
	err := t.prepare(ctx)
	if t.test.Invalid {
		return []CaseResult{t.refused(err)}
	}
	if err == nil {
		err = t.expand()
	}
	if err != nil {
		return []CaseResult{t.result("", Failed, err)}
	}
	if len(t.test.Cases) == 0 {
		return []CaseResult{t.result("", Passed, nil)}
	}
	var results []CaseResult
	for i := range t.test.Cases {
		results = append(results, t.try(ctx, &t.test.Cases[i]))
	}
	return results
}

func (t *trial) result(name string, outcome Outcome, cause error) CaseResult {
	return CaseResult{Suite: t.suite.File, Test: t.test.Name, Case: name, Outcome: outcome, Cause: cause}
}

// refused is the result of a test whose constraint the schema must refuse.
func (t *trial) refused(err error) CaseResult {
	switch {
	case errors.Is(err, ErrSchema):
		return t.result("", Passed, nil)
	case err != nil:
		return t.result("", Failed, fmt.Errorf("the schema should have refused the constraint, but: %w", err))
	default:
		return t.result("", Failed, errors.New("the schema should have refused the constraint, but does not"))
	}
}

// prepare reads the template and the constraint.
func (t *trial) prepare(ctx context.Context) error {
	if t.test.Template == "" {
		return errors.New("the test names no template")
	}
	name := t.suite.beside(t.test.Template)
	object, err := readObject(t.fsys, name)
	if err != nil {
		return err
	}
	if t.template, err = newTemplate(place{name, 1}, object); err != nil {
		return err
	}
	if err := t.evaluator.Compile(ctx, t.template); err != nil {
		return fmt.Errorf("compiling %v: %w", name, err)
	}
	if t.test.Constraint == "" {
		return errors.New("the test names no constraint")
	}
	name = t.suite.beside(t.test.Constraint)
	if object, err = readObject(t.fsys, name); err != nil {
		return err
	}
	t.constraint, err = t.template.newConstraint(place{name, 1}, object)
	return err
}

func (t *trial) expand() error {
	if t.test.Expansion == "" {
		return nil
	}
	name := t.suite.beside(t.test.Expansion)
	objects, err := readObjects(t.fsys, name)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if gvk := object.GroupVersionKind(); gvk.Group != "expansion.gatekeeper.sh" || gvk.Kind != "ExpansionTemplate" {
			return fmt.Errorf("reading %v: %s %s is no ExpansionTemplate", name, gvk.Kind, object.GetName())
		}
	}
	if t.expander, err = expand.NewExpander(objects); err != nil {
		return fmt.Errorf("reading %v: %w", name, err)
	}
	return nil
}

// try runs one case.
func (t *trial) try(ctx context.Context, c *Case) CaseResult {
	if c.Skip {
		return t.result(c.Name, Skipped, nil)
	}
	if t.suite.Limit > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, t.suite.Limit)
		defer stop()
	}
	messages, err := t.violations(ctx, c)
	if err == nil {
		err = judge(c.Assertions, messages)
	}
	outcome := Passed
	if err != nil {
		outcome = Failed
	}
	result := t.result(c.Name, outcome, err)
	result.Messages = messages
	return result
}

// violations are the messages about the case's object, and about all that it
// expands to.
func (t *trial) violations(ctx context.Context, c *Case) ([]string, error) {
	object, err := t.object(c)
	if err != nil {
		return nil, err
	}
	rest := newStock()
	for _, name := range c.Inventory {
		if err := rest.add(t.fsys, t.suite.beside(name)); err != nil {
			return nil, err
		}
	}
	if isAdmissionReview(object) {
		request, err := admission(object)
		if err != nil {
			return nil, fmt.Errorf("reading %v: %w", t.suite.beside(c.Object), err)
		}
		return t.ask(ctx, request, rest)
	}
	messages, err := t.ask(ctx, original(object), rest)
	if err != nil || t.expander == nil {
		return messages, err
	}
	implied, err := t.implied(ctx, object, rest)
	return append(messages, implied...), err
}

// object is what the case is about.
func (t *trial) object(c *Case) (*unstructured.Unstructured, error) {
	switch {
	case c.Object == "":
		return nil, errors.New("the case names no object")
	case len(c.Assertions) == 0:
		return nil, errors.New("the case asserts nothing: it needs at least one assertion")
	}
	name := t.suite.beside(c.Object)
	objects, err := readObjects(t.fsys, name)
	if err != nil {
		return nil, err
	}
	if len(objects) != 1 {
		return nil, fmt.Errorf("reading %v: it holds %d objects, and a case is about one", name, len(objects))
	}
	return objects[0], nil
}

// implied are the messages about the objects that an object expands to.
func (t *trial) implied(ctx context.Context, object *unstructured.Unstructured, rest *stock) ([]string, error) {
	resultants, err := t.expander.Expand(object)
	if err != nil {
		return nil, fmt.Errorf("expanding %s %s: %w", object.GetKind(), object.GetName(), err)
	}
	var all []string
	for _, resultant := range resultants {
		messages, err := t.ask(ctx, generated(resultant.Obj), rest)
		if err != nil {
			return nil, err
		}
		for _, message := range messages {
			all = append(all, fmt.Sprintf("[Implied by %s] %s", resultant.TemplateName, message))
		}
	}
	return all, nil
}

// ask has the policy evaluated, if the constraint is enforced and concerns the
// request. That the latter cannot be said is a violation, as for Gatekeeper.
func (t *trial) ask(ctx context.Context, request any, rest *stock) ([]string, error) {
	review, input, err := reviewOf(request, rest)
	if err != nil {
		return nil, err
	}
	if len(t.constraint.Actions(CI)) == 0 {
		return nil, nil
	}
	concerned, err := t.constraint.Matches(review)
	switch {
	case err != nil:
		return []string{fmt.Sprintf("%v: %v", clienterrors.ErrAutoreject, err)}, nil
	case !concerned:
		return nil, nil
	}
	return t.evaluator.Violations(ctx, Evaluation{Template: t.template, Constraint: t.constraint, Review: input, Inventory: rest.inventory})
}
