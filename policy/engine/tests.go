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
	watched := &watched{Cover: lines, tell: w}
	var out []TestResult
	for _, p := range b.parts() {
		if len(p.tests) == 0 && !slices.ContainsFunc(slices.Collect(maps.Values(p.own)), hasTest) {
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
	report := lines.Report(b.modules)
	return out, &report, nil
}

func hasTest(m *ast.Module) bool {
	return slices.ContainsFunc(m.Rules, func(r *ast.Rule) bool { return isTestRule(r) })
}

func isTestRule(r *ast.Rule) bool {
	name := ruleName(r)
	return strings.HasPrefix(name, tester.TestPrefix) || strings.HasPrefix(name, tester.SkipTestPrefix)
}

// watched notes what was covered, and tells which test begins.
type watched struct {
	*cover.Cover
	tell Watch
}

func (w *watched) TraceEvent(e topdown.Event) {
	if r, ok := e.Node.(*ast.Rule); ok && w.tell != nil && e.Op == topdown.EnterOp && isTestRule(r) {
		w.tell(fmt.Sprintf("%s.%s (%s:%d)", strings.TrimPrefix(r.Module.Package.Path.String(), "data."), ruleName(r), r.Loc().File, r.Loc().Row))
	}
	w.Cover.TraceEvent(e)
}

func (b *Bundle) testsOf(ctx context.Context, p *part, filter string, limit time.Duration, lines topdown.QueryTracer) ([]TestResult, error) {
	all := p.modules()
	maps.Copy(all, p.tests)
	store := inmem.NewFromObject(b.data)
	runner := tester.NewRunner().SetStore(store).SetDefaultRegoVersion(b.version).CapturePrintOutput(true).SetTimeout(limit).
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
		if r.Location != nil && p.leans[r.Location.File] != nil {
			continue // a test of another directory, which is run there
		}
		t := TestResult{Name: r.Package + "." + r.Name, Pass: r.Pass(), Skip: r.Skip, Duration: r.Duration, Output: string(r.Output)}
		if r.Location != nil {
			t.File, t.Line = r.Location.File, r.Location.Row
		}
		if r.Error != nil {
			t.Error = r.Error.Error()
		}
		if r.FailedAt != nil {
			t.Failed = textOf(r.FailedAt.Location)
			if r.FailedAt.Location != nil {
				t.FailedLine = r.FailedAt.Location.Row
			}
		}
		out = append(out, t)
	}
	return out, nil
}
