package argocd

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

var update = flag.Bool("update", false, "rewrite what the stories end with")

// story is a tree, a unit's opener and what comes of them.
//
//	-- opener.yaml --    the Application or ApplicationSet
//	-- repo/… --         the tree
//	-- chart/… --        a chart that is fetched, whatever its reference
//	-- declared/… --     objects that the Origin declares
//	-- want --           what is written about the output, see tell
type story struct {
	archive *txtar.Archive
	opener  json.RawMessage
	sources *told
}

// told are the sources of a story. They remember which chart was asked for.
type told struct {
	render.Alone
	chart  fstest.MapFS
	charts []string
	holds  string
}

func (s *told) Chart(ref render.ChartRef) (fs.FS, render.Pin, error) {
	s.charts = append(s.charts, ref.String())
	if len(s.chart) == 0 {
		return s.Alone.Chart(ref)
	}
	return s.chart, render.Pin{Digest: "sha256:0000", Version: "1.2.3"}, nil
}

// hub also says which repository the tree is, and which clusters there are.
type hub struct {
	*told
	clusters []Cluster
}

func (h hub) Holds(repoURL, revision string) bool {
	return h.holds == "" || h.holds == repoURL+" "+revision
}
func (h hub) Clusters() ([]Cluster, bool) { return h.clusters, h.clusters != nil }

func readStory(t *testing.T, name string) *story {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	s := &story{archive: txtar.Parse(text)}
	s.sources = &told{chart: fstest.MapFS{}}
	tree := fstest.MapFS{}
	s.sources.FS, s.sources.Objects = tree, map[gitindex.Ref]json.RawMessage{}
	for _, f := range s.archive.Files {
		switch kind, rest, _ := strings.Cut(f.Name, "/"); kind {
		case "opener.yaml":
			s.opener = toJSON(t, f.Data)
		case "repo":
			tree[rest] = &fstest.MapFile{Data: f.Data}
		case "chart":
			s.sources.chart[rest] = &fstest.MapFile{Data: f.Data}
		case "declared":
			objects, _ := render.File(rest, f.Data, render.Limits{})
			for _, o := range objects {
				s.sources.Objects[gitindex.Ref{Group: o.Group, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}] = o.JSON
			}
		case "want":
		default:
			t.Fatalf("%s: %s has no meaning", name, f.Name)
		}
	}
	return s
}

func toJSON(t *testing.T, text []byte) json.RawMessage {
	t.Helper()
	raw, err := yamlToJSON(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func yamlToJSON(text string) (json.RawMessage, error) { return yaml.YAMLToJSON([]byte(text)) }

// tell writes an output for people to review: one object with its marks, then
// what is true of them all.
func tell(out render.Output, err error, charts []string) string {
	var b strings.Builder
	for _, c := range charts {
		fmt.Fprintf(&b, "chart: %s\n", c)
	}
	if err != nil {
		var need *render.NeedsError
		if errors.As(err, &need) {
			fmt.Fprintf(&b, "needs: %s\n", need.What)
		}
		fmt.Fprintf(&b, "error: %v\n", err)
		return b.String()
	}
	for _, o := range out.Objects {
		fmt.Fprintf(&b, "%s %s%s", o.Kind, o.Name, o.GenerateName)
		if o.Namespace != "" {
			fmt.Fprintf(&b, " in %s", o.Namespace)
		}
		if o.Path != "" {
			fmt.Fprintf(&b, " from %s:%d", o.Path, o.Line)
		}
		for mark, is := range map[string]bool{" hook": o.Hook, " bare": o.Bare} {
			if is {
				b.WriteString(mark)
			}
		}
		fmt.Fprintf(&b, "\n  %s\n", o.JSON)
		for _, h := range o.Holes {
			fmt.Fprintf(&b, "  hole %s %s (%s)\n", h.Path, h.Pattern, h.Why)
		}
		for _, l := range o.Live {
			fmt.Fprintf(&b, "  live %s\n", l)
		}
	}
	for _, p := range out.Problems {
		fmt.Fprintf(&b, "problem: %s\n", p)
	}
	fmt.Fprintf(&b, "%s for namespace %q by %s\n", out.Level, out.Namespace, filled(out.Applier))
	return b.String()
}

// filled are the fields of an applier that say something, as JSON.
func filled(a *gitindex.Applier) []byte {
	text, _ := json.Marshal(a)
	var fields map[string]any
	_ = json.Unmarshal(text, &fields)
	for name, value := range fields {
		if value == nil || value == "" {
			delete(fields, name)
		}
	}
	text, _ = json.Marshal(fields)
	return text
}

func play(t *testing.T, dir string, do func(s *story) (render.Output, error)) {
	names, err := filepath.Glob(filepath.Join("testdata", dir, "*.txtar"))
	if err != nil || len(names) == 0 {
		t.Fatal("there are no stories")
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			s := readStory(t, name)
			out, err := do(s)
			got := tell(out, err, s.sources.charts)
			last := &s.archive.Files[len(s.archive.Files)-1]
			if last.Name != "want" {
				t.Fatal("the story does not end with what is wanted")
			}
			if *update && got != string(last.Data) {
				last.Data = []byte(got)
				if err := os.WriteFile(name, txtar.Format(s.archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got != string(last.Data) {
				t.Errorf("got\n%s\nwant\n%s", got, last.Data)
			}
		})
	}
}

func TestBuild(t *testing.T) {
	play(t, "build", func(s *story) (render.Output, error) {
		return Build(s.sources, render.Unit{ID: "app", Tool: render.Argo, Opener: s.opener,
			Cluster: render.Cluster{KubeVersion: "v1.37.2+k3s1", APIVersions: []string{"example.org/v1"}}})
	})
}

func TestExpand(t *testing.T) {
	play(t, "expand", func(s *story) (render.Output, error) {
		return Expand(s.sources, render.Unit{ID: "set", Tool: render.ArgoAppSet, Opener: s.opener, Path: "sets/a.yaml"})
	})
}
