package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/policy"
	"github.com/gitward/gitward/policy/engine"
)

type policyExplainOptions struct {
	policyQuestion
	only []string
	all  bool
}

func policyExplainCommand() *cobra.Command {
	o := policyExplainOptions{}
	c := &cobra.Command{
		Use:   "explain DIR --input FILE",
		Short: "Say what policies make of a request, rule by rule",
		Long: `Ask the policies of a directory about a request, and say how each comes to its
verdict: which rules were true, with the values of their variables, and of those
that were not, the expression at which they failed last.

Policies that find nothing are told in one line, and of the rules that a rule asks
only the first level: --all unfolds everything.

Exit codes: 0 nothing found, 1 something would be denied, 2 could not tell.`,
		Example: `  gitward policy explain policies/ --input pod.yaml
  gitward policy explain policies/ --input review.json --policy gitward.workloads.image_digest --all`,
		Args: oneArg("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error { return policyExplain(cmd, &o, args[0]) },
	}
	o.flags(c)
	f := c.Flags()
	f.StringArrayVar(&o.only, "policy", nil, "explain only this policy")
	f.BoolVar(&o.all, "all", false, "unfold everything")
	return c
}

// policyExplainResult is what -o json prints.
type policyExplainResult struct {
	document
	Requests []explainedRequest `json:"requests"`
}

type explainedRequest struct {
	Object    objectName           `json:"object"`
	Operation string               `json:"operation"`
	File      string               `json:"file"`
	Line      int                  `json:"line,omitempty"`
	Verdict   string               `json:"verdict"` // deny, warn, audit or pass
	Policies  []engine.Explanation `json:"policies"`
}

func policyExplain(cmd *cobra.Command, o *policyExplainOptions, dir string) error {
	q, err := o.open(cmd, dir)
	if err != nil {
		return err
	}
	x := &explaining{questioned: q, only: o.only, guard: newTimekeeper(20 * time.Second)}
	if x.policies, err = x.chosen(); err != nil {
		return err
	}
	r := policyExplainResult{document: documentOf("PolicyExplainResult")}
	err = x.guard.run(cmd.Context(), func() error {
		for i := range q.requests {
			one, err := x.request(&q.requests[i])
			if err != nil {
				return err
			}
			r.Requests = append(r.Requests, *one)
		}
		return nil
	})
	if err != nil {
		return err
	}
	con := newConsole(cmd)
	if o.output != "table" {
		err = con.structured(o.output, r)
	} else {
		r.print(con, o.all)
	}
	if err == nil && slices.ContainsFunc(r.Requests, func(q explainedRequest) bool { return q.Verdict == policy.Deny.String() }) {
		return errFound
	}
	return err
}

type explaining struct {
	*questioned
	only     []string
	policies []*engine.Policy
	guard    *timekeeper
}

func (x *explaining) chosen() ([]*engine.Policy, error) {
	if len(x.only) == 0 {
		return x.engine.Policies(), nil
	}
	var out []*engine.Policy
	for _, name := range x.only {
		i := slices.IndexFunc(x.engine.Policies(), func(p *engine.Policy) bool { return p.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("--policy %s: there is none of this name in %s", name, x.dir.name)
		}
		out = append(out, x.engine.Policies()[i])
	}
	return out, nil
}

func (x *explaining) request(r *policyRequest) (*explainedRequest, error) {
	v, err := engine.NewEvaluation(r.text, x.point)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.at, err)
	}
	out := &explainedRequest{Object: r.object(), Operation: r.in.Request.Operation, File: r.at.file, Line: r.at.line, Verdict: "pass", Policies: []engine.Explanation{}}
	for _, p := range x.policies {
		x.guard.at("the policy " + p.Name)
		e := x.policy(v, p)
		for _, f := range e.Findings {
			if out.Verdict == "pass" || f.Action.String() == "deny" || out.Verdict == "audit" {
				out.Verdict = f.Action.String()
			}
		}
		out.Policies = append(out.Policies, e)
	}
	return out, nil
}

// policy explains one, unless a child has shown that it runs away.
func (x *explaining) policy(v *engine.Evaluation, p *engine.Policy) engine.Explanation {
	if f := x.runaway(p); f != nil {
		return engine.Explanation{Policy: p.Name, Title: p.Title, File: x.dir.file(p.File), Line: p.Line, NotAsked: "it runs away", Findings: []policy.Finding{*f}}
	}
	e := v.Explain(p)
	e.File = x.dir.file(e.File)
	for i := range e.Findings {
		e.Findings[i].File = x.dir.file(e.Findings[i].File)
	}
	x.place(e.Rules)
	return e
}

func (x *explaining) place(rules []engine.RuleTrace) {
	for i := range rules {
		rules[i].File = x.dir.file(rules[i].File)
		if f := rules[i].Failed; f != nil {
			f.File = x.dir.file(f.File)
		}
		x.place(rules[i].Asks)
	}
}

func (r *policyExplainResult) print(s *console, all bool) {
	for i := range r.Requests {
		q := &r.Requests[i]
		if i > 0 {
			fmt.Fprintln(s.out)
		}
		fmt.Fprintf(s.out, "%s %s (%s): %s\n", q.Operation, q.Object, location{file: q.File, line: q.Line}, s.paint(s.marked(verdictMark(q.Verdict), q.Verdict)))
		var branches []branch
		for j := range q.Policies {
			branches = append(branches, policyBranch(s, &q.Policies[j], all))
		}
		s.tree(branches)
	}
}

func verdictMark(verdict string) mark {
	switch verdict {
	case "deny":
		return markBad
	case "warn", "audit":
		return markNotice
	}
	return markGood
}

// unfolded is how deep rules that were asked are shown.
const unfolded = 1

func policyBranch(s *console, e *engine.Explanation, all bool) branch {
	depth := unfolded
	if all {
		depth = 10
	}
	verdict := s.marked(markGood, "finds nothing")
	switch {
	case len(e.Findings) > 0:
		verdict = s.marked(verdictMark(e.Findings[0].Action.String()), e.Findings[0].Action.String())
	case e.NotAsked != "":
		verdict = cell{text: "- not asked: " + e.NotAsked}
	}
	b := branch{cells: []cell{{text: gitindex.Clean(e.Policy, 100)}, {text: location{file: e.File, line: e.Line}.String()}, verdict}}
	for _, f := range e.Findings {
		b.under = append(b.under, branch{cells: []cell{{text: "says: " + f.Message}}})
	}
	if all || len(e.Findings) > 0 {
		for i := range e.Rules {
			b.under = append(b.under, ruleBranch(s, &e.Rules[i], depth))
		}
	}
	return b
}

func ruleBranch(s *console, t *engine.RuleTrace, depth int) branch {
	at := location{file: t.File, line: t.Line}.String()
	if !t.Fired {
		b := branch{cells: []cell{{text: gitindex.Clean(t.Rule, 80)}, {text: at}, s.marked(markUnsure, "was not true")}}
		if f := t.Failed; f != nil {
			b.under = append(b.under, branch{cells: []cell{{text: fmt.Sprintf("failed at line %d: %s%s", f.Line, gitindex.Clean(f.Text, 120), with(f.Locals))}}})
		}
		return asked(s, b, t, depth)
	}
	times := ""
	if t.Times > 1 {
		times = fmt.Sprintf(" %d times", t.Times)
	}
	b := branch{cells: []cell{{text: gitindex.Clean(t.Rule, 80)}, {text: at}, s.marked(markGood, "was true"+times)}}
	for i := range t.Exits {
		text := strings.TrimPrefix(with(t.Exits[i].Locals), ", with ")
		if value := t.Exits[i].Value; value != "" && value != "true" {
			text = gitindex.Clean(value, shownValue) + with(t.Exits[i].Locals)
		}
		if text != "" {
			b.under = append(b.under, branch{cells: []cell{{text: text}}})
		}
	}
	return asked(s, b, t, depth)
}

// asked hangs the rules that one asked under it.
func asked(s *console, b branch, t *engine.RuleTrace, depth int) branch {
	if depth == 0 {
		return b
	}
	for i := range t.Asks {
		b.under = append(b.under, ruleBranch(s, &t.Asks[i], depth-1))
	}
	return b
}

// shownValue is how much of a value is shown, in runes; -o json has more.
const shownValue = 80

func with(locals []engine.Local) string {
	if len(locals) == 0 {
		return ""
	}
	var parts []string
	for _, l := range locals {
		parts = append(parts, l.Name+" = "+gitindex.Clean(l.Value, shownValue))
	}
	return ", with " + strings.Join(parts, ", ")
}
