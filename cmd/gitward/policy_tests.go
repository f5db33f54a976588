package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/policy/engine"
	"github.com/gitward/gitward/policy/gatekeeper"
)

type policyTestOptions struct {
	output   string
	filter   string
	coverage bool
	verbose  bool
	limit    time.Duration
}

func policyTestCommand() *cobra.Command {
	o := policyTestOptions{}
	c := &cobra.Command{
		Use:   "test DIR...",
		Short: "Run the tests of policies: Rego's and Gatekeeper's suites",
		Long: `Run the tests of each directory of policies: rules named test_… as "opa test" does,
and files of kind Suite of test.gatekeeper.sh as "gator verify" does, by the code
that decides requests. What tests that fail have printed is shown.

A test that takes longer than --limit has failed. If it cannot be ended, because a
built-in is at work, the command ends, names it, and exits with 2.

Exit codes: 0 all pass, 1 some fail, 2 could not tell (no tests, no compiling).`,
		Example: `  gitward policy test policies/
  gitward policy test --run image --coverage policies/workloads
  gitward policy test -o junit policies/ > tests.xml`,
		Args: atLeastOneArg("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error { return policyTest(cmd, &o, args) },
	}
	f := c.Flags()
	f.StringVarP(&o.output, "output", "o", "table", reportOutputs)
	f.StringVarP(&o.filter, "run", "r", "", "run only tests whose name matches this regular expression: data.PACKAGE.test_NAME, or SUITE/TEST/CASE")
	f.BoolVar(&o.coverage, "coverage", false, "say which lines no test has come to")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "list the tests that pass, too")
	f.DurationVar(&o.limit, "limit", 5*time.Second, "what one test may take")
	return c
}

// policyTestResult is what -o json prints.
type policyTestResult struct {
	document
	Tests    []policyTestItem `json:"tests"`
	Coverage *coverageOfRego  `json:"coverage,omitempty"`
}

type policyTestItem struct {
	// Suite is a package of Rego, or the file of a Suite.
	Suite    string        `json:"suite"`
	Name     string        `json:"name"`
	File     string        `json:"file"`
	Line     int           `json:"line,omitempty"`
	Outcome  outcome       `json:"outcome"`
	Why      string        `json:"why,omitempty"`
	Output   string        `json:"output,omitempty"`
	Duration time.Duration `json:"duration"`
}

// coverageOfRego is how many lines tests have come to.
type coverageOfRego struct {
	Percent   float64           `json:"percent"`
	Covered   int               `json:"covered"`
	Lines     int               `json:"lines"`
	Uncovered []uncoveredInFile `json:"uncovered,omitempty"`
}

type uncoveredInFile struct {
	File  string `json:"file"`
	Lines []int  `json:"lines"`
}

func policyTest(cmd *cobra.Command, o *policyTestOptions, args []string) error {
	if err := checkReportOutput(o.output); err != nil {
		return err
	}
	filter, err := regexp.Compile(o.filter)
	if err != nil {
		return fmt.Errorf("--run: %w", err)
	}
	dirs, err := readPolicyDirs(args)
	if err != nil {
		return err
	}
	r := policyTestResult{document: documentOf("PolicyTestResult"), Tests: []policyTestItem{}}
	if o.coverage {
		r.Coverage = &coverageOfRego{}
	}
	g := newTimekeeper(o.limit + o.limit/4 + time.Second)
	con := newConsole(cmd)
	for _, d := range dirs {
		before := len(r.Tests)
		if err := g.run(cmd.Context(), func() error { return r.run(cmd.Context(), con, d, o, filter, g) }); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		if len(r.Tests) == before && o.filter == "" {
			return fmt.Errorf("there are no tests in %s", d.name)
		}
	}
	if len(r.Tests) == 0 {
		return fmt.Errorf("there are no tests in %s that match %s", strings.Join(args, ", "), o.filter)
	}
	r.Coverage.finish()
	if err := con.write(o.output, result{document: r, table: func(s *console) { r.print(s, o.verbose) }, report: r.report()}); err != nil {
		return err
	}
	return r.exit()
}

// run runs the tests of one directory.
func (r *policyTestResult) run(ctx context.Context, con *console, d *policyDir, o *policyTestOptions, filter *regexp.Regexp, g *timekeeper) error {
	b := engine.Read(d.files)
	if err := d.broken(b.Problems); err != nil {
		return err
	}
	results, cover, err := b.TestsWatched(ctx, o.filter, o.limit, func(test string) { g.at("the test " + test) })
	if err != nil {
		return err
	}
	for i := range results {
		r.Tests = append(r.Tests, d.regoTest(&results[i]))
	}
	if r.Coverage != nil {
		for name, f := range cover.Files {
			var lines []int
			for _, gap := range f.NotCovered {
				for row := gap.Start.Row; row <= gap.End.Row; row++ {
					lines = append(lines, row)
				}
			}
			r.Coverage.add(d.file(name), f.CoveredLines, lines)
		}
	}
	g.at("the suites of " + d.name)
	cases, problems, err := runSuites(ctx, d.fsys, o.limit, func(name string) { g.at("the case " + name) })
	if err != nil {
		return err
	}
	for _, p := range problems {
		con.note("%s: %s", d.placeIn(p.Path, p.Line), p.Message)
	}
	for i := range cases {
		item := d.suiteCase(&cases[i])
		if filter.MatchString(item.Suite + "/" + item.Name) {
			r.Tests = append(r.Tests, item)
		}
	}
	return nil
}

func (d *policyDir) regoTest(t *engine.TestResult) policyTestItem {
	name := strings.TrimPrefix(t.Name, "data.")
	at := strings.LastIndex(name, ".")
	out := policyTestItem{Suite: name[:max(at, 0)], Name: name[at+1:], File: d.file(t.File), Line: t.Line, Duration: t.Duration, Outcome: outPassed}
	switch {
	case t.Skip:
		out.Outcome = outSkipped
	case t.Pass:
	default:
		out.Outcome, out.Output = outFailed, t.Output
		switch {
		case t.Error != "":
			out.Why = gitindex.Clean(oneLine(t.Error), 500)
		case t.Failed != "":
			out.Why = "this is not true: " + gitindex.Clean(t.Failed, 300)
			if t.FailedLine > 0 {
				out.Line = t.FailedLine
			}
		default:
			out.Why = "it is not true"
		}
	}
	return out
}

// oneLine puts the lines of an error of OPA's behind each other.
func oneLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.TrimSpace(lines[0] + " " + strings.Join(lines[1:], ", "))
}

func (d *policyDir) suiteCase(c *gatekeeper.CaseResult) policyTestItem {
	out := policyTestItem{Suite: d.file(c.Suite), Name: strings.Trim(c.Test+"/"+c.Case, "/"), File: d.file(c.Suite), Outcome: outPassed}
	switch c.Outcome {
	case gatekeeper.Skipped:
		out.Outcome = outSkipped
	case gatekeeper.Failed:
		out.Outcome, out.Why = outFailed, "it fails"
		if c.Cause != nil {
			out.Why = gitindex.Clean(c.Cause.Error(), 800)
		}
	}
	return out
}

func (c *coverageOfRego) add(file string, covered int, uncovered []int) {
	c.Covered += covered
	c.Lines += covered + len(uncovered)
	if len(uncovered) > 0 {
		c.Uncovered = append(c.Uncovered, uncoveredInFile{file, uncovered})
	}
}

func (r *policyTestResult) exit() error {
	for i := range r.Tests {
		if r.Tests[i].Outcome == outFailed {
			return errFound
		}
	}
	return nil
}

func (r *policyTestResult) print(s *console, verbose bool) {
	var rows [][]cell
	for i := range r.Tests {
		if t := &r.Tests[i]; verbose || t.Outcome != outPassed {
			rows = append(rows, []cell{plain(gitindex.Clean(t.Suite+"."+t.Name, 160)), s.marked(t.Outcome.mark(), string(t.Outcome)), plain(location{file: t.File, line: t.Line}.String())})
		}
	}
	if len(rows) > 0 {
		s.table("TEST VERDICT FILE", rows)
		fmt.Fprintln(s.out)
	}
	for i := range r.Tests {
		t := &r.Tests[i]
		if t.Why == "" && t.Output == "" {
			continue
		}
		fmt.Fprintf(s.out, "%s: %s: %s\n", location{file: t.File, line: t.Line}, gitindex.Clean(t.Name, 160), t.Why)
		if t.Output != "" {
			fmt.Fprintf(s.out, "    %s\n", strings.ReplaceAll(printable(t.Output), "\n", "\n    "))
		}
	}
	r.Coverage.print(s)
	fmt.Fprintln(s.out, r.report().summary())
}

// printable is what a test printed, fit for a terminal.
func printable(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i := range lines {
		lines[i] = gitindex.Clean(lines[i], 500)
	}
	return strings.Join(lines[:min(len(lines), 100)], "\n")
}

func (r *policyTestResult) report() *report {
	out := &report{command: "gitward policy test", noun: "test", about: map[string]string{"test": "The tests of policies pass."}}
	for i := range r.Tests {
		t := &r.Tests[i]
		c := reportCase{suite: t.Suite, name: gitindex.Clean(t.Name, 200), at: location{file: t.File, line: t.Line}, outcome: t.Outcome, took: t.Duration}
		if t.Output != "" {
			c.output = printable(t.Output)
		}
		if t.Outcome == outFailed {
			c.findings = []reportFinding{{rule: "test", severity: severe, message: gitindex.Clean(t.Name, 200) + ": " + t.Why}}
		}
		out.cases = append(out.cases, c)
	}
	if r.Coverage != nil {
		out.notes = append(out.notes, r.Coverage.summary())
	}
	return out
}
