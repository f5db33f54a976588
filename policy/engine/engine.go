package engine

import (
	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/gitward/gitward/gitindex"
)

// Engine compiles the bundle. Of one with problems there is none: half of a
// bundle is another policy than the one that was signed.
func (b *Bundle) Engine() (*Engine, []gitindex.Problem) {
	if len(b.Problems) > 0 {
		return nil, b.Problems
	}
	e := &Engine{}
	var problems []gitindex.Problem
	for _, p := range b.parts() {
		policies, trouble := b.compile(p)
		e.policies = append(e.policies, policies...)
		problems = append(problems, trouble...)
	}
	constraints, trouble := b.constraints()
	e.policies = append(e.policies, constraints...)
	if problems = append(problems, trouble...); len(problems) > 0 {
		return nil, problems
	}
	return e, nil
}

// compile makes the policies of a part: what its own directory says.
func (b *Bundle) compile(p *part) ([]*Policy, []gitindex.Problem) {
	u, err := compile(p.modules(), b.version, b.data)
	if err != nil {
		return nil, explain("", err)
	}
	policies, err := u.packages(p.own)
	if err != nil {
		return nil, []gitindex.Problem{{Message: gitindex.Clean(err.Error(), 300)}}
	}
	var problems []gitindex.Problem
	for _, p := range policies {
		problems = append(problems, p.annotate(u.compiler.GetAnnotationSet())...)
	}
	return policies, problems
}

// Dialect names the Rego that the bundle is in: "v0" or "v1".
func (b *Bundle) Dialect() string {
	if b.version == ast.RegoV0 {
		return "v0"
	}
	return "v1"
}
