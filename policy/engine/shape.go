package engine

import (
	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/gitward/gitward/policy"
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
var added = policy.Added

// readings walks what some rules, and whatever they call, read.
func (u *unit) readings(rules []rule) *walk {
	w := &walk{unit: u, seen: map[*ast.Rule]bool{}, reads: map[string]bool{}, inventory: map[string]bool{}}
	for _, r := range rules {
		w.rules(r.path)
	}
	return w
}

// shape is told by the keys of input. A library for both (konstraint) asks whether
// there is a review.
func (w *walk) shape() shape {
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
	// inventory are the kinds of which data.inventory is read; "*" is any.
	inventory map[string]bool
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
		case v.HasPrefix(inventoryRef):
			w.stock(v)
		case v.HasPrefix(ast.DefaultRootRef):
			w.rules(v)
		}
	case ast.Var:
		if v == ast.InputRootDocument.Value.(ast.Var) {
			w.whole = true
		}
	}
}

// inventoryRef is where Gatekeeper has the objects of the cluster:
// data.inventory.cluster[apiVersion][kind][name], and
// data.inventory.namespace[namespace][apiVersion][kind][name].
var inventoryRef = ast.MustParseRef("data.inventory")

func (w *walk) stock(ref ast.Ref) {
	kind := "*"
	at := len(inventoryRef) + 3
	if len(ref) > len(inventoryRef) && ref[len(inventoryRef)].Value.Compare(ast.String("cluster")) == 0 {
		at--
	}
	if len(ref) > at {
		if k, ok := ref[at].Value.(ast.String); ok {
			kind = string(k)
		}
	}
	w.inventory[kind] = true
}
