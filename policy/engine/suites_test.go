package engine

import (
	"context"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gitward/gitward/policy/gatekeeper"
)

// TestSuites runs the suites of policy/gatekeeper, of which "gator verify" says
// what is said here.
func TestSuites(t *testing.T) {
	results, problems, err := Suites(context.Background(), os.DirFS("../gatekeeper/testdata/library"), time.Minute)
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	got := map[string]int{}
	for _, r := range results {
		got[r.Suite]++
		if r.Outcome != gatekeeper.Passed && r.Outcome != gatekeeper.Skipped {
			t.Errorf("%s: %s: %s: %v", r.Suite, r.Test, r.Case, r.Cause)
		}
	}
	if want := map[string]int{"owner/suite.yaml": 9, "hosts/suite.yaml": 3, "namespaces/suite.yaml": 7, "implied/suite.yaml": 4}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

const suite = `kind: Suite
apiVersion: test.gatekeeper.sh/v1alpha1
metadata: {name: a}
tests:
  - name: always
    template: template.yaml
    constraint: constraint.yaml
    cases:
      - name: a
        object: object.yaml
        assertions: [{violations: 1}]
`

func suiteFiles() fstest.MapFS {
	return fstest.MapFS{
		"s/suite.yaml":      {Data: []byte(suite)},
		"s/template.yaml":   {Data: []byte(always)},
		"s/constraint.yaml": {Data: []byte("apiVersion: constraints.gatekeeper.sh/v1beta1\nkind: Always\nmetadata: {name: a}\n")},
		"s/object.yaml":     {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")},
	}
}

func TestSuitesTell(t *testing.T) {
	for _, test := range []struct {
		name      string
		file      string
		old, new  string
		cause     string // empty is a pass
		problem   string
		templates bool
	}{
		{name: "as it is", file: "suite", cause: ""},
		{name: "a wrong number", file: "suite", old: "violations: 1", new: "violations: 2", cause: "1 violations, wanted: 2"},
		{name: "a misspelt field", file: "suite", old: "assertions: [{violations: 1}]", new: "assertions: [{violations: 1, mesage: no}]", problem: "tests[0].cases[0].assertions[0].mesage"},
		{name: "no suite after all", file: "suite", old: "tests:\n", new: "tests: [\n", cause: "s/suite.yaml"},
		{name: "no Rego", file: "template", old: "true", new: "nothing", cause: "s/template.yaml"},
		{name: "a built-in that is not for policies", file: "template", old: "true", new: "time.now_ns() > 0", cause: "not for policies"},
		{name: "a built-in that fails is a violation", file: "template", old: "true", new: `to_number("a") > 1`},
		{name: "and is counted only alone", file: "template", old: "true }", new: "true }\n        violation[{\"msg\": \"b\"}] { to_number(\"a\") > 1 }"},
		{name: "violations that differ in more than details are one", file: "template", old: `"msg": "always"}] { true }`, new: `"msg": "always", "n": n}] { n := [1, 2][_] }`},
		{name: "violations that differ in details are two", file: "template", old: `"msg": "always"}] { true }`, new: `"msg": "always", "details": n}] { n := [1, 2][_] }`, cause: "2 violations"},
		{name: "a conflict is a violation", file: "template", old: "true }", new: "f }\n        f = 1 { true }\n        f = 2 { true }"},
		{name: "a long message is whole", file: "template", old: `"always"`, new: `concat("", [sprintf("%0600d", [1]), "end"])`},
	} {
		t.Run(test.name, func(t *testing.T) {
			fsys := suiteFiles()
			file := fsys["s/"+test.file+".yaml"]
			text := strings.Replace(string(file.Data), test.old, test.new, 1)
			if test.name == "a long message is whole" {
				fsys["s/suite.yaml"].Data = []byte(strings.Replace(suite, "{violations: 1}", "{violations: 1, message: end$}", 1))
			}
			file.Data = []byte(text)
			results, problems, err := Suites(context.Background(), fsys, time.Minute)
			if err != nil || len(results) != 1 {
				t.Fatal(results, err)
			}
			r := results[0]
			if passed := r.Outcome == gatekeeper.Passed; passed != (test.cause == "") || !passed && !strings.Contains(r.Cause.Error(), test.cause) {
				t.Errorf("%+v, want %q", r, test.cause)
			}
			if (test.problem != "") != (len(problems) == 1) || len(problems) == 1 && !strings.Contains(problems[0].Message, test.problem) {
				t.Errorf("%v, want %q", problems, test.problem)
			}
		})
	}
}

// TestSuitesInventory: each case has its own, and leaves nothing behind.
func TestSuitesInventory(t *testing.T) {
	fsys := suiteFiles()
	fsys["s/template.yaml"].Data = []byte(strings.Replace(always, "{ true }", `{ data.inventory.namespace[_][_].ConfigMap[_] }`, 1))
	fsys["s/suite.yaml"].Data = []byte(suite + `      - {name: b, object: object.yaml, inventory: [other.yaml], assertions: [{violations: yes}]}
      - {name: c, object: object.yaml, assertions: [{violations: no}]}
`)
	fsys["s/other.yaml"] = &fstest.MapFile{Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, namespace: shop}\n")}
	results, _, err := Suites(context.Background(), fsys, 0)
	if err != nil || len(results) != 3 {
		t.Fatal(results, err)
	}
	for i, want := range []gatekeeper.Outcome{gatekeeper.Failed, gatekeeper.Passed, gatekeeper.Passed} {
		if results[i].Outcome != want {
			t.Errorf("%+v", results[i])
		}
	}
}

// TestSuitesLimit: a case that takes too long has failed, whatever it expects, and
// the next is run.
func TestSuitesLimit(t *testing.T) {
	fsys := suiteFiles()
	fsys["s/template.yaml"].Data = []byte(strings.Replace(always, "{ true }", `{
          input.review.object.metadata.name == "a"
          i := numbers.range(1, 3000)[_]
          j := numbers.range(1, 3000)[_]
          k := numbers.range(1, 3000)[_]
          i * j * k == -1
        }`, 1))
	fsys["s/suite.yaml"].Data = []byte(suite + "      - {name: b, object: b.yaml, assertions: [{violations: no}]}\n")
	fsys["s/b.yaml"] = &fstest.MapFile{Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n")}
	began := time.Now()
	results, _, err := Suites(context.Background(), fsys, 100*time.Millisecond)
	if err != nil || len(results) != 2 {
		t.Fatal(results, err)
	}
	if results[0].Outcome != gatekeeper.Failed || !strings.Contains(results[0].Cause.Error(), "longer than") {
		t.Errorf("%+v", results[0])
	}
	if results[1].Outcome != gatekeeper.Passed {
		t.Errorf("%+v", results[1])
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if _, _, err := Suites(ctx, fsys, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("ended from without: %v", err)
	}
}
