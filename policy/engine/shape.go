package engine

import (
	"github.com/open-policy-agent/opa/v1/ast"
)

// shape is how a policy expects its input. Nobody writes it down: it is told by
// what the rules read.
type shape int

const (
	// review: input.request, as an admission webhook of one's own has it
	// (openpolicyagent.org, the tutorials for Kubernetes). Also the shape of rules
	// that read nothing but what Gitward adds.
	review shape = iota
	// object: input is the object, as conftest has it.
	object
	// gatekeeperShape: input.review and input.parameters.
	gatekeeperShape
)

func (s shape) String() string { return [...]string{"review", "object", "gatekeeper"}[s] }

// added are the keys that Gitward adds to every shape.
var added = []string{"provenance", "changes", "derived", "namespace", "time", "reason"}

// shapeOf tells the shape by the keys of input that the rules, and whatever they
// call, read. A library for both (konstraint) asks whether there is a review.
func (u *unit) shapeOf(rules []rule) shape {
	w := &walk{unit: u, seen: map[*ast.Rule]bool{}, reads: map[string]bool{}}
	for _, r := range rules {
		w.rules(r.path)
	}
	switch {
	case w.reads["review"]:
		return gatekeeperShape
	case w.reads["request"]:
		return review
	}
	for _, key := range added {
		delete(w.reads, key)
	}
	if len(w.reads) > 0 || w.whole {
		return object
	}
	return review
}

// walk follows references from rule to rule.
type walk struct {
	unit  *unit
	seen  map[*ast.Rule]bool
	reads map[string]bool // keys of input
	whole bool            // input is used as a whole
}

func (w *walk) rules(ref ast.Ref) {
	for _, r := range w.unit.compiler.GetRulesDynamicWithOpts(ref, ast.RulesOptions{IncludeHiddenModules: true}) {
		if w.seen[r] {
			continue
		}
		w.seen[r] = true
		for at := r; at != nil; at = at.Else {
			ast.WalkTerms(at, func(t *ast.Term) bool {
				w.term(t)
				return false
			})
		}
	}
}

func (w *walk) term(t *ast.Term) {
	switch v := t.Value.(type) {
	case ast.Ref:
		switch {
		case v.HasPrefix(ast.InputRootRef) && len(v) > 1:
			if key, ok := v[1].Value.(ast.String); ok {
				w.reads[string(key)] = true
			} else {
				w.whole = true
			}
		case v.HasPrefix(ast.InputRootRef):
			w.whole = true
		case v.HasPrefix(ast.DefaultRootRef):
			w.rules(v)
		}
	case ast.Var:
		if v == ast.InputRootDocument.Value.(ast.Var) {
			w.whole = true
		}
	}
}
