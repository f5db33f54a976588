package argocd

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/gitward/gitward/gitindex/render"
)

const bare = `{"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": "a"}, "spec": {"destination": DESTINATION}}`

func TestInCluster(t *testing.T) {
	for _, test := range []struct {
		destination string
		names       []string
		want        bool
	}{
		{`{}`, nil, true},
		{`{"namespace": "x"}`, nil, true},
		{`{"server": "https://kubernetes.default.svc"}`, nil, true},
		{`{"server": "https://kubernetes.default.svc/"}`, nil, true},
		{`{"name": "in-cluster"}`, nil, true},
		{`{"name": "in-cluster", "server": "https://kubernetes.default.svc"}`, nil, false},
		{`{"name": "prod-1"}`, nil, false},
		{`{"name": "prod-1"}`, []string{"prod-1", "https://10.0.0.1"}, true},
		{`{"server": "https://10.0.0.1"}`, []string{"prod-1", "https://10.0.0.1"}, true},
		{`{"server": "https://10.0.0.1"}`, []string{"prod-1"}, false},
		{`{"server": "https://kubernetes.default.svc.evil.example.org"}`, nil, false},
		{`[]`, nil, false},
	} {
		opener := json.RawMessage(strings.Replace(bare, "DESTINATION", test.destination, 1))
		if got := InCluster(opener, test.names...); got != test.want {
			t.Errorf("%s with %v: %v", test.destination, test.names, got)
		}
	}
}

func TestSources(t *testing.T) {
	app := func(spec string) json.RawMessage {
		return json.RawMessage(`{"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": "a"}, "spec": ` + spec + `}`)
	}
	set := json.RawMessage(`{"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "metadata": {"name": "a"}, "spec": {"generators": [
		{"git": {"repoURL": "x", "revision": "main"}}, {"list": {"elements": []}},
		{"matrix": {"generators": [{"git": {"repoURL": "y"}}, {"merge": {"generators": [{"git": {"repoURL": "z"}}]}}]}}]}}`)
	for _, test := range []struct {
		opener json.RawMessage
		want   []Place
	}{
		{app(`{"source": {"repoURL": "x", "path": "a/../b/", "targetRevision": "main"}}`), []Place{{RepoURL: "x", TargetRevision: "main", Path: "b", Git: true}}},
		{app(`{"source": {"repoURL": "x"}, "sources": [{"repoURL": "y", "chart": "c", "targetRevision": "1.x"}, {"repoURL": "oci://z", "path": "."}]}`),
			[]Place{{RepoURL: "y", TargetRevision: "1.x", Path: ".", Chart: "c"}, {RepoURL: "oci://z", Path: "."}}},
		{app(`{"sourceHydrator": {"drySource": {"repoURL": "x", "path": "d"}, "syncSource": {"targetBranch": "b", "path": "w"}}}`),
			[]Place{{RepoURL: "x", TargetRevision: "b", Path: "w", Git: true}}},
		{set, []Place{{RepoURL: "x", TargetRevision: "main", Path: ".", Git: true}, {RepoURL: "y", Path: ".", Git: true}, {RepoURL: "z", Path: ".", Git: true}}},
	} {
		got, err := Sources(test.opener)
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", test.opener, got, err, test.want)
		}
	}
	for _, bad := range []string{`{}`, `[]`, `{"apiVersion": "v1", "kind": "Pod"}`, string(app(`{}`)), string(app(`{"source": []}`))} {
		if got, err := Sources(json.RawMessage(bad)); err == nil {
			t.Errorf("%s: %v", bad, got)
		}
	}
}

// TestHub plays a hub that says which repository the tree is, and which
// clusters there are.
func TestHub(t *testing.T) {
	s := readStory(t, "testdata/build/directory-flat.txtar")
	h := hub{told: s.sources}
	h.holds = "https://git.example.org/platform.git "
	if _, err := Build(h, render.Unit{Opener: s.opener}); err != nil {
		t.Error(err)
	}
	h.holds = "https://git.example.org/other.git "
	var need *render.NeedsError
	if _, err := Build(h, render.Unit{Opener: s.opener}); !errors.As(err, &need) {
		t.Errorf("a repository elsewhere: %v", err)
	}
	s = readStory(t, "testdata/expand/git-directories.txtar")
	h = hub{told: s.sources}
	h.holds = "https://git.example.org/p.git main"
	if _, err := Expand(h, render.Unit{Opener: s.opener}); !errors.As(err, &need) {
		t.Errorf("another revision: %v", err)
	}
	s = readStory(t, "testdata/expand/clusters-selected.txtar")
	h = hub{told: s.sources, clusters: []Cluster{{Name: "P_2", Server: "https://p2", Labels: map[string]string{"env": "prod"}},
		{Name: "d1", Server: "https://d1", Labels: map[string]string{"env": "dev"}}, {Name: "p1", Server: InClusterServer, Labels: map[string]string{"env": "prod"}}}}
	out, err := Expand(h, render.Unit{Opener: s.opener})
	var names []string
	for _, o := range out.Objects {
		names = append(names, o.Name)
	}
	if got := strings.Join(names, " "); err != nil || got != "P_2-app p1-app" {
		t.Errorf("%q, %v", got, err)
	}
	s = readStory(t, "testdata/expand/clusters.txtar")
	h = hub{told: s.sources, clusters: h.clusters}
	if out, err = Expand(h, render.Unit{Opener: s.opener}); err != nil || len(out.Objects) != 3 {
		t.Errorf("a cluster that has a Secret counts once: %d, %v", len(out.Objects), err)
	}
}

// TestPathspec asks git itself what a pattern matches.
func TestPathspec(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not here, the second opinion on its patterns")
	}
	dir := t.TempDir()
	run := func(args ...string) string {
		c := exec.Command(git, args...)
		c.Dir = dir
		c.Env = []string{"HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1"}
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	run("init", "-q", ".")
	for _, name := range []string{"a/config.json", "a/b/config.json", "a/b/c.json", "ab/config.json", "config.json", "a/.hid/config.json", "x[1].json", "a/b c/d"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run("add", ".")
	for _, pattern := range []string{"a", "a/", "a/b", "*", "*.json", "a/*.json", "a/*/config.json", "**/config.json", "a/**", "?/config.json",
		"[ab]/config.json", "[!x]*/config.json", "a*", "a/b/", "./a/b", "a/b*", "config.json", "*/", "x[1].json", `x\[1\].json`, "a/b c", "none", "a/[a-c]/*", "**"} {
		matches, err := pathspec(pattern)
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
			continue
		}
		var got []string
		err = fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
			if name == ".git" {
				return fs.SkipDir
			}
			if err == nil && !d.IsDir() && matches(name) {
				got = append(got, name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Split(strings.TrimSuffix(run("ls-files", "--full-name", "-z", "--", pattern), "\x00"), "\x00")
		if want[0] == "" {
			want = nil
		}
		if len(got) != len(want) || !sameSet(got, want) {
			t.Errorf("%s:\ngot  %q\ngit  %q", pattern, got, want)
		}
	}
}

func sameSet(a, b []string) bool {
	in := map[string]bool{}
	for _, s := range a {
		in[s] = true
	}
	for _, s := range b {
		if !in[s] {
			return false
		}
	}
	return true
}

func TestSlugify(t *testing.T) {
	for _, test := range []struct {
		args []any
		want string
	}{
		{[]any{"Feature/Some Long_Name"}, "feature-some-long-name"},
		{[]any{10, true, "feature/some-long-name"}, "feature"},
		{[]any{10, false, "feature/some-long-name"}, "feature-so"},
		{[]any{8, false, "feature/some"}, "feature"},
		{[]any{5, true, "abcdefghij"}, "abcde"},
		{[]any{7, true, "feature-x"}, "feature"},
		{[]any{50, true, "a..b--c"}, "a-b-c"},
	} {
		if got, err := slugify(test.args...); err != nil || got != test.want {
			t.Errorf("%v: %q, %v", test.args, got, err)
		}
	}
	if got, err := slugify("x", "y"); err == nil {
		t.Errorf("a length that is none: %q", got)
	}
}

func TestJQPath(t *testing.T) {
	for _, test := range []struct{ expression, want string }{
		{".spec.replicas", "spec replicas"},
		{`.metadata.labels["a.b/c"]`, "metadata labels a.b/c"},
		{`.metadata.annotations."x/y"`, "metadata annotations x/y"},
		{".spec.containers[].image", "spec containers \x00each image"},
		{".spec.containers[0].image?", "spec containers 0 image"},
		{".spec?.x", "spec x"},
		{".", ""}, {"", ""}, {".[]", ""}, {".kind", ""}, {".metadata.name", ""}, {".metadata", ""}, {"..", ""},
		{".spec | .x", ""}, {".spec,.x", ""}, {`.spec["\(.x)"]`, ""}, {"spec.x", ""}, {".spec[1:2]", ""},
	} {
		keys, ok := jqPath(test.expression)
		if got := strings.Join(keys, " "); ok != (test.want != "") || ok && got != test.want {
			t.Errorf("%s: %q, %v", test.expression, got, ok)
		}
	}
}

// FuzzOpener holds that no opener makes an answer without an error that is not
// one, and that none panics.
func FuzzOpener(f *testing.F) {
	for _, dir := range []string{"build", "expand"} {
		names, _ := filepath.Glob(filepath.Join("testdata", dir, "*.txtar"))
		for _, name := range names {
			text, _ := os.ReadFile(name)
			_, rest, _ := strings.Cut(string(text), "-- opener.yaml --\n")
			opener, _, _ := strings.Cut(rest, "\n-- ")
			f.Add(opener)
		}
	}
	tree := os.DirFS("testdata")
	f.Fuzz(func(t *testing.T, text string) {
		raw, err := yamlToJSON(text)
		if err != nil || len(text) > 4000 || strings.Contains(text, "until") || strings.Contains(text, "range") || strings.Contains(text, "repeat") {
			return
		}
		u := render.Unit{Opener: raw}
		_, _ = Sources(raw)
		InCluster(raw)
		for _, do := range []func(render.Sources, render.Unit) (render.Output, error){Build, Expand} {
			if out, err := do(render.Alone{FS: tree}, u); err != nil && (out.Objects != nil || out.Applier != nil) {
				t.Errorf("an output and an error: %v", err)
			}
		}
	})
}
