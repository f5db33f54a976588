package gatekeeper_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gitward/gitward/policy/gatekeeper"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// plainOPA evaluates with OPA and nothing else, compiling anew for each
// question.
type plainOPA struct {
	// builtin, if not nil, is told of every evaluation what its builtins said
	// was wrong, which OPA passes over unless it is asked.
	builtin func(e gatekeeper.Evaluation, errs []topdown.Error, messages []string)
}

func (plainOPA) Compile(_ context.Context, t *gatekeeper.Template) error {
	_, err := compile(t)
	return err
}

func compile(t *gatekeeper.Template) (*ast.Compiler, error) {
	version := ast.RegoV0
	if t.V1 {
		version = ast.RegoV1
	}
	modules := map[string]*ast.Module{}
	for _, m := range t.Modules {
		parsed, err := ast.ParseModuleWithOpts(m.Name, m.Text, ast.ParserOptions{RegoVersion: version})
		if err != nil {
			return nil, err
		}
		modules[m.Name] = parsed
	}
	compiler := ast.NewCompiler()
	if compiler.Compile(modules); compiler.Failed() {
		return nil, compiler.Errors
	}
	return compiler, nil
}

func (p plainOPA) Violations(ctx context.Context, e gatekeeper.Evaluation) ([]string, error) {
	compiler, err := compile(e.Template)
	if err != nil {
		return nil, err
	}
	var review any
	if err := json.Unmarshal(e.Review, &review); err != nil {
		return nil, err
	}
	var builtin []topdown.Error
	options := []func(*rego.Rego){
		rego.Compiler(compiler), rego.Query(e.Template.Entry),
		rego.Store(inmem.NewFromObject(map[string]any{"inventory": e.Inventory})),
		rego.Input(map[string]any{"review": review, "parameters": e.Constraint.Parameters}),
		rego.BuiltinErrorList(&builtin),
	}
	results, err := rego.New(options...).Eval(ctx)
	if err != nil {
		return []string{err.Error()}, nil
	}
	messages, err := messagesOf(results)
	if p.builtin != nil {
		p.builtin(e, builtin, messages)
	}
	return messages, err
}

// messagesOf are the messages of a set of violations. Those without a msg are
// none, and those with the same msg and details are one.
func messagesOf(results rego.ResultSet) ([]string, error) {
	if len(results) == 0 {
		return nil, nil
	}
	violations, ok := results[0].Expressions[0].Value.([]any)
	if !ok {
		return nil, errors.New("violation is no set")
	}
	var messages []string
	seen := map[string]bool{}
	for _, violation := range violations {
		fields, ok := violation.(map[string]any)
		if !ok || fields["msg"] == nil {
			continue
		}
		message, ok := fields["msg"].(string)
		if !ok {
			return nil, fmt.Errorf("msg %v is no string", fields["msg"])
		}
		details, err := json.Marshal(fields["details"])
		if err != nil {
			return nil, err
		}
		if key := message + "\x00" + string(details); !seen[key] {
			seen[key] = true
			messages = append(messages, message)
		}
	}
	return messages, nil
}
