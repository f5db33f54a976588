package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/policy"
	"github.com/gitward/gitward/policy/engine"
	"github.com/gitward/gitward/policy/lint"
	"github.com/gitward/gitward/policy/worker"
)

type policyCheckOptions struct {
	output  string
	disable []string
	limit   time.Duration
}

func policyCheckCommand() *cobra.Command {
	o := policyCheckOptions{}
	var rules strings.Builder
	for _, r := range policyRules() {
		fmt.Fprintf(&rules, "  %-17s %s\n", r.Name, wrapAt(r.About, 20, 60))
	}
	c := &cobra.Command{
		Use:   "check DIR...",
		Short: "Compile policies as the server does, and find the usual mistakes",
		Long: `Compile each directory of policies as the server does, in a process of its own
with the same built-ins, and say what policies it holds, what they take for their
input and what they are asked about. Then hold them against the schema of that
input, and look for mistakes that are made again and again:

` + rules.String() + `
A line under "# gitward:ignore RULE", or that ends in it, is passed over.

Exit codes: 0 nothing found, 1 something found, 2 could not tell.`,
		Example: `  gitward policy check policies/
  gitward policy check -o github policies/`,
		Args: atLeastOneArg("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error { return policyCheck(cmd, &o, args) },
	}
	f := c.Flags()
	f.StringVarP(&o.output, "output", "o", "table", reportOutputs)
	f.StringSliceVar(&o.disable, "disable", nil, "rules that are not looked for")
	f.DurationVar(&o.limit, "limit", compileLimit, "what compiling a directory may take")
	return c
}

// The findings that are no lint's.
const (
	ruleCompile = "compile"
	ruleType    = "type"
)

// policyRules are all rules of findings.
func policyRules() []lint.Rule {
	return append([]lint.Rule{
		{Name: ruleCompile, About: "What does not compile under the server's rules is not put into force."},
		{Name: ruleType, About: "A field that the input never has makes a rule silent: see gitward policy schema."},
	}, lint.Rules...)
}

// wrapAt breaks a text into lines that begin at a column.
func wrapAt(text string, column, width int) string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return strings.Join(append(lines, line), "\n"+strings.Repeat(" ", column))
}

// policyCheckResult is what -o json prints.
type policyCheckResult struct {
	document
	Policies []policyInfo    `json:"policies"`
	Findings []policyFinding `json:"findings"`
}

// policyInfo describes a policy.
type policyInfo struct {
	Name  string `json:"name"`
	Title string `json:"title,omitempty"`
	Dir   string `json:"dir"`
	File  string `json:"file"`
	Line  int    `json:"line,omitempty"`
	// Input is the shape that it takes: review, object or gatekeeper.
	Input string   `json:"input"`
	Rules []string `json:"rules"`
	// Actions is what follows at each point; where one is missing it is not asked.
	Actions   map[policy.Point]policy.Action `json:"actions"`
	Match     json.RawMessage                `json:"match,omitempty"`
	Inventory []string                       `json:"inventory,omitempty"` // kinds of data.inventory
}

type policyFinding struct {
	lint.Finding
	Severity severity `json:"severity"`
}

func policyCheck(cmd *cobra.Command, o *policyCheckOptions, args []string) error {
	if err := checkReportOutput(o.output); err != nil {
		return err
	}
	for _, name := range o.disable {
		if !slices.ContainsFunc(policyRules(), func(r lint.Rule) bool { return r.Name == name }) {
			return fmt.Errorf("--disable %s: there is no such rule", name)
		}
	}
	dirs, err := readPolicyDirs(args)
	if err != nil {
		return err
	}
	r := policyCheckResult{document: documentOf("PolicyCheckResult"), Policies: []policyInfo{}, Findings: []policyFinding{}}
	for _, d := range dirs {
		if err := r.look(cmd.Context(), d, o); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
	r.Findings = slices.DeleteFunc(r.Findings, func(f policyFinding) bool { return slices.Contains(o.disable, f.Rule) })
	slices.SortStableFunc(r.Findings, func(a, b policyFinding) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	if err := newConsole(cmd).write(o.output, result{document: r, table: r.print, report: r.report()}); err != nil {
		return err
	}
	if len(r.Findings) > 0 {
		return errFound
	}
	return nil
}

// look checks one directory.
func (r *policyCheckResult) look(ctx context.Context, d *policyDir, o *policyCheckOptions) error {
	panel, err := startPolicies(o.limit, d)
	if err != nil {
		return err
	}
	loaded := panel.Loaded[0]
	panel.Close()
	for _, p := range loaded.Policies {
		r.Policies = append(r.Policies, d.info(&p))
	}
	problems := loaded.Problems
	if len(problems)+len(loaded.Policies) == 0 {
		problems = []gitindex.Problem{{Message: saysNothing}}
	}
	var types []gitindex.Problem
	var findings []lint.Finding
	g := newTimekeeper(2 * o.limit)
	g.at("type-checking")
	err = g.run(ctx, func() error {
		b := engine.Read(d.files)
		if len(loaded.Problems) == 0 {
			types = b.TypeErrors()
		}
		findings = lint.Bundle(b, d.fsys)
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range problems {
		if !toldBy(findings, p) {
			r.found(d, lint.Finding{Rule: ruleCompile, File: p.Path, Line: p.Line, Message: p.Message}, severe)
		}
	}
	for _, p := range types {
		r.found(d, lint.Finding{Rule: ruleType, File: p.Path, Line: p.Line, Message: p.Message}, severe)
	}
	for _, f := range findings {
		r.found(d, f, mild)
	}
	return nil
}

// toldBy reports a problem that a lint finds too, and tells better.
func toldBy(findings []lint.Finding, p gitindex.Problem) bool {
	return strings.HasPrefix(p.Message, "custom.gitward: json: unknown field") &&
		slices.ContainsFunc(findings, func(f lint.Finding) bool { return f.Rule == "unknown-metadata" && f.File == p.Path })
}

func (r *policyCheckResult) found(d *policyDir, f lint.Finding, s severity) {
	f.File = d.file(f.File)
	if f.File == "" {
		f.File = fromHere(d.name)
	}
	r.Findings = append(r.Findings, policyFinding{f, s})
}

func (d *policyDir) info(p *worker.Described) policyInfo {
	out := policyInfo{Name: p.Name, Title: p.Title, Dir: fromHere(d.name), File: d.file(p.File), Line: p.Line, Input: p.Shape, Rules: p.Rules,
		Actions: p.Points, Match: p.Match, Inventory: p.Inventory}
	if string(out.Match) == "null" {
		out.Match = nil
	}
	if out.Actions == nil {
		out.Actions = map[policy.Point]policy.Action{policy.Admission: policy.Deny, policy.Scan: policy.Deny, policy.CI: policy.Deny}
	}
	return out
}

// action is what follows at a point, for people.
func (p *policyInfo) action(at policy.Point) string {
	a, ok := p.Actions[at]
	switch {
	case !ok:
		return "-"
	case a == policy.Deny && len(p.Rules) > 0 && !slices.ContainsFunc(p.Rules, func(r string) bool { return !strings.HasPrefix(r, "warn") }):
		return "warn"
	}
	return a.String()
}

func (r *policyCheckResult) print(s *console) {
	var rows [][]cell
	for i := range r.Policies {
		p := &r.Policies[i]
		rows = append(rows, []cell{plain(gitindex.Clean(p.Name, 100)), plain(p.Input), plain(p.action(policy.Admission)), plain(p.action(policy.Scan)), plain(p.action(policy.CI)),
			plain(gitindex.Clean(matchText(p.Match), 60)), plain(location{file: p.File, line: p.Line}.String()), plain(gitindex.Clean(p.Title, 100))})
	}
	if len(rows) > 0 {
		s.table("POLICY INPUT ADMISSION SCAN CI MATCH FILE TITLE", rows)
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		if i == 0 && len(rows) > 0 {
			fmt.Fprintln(s.out)
		}
		word := s.marked(markNotice, f.Rule)
		if f.Severity == severe {
			word = s.marked(markBad, f.Rule)
		}
		fmt.Fprintf(s.out, "%s: %s: %s\n", location{file: f.File, line: f.Line}, s.paint(word), f.Message)
		if f.Fix != "" {
			fmt.Fprintf(s.out, "  do    %s\n", f.Fix)
		}
	}
	fmt.Fprintf(s.out, "\n%s, %s\n", countOf(len(r.Policies), "policy", "policies"), count(len(r.Findings), "finding"))
}

func countOf(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// matchText is a match for people: the kinds, and what narrows them.
func matchText(match json.RawMessage) string {
	var m struct {
		Kinds []struct {
			APIGroups []string `json:"apiGroups"`
			Kinds     []string `json:"kinds"`
		} `json:"kinds"`
		Namespaces         []string        `json:"namespaces"`
		ExcludedNamespaces []string        `json:"excludedNamespaces"`
		LabelSelector      json.RawMessage `json:"labelSelector"`
		NamespaceSelector  json.RawMessage `json:"namespaceSelector"`
		Name               string          `json:"name"`
		Scope              string          `json:"scope"`
	}
	if len(match) == 0 || json.Unmarshal(match, &m) != nil {
		return "everything"
	}
	var parts, kinds []string
	for _, k := range m.Kinds {
		kinds = append(kinds, k.Kinds...)
	}
	if len(kinds) > 0 && !slices.Contains(kinds, "*") {
		parts = append(parts, strings.Join(kinds, ","))
	}
	if len(m.Namespaces) > 0 {
		parts = append(parts, "in "+strings.Join(m.Namespaces, ","))
	}
	if len(m.ExcludedNamespaces) > 0 {
		parts = append(parts, "not in "+strings.Join(m.ExcludedNamespaces, ","))
	}
	if m.Name != "" {
		parts = append(parts, "name "+m.Name)
	}
	if m.Scope != "" && m.Scope != "*" {
		parts = append(parts, m.Scope)
	}
	if len(m.LabelSelector)+len(m.NamespaceSelector) > 0 {
		parts = append(parts, "by labels")
	}
	if len(parts) == 0 {
		return "everything"
	}
	return strings.Join(parts, " ")
}

// report is the result for CI: a case is a policy, or a file that something is
// found in and that holds none.
func (r *policyCheckResult) report() *report {
	out := &report{command: "gitward policy check", noun: "check", about: map[string]string{}}
	for _, rule := range policyRules() {
		out.about[rule.Name] = rule.About
	}
	at := map[string]int{}
	for i := range r.Policies {
		p := &r.Policies[i]
		if _, ok := at[p.File]; !ok {
			at[p.File] = len(out.cases)
		}
		out.cases = append(out.cases, reportCase{suite: p.Dir, name: gitindex.Clean(p.Name, 200), at: location{file: p.File, line: p.Line}, outcome: outPassed})
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		n, ok := at[f.File]
		if !ok {
			n = len(out.cases)
			at[f.File] = n
			out.cases = append(out.cases, reportCase{name: f.File, at: location{file: f.File}, outcome: outPassed})
		}
		c := &out.cases[n]
		c.outcome = outFailed
		c.findings = append(c.findings, reportFinding{rule: f.Rule, severity: f.Severity, message: f.Message, fix: f.Fix, at: location{file: f.File, line: f.Line}})
	}
	return out
}
