package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/policy"
	"github.com/gitward/gitward/policy/gatekeeper"
)

// TypeErrors are where rules ask of the input what it never has, by the schema of
// the shape in which their policy takes it. The bundle must compile. A module that
// no policy is in, such as a library, is at fault only if it is so for every
// shape that is used beside it.
func (b *Bundle) TypeErrors() []gitindex.Problem {
	var out []gitindex.Problem
	for _, p := range b.parts() {
		u, err := compile(p.modules(), b.version, b.data)
		if err != nil {
			continue // which Engine tells
		}
		policies, err := u.packages(p.own)
		if err != nil {
			continue
		}
		out = append(out, typeErrors(p.own, p.modules(), b.version, policies)...)
	}
	for _, d := range b.documents {
		if !d.template {
			continue
		}
		read, err := gatekeeper.ReadTemplate(d.file, d.line, d.text)
		if err != nil {
			continue
		}
		if modules, version, err := templateModules(read); err == nil {
			out = append(out, typeErrorsAs(gatekeeperShape, modules, version)...)
		}
	}
	return out
}

// typeErrors are those of some modules, each by the shape of the policy that it
// is of.
func typeErrors(own, all map[string]*ast.Module, version ast.RegoVersion, policies []*Policy) []gitindex.Problem {
	shapes := map[string]shape{} // by package
	used := map[shape]bool{}
	for _, p := range policies {
		shapes[p.Name], used[p.shape] = p.shape, true
	}
	times := map[gitindex.Problem]int{}
	var out []gitindex.Problem
	for _, s := range slices.Sorted(maps.Keys(used)) {
		for _, problem := range typeErrorsAs(s, all, version) {
			m := own[problem.Path]
			if m == nil {
				continue
			}
			if of, ok := shapes[strings.TrimPrefix(m.Package.Path.String(), "data.")]; ok {
				if of == s {
					out = append(out, problem)
				}
				continue
			}
			if times[problem]++; times[problem] == len(used) {
				out = append(out, problem)
			}
		}
	}
	return out
}

// typeErrorsAs are those of modules if all take the input in one shape.
func typeErrorsAs(s shape, modules map[string]*ast.Module, version ast.RegoVersion) []gitindex.Problem {
	schema, err := policy.SchemaOf(s.String())
	if err != nil {
		return []gitindex.Problem{{Message: err.Error()}}
	}
	set := ast.NewSchemaSet()
	set.Put(ast.SchemaRootRef, schema)
	set.Put(ast.MustParseRef("schema.input"), schema)
	c := ast.NewCompiler().WithCapabilities(capabilities()).WithDefaultRegoVersion(version).WithSchemas(set)
	copies := make(map[string]*ast.Module, len(modules))
	for name, m := range modules {
		copies[name] = m.Copy()
	}
	if c.Compile(copies); !c.Failed() {
		return nil
	}
	var out []gitindex.Problem
	for _, e := range c.Errors {
		if e.Code == ast.TypeErr {
			out = append(out, typeProblem(e, s))
		}
	}
	return out
}

// typeProblem tells a reference that leads nowhere by what there is instead.
func typeProblem(e *ast.Error, s shape) gitindex.Problem {
	p := explain("", ast.Errors{e})[0]
	ref, ok := strings.CutPrefix(p.Message, "undefined ref: ")
	if !ok {
		return p
	}
	p.Message = fmt.Sprintf("the input (%s) never has %s", s, ref)
	if e.Details == nil {
		return p
	}
	for _, line := range e.Details.Lines() {
		if list, ok := strings.CutPrefix(strings.TrimSpace(line), "want (one of): ["); ok {
			p.Message += ": there is " + strings.ReplaceAll(strings.NewReplacer(`"`, "", "]", "").Replace(list), " ", ", ")
		}
	}
	return p
}
