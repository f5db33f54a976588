package engine

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// TestResult is one Rego test's.
type TestResult struct {
	Name     string        `json:"name"` // with its package
	File     string        `json:"file"`
	Line     int           `json:"line"`
	Pass     bool          `json:"pass"`
	Skip     bool          `json:"skip,omitempty"` // its name begins with todo_
	Error    string        `json:"error,omitempty"`
	Duration time.Duration `json:"duration"`
	Output   string        `json:"output,omitempty"` // of print
	// Failed is the expression that was not true, and FailedLine its line in File.
	Failed     string `json:"failed,omitempty"`
	FailedLine int    `json:"failedLine,omitempty"`
}

// Watch is told which test begins, and is asked nothing: a built-in that is at
// work heeds no limit, so whoever runs tests needs to know which one to blame.
type Watch func(test string)

// Tests runs the bundle's Rego tests as "opa test" does, each within a limit.
// Coverage is of the modules that are no tests.
func (b *Bundle) Tests(ctx context.Context, filter string, limit time.Duration) ([]TestResult, *cover.Report, error) {
	return b.TestsWatched(ctx, filter, limit, nil)
}

// TestsWatched is Tests for somebody who watches; they come by file and line.
func (b *Bundle) TestsWatched(ctx context.Context, filter string, limit time.Duration, w Watch) ([]TestResult, *cover.Report, error) {
	lines := cover.New()
	watched := &watched{Cover: lines, tell: w, failed: map[string]*ast.Location{}}
	var out []TestResult
	for _, p := range b.parts() {
		if !p.tested() {
			continue
		}
		results, err := b.testsOf(ctx, p, filter, limit, watched)
		if err != nil {
			return out, nil, fmt.Errorf("running the tests: %w", err)
		}
		out = append(out, results...)
	}
	slices.SortStableFunc(out, func(x, y TestResult) int {
		return cmp.Or(strings.Compare(x.File, y.File), cmp.Compare(x.Line, y.Line), strings.Compare(x.Name, y.Name))
	})
	return out, b.covered(lines), nil
}

// covered reports what was covered of the modules that are no tests.
func (b *Bundle) covered(lines *cover.Cover) *cover.Report {
	all := lines.Report(b.modules)
	out := &cover.Report{Files: map[string]*cover.FileReport{}}
	for name, file := range all.Files {
		if b.modules[name] != nil {
			out.Files[name] = file
			out.CoveredLines += file.CoveredLines
			out.NotCoveredLines += file.NotCoveredLines
		}
	}
	if lines := out.CoveredLines + out.NotCoveredLines; lines > 0 {
		out.Coverage = 100 * float64(out.CoveredLines) / float64(lines)
	}
	return out
}

// tested reports whether a part has tests, in whatever file.
func (p *part) tested() bool {
	if len(p.tests) > 0 {
		return true
	}
	for _, m := range p.own {
		for _, r := range m.Rules {
			if isTestRule(r) {
				return true
			}
		}
	}
	return false
}

func isTestRule(r *ast.Rule) bool {
	name := ruleName(r)
	return strings.HasPrefix(name, tester.TestPrefix) || strings.HasPrefix(name, tester.SkipTestPrefix)
}

// watched notes what was covered, and where each test failed last, and tells which
// test begins.
type watched struct {
	*cover.Cover
	tell Watch

	// Tests run one by one, and the queries of each are numbered anew.
	test   string
	query  uint64
	failed map[string]*ast.Location // by test
}

func testAt(l *ast.Location) string { return fmt.Sprintf("%s:%d", l.File, l.Row) }

func (w *watched) TraceEvent(e topdown.Event) {
	switch x := e.Node.(type) {
	case *ast.Rule:
		if e.Op == topdown.EnterOp && isTestRule(x) {
			w.test, w.query = testAt(x.Loc()), e.QueryID
			if w.tell != nil {
				w.tell(fmt.Sprintf("%s.%s (%s)", strings.TrimPrefix(x.Module.Package.Path.String(), "data."), ruleName(x), testAt(x.Loc())))
			}
		}
	case *ast.Expr:
		if w.test != "" && w.query == e.QueryID && e.Op == topdown.FailOp && x.Location != nil {
			w.failed[w.test] = x.Location
		}
	}
	w.Cover.TraceEvent(e)
}

func (b *Bundle) testsOf(ctx context.Context, p *part, filter string, limit time.Duration, lines *watched) ([]TestResult, error) {
	all := p.modules()
	maps.Copy(all, p.tests)
	maps.Copy(all, p.fixtures)
	store := inmem.NewFromObject(b.data)
	runner := tester.NewRunner().SetStore(store).SetDefaultRegoVersion(b.version).CapturePrintOutput(true).SetTimeout(limit).SetParallel(1).
		SetCoverageQueryTracer(lines).Filter(filter).
		SetCompiler(ast.NewCompiler().WithCapabilities(capabilities()).WithDefaultRegoVersion(b.version).WithEnablePrintStatements(true).WithRewriteTestRules(true)).
		SetModules(all)
	txn, err := store.NewTransaction(ctx, storage.TransactionParams{})
	if err != nil {
		return nil, err
	}
	defer store.Abort(ctx, txn)
	results, err := runner.RunTests(ctx, txn)
	if err != nil {
		return nil, err
	}
	var out []TestResult
	for r := range results {
		if r.Location != nil && p.own[r.Location.File] == nil && p.tests[r.Location.File] == nil {
			continue // it is run where it lies
		}
		t := TestResult{Name: r.Package + "." + r.Name, Pass: r.Pass(), Skip: r.Skip, Duration: r.Duration, Output: string(r.Output)}
		if r.Location != nil {
			t.File, t.Line = r.Location.File, r.Location.Row
		}
		if r.Error != nil {
			t.Error = r.Error.Error()
		}
		if at := lines.failed[fmt.Sprintf("%s:%d", t.File, t.Line)]; at != nil && !t.Pass && !t.Skip {
			t.Failed, t.FailedLine = textOf(at), at.Row
		}
		out = append(out, t)
	}
	return out, nil
}
