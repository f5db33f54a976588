package helm

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/test/corpus"
)

// expectations are the table's charts.
func expectations(t testing.TB) []corpus.Row {
	t.Helper()
	rows := corpus.Rendered(t, "helm")
	if len(rows) != 18 {
		t.Fatalf("the table has %d charts", len(rows))
	}
	return rows
}

// sum is the corpus's digest over a set of objects.
func sum(objects []render.Object) string {
	var lines [][]byte
	for _, o := range objects {
		lines = append(lines, o.JSON)
	}
	return corpus.Digest(lines)
}

// TestCorpus holds each chart against what Helm's engine made of it, in version
// 4.2.4 with its default values and capabilities.
func TestCorpus(t *testing.T) {
	root := corpus.Dir(t)
	for _, want := range expectations(t) {
		t.Run(want.Tree+"/"+want.Dir, func(t *testing.T) {
			src := render.Alone{FS: os.DirFS(filepath.Join(root, want.Tree))}
			got, err := Build(src, src.FS, want.Dir, render.HelmOptions{ReleaseName: "rel", Namespace: "ns"},
				render.Cluster{})
			t.Log(len(got), err)
			if want.Dir == "charts/argo-cd" {
				// Helm's command stops: a dependency is not in the charts directory. Its
				// values switch it off, so nothing of it would be in the output.
				if err != nil || len(got) != 59 {
					t.Errorf("%d objects, %v", len(got), err)
				}
				return
			}
			if want.Result == "error" {
				var needs *render.NeedsError
				if !errors.As(err, &needs) {
					t.Fatalf("a chart is missing, and the answer is %d objects, %v", len(got), err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != want.Objects || sum(got) != want.Sum {
				t.Errorf("%d objects, sum %s; want %d, %s", len(got), sum(got), want.Objects, want.Sum)
			}
		})
	}
}
