package engine

import (
	"slices"

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
func (u *unit) readings(rules []*rule) *walk {
	w := &walk{unit: u, seen: map[*ast.Rule]bool{}, reads: map[string]bool{}, review: map[string]bool{}, inventory: map[string]bool{}}
	for _, r := range rules {
		w.rules(r.path)
	}
	return w
}

// shape is told by the keys of input. A library for Gatekeeper and for conftest
// (konstraint) takes the object from the review if there is one, and otherwise
// takes input for it: it is asked as conftest asks, for then it reads its
// parameters from data, and wants nothing of the review.
func (w *walk) shape() shape {
	delete(w.review, "object")
	switch both := w.whole && len(w.review) == 0; {
	case w.reads["review"] && !both:
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
	unit   *unit
	seen   map[*ast.Rule]bool
	reads  map[string]bool // keys of input
	review map[string]bool // keys of input.review; one is empty if that is used as a whole
	whole  bool            // input is used as a whole
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
			w.rule(at)
		}
	}
}

// names are the variables of one rule that stand for input, or for a part of it.
// The compiler makes one of each argument that a function is given.
type names map[ast.Var][]string

func (w *walk) rule(r *ast.Rule) {
	known, naming := names{}, map[*ast.Expr]bool{}
	ast.WalkExprs(r, func(e *ast.Expr) bool {
		if v, path := known.naming(e); path != nil {
			known[v], naming[e] = path, true
		}
		return false
	})
	// done are terms that are accounted for: by what is asked of them, or by the
	// reference that they begin.
	done := map[*ast.Term]bool{}
	ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case *ast.Expr:
			if naming[x] {
				return true
			}
			if asked, ok := x.Terms.(*ast.Term); ok {
				w.ask(known, asked, done)
			} else if x.IsCall() {
				w.call(known, x.Operands(), done)
			}
		case *ast.Term:
			w.term(known, x, done)
		}
		return false
	}).Walk(r)
}

// call notes what a function is asked of a part of input, if a key follows it:
// object.get(input, "parameters", {}).
func (w *walk) call(known names, operands []*ast.Term, done map[*ast.Term]bool) {
	for i := range len(operands) - 1 {
		path, is := known.path(operands[i])
		key, ok := keyOf(operands[i+1])
		switch {
		case !is || !ok || len(path) == 2:
			continue
		case len(path) == 0:
			w.reads[key] = true
		default:
			w.read(append(slices.Clone(path), key))
		}
		done[operands[i]] = true
	}
}

// ask notes that a part of input is asked for, which is no use of it.
func (w *walk) ask(known names, t *ast.Term, done map[*ast.Term]bool) {
	if path, ok := known.path(t); ok && len(path) == 1 {
		w.reads[path[0]] = true
		done[t] = true
	}
}

func (w *walk) term(known names, t *ast.Term, done map[*ast.Term]bool) {
	if call, ok := t.Value.(ast.Call); ok {
		w.call(known, call[1:], done)
	}
	if path, ok := known.path(t); ok && !done[t] {
		w.read(path)
	}
	ref, ok := t.Value.(ast.Ref)
	if !ok {
		return
	}
	done[ref[0]] = true
	if ref.HasPrefix(inventoryRef) {
		w.stock(ref)
	}
	if ref.HasPrefix(ast.DefaultRootRef) {
		w.rules(ref)
	}
}

// naming tells an expression that names a part of input; nil if it is something
// else.
func (n names) naming(e *ast.Expr) (ast.Var, []string) {
	if !e.IsEquality() && !e.IsAssignment() {
		return "", nil
	}
	for i := range 2 {
		v, ok := e.Operand(i).Value.(ast.Var)
		path, is := n.path(e.Operand(1 - i))
		if ok && is && v != ast.InputRootDocument.Value.(ast.Var) && n[v] == nil {
			return v, path
		}
	}
	return "", nil
}

// path is what of input a term stands for, two steps of it at most.
func (n names) path(t *ast.Term) ([]string, bool) {
	ref, ok := t.Value.(ast.Ref)
	if !ok {
		ref = ast.Ref{t}
	}
	v, ok := ref[0].Value.(ast.Var)
	if !ok {
		return nil, false
	}
	path, ok := n[v]
	if v == ast.InputRootDocument.Value.(ast.Var) {
		path, ok = []string{}, true
	}
	if !ok {
		return nil, false
	}
	for _, step := range ref[1:] {
		key, ok := keyOf(step)
		if !ok || len(path) == 2 {
			break
		}
		path = append(slices.Clone(path), key)
	}
	return path, true
}

// keyOf is the key, or the first of a path of keys, that a term is.
func keyOf(t *ast.Term) (string, bool) {
	if list, ok := t.Value.(*ast.Array); ok && list.Len() > 0 {
		t = list.Elem(0)
	}
	key, ok := t.Value.(ast.String)
	return string(key), ok
}

// read notes that a part of input is read.
func (w *walk) read(path []string) {
	switch {
	case len(path) == 0:
		w.whole = true
		return
	case path[0] == "review" && len(path) == 1:
		w.review[""] = true
	case path[0] == "review":
		w.review[path[1]] = true
	}
	w.reads[path[0]] = true
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
