package policies

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/format"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"

	"github.com/gitward/gitward/policy"
	"github.com/gitward/gitward/policy/engine"
)

var update = flag.Bool("update", false, "write the files that repeat others anew")

// TestRego runs the policies' own tests, with every error of a built-in a
// failure, and wants every line to have been used.
func TestRego(t *testing.T) {
	ctx := context.Background()
	modules := load(t, ".")
	store := inmem.New()
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Abort(ctx, txn)
	coverage := cover.New()
	results, err := tester.NewRunner().SetStore(store).SetModules(modules).SetCompiler(ast.NewCompiler().WithStrict(true)).
		RaiseBuiltinErrors(true).SetCoverageQueryTracer(coverage).RunTests(ctx, txn)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for result := range results {
		count++
		switch {
		case result.Error != nil:
			t.Errorf("%s:%d: %s.%s: %v", result.Location.File, result.Location.Row, result.Package, result.Name, result.Error)
		case result.Fail && result.FailedAt != nil:
			t.Errorf("%s:%d: %s.%s failed", result.FailedAt.Location.File, result.FailedAt.Location.Row, result.Package, result.Name)
		case !result.Pass():
			t.Errorf("%s:%d: %s.%s: %s", result.Location.File, result.Location.Row, result.Package, result.Name, result)
		}
	}
	maps.DeleteFunc(modules, func(name string, _ *ast.Module) bool { return isTest(name) })
	report := coverage.Report(modules)
	lines := 0
	for name := range modules {
		file := report.Files[name]
		lines += file.CoveredLines + file.NotCoveredLines
		for _, gap := range file.NotCovered {
			t.Errorf("%s:%d: no test comes here", name, gap.Start.Row)
		}
	}
	t.Logf("%d tests of %d modules, which have %d lines", count, len(modules), lines)
}

// TestAlone compiles every group by itself, strictly: none leans on another.
func TestAlone(t *testing.T) {
	for _, group := range groups {
		compiler := ast.NewCompiler().WithStrict(true)
		if compiler.Compile(load(t, group)); compiler.Failed() {
			t.Errorf("%s: %v", group, compiler.Errors)
		}
	}
}

// TestEngine: Gitward itself takes every group, with its list of built-ins and its
// reading of the metadata.
func TestEngine(t *testing.T) {
	for _, group := range append([]string{"."}, groups...) {
		dir, err := fs.Sub(FS, group)
		if err != nil {
			t.Fatal(err)
		}
		files, err := policy.Collect(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, problems := engine.Read(files).Engine(); len(problems) > 0 {
			t.Errorf("%s: %v", group, problems)
		}
	}
}

// TestPolicies holds every policy to what the people who read it need.
func TestPolicies(t *testing.T) {
	modules := load(t, ".")
	readme, err := FS.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	policies := 0
	for name, module := range modules {
		if isTest(name) || !isPolicy(module) {
			continue
		}
		policies++
		if !slices.ContainsFunc(groups, func(group string) bool { return group == path.Dir(name) }) {
			t.Errorf("%s is in none of the groups %v", name, groups)
		}
		for _, problem := range append(lacks(module), untested(modules[strings.TrimSuffix(name, ".rego")+"_test.rego"])...) {
			t.Errorf("%s: %s", name, problem)
		}
		if !strings.Contains(string(readme), "]("+name+")") {
			t.Errorf("README.md does not table %s", name)
		}
	}
	t.Logf("%d policies", policies)
}

// lacks says what the metadata and the denials of a policy do not have.
func lacks(module *ast.Module) []string {
	if len(module.Annotations) == 0 {
		return []string{"no metadata"}
	}
	var problems []string
	about := module.Annotations[0]
	if about.Scope != "package" || about.Title == "" || len(about.Description) < 80 {
		problems = append(problems, "no title, or no description, of the package")
	}
	severity, _ := about.Custom["severity"].(string)
	if !slices.Contains([]string{"low", "medium", "high", "critical"}, severity) {
		problems = append(problems, fmt.Sprintf("severity %q", severity))
	}
	gitward, _ := about.Custom["gitward"].(map[string]any)
	if action, _ := gitward["action"].(string); !slices.Contains([]string{"deny", "warn", "audit"}, action) {
		problems = append(problems, fmt.Sprintf("action %q", action))
	}
	if match, _ := gitward["match"].(map[string]any); match == nil || match["kinds"] == nil {
		problems = append(problems, "no kinds to match")
	}
	for _, rule := range denials(module) {
		said, ok := rule.Head.Key.Value.(ast.Object)
		if !ok || said.Get(ast.StringTerm("msg")) == nil || said.Get(ast.StringTerm("fix")) == nil {
			problems = append(problems, fmt.Sprintf("line %d denies without msg and fix", rule.Location.Row))
		}
	}
	return problems
}

// untested says which kind of test a policy does not have.
func untested(tests *ast.Module) []string {
	if tests == nil {
		return []string{"no tests beside it"}
	}
	var problems []string
	for _, kind := range []string{"test_denies_", "test_allows_"} {
		if !slices.ContainsFunc(tests.Rules, func(rule *ast.Rule) bool { return strings.HasPrefix(string(rule.Head.Name), kind) }) {
			problems = append(problems, "no "+kind+"…")
		}
	}
	return problems
}

// TestFormat: the files are as `opa fmt` writes them.
func TestFormat(t *testing.T) {
	for name := range load(t, ".") {
		text, err := FS.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		formatted, err := format.SourceWithOpts(name, text, format.Opts{RegoVersion: ast.RegoV1})
		if err != nil {
			t.Fatal(err)
		}
		if *update && !bytes.Equal(formatted, text) {
			if err := os.WriteFile(name, formatted, 0o644); err != nil {
				t.Fatal(err)
			}
		} else if !bytes.Equal(formatted, text) {
			t.Errorf("%s is not as opa fmt writes it (go test ./policies -update does)", name)
		}
	}
}

// TestRepeated: a Gate may name one group alone, so restricted has baseline's
// controls again, but for those that its own take the place of, and each group
// that looks at pods has the way to find them. -update writes them anew.
func TestRepeated(t *testing.T) {
	const baseline, restricted = "pod-security/baseline", "pod-security/restricted"
	instead := []string{"capabilities", "host_path_volumes", "proc_mount", "seccomp"} // by restricted's own
	for name := range load(t, baseline) {
		control := strings.TrimSuffix(strings.TrimSuffix(path.Base(name), ".rego"), "_test")
		if !slices.Contains(instead, control) {
			repeats(t, name, baseline, restricted)
		}
		if control == "pod" || control == "fixture" {
			repeats(t, name, baseline, "workloads")
		}
	}
}

func repeats(t *testing.T, name, from, to string) {
	t.Helper()
	text, err := FS.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	pkg := func(dir string) string {
		return "gitward." + strings.ReplaceAll(strings.ReplaceAll(dir, "-", "_"), "/", ".") + "."
	}
	want := strings.ReplaceAll(string(text), pkg(from), pkg(to))
	file := path.Join(to, path.Base(name))
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := FS.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("%s is not %s again (go test ./policies -update writes it): %v", file, name, err)
	}
}
