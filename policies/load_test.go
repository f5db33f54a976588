package policies

import (
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// groups are the directories that can be used alone.
var groups = []string{"ingress", "pod-security/baseline", "pod-security/restricted", "provenance", "rbac", "workloads"}

// load parses every module of a directory, by its file name.
func load(t *testing.T, dir string) map[string]*ast.Module {
	t.Helper()
	modules := map[string]*ast.Module{}
	err := fs.WalkDir(FS, dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || path.Ext(name) != ".rego" {
			return err
		}
		text, err := fs.ReadFile(FS, name)
		if err != nil {
			return err
		}
		module, err := ast.ParseModuleWithOpts(name, string(text), ast.ParserOptions{ProcessAnnotation: true, RegoVersion: ast.RegoV1})
		modules[name] = module
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(modules) == 0 {
		t.Fatalf("no policies in %s", dir)
	}
	return modules
}

func isTest(name string) bool { return strings.HasSuffix(name, "_test.rego") }

// isPolicy tells a module that denies from one that policies import.
func isPolicy(module *ast.Module) bool { return len(denials(module)) > 0 }

func denials(module *ast.Module) []*ast.Rule {
	var rules []*ast.Rule
	for _, rule := range module.Rules {
		if rule.Head.Name == "deny" {
			rules = append(rules, rule)
		}
	}
	return rules
}
