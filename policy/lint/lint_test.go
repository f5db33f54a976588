package lint

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gitward/gitward/policy"
	"github.com/gitward/gitward/policy/engine"
)

func look(t *testing.T, fsys fs.FS) []Finding {
	t.Helper()
	files, err := policy.Collect(fsys)
	if err != nil {
		t.Fatal(err)
	}
	b := engine.Read(files)
	if len(b.Problems) > 0 {
		t.Fatal(b.Problems)
	}
	return Bundle(b, fsys)
}

// TestMarked looks at each directory of testdata. A comment "# want RULE" stands
// where a finding has to be, and nowhere else must there be one.
func TestMarked(t *testing.T) {
	dirs, err := fs.Glob(os.DirFS("testdata"), "*")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, dir := range dirs {
		t.Run(dir, func(t *testing.T) {
			fsys := os.DirFS(path.Join("testdata", dir))
			var got, want []string
			for _, f := range look(t, fsys) {
				got = append(got, fmt.Sprintf("%s:%d %s", f.File, f.Line, f.Rule))
				seen[f.Rule] = true
				if f.Message == "" {
					t.Errorf("%v says nothing", f)
				}
			}
			_ = fs.WalkDir(fsys, ".", func(name string, e fs.DirEntry, err error) error {
				if err != nil || e.IsDir() {
					return err
				}
				text, err := fs.ReadFile(fsys, name)
				for i, line := range strings.Split(string(text), "\n") {
					if _, rules, ok := strings.Cut(line, "# want "); ok {
						for _, rule := range strings.Fields(rules) {
							want = append(want, fmt.Sprintf("%s:%d %s", name, i+1, rule))
						}
					}
				}
				return err
			})
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
	for _, r := range Rules {
		if !seen[r.Name] {
			t.Errorf("no file of testdata breaks %s", r.Name)
		}
		if r.About == "" {
			t.Errorf("%s says nothing of itself", r.Name)
		}
	}
}

// TestOurOwn: what is shipped has none of these mistakes.
func TestOurOwn(t *testing.T) {
	for _, f := range look(t, os.DirFS("../../policies")) {
		t.Errorf("%s:%d: %s: %s", f.File, f.Line, f.Rule, f.Message)
	}
}

func TestSuiteIsATest(t *testing.T) {
	template := `apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: nothing}
spec:
  crd: {spec: {names: {kind: Nothing}}}
  targets:
    - target: admission.k8s.gatekeeper.sh
      rego: |
        package nothing

        violation[{"message": "no"}] {
          input.review.object.kind == "Pod"
        }
`
	fsys := fstest.MapFS{"a/template.yaml": {Data: []byte(template)}}
	rules := func() (out []string) {
		for _, f := range look(t, fsys) {
			out = append(out, fmt.Sprintf("%s:%d %s", f.File, f.Line, f.Rule))
		}
		return out
	}
	if got, want := rules(), []string{"a/template.yaml:1 untested", "a/template.yaml:11 no-message"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	fsys["a/suite.yaml"] = &fstest.MapFile{Data: []byte("apiVersion: test.gatekeeper.sh/v1alpha1\nkind: Suite\ntests: [{name: a, template: template.yaml, constraint: c.yaml}]\n")}
	if got, want := rules(), []string{"a/template.yaml:11 no-message"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestLibraries counts what the rules say of libraries that are on this machine:
// GITWARD_LIBRARIES names directories, separated by colons. It fails at nothing.
func TestLibraries(t *testing.T) {
	for _, dir := range strings.FieldsFunc(os.Getenv("GITWARD_LIBRARIES"), func(r rune) bool { return r == ':' }) {
		files, err := policy.Collect(os.DirFS(dir))
		if err != nil {
			t.Fatal(err)
		}
		b := engine.Read(files)
		count := map[string]int{}
		for _, f := range Bundle(b, os.DirFS(dir)) {
			count[f.Rule]++
			t.Logf("%s/%s:%d: %s: %s", dir, f.File, f.Line, f.Rule, f.Message)
		}
		t.Logf("%s: %v; %d problems", dir, count, len(b.Problems))
	}
}
