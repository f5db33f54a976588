package argocd

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/gitward/gitward/gitindex/render"
)

// TestAsArgoCD plays 251 ApplicationSets against what Argo CD 3.5.7's own code
// makes of them: GenerateApplications of applicationset/controllers/template
// with its list, clusters, git, matrix and merge generators, a fake client that
// holds the two clusters below, and "git ls-files" in the tree of the story
// git-files; then NormalizeApplicationSpec. That module is too heavy to be a
// dependency of this one, so its answers are recorded. Left out of them are
// Applications without a name or with that of another, which the controller
// refuses after that step.
func TestAsArgoCD(t *testing.T) {
	file, err := os.Open("testdata/argocd-3.5.7.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	tree := readStory(t, "testdata/expand/git-files.txtar").sources
	secret := func(n string) map[string]string {
		return map[string]string{"argocd.argoproj.io/secret-type": "cluster", "n": n}
	}
	src := hub{told: tree, clusters: []Cluster{
		{Name: "p1", Server: "https://p1", Labels: secret("p1"), Annotations: map[string]string{"x": "y"}},
		{Name: "Q_2", Server: "https://q2", Project: "proj", Labels: secret("q")},
	}}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	count, refused := 0, 0
	for lines.Scan() {
		var recorded struct {
			Spec         json.RawMessage
			Applications []map[string]any
			Refused      bool
		}
		if err := json.Unmarshal(lines.Bytes(), &recorded); err != nil {
			t.Fatal(err)
		}
		count++
		if recorded.Refused {
			refused++
		}
		opener := json.RawMessage(`{"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "metadata": {"name": "s", "namespace": "argocd"}, "spec": ` + string(recorded.Spec) + `}`)
		out, err := Expand(src, render.Unit{Opener: opener})
		if (err != nil) != recorded.Refused {
			t.Errorf("%s\n%v, where Argo CD refused: %v", recorded.Spec, err, recorded.Refused)
			continue
		}
		if got, want := made(t, out), texts(t, recorded.Applications); !slices.Equal(got, want) {
			t.Errorf("%s\ngot  %s\nwant %s", recorded.Spec, got, want)
		}
	}
	if err := lines.Err(); err != nil || count != 251 || refused < 20 {
		t.Errorf("%d ApplicationSets, %d of them refused: %v", count, refused, err)
	}
}

// made are the Applications as they were recorded: without what all have, and
// without the operation.
func made(t *testing.T, out render.Output) []string {
	var all []map[string]any
	for _, o := range out.Objects {
		var object map[string]any
		if err := json.Unmarshal(o.JSON, &object); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"apiVersion", "kind", "operation"} {
			delete(object, name)
		}
		all = append(all, object)
	}
	return texts(t, all)
}

func texts(t *testing.T, objects []map[string]any) []string {
	var all []string
	for _, o := range objects {
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(text))
	}
	slices.Sort(all)
	return all
}
