package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"github.com/gitward/gitward/policy/gatekeeper"
)

// Plain is an Evaluator for suites: templates are compiled as for requests, and
// asked without what a constraint's policy has around them.
func Plain() gatekeeper.Evaluator { return &plain{templates: map[*gatekeeper.Template]*template{}} }

type plain struct {
	templates map[*gatekeeper.Template]*template
}

// Compile is gatekeeper.Evaluator's.
func (e *plain) Compile(_ context.Context, read *gatekeeper.Template) error {
	t, problems := (&Bundle{}).template(read)
	if len(problems) > 0 {
		return errors.New(problems[0].String())
	}
	e.templates[read] = t
	return nil
}

// Violations is gatekeeper.Evaluator's.
func (e *plain) Violations(ctx context.Context, q gatekeeper.Evaluation) ([]string, error) {
	t := e.templates[q.Template]
	if t == nil {
		return nil, fmt.Errorf("the template %s was not compiled", q.Template.Name)
	}
	review, err := decode(q.Review)
	if err != nil {
		return nil, fmt.Errorf("reading the review: %w", err)
	}
	parameters, err := ast.InterfaceToValue(q.Constraint.Parameters)
	if err != nil {
		return nil, fmt.Errorf("reading the parameters: %w", err)
	}
	results, err := rego.New(rego.Compiler(t.unit.compiler), rego.Store(inmem.NewFromObject(map[string]any{"inventory": q.Inventory})),
		rego.ParsedQuery(ast.NewBody(ast.NewExpr(ast.NewTerm(t.rule.path)))),
		rego.ParsedInput(ast.NewObject(pair("review", ast.NewTerm(review)), pair("parameters", ast.NewTerm(parameters))))).Eval(ctx)
	if err != nil {
		return []string{err.Error()}, nil
	}
	if len(results) == 0 || len(results[0].Expressions) == 0 {
		return nil, nil
	}
	said, ok := results[0].Expressions[0].Value.([]any)
	if !ok {
		return nil, errors.New("violation is no set")
	}
	var out []string
	seen := map[string]bool{}
	for _, v := range said {
		fields, _ := v.(map[string]any)
		msg, ok := fields["msg"].(string)
		if !ok {
			continue
		}
		details, err := json.Marshal(fields["details"])
		if err != nil {
			return nil, fmt.Errorf("reading the details: %w", err)
		}
		if key := msg + "\n" + string(details); !seen[key] {
			seen[key], out = true, append(out, msg)
		}
	}
	return out, nil
}
