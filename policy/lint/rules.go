package lint

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/gitward/gitward/policy/engine"
	"github.com/gitward/gitward/policy/gatekeeper"
)

// Rule silent-not. OPA takes a function's arguments out of the expression before
// it negates it, so that an argument without a value leaves nothing to negate
// (tried with 1.22.2). Equality and plain references are not affected.

// always are fields that every object of Kubernetes, or every request, has: what
// ends in one of them has a value.
var always = []string{"apiVersion", "kind", "metadata", "name", "image", "operation", "username", "userInfo", "object", "request", "review", "parameters", "containers", "group", "version", "resource", "uid", "key", "roleRef", "oldObject"}

func (m *module) nots(r *ast.Rule) {
	bodies(r, func(body ast.Body) {
		for i, e := range body {
			if !e.Negated || !e.IsCall() || e.IsEquality() || e.Operator().String() == "equal" {
				continue
			}
			for _, ref := range argued(e) {
				if m.mayLack(ref, r) && !m.sure(ref, body, i) {
					m.found(Finding{Rule: silentNot, Line: e.Loc().Row,
						Message: fmt.Sprintf("where %s is not set, this is undefined instead of true, and the rule says nothing", ref),
						Fix:     "put it into a rule or function that takes the whole object, or take object.get with a default"})
					break
				}
			}
		}
	})
}

// bodies are all bodies in a rule: its own, and those of comprehensions.
func bodies(r *ast.Rule, do func(ast.Body)) {
	ast.WalkBodies(r, func(b ast.Body) bool {
		do(b)
		return false
	})
}

// argued are the references in what the functions of an expression are given.
func argued(e *ast.Expr) []ast.Ref {
	var out []ast.Ref
	var look func(t *ast.Term)
	look = func(t *ast.Term) {
		switch v := t.Value.(type) {
		case ast.Ref:
			out = append(out, v)
		case ast.Call:
			if v[0].String() == "object.get" || v[0].String() == "count" && len(v) == 2 && isComprehension(v[1]) {
				return
			}
			for _, arg := range v[1:] {
				look(arg)
			}
		case *ast.Array:
			v.Foreach(look)
		}
	}
	for _, t := range e.Operands() {
		look(t)
	}
	return out
}

func isComprehension(t *ast.Term) bool {
	switch t.Value.(type) {
	case *ast.ArrayComprehension, *ast.SetComprehension, *ast.ObjectComprehension:
		return true
	}
	return false
}

// optional are fields of Kubernetes' own that objects may lack.
var optional = []string{"securityContext", "resources", "limits", "requests", "labels", "annotations", "livenessProbe", "readinessProbe", "startupProbe", "capabilities",
	"seccompProfile", "runAsUser", "runAsGroup", "fsGroup", "nodeSelector", "serviceAccountName", "ownerReferences", "tls", "selector", "affinity", "tolerations", "imagePullPolicy"}

// mayLack reports a reference to a field that objects may lack: below input, or of
// a variable that comes from there. What policies make for each other is theirs
// to know, unless the field is one of Kubernetes'.
func (m *module) mayLack(ref ast.Ref, r *ast.Rule) bool {
	head, ok := ref[0].Value.(ast.Var)
	if !ok || len(ref) < 2 || head == "data" {
		return false
	}
	known := false
	for _, t := range ref[1:] {
		s, ok := t.Value.(ast.String)
		if ok && s == "parameters" {
			return false
		}
		known = known || ok && slices.Contains(optional, string(s))
	}
	last, ok := ref[len(ref)-1].Value.(ast.String)
	if !ok || slices.Contains(always, string(last)) {
		return false
	}
	return known || m.fromInput(head, r, 5)
}

// fromInput reports whether a variable is a part of the input, as far as its rule
// says what it is.
func (m *module) fromInput(v ast.Var, r *ast.Rule, deep int) bool {
	if v == "input" {
		return true
	}
	if deep == 0 {
		return false
	}
	from := false
	ast.WalkExprs(r, func(e *ast.Expr) bool {
		var source *ast.Term
		switch terms := e.Terms.(type) {
		case *ast.SomeDecl:
			if len(terms.Symbols) == 1 {
				if in, ok := terms.Symbols[0].Value.(ast.Call); ok && in[len(in)-2].Value.Compare(v) == 0 {
					source = in[len(in)-1]
				}
			}
		default:
			if (e.IsAssignment() || e.IsEquality()) && e.Operand(0).Value.Compare(v) == 0 {
				source = e.Operand(1)
			}
		}
		if source != nil {
			if ref, ok := source.Value.(ast.Ref); ok {
				if head, ok := ref[0].Value.(ast.Var); ok && head != v {
					from = from || m.fromInput(head, r, deep-1)
				}
			}
		}
		return false
	})
	return from
}

// sure reports that a reference has a value whenever the expression is come to:
// another expression of the body needs it; or its head is a rule or import.
func (m *module) sure(ref ast.Ref, body ast.Body, at int) bool {
	head := ref[0].Value.(ast.Var)
	for _, i := range m.Imports {
		if i.Name() == head {
			return true
		}
	}
	for _, r := range m.Rules {
		if engine.RuleName(r) == string(head) {
			return true
		}
	}
	for i, e := range body {
		if i == at || e.Negated {
			continue
		}
		needed, about, field := false, false, false
		ast.WalkTerms(e, func(t *ast.Term) bool {
			if isComprehension(t) {
				return true
			}
			if other, ok := t.Value.(ast.Ref); ok {
				needed = needed || other.HasPrefix(ref)
				about = about || other.Equal(ref[:len(ref)-1])
			}
			field = field || t.Value.Compare(ref[len(ref)-1].Value) == 0
			return needed
		})
		if needed || about && field && e.IsCall() { // has_field(x.y, "z")
			return true
		}
	}
	return false
}

// inputs is rule two-inputs.
func (m *module) inputs(r *ast.Rule) {
	reads := map[string]bool{}
	for at := r; at != nil; at = at.Else {
		for _, e := range at.Body {
			if e.Negated {
				continue
			}
			ast.WalkTerms(e, func(t *ast.Term) bool {
				if isComprehension(t) {
					return true
				}
				if ref, ok := t.Value.(ast.Ref); ok && ref.HasPrefix(ast.InputRootRef) && len(ref) > 1 {
					if key, ok := ref[1].Value.(ast.String); ok {
						reads[string(key)] = true
					}
				}
				return false
			})
		}
	}
	if reads["review"] && reads["request"] {
		m.found(Finding{Rule: twoInputs, Line: r.Loc().Row, Message: fmt.Sprintf("%s reads input.review and input.request, and no input has both", engine.RuleName(r)),
			Fix: "write it for one of them: input.request as the API server sends it, or input.review as Gatekeeper does"})
	}
}

// metadata is rule unknown-metadata.
func (m *module) metadata() {
	speaks := slices.ContainsFunc(m.Rules, engine.Speaks)
	for _, a := range m.Annotations {
		own, ok := a.Custom["gitward"]
		if !ok || a.Location == nil {
			continue
		}
		fields, ok := own.(map[string]any)
		if !ok {
			m.found(Finding{Rule: unknownMetadata, Line: a.Location.Row, Message: "custom.gitward is no object", Fix: knownKeys})
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(fields)) {
			if !slices.Contains(engine.MetadataKeys(), key) {
				m.found(Finding{Rule: unknownMetadata, Line: m.keyLine(a, key), Message: fmt.Sprintf("custom.gitward.%s is nothing that Gitward knows", key), Fix: knownKeys})
			}
		}
		if a.Scope == "subpackages" || speaks && a.Scope == "package" {
			continue
		}
		if a.Scope == "package" && !m.spoken() || a.Scope != "package" && !m.spokenAt(a) {
			m.found(Finding{Rule: unknownMetadata, Line: a.Location.Row, Message: "custom.gitward stands where no rule named deny, violation or warn is, and does nothing",
				Fix: "put it above the package, or above the rule that denies"})
		}
	}
}

// keyLine is the line of a key in the comment that annotations are written in.
func (m *module) keyLine(a *ast.Annotations, key string) int {
	for _, c := range m.Comments {
		if at := c.Location.Row; at > a.Location.Row && at < a.EndLoc().Row+1 && strings.HasPrefix(strings.TrimSpace(string(c.Text)), key+":") {
			return at
		}
	}
	return a.Location.Row
}

var knownKeys = "the keys are " + strings.Join(engine.MetadataKeys(), ", ")

// spoken reports whether another module of the package has a rule that speaks.
func (m *module) spoken() bool {
	for _, other := range m.unit.Modules {
		if other.Package.Path.Equal(m.Package.Path) && slices.ContainsFunc(other.Rules, engine.Speaks) {
			return true
		}
	}
	return false
}

func (m *module) spokenAt(a *ast.Annotations) bool {
	for _, r := range m.Rules {
		if engine.Speaks(r) && slices.Contains(r.Annotations, a) {
			return true
		}
	}
	return false
}

// message is rule no-message.
func (m *module) message(r *ast.Rule) {
	if !engine.Speaks(r) || r.Default {
		return
	}
	name := engine.RuleName(r)
	if r.Head.RuleKind() == ast.MultiValue {
		if why := m.mute(r, r.Head.Key); why != "" {
			m.found(Finding{Rule: noMessage, Line: r.Loc().Row, Message: name + " " + why, Fix: `say {"msg": …}, or a text`})
		}
		return
	}
	if r.Head.Key != nil {
		if why := m.mute(r, r.Head.Key); why != "" {
			m.found(Finding{Rule: noMessage, Line: r.Loc().Row, Message: name + " " + why, Fix: `say {"msg": …}, or a text`})
		}
		return
	}
	if v, ok := r.Head.Value.Value.(ast.Boolean); ok && bool(v) && !m.titled(r) {
		m.found(Finding{Rule: noMessage, Line: r.Loc().Row, Message: name + " is true, and says nothing: whoever is refused does not learn why", Fix: name + ` contains "…" if { … }, or a title in the METADATA`})
	}
}

// mute says why a term is no message; empty if it may be one.
func (m *module) mute(r *ast.Rule, t *ast.Term) string {
	if t == nil {
		return ""
	}
	switch v := t.Value.(type) {
	case ast.Object:
		if v.Get(ast.StringTerm("msg")) == nil {
			return `says an object without "msg"`
		}
	case ast.Boolean, ast.Number, ast.Null:
		return fmt.Sprintf("says %v, which is no message", v)
	case *ast.Array, ast.Set:
		return "says a list, and no message"
	case ast.Var:
		for _, e := range r.Body {
			if e.IsEquality() || e.IsAssignment() {
				if left := e.Operand(0); left != nil && left.Value.Compare(v) == 0 {
					if _, again := e.Operand(1).Value.(ast.Var); !again {
						return m.mute(r, e.Operand(1))
					}
				}
			}
		}
	}
	return ""
}

func (m *module) titled(r *ast.Rule) bool {
	for _, a := range r.Annotations {
		if a.Title != "" {
			return true
		}
	}
	return slices.ContainsFunc(m.Annotations, func(a *ast.Annotations) bool {
		return (a.Scope == "package" || a.Scope == "subpackages" || a.Scope == "document") && a.Title != ""
	})
}

// untested is the rule of that name: one finding for each package, or template.
func (l *linter) untested(u engine.Unit, suites map[string]bool) {
	if u.Template != "" {
		// Its modules are named by the file, and further ones by that and a number.
		file := slices.Min(slices.Collect(maps.Keys(u.Modules)))
		if !suites[file] {
			l.findings = append(l.findings, Finding{Rule: untested, File: file, Line: 1, Message: "no suite tests the template " + u.Template, Fix: "add a Suite of test.gatekeeper.sh/v1alpha1 beside it"})
		}
		return
	}
	tested := map[string]bool{}
	for _, set := range []map[string]*ast.Module{u.Tests, u.Modules} {
		for _, m := range set {
			if !slices.ContainsFunc(m.Rules, isTest) {
				continue
			}
			tested[m.Package.Path.String()] = true
			for _, ref := range slices.Concat(engine.References(m), imported(m)) {
				for i := 1; i <= len(ref); i++ {
					tested[ref[:i].String()] = true
				}
			}
		}
	}
	seen := map[string]bool{}
	for _, file := range slices.Sorted(maps.Keys(u.Modules)) {
		m := u.Modules[file]
		pkg := m.Package.Path.String()
		if i := slices.IndexFunc(m.Rules, engine.Speaks); i < 0 || tested[pkg] || seen[pkg] || ignores(m)[mark{m.Package.Loc().Row, untested}] {
			continue
		}
		seen[pkg] = true
		l.findings = append(l.findings, Finding{Rule: untested, File: file, Line: m.Package.Loc().Row, Message: fmt.Sprintf("no test asks %s", strings.TrimPrefix(pkg, "data.")),
			Fix: "add " + strings.TrimSuffix(path.Base(file), ".rego") + "_test.rego with rules named test_…"})
	}
}

func imported(m *ast.Module) []ast.Ref {
	var out []ast.Ref
	for _, i := range m.Imports {
		if ref, ok := i.Path.Value.(ast.Ref); ok {
			out = append(out, ref)
		}
	}
	return out
}

// suitesIn are the files that suites try.
func suitesIn(fsys fs.FS) map[string]bool {
	out := map[string]bool{}
	_ = fs.WalkDir(fsys, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !e.Type().IsRegular() || path.Ext(name) != ".yaml" && path.Ext(name) != ".yml" {
			return nil
		}
		s, err := gatekeeper.ReadSuite(fsys, name)
		if err != nil {
			return nil
		}
		for _, t := range s.Tests {
			out[path.Join(path.Dir(name), t.Template)] = true
			out[path.Join(path.Dir(name), t.Constraint)] = true
		}
		return nil
	})
	return out
}
