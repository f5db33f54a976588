package kustomize

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/gitward/gitward/gitindex/render"
)

// corpus is the directory of real repositories beside the checkout.
func corpus(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "..", "..", "..", "shared", "corpus"))
	if err == nil {
		_, err = os.Stat(dir)
	}
	if err != nil {
		if os.Getenv("GITWARD_CORPUS") == "required" {
			t.Fatalf("the corpus is required: %v", err)
		}
		t.Skip("the corpus of real repositories is not here")
	}
	return dir
}

// row is what upstream made of one directory.
type row struct {
	tree, dir string // of the repository, and in it
	result    string
	objects   int
	sum, note string
}

func rows(t testing.TB, root string) []row {
	t.Helper()
	table, err := os.ReadFile(filepath.Join(root, "expected", "render.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	var all []row
	for line := range strings.Lines(string(table)) {
		cells := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if cells[0] != "kustomize" {
			continue
		}
		parts := strings.SplitN(cells[1], "/", 3)
		r := row{tree: parts[0] + "/" + parts[1], result: cells[2], sum: cells[4], note: cells[5]}
		if len(parts) == 3 {
			r.dir = parts[2]
		}
		if r.objects, err = strconv.Atoi(cells[3]); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// sum is the corpus's digest over a set of objects.
func sum(objects []render.Object) string {
	var lines []string
	for _, o := range objects {
		lines = append(lines, string(o.JSON))
	}
	sort.Strings(lines)
	digest := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(digest[:])
}

// sumOfTrees is the digest over the objects that kustomize holds, before it
// writes them.
func sumOfTrees(t *testing.T, b *Built) string {
	var objects []render.Object
	for _, r := range b.Resources.Resources() {
		m, err := r.Map()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, render.Object{JSON: raw})
	}
	return sum(objects)
}

// TestCorpus holds every kustomization of the corpus against what upstream
// made of it: the same objects, or the same inability.
func TestCorpus(t *testing.T) {
	if testing.Short() {
		t.Skip("left out by -short: whole real repositories, for many seconds")
	}
	root := corpus(t)
	count, total, located := map[string]int{}, 0, 0
	for _, r := range rows(t, root) {
		name := r.tree + "/" + r.dir
		if strings.HasPrefix(r.tree, "rego/") {
			count["of a tree that the corpus describes and does not hold"]++
			continue
		}
		src := render.Alone{FS: os.DirFS(filepath.Join(root, r.tree))}
		built, err := Run(src, r.dir, Options{Encrypted: true})
		var needs *render.NeedsError
		got := "ok"
		switch {
		case errors.As(err, &needs):
			got = "remote"
		case err != nil:
			got = "error"
		}
		count[r.result+" -> "+got]++
		if got != r.result {
			t.Errorf("%s: upstream says %s (%s), here %s: %v", name, r.result, r.note, got, err)
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
		if len(objects) == r.objects && sum(objects) != r.sum && sumOfTrees(t, built) == r.sum {
			// A folded scalar with lines of deeper indentation gains a line
			// break each time kustomize writes it. The table holds objects that
			// were never written; what the command prints has the break.
			count["ok, but kustomize writes another text than it holds"]++
			t.Logf("%s: kustomize adds line breaks to a folded scalar when it writes", name)
		} else if len(objects) != r.objects || sum(objects) != r.sum {
			t.Errorf("%s: upstream has %d objects %.12s, here %d %.12s", name, r.objects, r.sum, len(objects), sum(objects))
		}
		for _, o := range objects {
			total++
			located += placed(t, filepath.Join(root, r.tree), o)
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
