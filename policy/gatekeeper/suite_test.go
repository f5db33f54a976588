package gatekeeper_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gitward/gitward/policy/gatekeeper"
)

// TestSuites runs the suites in testdata/library. `gator verify` v3.23.1 says of
// them what is said here (with --enable-k8s-native-validation=false).
func TestSuites(t *testing.T) {
	fsys := os.DirFS("testdata/library")
	got := map[string]int{}
	for _, suite := range suitesOf(t, fsys) {
		if len(suite.Ignored) > 0 {
			t.Errorf("%s: %v are ignored", suite.File, suite.Ignored)
		}
		for _, result := range suite.Run(context.Background(), fsys, plainOPA{}) {
			if result.Outcome == gatekeeper.Failed {
				t.Errorf("%s: %s: %s: %v", result.Suite, result.Test, result.Case, result.Cause)
			}
			got[result.Suite]++
		}
	}
	want := map[string]int{"owner/suite.yaml": 9, "hosts/suite.yaml": 3, "namespaces/suite.yaml": 7, "implied/suite.yaml": 4}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("results %v, want %v", got, want)
	}
}

// Every case below is a change of a suite that passes, after which it must fail
// and say why, or be skipped.
func TestSuiteFails(t *testing.T) {
	for _, test := range []struct {
		name, suite string
		swap        []string // old, new, ..., in all files of the suite
		at          string   // the case
		want        string   // in the cause
	}{
		{"no, and there is one", "owner", []string{"- message: prices has", "- violations: no\n            message: prices has"}, "bare", `1 violations match "prices has no label \"owner\"", wanted: no`},
		{"yes, and there is none", "owner", []string{"violations: no", "violations: yes"}, "owned", "0 violations, wanted: yes"},
		{"two, and there is one", "owner", []string{"violations: 1", "violations: 2"}, "stranger", "wanted: 2"},
		{"another message", "owner", []string{"apples, pears$", "pears, apples$"}, "stranger", `0 violations match`},
		{"the messages are told", "owner", []string{"apples, pears$", "pears, apples$"}, "stranger", `\"plums\" is no team`},
		{"a default that counts", "owner", []string{"default: owner", "default: person"}, "owned", ""},
		{"no regular expression", "owner", []string{"message: prices has no label \"owner\"", "message: '('"}, "bare", "no regular expression"},
		{"less than none", "owner", []string{"violations: 1\n            message", "violations: -1\n            message"}, "stranger", `violations is "-1"`},
		{"another word", "owner", []string{"violations: no", "violations: never"}, "owned", `violations is "never"`},
		{"nothing asserted", "owner", []string{"        assertions:\n          - violations: no", "        assertions: []"}, "owned", "asserts nothing"},
		{"no object", "owner", []string{"        object: owned.yaml\n", ""}, "owned", "names no object"},
		{"an object that is not there", "owner", []string{"object: owned.yaml", "object: lost.yaml"}, "owned", "reading owner/lost.yaml"},
		{"two objects", "hosts", []string{"object: free.yaml", "object: others.yaml"}, "free", "holds 3 objects"},
		{"an inventory that is not there", "hosts", []string{"[others.yaml]", "[lost.yaml]"}, "taken", "reading hosts/lost.yaml"},
		{"an inventory without kind", "hosts", []string{"kind: Ingress\nmetadata:\n  name: bar\n", "metadata:\n  name: bar\n"}, "taken", "reading hosts/others.yaml"},
		{"no template", "hosts", []string{"    template: ./template.yaml\n", ""}, "", "names no template"},
		{"a template that is not there", "hosts", []string{"./template.yaml", "lost.yaml"}, "", "reading hosts/lost.yaml"},
		{"a template that does not parse", "hosts", []string{"violation contains", "violation holds"}, "", "hosts/template.yaml/hostonce.rego:5"},
		{"a template that does not compile", "hosts", []string{"hosts.of(other) &", "hosts.off(other) &"}, "", "compiling hosts/template.yaml"},
		{"no constraint", "hosts", []string{"    constraint: ../hosts/constraint.yaml\n", ""}, "", "names no constraint"},
		{"a constraint of another kind", "hosts", []string{"kind: HostOnce\nmetadata:\n  name: every", "kind: HostTwice\nmetadata:\n  name: every"}, "", "kind HostTwice is not HostOnce"},
		{"a constraint that should be invalid", "owner", []string{"    teams: apples", "    teams: [apples]"}, "", "should have refused the constraint, but does not"},
		{"a constraint invalid otherwise", "owner", []string{"    teams: apples", "    teems: [apples]"}, "", "should have refused the constraint, but: "},
		{"a deletion of nothing", "namespaces", []string{"object: delete.yaml", "object: delete-nothing.yaml"}, "a deletion is about the old object", "oldObject cannot be nil"},
		{"a review of nothing", "namespaces", []string{"  object: {", "  # {", "  oldObject:", "  #"}, "an update has both", "neither object nor oldObject"},
		{"a review without request", "namespaces", []string{"request:", "response:"}, "an update has both", "AdmissionReview"},
		{"a field that no review has", "namespaces", []string{"  operation: UPDATE", "  operation: UPDATE\n  op: UPDATE"}, "an update has both", "unknown field"},
		{"an object without kind", "namespaces", []string{"oldObject: {apiVersion: v1, kind: ConfigMap, ", "oldObject: {apiVersion: v1, "}, "an update has both", "oldObject: Object 'Kind' is missing"},
		{"no expansion", "implied", []string{"    expansion: expansion.yaml\n", ""}, "what a Deployment brings about", "0 violations match"},
		{"an expansion that is not there", "implied", []string{"expansion: expansion.yaml", "expansion: lost.yaml"}, "", "reading implied/lost.yaml"},
		{"an expansion that is none", "implied", []string{"expansion: expansion.yaml", "expansion: pod.yaml"}, "", "Pod front is no ExpansionTemplate"},
		{"an expansion of nothing", "implied", []string{"  generatedGVK:", "  GVK:"}, "", "reading implied/expansion.yaml"},
	} {
		t.Run(test.name, func(t *testing.T) {
			fsys := changed(t, test.suite, strings.NewReplacer(test.swap...))
			suite, err := gatekeeper.ReadSuite(fsys, test.suite+"/suite.yaml")
			if err != nil {
				t.Fatal(err)
			}
			var causes []string
			for _, result := range suite.Run(context.Background(), fsys, plainOPA{}) {
				if (result.Outcome == gatekeeper.Failed) != (result.Cause != nil) {
					t.Errorf("%+v", result)
				}
				if result.Outcome == gatekeeper.Failed && result.Case == test.at {
					causes = append(causes, result.Cause.Error())
				}
			}
			if !slices.ContainsFunc(causes, func(cause string) bool { return strings.Contains(cause, test.want) }) {
				t.Errorf("%q failed for %q, want %q", test.at, causes, test.want)
			}
		})
	}
}

// changed is a suite of testdata/library in which something is replaced.
func changed(t *testing.T, name string, replacer *strings.Replacer) fs.FS {
	files, err := fs.Glob(os.DirFS("testdata/library"), name+"/*")
	if err != nil {
		t.Fatal(err)
	}
	tree, any := fstest.MapFS{}, false
	for _, file := range files {
		raw, err := os.ReadFile(path.Join("testdata/library", file))
		if err != nil {
			t.Fatal(err)
		}
		text := replacer.Replace(string(raw))
		any = any || text != string(raw)
		tree[file] = &fstest.MapFile{Data: []byte(text)}
	}
	if !any {
		t.Fatal("nothing of the suite is replaced")
	}
	return tree
}

func TestReadSuite(t *testing.T) {
	fsys := fstest.MapFS{}
	for name, text := range map[string]string{
		"good.yaml":    "apiVersion: test.gatekeeper.sh/v1alpha1\nkind: Suite\ntests:\n- name: a\n  cases:\n  - name: b\n    asertions: []\n    assertions: [{violation: yes}]\n",
		"skipped.yaml": "apiVersion: test.gatekeeper.sh/v1\nkind: Suite\nskip: true\ntests: [{name: a}]\n",
		"other.yaml":   "apiVersion: v1\nkind: Suite\n",
		"kind.yaml":    "apiVersion: test.gatekeeper.sh/v1alpha1\nkind: Sweet\n",
		"empty.yaml":   "",
		"broken.yaml":  "a: [",
		"list.yaml":    "- a\n",
		"type.yaml":    "apiVersion: test.gatekeeper.sh/v1alpha1\nkind: Suite\ntests: 3\n",
		"bool.yaml":    "apiVersion: test.gatekeeper.sh/v1alpha1\nkind: Suite\ntests: [{cases: [{assertions: [{violations: true}]}]}]\n",
	} {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	suite, err := gatekeeper.ReadSuite(fsys, "good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	ignored := []string{"tests[0].cases[0].asertions", "tests[0].cases[0].assertions[0].violation"}
	if !reflect.DeepEqual(suite.Ignored, ignored) || suite.File != "good.yaml" || suite.Tests[0].Cases[0].Name != "b" {
		t.Errorf("read %+v", suite)
	}
	for _, name := range []string{"other.yaml", "kind.yaml", "empty.yaml"} {
		if _, err := gatekeeper.ReadSuite(fsys, name); !errors.Is(err, gatekeeper.ErrNoSuite) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"broken.yaml", "list.yaml", "type.yaml", "bool.yaml", "lost.yaml"} {
		if _, err := gatekeeper.ReadSuite(fsys, name); err == nil || errors.Is(err, gatekeeper.ErrNoSuite) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if suite, err = gatekeeper.ReadSuite(fsys, "skipped.yaml"); err != nil {
		t.Fatal(err)
	}
	if got := suite.Run(context.Background(), fsys, plainOPA{}); len(got) != 1 || got[0].Outcome != gatekeeper.Skipped {
		t.Errorf("a suite that is skipped: %+v", got)
	}
}

// unable is an engine that cannot evaluate.
type unable struct{ plainOPA }

func (unable) Violations(context.Context, gatekeeper.Evaluation) ([]string, error) {
	return nil, errors.New("the worker is gone")
}

// That the engine could not evaluate is never what a case asserts.
func TestSuiteUnable(t *testing.T) {
	fsys := os.DirFS("testdata/library")
	suite, err := gatekeeper.ReadSuite(fsys, "owner/suite.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, result := range suite.Run(context.Background(), fsys, unable{}) {
		if evaluated := slices.Contains([]string{"owned", "stranger", "bare"}, result.Case); evaluated != (result.Outcome == gatekeeper.Failed) {
			t.Errorf("%+v", result)
		}
	}
}

// recorder keeps what it is asked.
type recorder struct{ asked []gatekeeper.Evaluation }

func (*recorder) Compile(context.Context, *gatekeeper.Template) error { return nil }

func (r *recorder) Violations(_ context.Context, e gatekeeper.Evaluation) ([]string, error) {
	r.asked = append(r.asked, e)
	return nil, nil
}

// TestEvaluation holds what an engine is asked against what Gatekeeper's own
// client and Rego driver hand to a policy, by a policy that says what it sees.
func TestEvaluation(t *testing.T) {
	fsys := os.DirFS("testdata/library")
	for _, suite := range suitesOf(t, fsys) {
		suite.Tests = slices.DeleteFunc(suite.Tests, func(test gatekeeper.Test) bool { return test.Expansion != "" })
		r := &recorder{}
		suite.Run(context.Background(), fsys, r)
		var ours []any
		for _, e := range r.asked {
			ours = append(ours, []any{map[string]any{"review": e.Review, "parameters": e.Constraint.Parameters}, e.Inventory})
		}
		theirs := seenByGatekeeper(t, fsys, suite)
		if len(theirs) == 0 && suite.File != "implied/suite.yaml" {
			t.Errorf("%s: Gatekeeper's engine saw nothing", suite.File)
		}
		if got, want := canonical(t, ours), canonical(t, theirs); got != want {
			t.Errorf("%s:\n got %s\nwant %s", suite.File, got, want)
		}
	}
}

// canonical is a value as JSON with sorted keys.
func canonical(t *testing.T, value any) string {
	text, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(text, &value)
	}
	if err == nil {
		text, err = json.Marshal(value)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func FuzzReadSuite(f *testing.F) {
	for _, name := range []string{"owner", "hosts", "namespaces", "implied"} {
		raw, err := os.ReadFile("testdata/library/" + name + "/suite.yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		fsys := fstest.MapFS{"suite.yaml": &fstest.MapFile{Data: raw}}
		suite, err := gatekeeper.ReadSuite(fsys, "suite.yaml")
		if err != nil {
			return
		}
		for _, result := range suite.Run(context.Background(), fsys, &recorder{}) {
			if result.Outcome == gatekeeper.Passed {
				t.Errorf("passed without a template: %+v", result)
			}
		}
	})
}
