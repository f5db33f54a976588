package engine

import (
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/gitward/gitward/policy"
)

// findings reads what a rule says. These are findings: true; a message; an
// object with a "msg", and perhaps "fix" and "details"; the elements of a set or
// list of these. Of another object its values are, and its keys where the value
// is true: so it is what "deny[msg] if" means in version 1 of Rego, which is no
// set any more. What cannot be read is a finding too, that says so: who named a
// rule deny did not mean nothing by it.
func (p *Policy) findings(r *rule, value any, action policy.Action) []policy.Finding {
	base := policy.Finding{Policy: p.Name, Rule: r.name, Title: or(r.title, p.Title), Kind: policy.Violation, Action: action, File: r.file, Line: r.line}
	object, ok := value.(map[string]any)
	if _, said := object["msg"].(string); !ok || said {
		return read(base, value)
	}
	var out []policy.Finding
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if object[key] == true {
			out = append(out, one(base, key))
			continue
		}
		out = append(out, read(base, object[key])...)
	}
	return out
}

// read are the findings of a value, which may be a list of them.
func read(base policy.Finding, value any) []policy.Finding {
	switch v := value.(type) {
	case nil:
		return nil
	case bool:
		if !v {
			return nil
		}
		return []policy.Finding{one(base, "")}
	case []any:
		out := make([]policy.Finding, 0, len(v))
		for _, item := range v {
			out = append(out, one(base, item))
		}
		return out
	}
	return []policy.Finding{one(base, value)}
}

// one is the finding that a value is.
func one(f policy.Finding, value any) policy.Finding {
	switch v := value.(type) {
	case string:
		f.Message = or(v, or(f.Title, "this is not allowed"))
	case map[string]any:
		msg, ok := v["msg"].(string)
		if !ok {
			f.Kind, f.Message = policy.Erred, "it found something, but there is no \"msg\" in what it says"
			return f
		}
		f.Message, f.Details = msg, v["details"]
		f.Fix, _ = v["fix"].(string)
	default:
		f.Kind, f.Message = policy.Erred, "it found something, but says it in "+typeName(v)+": want a message, or an object with \"msg\""
	}
	return f
}

func typeName(v any) string {
	switch v.(type) {
	case []any:
		return "a list"
	case bool:
		return "true or false"
	case nil:
		return "null"
	}
	return "a number"
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// locate finds the line of each finding, by evaluating once more and looking on.
// Findings are rare.
func (v *Evaluation) locate(r *rule, in ast.Value, found []policy.Finding) {
	o := &onlooker{path: r.path, at: map[string]*ast.Location{}}
	if _, err := v.run(r, in, rego.EvalQueryTracer(o)); err != nil {
		return
	}
	for i := range found {
		if at := o.at[found[i].Message]; at != nil {
			found[i].File, found[i].Line = at.File, at.Row
			found[i].Title = or(r.titles[place(at)], found[i].Title)
		}
	}
}

// onlooker notes which rule gave which message.
type onlooker struct {
	path ast.Ref
	at   map[string]*ast.Location
}

func (*onlooker) Enabled() bool { return true }

func (*onlooker) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

func (o *onlooker) TraceEvent(e topdown.Event) {
	r, ok := e.Node.(*ast.Rule)
	if !ok || e.Op != topdown.ExitOp || !r.Ref().GroundPrefix().HasPrefix(o.path) {
		return
	}
	for _, head := range []*ast.Term{r.Head.Key, r.Head.Value} {
		if head == nil {
			continue
		}
		switch said := e.Plug(head).Value.(type) {
		case ast.String:
			o.at[string(said)] = r.Loc()
		case ast.Object:
			if msg := said.Get(ast.InternedTerm("msg")); msg != nil {
				if s, ok := msg.Value.(ast.String); ok {
					o.at[string(s)] = r.Loc()
				}
			}
		}
	}
}
