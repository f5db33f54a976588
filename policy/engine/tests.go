package engine

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
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
}

// Tests runs the bundle's Rego tests as "opa test" does, each within a limit.
// Coverage is of the modules that are no tests.
func (b *Bundle) Tests(ctx context.Context, filter string, limit time.Duration) ([]TestResult, *cover.Report, error) {
	lines := cover.New()
	var out []TestResult
	for _, p := range b.parts() {
		if !p.tested() {
			continue
		}
		results, err := b.testsOf(ctx, p, filter, limit, lines)
		if err != nil {
			return out, nil, fmt.Errorf("running the tests: %w", err)
		}
		out = append(out, results...)
	}
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
			if name := ruleName(r); strings.HasPrefix(name, "test_") || strings.HasPrefix(name, "todo_test_") {
				return true
			}
		}
	}
	return false
}

func (b *Bundle) testsOf(ctx context.Context, p *part, filter string, limit time.Duration, lines *cover.Cover) ([]TestResult, error) {
	all := p.modules()
	maps.Copy(all, p.tests)
	maps.Copy(all, p.fixtures)
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
		out = append(out, t)
	}
	return out, nil
}
