package engine

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gitward/gitward/policy"
)

const tested = `package a

deny contains "a" if input.a

deny contains "b" if {
	input.b
	input.c
}
`

func TestTests(t *testing.T) {
	b := Read(policy.Files{"a.rego": []byte(tested), "data.json": []byte(`{"given": 7}`), "a_test.rego": []byte(`package a_test

import data.a

test_good if "a" in a.deny with input as {"a": true}

test_bad if "b" in a.deny with input as {"a": true}

test_data if data.given == 7

test_says if {
	print("hello", data.given)
	false
}

todo_test_later if false

test_errs if {
	x := conflict
	x
}

conflict := 1

conflict := 2

test_slow if {
	some i in numbers.range(1, 3000)
	some j in numbers.range(1, 3000)
	some k in numbers.range(1, 3000)
	i * j * k == -1
}
`), "in_a_rule_file.rego": []byte("package b\n\ntest_here if true\n")})
	results, report, err := b.Tests(context.Background(), "", 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]TestResult{}
	for _, r := range results {
		got[r.Name] = r
	}
	for name, want := range map[string]string{"good": "pass", "bad": "fail", "data": "pass", "says": "fail", "later": "skip", "errs": "error", "slow": "error"} {
		name = "data.a_test." + map[bool]string{true: "todo_test_", false: "test_"}[name == "later"] + name
		r, ok := got[name]
		is := "fail"
		switch {
		case r.Error != "":
			is = "error"
		case r.Skip:
			is = "skip"
		case r.Pass:
			is = "pass"
		}
		if !ok || is != want || r.File != "a_test.rego" || r.Line == 0 {
			t.Errorf("%s: %s, want %s: %+v", name, is, want, r)
		}
	}
	if out := got["data.a_test.test_says"].Output; !strings.Contains(out, "hello 7") {
		t.Errorf("print: %q", out)
	}
	if !got["data.b.test_here"].Pass {
		t.Error("a test in a file that is no test's is not run")
	}
	if c := report.Files["a.rego"]; c == nil || c.IsCovered(7) || !c.IsCovered(3) {
		t.Errorf("coverage: %+v", c)
	}
	if report.Files["a_test.rego"] != nil {
		t.Error("tests are covered")
	}
	if report.CoveredLines != 2 || report.NotCoveredLines != 3 || report.Coverage != 40 {
		t.Errorf("coverage: %+v", report)
	}
	if results, _, err = b.Tests(context.Background(), "test_good$", time.Second); err != nil || len(results) != 1 {
		t.Errorf("filtered: %v, %v", results, err)
	}
}

// TestTestsApart: alternatives are tested each by itself.
func TestTestsApart(t *testing.T) {
	files := policy.Files{"lib/l.rego": []byte("package lib.l\n\nbig(n) if n > data.lib.l.least\n\nleast := 3\n")}
	for dir, n := range map[string]string{"v1": "5", "v2": "7"} {
		files[dir+"/p.rego"] = []byte("package p\n\nimport data.lib.l\n\ndeny contains n if {\n\tn := " + n + "\n\tl.big(n)\n}\n")
		files[dir+"/p_test.rego"] = []byte("package p\n\ntest_" + dir + " if deny == {" + n + "}\n")
	}
	// What tests share may lie in another directory, and has tests of its own.
	files["lib/given_test.rego"] = []byte("package lib.given\n\nfive := 5\n\ntest_five if five == 5\n")
	files["v1/q_test.rego"] = []byte("package p\n\nimport data.lib.given\n\ntest_given if deny == {given.five}\n")
	results, _, err := Read(files).Tests(context.Background(), "", time.Second)
	if err != nil || len(results) != 4 {
		t.Fatal(results, err)
	}
	for _, r := range results {
		if !r.Pass {
			t.Errorf("%+v", r)
		}
	}
}
