// Package lint answers: what of these policies does its author most likely not
// mean? It knows the mistakes that are made again and again with Rego and
// Kubernetes' objects, and that no compiler finds. It looks at what is written and
// evaluates nothing, and would rather overlook a mistake than see one where
// there is none.
package lint

import (
	"cmp"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/gitward/gitward/policy/engine"
)

// Finding is a place that looks wrong.
type Finding struct {
	Rule    string `json:"rule"`
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Message string `json:"message"`
	Fix     string `json:"fix,omitempty"`
}

// Rule is one mistake that is looked for.
type Rule struct{ Name, About string }

// Rules are all of them, in the order in which people should read of them.
var Rules = []Rule{
	{unanchored, "A regular expression, or a substring, that lets a name or image pass must match it from its beginning or to its end: registry.example.org also stands in evil.example.com/registry.example.org."},
	{openPrefix, "A prefix of a host or an image must end where a part of the name ends: registry.example.org is a prefix of registry.example.org.evil.com as well."},
	{containersOnly, "A policy about a pod's containers must look at initContainers and ephemeralContainers too, or what is forbidden runs there."},
	{silentNot, "`not f(x.y)` is undefined, and not true, where x.y is: the rule is silent about just those objects that lack the field."},
	{twoInputs, "A rule that reads input.review and input.request is never true: no input has both."},
	{unknownMetadata, "A key below custom.gitward that Gitward does not know, or that stands where nothing reads it, does nothing."},
	{noMessage, "A denial must say what is wrong: a message, an object with \"msg\", or a title in the metadata."},
	{untested, "A policy without a test will be wrong one day, and nobody will notice."},
}

// The names of the rules.
const (
	unanchored      = "unanchored-match"
	openPrefix      = "open-prefix"
	containersOnly  = "containers-only"
	silentNot       = "silent-not"
	twoInputs       = "two-inputs"
	unknownMetadata = "unknown-metadata"
	noMessage       = "no-message"
	untested        = "untested"
)

// Bundle looks at all Rego of a bundle. The suites that test Gatekeeper's
// templates are read from fsys.
//
// A line that ends in "# gitward:ignore RULE", or that stands under such a comment,
// is passed over.
func Bundle(b *engine.Bundle, fsys fs.FS) []Finding {
	l := &linter{}
	suites := suitesIn(fsys)
	for _, u := range b.Units() {
		l.unit(u)
		l.untested(u, suites)
	}
	slices.SortFunc(l.findings, func(x, y Finding) int {
		return cmp.Or(strings.Compare(x.File, y.File), cmp.Compare(x.Line, y.Line), strings.Compare(x.Rule, y.Rule), strings.Compare(x.Message, y.Message))
	})
	return slices.Compact(l.findings)
}

type linter struct{ findings []Finding }

// module is one that is looked at, in its unit.
type module struct {
	*ast.Module
	file  string
	unit  *engine.Unit
	doubt map[string]bool // rules that the unit asks under a "not", or in a comprehension
	found func(Finding)
}

func (l *linter) unit(u engine.Unit) {
	doubt := map[string]bool{}
	for _, m := range u.Modules {
		doubted(m, doubt)
	}
	for _, file := range slices.Sorted(maps.Keys(u.Modules)) {
		m := &module{Module: u.Modules[file], file: file, unit: &u, doubt: doubt}
		ignored := ignores(m.Module)
		m.found = func(f Finding) {
			if !ignored[mark{f.Line, f.Rule}] {
				f.File = file
				l.findings = append(l.findings, f)
			}
		}
		m.matches()
		m.containers()
		m.metadata()
		for _, r := range m.Rules {
			if isTest(r) {
				continue
			}
			m.nots(r)
			m.inputs(r)
			m.message(r)
		}
	}
}

type mark struct {
	line int
	rule string
}

const ignoring = "gitward:ignore"

// ignores are the lines that comments take out, by rule.
func ignores(m *ast.Module) map[mark]bool {
	out := map[mark]bool{}
	for _, c := range m.Comments {
		rest, ok := strings.CutPrefix(strings.TrimSpace(string(c.Text)), ignoring)
		if !ok {
			continue
		}
		for _, rule := range strings.FieldsFunc(rest, func(r rune) bool { return r == ' ' || r == ',' }) {
			out[mark{c.Location.Row, rule}] = true
			out[mark{c.Location.Row + 1, rule}] = true
		}
	}
	return out
}

func isTest(r *ast.Rule) bool {
	name := engine.RuleName(r)
	return strings.HasPrefix(name, "test_") || strings.HasPrefix(name, "todo_test_")
}

// doubted notes the rules that are asked under a "not" or in a comprehension:
// there a rule says what is fine, and being true too often lets things pass.
func doubted(m *ast.Module, into map[string]bool) {
	note := func(x any) {
		ast.WalkTerms(x, func(t *ast.Term) bool {
			switch v := t.Value.(type) {
			case ast.Var:
				into[string(v)] = true
			case ast.Ref:
				for i := len(v) - 1; i > 0; i-- {
					if name, ok := v[i].Value.(ast.String); ok {
						into[string(name)] = true
						break
					}
				}
			}
			return false
		})
	}
	for _, r := range m.Rules {
		ast.WalkExprs(r, func(e *ast.Expr) bool {
			if e.Negated {
				note(e)
			}
			return false
		})
		ast.WalkTerms(r, func(t *ast.Term) bool {
			switch v := t.Value.(type) {
			case *ast.ArrayComprehension:
				note(v.Body)
			case *ast.SetComprehension:
				note(v.Body)
			case *ast.ObjectComprehension:
				note(v.Body)
			}
			return false
		})
	}
}

// call is the use of a function: an expression by itself, or a term in one.
type call struct {
	name    string
	args    []*ast.Term
	line    int
	negated bool
	// direct: it is an expression of the rule's own body.
	direct bool
}

// calls are all in a rule.
func calls(r *ast.Rule, do func(call)) {
	own := map[*ast.Expr]bool{}
	for at := r; at != nil; at = at.Else {
		for _, e := range at.Body {
			own[e] = true
		}
	}
	ast.WalkExprs(r, func(e *ast.Expr) bool {
		if e.IsCall() {
			do(call{name: e.Operator().String(), args: e.Operands(), line: e.Loc().Row, negated: e.Negated, direct: own[e]})
		}
		inner := func(x any) {
			ast.WalkTerms(x, func(t *ast.Term) bool {
				switch v := t.Value.(type) {
				case ast.Call:
					do(call{name: v[0].String(), args: v[1:], line: lineOf(t, e), negated: e.Negated, direct: own[e]})
				case *ast.ArrayComprehension, *ast.SetComprehension, *ast.ObjectComprehension:
					return true // its expressions are walked by themselves
				}
				return false
			})
		}
		switch terms := e.Terms.(type) {
		case []*ast.Term:
			for _, t := range terms[1:] {
				inner(t)
			}
		case *ast.Term:
			inner(terms)
		}
		return false
	})
}

func lineOf(t *ast.Term, e *ast.Expr) int {
	if t.Location != nil {
		return t.Location.Row
	}
	return e.Loc().Row
}
