package engine

import (
	"context"
	"os"
	"testing"
	"time"
)

func TestTrial(t *testing.T) {
	for _, dir := range []string{"/tmp/lib/gatekeeper-library/src", "/tmp/lib/k8s-security-policies/policies", "/tmp/lib/rego-policies/policy", "/tmp/lib/conftest/examples/kubernetes/policy", "/tmp/lib/conftest/examples/data/policy", "/tmp/lib/conftest/examples/hcl2/policy"} {
		b, err := Read(os.DirFS(dir))
		if err != nil {
			t.Fatal(err)
		}
		e, problems := b.Engine()
		t.Logf("%s %s: %d modules, %d problems", dir, b.Dialect(), len(b.modules), len(problems))
		for i, p := range problems {
			if i < 5 {
				t.Log(p)
			}
		}
		if e != nil {
			shapes := map[string]int{}
			for _, p := range e.Policies() {
				shapes[p.shape.String()]++
			}
			t.Log(len(e.Policies()), shapes)
		}
		if len(b.tests) > 0 {
			results, report, err := b.Tests(context.Background(), "", time.Minute)
			pass := 0
			for _, r := range results {
				if r.Pass {
					pass++
				} else {
					t.Log(r)
				}
			}
			t.Log(len(results), pass, err)
			if report != nil {
				t.Log(report.Coverage)
			}
		}
	}
}
