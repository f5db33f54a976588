package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/policy"
	"github.com/gitward/gitward/policy/gatekeeper"
)

// TestLibraries holds the engine to what the authors of libraries say of them.
// GITWARD_LIBRARIES names a directory with checkouts of open-policy-agent's
// gatekeeper-library and conftest, raspbernetes' k8s-security-policies and
// redhat-cop's rego-policies, each by its last name; GITWARD_OPA is OPA 1.22.2.
func TestLibraries(t *testing.T) {
	root := os.Getenv("GITWARD_LIBRARIES")
	if root == "" {
		t.Skip("GITWARD_LIBRARIES names no directory")
	}
	t.Run("suites", func(t *testing.T) { librarySuites(t, root) })
	t.Run("tests", func(t *testing.T) { libraryTests(t, root) })
	t.Run("whole", func(t *testing.T) { libraryWhole(t, root) })
	t.Run("conftest", func(t *testing.T) { libraryConftest(t, filepath.Join(root, "conftest")) })
	t.Run("samples", func(t *testing.T) { librarySamples(t, filepath.Join(root, "rego-policies")) })
}

// librarySuites runs all suites that there are.
func librarySuites(t *testing.T, root string) {
	results, problems, err := Suites(context.Background(), os.DirFS(root), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Log(p.String())
	}
	outcomes, suites := map[gatekeeper.Outcome]int{}, map[string]bool{}
	for _, r := range results {
		outcomes[r.Outcome]++
		suites[r.Suite] = true
		if r.Outcome == gatekeeper.Failed {
			t.Errorf("%s: %s: %s: %v", r.Suite, r.Test, r.Case, r.Cause)
		}
	}
	t.Logf("%d suites: %d cases passed, %d failed, %d skipped", len(suites), outcomes[gatekeeper.Passed], outcomes[gatekeeper.Failed], outcomes[gatekeeper.Skipped])
}

// verdict is one test's: PASS, FAIL, ERROR or SKIP.
type verdicts map[string]string

// opa runs "opa test" on paths below dir, in version 1 of Rego and, if that does
// not parse, in version 0.
func opa(t *testing.T, dir string, paths []string) (verdicts, string) {
	binary := os.Getenv("GITWARD_OPA")
	if binary == "" {
		t.Skip("GITWARD_OPA names no OPA")
	}
	var trouble string
	for _, more := range [][]string{nil, {"--v0-compatible"}} {
		args := slices.Concat([]string{"test", "--format", "json"}, more, paths)
		cmd := exec.Command(binary, args...)
		cmd.Dir = dir
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		_ = cmd.Run() // 2 if a test fails
		var results []struct {
			Package, Name string
			Fail, Skip    bool
			Error         any
		}
		if out.Len() == 0 && errs.Len() == 0 {
			return verdicts{}, ""
		}
		if err := json.Unmarshal(out.Bytes(), &results); err != nil {
			trouble = errs.String()
			continue
		}
		v := verdicts{}
		for _, r := range results {
			name := r.Package + "." + r.Name
			switch {
			case r.Error != nil:
				v[name] = "ERROR"
			case r.Fail:
				v[name] = "FAIL"
			case r.Skip:
				v[name] = "SKIP"
			default:
				v[name] = "PASS"
			}
		}
		return v, ""
	}
	return nil, trouble
}

func ours(t *testing.T, files policy.Files) (verdicts, string) {
	b := Read(files)
	if len(b.Problems) > 0 {
		return nil, b.Problems[0].String()
	}
	results, _, err := b.Tests(context.Background(), "", time.Minute)
	if err != nil {
		return nil, err.Error()
	}
	v := verdicts{}
	for _, r := range results {
		if _, twice := v[r.Name]; twice {
			t.Errorf("%s: %s comes twice", r.File, r.Name)
		}
		switch {
		case r.Error != "":
			v[r.Name] = "ERROR"
		case r.Skip:
			v[r.Name] = "SKIP"
		case !r.Pass:
			v[r.Name] = "FAIL"
		default:
			v[r.Name] = "PASS"
		}
	}
	return v, ""
}

// regoIn are the modules at paths below a directory, with the data that
// lies in other directories, as OPA would mount it.
func regoIn(t *testing.T, dir string, paths, data []string) policy.Files {
	files := policy.Files{}
	for _, p := range paths {
		text, err := os.ReadFile(filepath.Join(dir, p))
		if err != nil {
			t.Fatal(err)
		}
		files[p] = text
	}
	all := map[string]any{}
	for _, d := range data {
		err := filepath.WalkDir(filepath.Join(dir, d), func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			text, err := os.ReadFile(name)
			if err == nil {
				err = yaml.Unmarshal(text, &all)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(all) > 0 {
		text, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		files["data.json"] = text
	}
	return files
}

// withTests are the directories that have Rego tests, each with its modules.
func withTests(t *testing.T, root string) map[string][]string {
	all, tests := map[string][]string{}, map[string]bool{}
	err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(name, ".rego") {
			return err
		}
		rel, _ := filepath.Rel(root, name)
		all[path.Dir(rel)] = append(all[path.Dir(rel)], rel)
		if text, err := os.ReadFile(name); err == nil && testRule.Match(text) {
			tests[path.Dir(rel)] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(all, func(dir string, _ []string) bool { return !tests[dir] })
	return all
}

var testRule = regexp.MustCompile(`(?m)^(todo_)?test_`)

// besides is what the authors give on the command line with a directory.
var besides = map[string]struct{ rego, data []string }{
	"examples/data/policy":     {data: []string{"examples/data/exclusions"}},
	"tests/annotations/policy": {data: []string{"tests/annotations/exclusions"}},
	"examples/report/success":  {rego: []string{"examples/report/policy/labels.rego"}},
	"examples/report/fail":     {rego: []string{"examples/report/policy/labels.rego"}},
}

// libraryTests runs the Rego tests directory by directory, as their authors do.
func libraryTests(t *testing.T, root string) {
	for _, library := range []string{"gatekeeper-library/src", "k8s-security-policies/policies", "conftest", "rego-policies"} {
		dir := filepath.Join(root, library)
		counts := map[string]int{}
		dirs := withTests(t, dir)
		for _, d := range slices.Sorted(maps.Keys(dirs)) {
			paths, more := slices.Concat(dirs[d], besides[d].rego), besides[d].data
			if strings.HasPrefix(library, "k8s") && d != "lib" {
				paths = append(paths, "lib/kubernetes.rego", "lib/test.rego")
			}
			want, why := opa(t, dir, slices.Concat(paths, more))
			got, whyNot := ours(t, regoIn(t, dir, paths, more))
			if want == nil && got == nil {
				counts["directories that neither compiles"]++
				t.Logf("%s/%s: opa: %.300s; engine: %s", library, d, why, whyNot)
				continue
			}
			compare(t, library+"/"+d, got, want, whyNot, why, counts)
		}
		t.Logf("%s: %d directories, %v", library, len(dirs), counts)
	}
}

func compare(t *testing.T, what string, got, want verdicts, whyNot, why string, counts map[string]int) {
	for name, is := range want {
		if got[name] != is {
			t.Errorf("%s: %s: %q, want %q %s", what, name, got[name], is, whyNot)
		}
		counts[is]++
	}
	for name := range got {
		if want[name] == "" {
			t.Errorf("%s: %s: opa has no such test: %s", what, name, why)
		}
	}
}

// libraryWhole runs the tests of whole libraries as a Gate would name them: one
// directory. In a library with one package in many directories OPA's verdicts are
// those of each directory alone.
func libraryWhole(t *testing.T, root string) {
	for _, library := range []string{"k8s-security-policies/policies", "gatekeeper-library/src"} {
		dir := filepath.Join(root, library)
		files, err := policy.Collect(os.DirFS(dir))
		if err != nil {
			t.Fatal(err)
		}
		b := Read(files)
		results, report, err := b.Tests(context.Background(), "", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		byDir := map[string]verdicts{}
		counts := map[string]int{}
		for _, r := range results {
			d := path.Dir(r.File)
			if byDir[d] == nil {
				byDir[d] = verdicts{}
			}
			byDir[d][r.Name] = map[bool]string{true: "PASS", false: "FAIL"}[r.Pass]
		}
		dirs := withTests(t, dir)
		for _, d := range slices.Sorted(maps.Keys(dirs)) {
			paths := dirs[d]
			if strings.HasPrefix(library, "k8s") && d != "lib" {
				paths = append(paths, "lib/kubernetes.rego", "lib/test.rego")
			}
			want, why := opa(t, dir, paths)
			compare(t, library+"/"+d, byDir[d], want, "", why, counts)
		}
		e, problems := b.Engine()
		for _, p := range problems {
			t.Errorf("%s: %v", library, p)
		}
		if e != nil {
			shapes := map[shape]int{}
			for _, p := range e.Policies() {
				shapes[p.shape]++
			}
			t.Logf("%s: %v, coverage %.1f%%, dialect %s, %d policies: %v", library, counts, report.Coverage, b.Dialect(), len(e.Policies()), shapes)
		}
	}
}

// sample is what a script says of a policy and a file.
type sample struct {
	name      string // of the test
	policy    string // its package
	files     []string
	messages  []string
	policyID  string
	combine   bool
	anyPolicy bool
}

var (
	blocks    = regexp.MustCompile(`(?ms)^@test "([^"]+)" \{\n(.*?)^\}`)
	splits    = regexp.MustCompile(`tmp=\$\(split_files "([^"]+)"`)
	namespace = regexp.MustCompile(`--namespace (\S+)`)
	onefile   = regexp.MustCompile(`conftest test \$\{tmp\}/(\S+)`)
	notOK     = regexp.MustCompile(`= "not ok \d+ - (\S+) - (\S+) - (.*)" \]$`)
	checked   = regexp.MustCompile(`check_violations "\$\{tmp\}/([^"]+)"`)
	checkedIn = regexp.MustCompile(`policy_package="data\.([^"]+)"`)
	checkedID = regexp.MustCompile(`\[ "\$\{policy_id\}" = "([^"]+)" \]`)
)

// librarySamples holds the findings to the expectations of bats scripts: each
// object of a file is asked about by itself.
func librarySamples(t *testing.T, dir string) {
	files, err := policy.Collect(os.DirFS(filepath.Join(dir, "policy")))
	if err != nil {
		t.Fatal(err)
	}
	b := Read(files)
	e, problems := b.Engine()
	for _, p := range problems {
		t.Errorf("%v", p)
	}
	if e == nil {
		return
	}
	counts := map[string]int{}
	for _, script := range []string{"conftest-unittests.sh", "opa-profile.sh"} {
		for _, s := range samples(t, dir, script) {
			if s.combine {
				counts["not for admission: it judges many objects at once"]++
				t.Logf("%s: %s judges many objects at once", script, s.name)
				continue
			}
			counts[script]++
			try(t, e, s, counts)
		}
	}
	shapes := map[shape]int{}
	for _, p := range e.Policies() {
		shapes[p.shape]++
	}
	t.Logf("%d policies: %v; %v", len(e.Policies()), shapes, counts)
}

func first(re *regexp.Regexp, text string) string {
	if m := re.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

// samples reads a script.
func samples(t *testing.T, dir, script string) []sample {
	text, err := os.ReadFile(filepath.Join(dir, "_test", script))
	if err != nil {
		t.Fatal(err)
	}
	var out []sample
	for _, block := range blocks.FindAllStringSubmatch(string(text), -1) {
		s := sample{name: block[1], policy: or(first(namespace, block[2]), first(checkedIn, block[2])), policyID: first(checkedID, block[2])}
		s.combine, s.anyPolicy = strings.Contains(block[2], "--combine"), strings.Contains(block[2], "--all-namespaces")
		for _, line := range strings.Split(block[2], "\n") {
			if m := notOK.FindStringSubmatch(line); m != nil {
				s.messages = append(s.messages, m[3])
			}
		}
		at := filepath.Join(dir, first(splits, block[2]))
		if one := or(first(onefile, block[2]), first(checked, block[2])); one != "" && filepath.Base(at) != one {
			at = filepath.Join(at, one)
		}
		err := filepath.WalkDir(at, func(name string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				s.files = append(s.files, name)
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
		out = append(out, s)
	}
	return out
}

// objects are those of a file, and the items of its lists.
func objects(t *testing.T, file string) []json.RawMessage {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []json.RawMessage
	if len(bytes.TrimSpace(text)) == 0 {
		return []json.RawMessage{[]byte("{}")} // as for conftest
	}
	for _, doc := range splitDocuments(text) {
		asJSON, err := yaml.YAMLToJSON(doc)
		if err != nil {
			t.Fatal(err)
		}
		var list struct {
			Kind  string
			Items []json.RawMessage
		}
		_ = json.Unmarshal(asJSON, &list)
		switch {
		case string(asJSON) == "null":
		case list.Kind == "List":
			out = append(out, list.Items...)
		default:
			out = append(out, asJSON)
		}
	}
	return out
}

func try(t *testing.T, e *Engine, s sample, counts map[string]int) {
	var got []string
	for _, file := range s.files {
		for _, object := range objects(t, file) {
			v, err := NewEvaluation(created(t, object), policy.CI)
			if err != nil {
				t.Errorf("%s: %v", s.name, err)
				continue
			}
			for _, p := range e.Policies() {
				if p.Name != s.policy && !s.anyPolicy {
					continue
				}
				counts["evaluations"]++
				for _, f := range v.Evaluate(p) {
					if f.Kind == policy.Erred {
						counts["errors"]++
						t.Errorf("%s: %s: %+v", s.name, file, f)
						continue
					}
					id := ""
					if d, ok := f.Details.(map[string]any); ok {
						id, _ = d["policyID"].(string)
					}
					got = append(got, map[bool]string{true: f.Message, false: id}[s.policyID == ""])
				}
			}
		}
	}
	slices.Sort(got)
	want := s.messages
	if s.policyID != "" {
		// The script asks about one object of its file.
		got = slices.Compact(got)
		want = []string{s.policyID}
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", s.name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		return
	}
	counts["as expected"]++
}

// created is the input for the creation of an object.
func created(t testing.TB, object json.RawMessage) []byte {
	var head struct {
		APIVersion, Kind string
		Metadata         struct{ Name, Namespace string }
	}
	_ = json.Unmarshal(object, &head)
	group, version, ok := strings.Cut(head.APIVersion, "/")
	if !ok {
		group, version = "", head.APIVersion
	}
	text, err := json.Marshal(policy.Input{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview", Request: policy.Request{UID: "1", Operation: "CREATE",
		Kind: policy.Kinds{Group: group, Version: version, Kind: head.Kind}, Name: head.Metadata.Name, Namespace: head.Metadata.Namespace, Object: object}})
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w", object, err))
	}
	return text
}

// run is one call of conftest in a script, and what it must say.
type run struct {
	name, dir         string
	policies, data    []string
	inputs            []string
	namespaces        []string // empty means all
	warns, fails      int      // -1 if it is not said
	refused, warnFail bool
	status            string // empty if it is not said
}

var (
	calls   = regexp.MustCompile(`(?m)^\s*run (?:\S*conftest|\$CONFTEST) test (.*)$`)
	status  = regexp.MustCompile(`"\$status" -eq +(\d)`)
	tally   = regexp.MustCompile(`(\d+) warnings?, (\d+) failures?`)
	foreign = []string{"--combine", "--update", "--parser", "--rego-version", "--capabilities", "--strict", "--proto-file-dirs", "--trace", "-c", "-", "${TMPDIR}", "--show-builtin-errors"}
)

// libraryConftest holds the findings to what conftest's own scripts say of inputs
// in YAML and JSON.
func libraryConftest(t *testing.T, dir string) {
	scripts, err := filepath.Glob(filepath.Join(dir, "tests", "*", "test.bats"))
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, script := range append(scripts, filepath.Join(dir, "acceptance.bats")) {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range blocks.FindAllStringSubmatch(string(text), -1) {
			r, why := readRun(filepath.Dir(script), block[1], block[2])
			if why != "" {
				counts["passed over: "+why]++
				continue
			}
			counts["compared"]++
			r.check(t, counts)
		}
	}
	t.Log(counts)
}

// otherwise are the tests that come out otherwise, and why.
var otherwise = map[string]string{
	"Bare deny rule can be used without contains or if": "conftest overlooks a deny that is true; here it denies",
}

// readRun reads a test of a script, or says why it is of no use here.
func readRun(dir, name, block string) (*run, string) {
	call := first(calls, block)
	if call == "" {
		return nil, "another command"
	}
	r := &run{name: name, dir: dir, namespaces: []string{"main"}, warns: -1, fails: -1, status: first(status, block), refused: first(status, block) == "1"}
	if m := tally.FindStringSubmatch(block); m != nil {
		fmt.Sscan(m[1], &r.warns)
		fmt.Sscan(m[2], &r.fails)
	}
	if strings.Contains(block, "cd examples") {
		return nil, "a configuration file"
	}
	args, given := strings.Fields(call), false
	for i := 0; i < len(args); i++ {
		arg, value, joined := strings.Cut(args[i], "=")
		if slices.Contains(foreign, arg) {
			return nil, "an option: " + arg
		}
		if !joined && i+1 < len(args) {
			value = args[i+1]
		}
		takes := !joined
		switch arg {
		case "-p", "--policy":
			r.policies = append(r.policies, value)
		case "-d", "--data":
			r.data = append(r.data, value)
		case "--namespace":
			if !given {
				r.namespaces = nil
			}
			given = true
			r.namespaces = append(r.namespaces, strings.Trim(value, "'"))
		case "-o", "--output":
		case "--all-namespaces":
			r.namespaces, takes = nil, false
		case "--fail-on-warn":
			r.warnFail, takes = true, false
		default:
			takes = false
			if strings.HasSuffix(arg, ".yaml") || strings.HasSuffix(arg, ".yml") || strings.HasSuffix(arg, ".json") {
				r.inputs = append(r.inputs, arg)
			} else if !strings.HasPrefix(arg, "-") && arg != `""` {
				return nil, "an input of another kind"
			}
		}
		if takes {
			i++
		}
	}
	if len(r.policies) == 0 {
		r.policies = []string{"policy"}
	}
	return r, ""
}

// files are the run's policies, below one directory, and its data.
func (r *run) files(t *testing.T) policy.Files {
	var paths []string
	for _, p := range r.policies {
		err := filepath.WalkDir(filepath.Join(r.dir, p), func(name string, e fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(name, ".rego") {
				rel, _ := filepath.Rel(r.dir, name)
				paths = append(paths, rel)
			}
			return err
		})
		if err != nil {
			t.Logf("%s: %v", r.name, err)
		}
	}
	return regoIn(t, r.dir, paths, r.data)
}

func (r *run) check(t *testing.T, counts map[string]int) {
	files := r.files(t)
	if len(files) == 0 {
		counts["no policies"]++
		return
	}
	e, problems := Read(files).Engine()
	if e == nil {
		t.Logf("%s: %s: %v; conftest refuses too: %v", r.dir, r.name, problems[0], r.refused)
		counts["does not compile"]++
		return
	}
	warns, fails := 0, 0
	for _, input := range r.inputs {
		for _, object := range objects(t, filepath.Join(r.dir, input)) {
			v, err := NewEvaluation(created(t, object), policy.CI)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range e.Policies() {
				if r.namespaces != nil && !slices.ContainsFunc(r.namespaces, func(n string) bool { ok, _ := path.Match(n, p.Name); return ok }) {
					continue
				}
				for _, f := range v.Evaluate(p) {
					if f.Action == policy.Warn {
						warns++
					} else {
						fails++
					}
				}
			}
		}
	}
	refused := fails > 0 || r.warnFail && warns > 0
	if why := otherwise[r.name]; why != "" {
		t.Logf("%s: %d failures; %s", r.name, fails, why)
		counts["otherwise, and we know why"]++
		return
	}
	if r.status != "" && refused != r.refused || r.fails >= 0 && (fails != r.fails || warns != r.warns) {
		t.Errorf("%s: %s: %d warnings, %d failures; want %d, %d; refused %v, want %v", r.dir, r.name, warns, fails, r.warns, r.fails, refused, r.refused)
		return
	}
	counts["as expected"]++
}
