package kustomize

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/test/corpus"
)

// sum is the corpus's digest over a set of objects.
func sum(objects []render.Object) string {
	var lines [][]byte
	for _, o := range objects {
		lines = append(lines, o.JSON)
	}
	return corpus.Digest(lines)
}

// sumOfTrees is the digest over the objects that kustomize holds, before it
// writes them.
func sumOfTrees(t *testing.T, b *Built) string {
	var lines [][]byte
	for _, r := range b.Resources.Resources() {
		m, err := r.Map()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, raw)
	}
	return corpus.Digest(lines)
}

// TestCorpus holds every kustomization of the corpus against what upstream
// made of it: the same objects, or the same inability.
func TestCorpus(t *testing.T) {
	if testing.Short() {
		t.Skip("left out by -short: whole real repositories, for many seconds")
	}
	root := corpus.Dir(t)
	count, total, located := map[string]int{}, 0, 0
	for _, r := range corpus.Rendered(t, "kustomize") {
		name := r.Tree + "/" + r.Dir
		if strings.HasPrefix(r.Tree, "rego/") {
			count["of a tree that the corpus describes and does not hold"]++
			continue
		}
		src := render.Alone{FS: os.DirFS(filepath.Join(root, r.Tree))}
		built, err := Run(src, r.Dir, Options{Encrypted: true})
		var needs *render.NeedsError
		got := "ok"
		switch {
		case errors.As(err, &needs):
			got = "remote"
		case err != nil:
			got = "error"
		}
		count[r.Result+" -> "+got]++
		if got != r.Result {
			t.Errorf("%s: upstream says %s (%s), here %s: %v", name, r.Result, r.Note, got, err)
			continue
		}
		if err != nil {
			t.Logf("%s: %v", name, err)
			continue
		}
		objects, problems := built.Read()
		for _, p := range problems {
			t.Errorf("%s: %v", name, p)
		}
		if len(objects) == r.Objects && sum(objects) != r.Sum && sumOfTrees(t, built) == r.Sum {
			// A folded scalar with lines of deeper indentation gains a line
			// break each time kustomize writes it. The table holds objects that
			// were never written; what the command prints has the break.
			count["ok, but kustomize writes another text than it holds"]++
			t.Logf("%s: kustomize adds line breaks to a folded scalar when it writes", name)
		} else if len(objects) != r.Objects || sum(objects) != r.Sum {
			t.Errorf("%s: upstream has %d objects %.12s, here %d %.12s", name, r.Objects, r.Sum, len(objects), sum(objects))
		}
		for _, o := range objects {
			total++
			located += placed(t, filepath.Join(root, r.Tree), o)
		}
	}
	t.Logf("%v, %d objects, %d with their lines", count, total, located)
}

// placed checks that an object's place is there, and counts it if lines are known.
func placed(t *testing.T, root string, o render.Object) int {
	data, err := os.ReadFile(filepath.Join(root, o.Path))
	if err != nil || o.End < o.Line || o.End > 1+bytes.Count(data, []byte("\n")) {
		t.Errorf("%s %s is placed at %s:%d-%d: %v", o.Kind, o.Name, o.Path, o.Line, o.End, err)
	}
	if o.Line > 0 {
		return 1
	}
	return 0
}
