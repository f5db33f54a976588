package gatekeeper_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gitward/gitward/policy/gatekeeper"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// TestLibrary runs every suite of a library that GITWARD_GATEKEEPER_LIBRARY
// names, such as a checkout of open-policy-agent/gatekeeper-library.
func TestLibrary(t *testing.T) {
	root := os.Getenv("GITWARD_GATEKEEPER_LIBRARY")
	if root == "" {
		t.Skip("GITWARD_GATEKEEPER_LIBRARY names no directory")
	}
	fsys := os.DirFS(root)
	suites := suitesOf(t, fsys)
	outcomes, tests := map[gatekeeper.Outcome]int{}, 0
	quiet, evaluations := map[string]map[string]bool{}, 0
	engine := plainOPA{builtin: func(e gatekeeper.Evaluation, errs []topdown.Error, messages []string) {
		evaluations++
		if len(errs) > 0 && len(messages) == 0 {
			if quiet[e.Template.Name] == nil {
				quiet[e.Template.Name] = map[string]bool{}
			}
			quiet[e.Template.Name][errs[0].Error()] = true
		}
	}}
	for _, suite := range suites {
		tests += len(suite.Tests)
		for _, field := range suite.Ignored {
			t.Logf("%s: %s is ignored", suite.File, field)
		}
		for _, result := range suite.Run(context.Background(), fsys, engine) {
			outcomes[result.Outcome]++
			if result.Outcome == gatekeeper.Failed {
				t.Errorf("%s: %s: %s: %v", result.Suite, result.Test, result.Case, result.Cause)
			}
		}
	}
	t.Logf("%d suites, %d tests, %d cases passed, %d failed, %d skipped; %d evaluations",
		len(suites), tests, outcomes[gatekeeper.Passed], outcomes[gatekeeper.Failed], outcomes[gatekeeper.Skipped], evaluations)
	for _, name := range slices.Sorted(maps.Keys(quiet)) {
		t.Logf("%s: no violation, and a builtin failed: %q", name, slices.Sorted(maps.Keys(quiet[name])))
	}
}

func suitesOf(t *testing.T, fsys fs.FS) []*gatekeeper.Suite {
	var suites []*gatekeeper.Suite
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".yaml") && !strings.HasSuffix(name, ".yml") {
			return err
		}
		suite, err := gatekeeper.ReadSuite(fsys, name)
		switch {
		case err == nil:
			suites = append(suites, suite)
		case !errors.Is(err, gatekeeper.ErrNoSuite):
			t.Logf("%v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return suites
}
