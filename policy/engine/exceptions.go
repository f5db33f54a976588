package engine

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/gitward/gitward/policy"
)

// Conftest's exceptions are honoured, since a library is written with them in
// mind: a package's rule "exception" gives lists of the names of its rules,
// without "deny_", "violation_" or "warn_" before them, which are not to count
// for this input. They are signed with the policy, and concern no other package.

// exempt finds the rule of a policy that makes exceptions.
func (p *Policy) exempt() {
	path := p.rules[0].path[:len(p.rules[0].path)-1].Append(ast.StringTerm("exception"))
	for _, r := range p.unit.compiler.GetRulesExact(path) {
		if len(r.Head.Args) == 0 {
			p.exception = &rule{name: "exception", path: path, file: r.Loc().File, line: r.Loc().Row}
			return
		}
	}
}

// excuse leaves out what the policy's own exceptions are for. They are asked for
// only when there is something to leave out. That a rule ran away stands.
func (v *Evaluation) excuse(p *Policy, in ast.Value, found []policy.Finding) []policy.Finding {
	if p.exception == nil || len(found) == 0 {
		return found
	}
	value, err := v.run(p.exception, in)
	if err != nil {
		return append(found, v.failed(p, p.exception, found[0].Action, err))
	}
	names := map[string]bool{}
	for _, list := range elements(value) {
		for _, name := range elements(list) {
			if s, ok := name.(string); ok {
				names[s] = true
			}
		}
	}
	return slices.DeleteFunc(found, func(f policy.Finding) bool { return f.Kind != policy.Overrun && names[bare(f.Rule)] })
}

// bare is the name of a rule without what says that it speaks.
func bare(name string) string {
	_, after, _ := strings.Cut(name, "_")
	return after
}

// elements are what [_] goes through.
func elements(value any) []any {
	switch v := value.(type) {
	case []any:
		return v
	case map[string]any:
		out := make([]any, 0, len(v))
		for _, one := range v {
			out = append(out, one)
		}
		return out
	}
	return nil
}
