package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/policy"
)

// Explanation is what a policy says of a request, and how it comes to it.
type Explanation struct {
	Policy string `json:"policy"`
	Title  string `json:"title,omitempty"`
	File   string `json:"file"`
	Line   int    `json:"line"`
	// NotAsked is why the policy has nothing to do with the request; empty if it
	// was asked.
	NotAsked string           `json:"notAsked,omitempty"`
	Findings []policy.Finding `json:"findings,omitempty"`
	Rules    []RuleTrace      `json:"rules,omitempty"`
}

// RuleTrace is one definition of a rule: whether it was true, and with what.
type RuleTrace struct {
	Rule  string `json:"rule"`
	File  string `json:"file"`
	Line  int    `json:"line"`
	Fired bool   `json:"fired"`
	// Exits are its local variables, each time that it was true; the first few.
	Exits []Exit `json:"exits,omitempty"`
	Times int    `json:"times,omitempty"` // that it was true
	// Failed is the expression that was not true, of those that it came to the
	// last: where it has not fired.
	Failed *Failure `json:"failed,omitempty"`
	// Asks are the rules that it asked, each once.
	Asks []RuleTrace `json:"asks,omitempty"`
}

// Exit is one time that a rule was true.
type Exit struct {
	Value  string  `json:"value,omitempty"` // that the rule took, or put into its set
	Locals []Local `json:"locals,omitempty"`
}

// Local is a variable of a rule's own.
type Local struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Failure is an expression that was not true.
type Failure struct {
	File   string  `json:"file"`
	Line   int     `json:"line"`
	Text   string  `json:"text"`
	Locals []Local `json:"locals,omitempty"` // as far as they were known then
}

const (
	mostExits  = 5
	longValue  = 160 // runes
	deepestAsk = 4
)

// Explain asks one policy, and looks on. It goes through every definition of
// every rule, which Evaluate does not.
func (v *Evaluation) Explain(p *Policy) Explanation {
	x := Explanation{Policy: p.Name, Title: p.Title, File: p.File, Line: p.Line}
	if _, asked := p.points[v.point]; p.points != nil && !asked {
		x.NotAsked = fmt.Sprintf("it is not asked at the point %s", v.point)
		return x
	}
	in, _, found := v.put(p)
	if in == nil {
		x.Findings = found
		switch {
		case len(found) > 0:
			x.NotAsked = "whether it concerns the request cannot be told"
		case p.concerns != nil && v.subject.as(p) != nil:
			x.NotAsked = "its match does not concern the request"
		default:
			x.NotAsked = fmt.Sprintf("it is about content, and %s brings none", or(v.subject.operation, "the request"))
		}
		return x
	}
	x.Findings = v.Evaluate(p)
	for i := range p.rules {
		if why := v.spares(&p.rules[i]); why != "" {
			r := &p.rules[i]
			x.Rules = append(x.Rules, RuleTrace{Rule: r.name, File: r.file, Line: r.line, Failed: &Failure{File: r.file, Line: r.line, Text: why}})
			continue
		}
		w := &witness{calls: map[uint64]*call{}}
		_, err := v.run(&p.rules[i], in, rego.EvalQueryTracer(w), rego.EvalRuleIndexing(false), rego.EvalEarlyExit(false))
		traces := w.traces()
		for j := range traces {
			if err != nil && traces[j].Failed == nil && !traces[j].Fired {
				traces[j].Failed = &Failure{File: traces[j].File, Line: traces[j].Line, Text: gitindex.Clean(err.Error(), longValue)}
			}
		}
		x.Rules = append(x.Rules, traces...)
	}
	return x
}

// spares says why a rule is not asked though its policy is; empty if it is.
func (v *Evaluation) spares(r *rule) string {
	if _, asked := r.points[v.point]; r.points != nil && !asked {
		return fmt.Sprintf("it is not asked at the point %s", v.point)
	}
	if r.concerns != nil {
		if concerned, err := r.concerns(v.subject); err == nil && !concerned {
			return "its match does not concern the request"
		}
	}
	return ""
}

// witness makes calls of rules of what OPA tells while it evaluates.
type witness struct {
	calls map[uint64]*call // by query
	roots []*call
}

// call is one time that a definition of a rule was entered, or a body within one:
// that of a comprehension or a negation.
type call struct {
	rule   *ast.Rule // nil for a body
	parent *call
	asked  []*call
	exits  []Exit
	times  int
	last   *ast.Expr // that failed, the furthest
	locals []Local
}

func (*witness) Enabled() bool { return true }

func (*witness) Config() topdown.TraceConfig { return topdown.TraceConfig{PlugLocalVars: true} }

func (w *witness) TraceEvent(e topdown.Event) {
	switch e.Op {
	case topdown.EnterOp:
		c := &call{parent: w.calls[e.ParentID]}
		c.rule, _ = e.Node.(*ast.Rule)
		w.calls[e.QueryID] = c
		if c.rule != nil {
			if above := c.parent.ruled(); above != nil {
				above.asked = append(above.asked, c)
			} else {
				w.roots = append(w.roots, c)
			}
		}
	case topdown.ExitOp:
		if r, ok := e.Node.(*ast.Rule); ok {
			if c := w.calls[e.QueryID]; c != nil {
				c.exit(r, &e)
			}
		}
	case topdown.FailOp:
		x, ok := e.Node.(*ast.Expr)
		if c := w.calls[e.QueryID]; ok && c != nil && c.rule != nil && (c.last == nil || x.Index >= c.last.Index) {
			c.last, c.locals = x, localsOf(&e)
		}
	}
}

// ruled is the call of a rule that a call is part of.
func (c *call) ruled() *call {
	for c != nil && c.rule == nil {
		c = c.parent
	}
	return c
}

func (c *call) exit(r *ast.Rule, e *topdown.Event) {
	if c.times++; len(c.exits) == mostExits {
		return
	}
	x := Exit{Locals: localsOf(e)}
	said := r.Head.Value
	if r.Head.Key != nil && r.Head.RuleKind() == ast.MultiValue {
		said = r.Head.Key
	}
	if said != nil {
		x.Value = show(e.Plug(said).Value)
	}
	c.exits = append(c.exits, x)
}

// localsOf are the variables that an author wrote, by name.
func localsOf(e *topdown.Event) []Local {
	var out []Local
	e.Locals.Iter(func(k, value ast.Value) bool {
		v, ok := k.(ast.Var)
		if !ok {
			return false
		}
		name := v
		if m, ok := e.LocalMetadata[v]; ok && m.Name != "" {
			name = m.Name
		}
		if name.IsGenerated() || name.IsWildcard() || strings.HasPrefix(string(name), "__") {
			return false
		}
		plugged := e.Plug(ast.NewTerm(value)).Value
		if !plugged.IsGround() {
			return false
		}
		out = append(out, Local{Name: string(name), Value: show(plugged)})
		return false
	})
	slices.SortFunc(out, func(a, b Local) int { return strings.Compare(a.Name, b.Name) })
	return slices.Compact(out)
}

func show(v ast.Value) string {
	return gitindex.Clean(v.String(), longValue)
}

func (w *witness) traces() []RuleTrace { return tracesOf(w.roots, 0) }

// tracesOf joins calls of one definition: what fired once has fired.
func tracesOf(calls []*call, depth int) []RuleTrace {
	byRule := map[*ast.Rule][]*call{}
	var order []*ast.Rule
	for _, c := range calls {
		if c.rule.Default {
			continue
		}
		if byRule[c.rule] == nil {
			order = append(order, c.rule)
		}
		byRule[c.rule] = append(byRule[c.rule], c)
	}
	slices.SortStableFunc(order, func(a, b *ast.Rule) int {
		return cmp.Or(strings.Compare(a.Loc().File, b.Loc().File), cmp.Compare(a.Loc().Row, b.Loc().Row))
	})
	out := make([]RuleTrace, 0, len(order))
	for _, r := range order {
		out = append(out, traceOf(r, byRule[r], depth))
	}
	return out
}

func traceOf(r *ast.Rule, calls []*call, depth int) RuleTrace {
	t := RuleTrace{Rule: ruleName(r), File: r.Loc().File, Line: r.Loc().Row}
	var furthest *call
	var asked []*call
	for _, c := range calls {
		t.Times += c.times
		t.Exits = append(t.Exits, c.exits...)
		asked = append(asked, c.asked...)
		if c.last != nil && (furthest == nil || c.last.Index >= furthest.last.Index) {
			furthest = c
		}
	}
	t.Exits = t.Exits[:min(len(t.Exits), mostExits)]
	t.Fired = t.Times > 0
	if !t.Fired && furthest != nil {
		t.Failed = &Failure{File: t.File, Line: t.Line, Text: textOf(furthest.last.Location), Locals: furthest.locals}
		if at := furthest.last.Location; at != nil {
			t.Failed.File, t.Failed.Line = at.File, at.Row
		}
	}
	if depth < deepestAsk {
		t.Asks = tracesOf(asked, depth+1)
	}
	return t
}

// Concerns reports whether a policy would be evaluated.
func (v *Evaluation) Concerns(p *Policy) bool {
	in, _, _ := v.put(p)
	return in != nil
}
