package engine

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/gitward/gitward/policy/gatekeeper"
)

// Shape names how the policy expects its input: review, object or gatekeeper.
func (p *Policy) Shape() string { return p.shape.String() }

// Match narrows what the policy is asked about, as a Gatekeeper constraint's
// spec.match does; nil is everything.
func (p *Policy) Match() json.RawMessage { return p.match }

// Rules are the names of those that speak for the policy.
func (p *Policy) Rules() []string {
	out := make([]string, 0, len(p.rules))
	for _, r := range p.rules {
		out = append(out, r.name)
	}
	return out
}

// Unit is Rego that is compiled together, as its authors wrote it, for whoever
// looks at it closely. Nothing of it may be changed.
type Unit struct {
	// Modules speak; Leans are elsewhere, and are only leant on; Tests test.
	Modules, Leans, Tests map[string]*ast.Module
	// Template is the ConstraintTemplate that the unit stands in; empty if it is in
	// files of its own.
	Template string
}

// Units are all that the bundle holds, whether it compiles or not. Templates that
// cannot be read are left out: Engine says why.
func (b *Bundle) Units() []Unit {
	var out []Unit
	for _, p := range b.parts() {
		if len(p.own)+len(p.tests) > 0 {
			out = append(out, Unit{Modules: p.own, Leans: p.leans, Tests: p.tests})
		}
	}
	for _, d := range b.documents {
		if !d.template {
			continue
		}
		read, err := gatekeeper.ReadTemplate(d.file, d.line, d.text)
		if err != nil {
			continue
		}
		if modules, _, err := templateModules(read); err == nil {
			out = append(out, Unit{Modules: modules, Template: read.Kind})
		}
	}
	return out
}

// templateModules parses the modules of a template. They are named by the file
// and, where they stand in it as they are, moved to their lines there.
func templateModules(read *gatekeeper.Template) (map[string]*ast.Module, ast.RegoVersion, error) {
	modules, version := map[string]*ast.Module{}, ast.RegoV0
	if read.V1 {
		version = ast.RegoV1
	}
	for _, m := range read.Modules {
		name := read.File
		for i := 2; modules[name] != nil; i++ {
			name = fmt.Sprintf("%s (%d)", read.File, i)
		}
		parsed, err := ast.ParseModuleWithOpts(name, strings.Repeat("\n", max(m.Line-1, 0))+m.Text, ast.ParserOptions{RegoVersion: version})
		if err != nil {
			return nil, version, err
		}
		modules[name] = parsed
	}
	return modules, version, nil
}

// MetadataKeys are those that custom.gitward may have.
func MetadataKeys() []string {
	var out []string
	for f := range reflect.TypeFor[said]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		out = append(out, name)
	}
	return out
}

// Speaks reports whether a rule is one of those that are asked: deny, violation,
// warn.
func Speaks(r *ast.Rule) bool { return entryName.MatchString(ruleName(r)) && len(r.Head.Args) == 0 }

// RuleName is the first part of a rule's name.
func RuleName(r *ast.Rule) string { return ruleName(r) }

// References are the documents below data that a module may mean.
func References(m *ast.Module) []ast.Ref { return references(m) }

// textOf is the first line of what stands at a location.
func textOf(l *ast.Location) string {
	if l == nil {
		return ""
	}
	first, rest, _ := strings.Cut(strings.TrimSpace(string(l.Text)), "\n")
	if rest != "" {
		first += " …"
	}
	return first
}
