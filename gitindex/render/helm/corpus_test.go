package helm

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gitward/gitward/gitindex/render"
)

// corpus is the directory of real repositories beside the checkout.
func corpus(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil {
		if _, missing := os.Stat(filepath.Join(dir, "go.mod")); missing == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	dir = filepath.Join(dir, "..", "shared", "corpus")
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("GITWARD_CORPUS") == "required" {
			t.Fatalf("the corpus is required: %v", err)
		}
		t.Skip("the corpus of real repositories is not here")
	}
	return dir
}

// expected is a row of the corpus's table of renderings.
type expected struct {
	tree, dir, result string
	objects           int
	sum               string
}

func expectations(t testing.TB, root string) []expected {
	table, err := os.ReadFile(filepath.Join(root, "expected", "render.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	var rows []expected
	for line := range strings.Lines(string(table)) {
		cells := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if cells[0] != "helm" {
			continue
		}
		parts := strings.SplitN(cells[1], "/", 3)
		n, err := strconv.Atoi(cells[3])
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, expected{strings.Join(parts[:2], "/"), parts[2], cells[2], n, cells[4]})
	}
	if len(rows) != 18 {
		t.Fatalf("the table has %d charts", len(rows))
	}
	return rows
}

// sum is the table's: over the objects as JSON with sorted keys, one a line, the
// lines sorted.
func sum(objects []render.Object) string {
	var lines []string
	for _, o := range objects {
		lines = append(lines, string(o.JSON))
	}
	slices.Sort(lines)
	hash := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(hash[:])
}

// TestCorpus holds each chart against what Helm's engine made of it, in version
// 4.2.4 with its default values and capabilities.
func TestCorpus(t *testing.T) {
	root := corpus(t)
	for _, want := range expectations(t, root) {
		t.Run(want.tree+"/"+want.dir, func(t *testing.T) {
			src := render.Alone{FS: os.DirFS(filepath.Join(root, want.tree))}
			got, err := Build(src, src.FS, want.dir, render.HelmOptions{ReleaseName: "rel", Namespace: "ns"},
				render.Cluster{})
			t.Log(len(got), err)
			if want.dir == "charts/argo-cd" {
				// Helm's command stops: a dependency is not in the charts directory. Its
				// values switch it off, so nothing of it would be in the output.
				if err != nil || len(got) != 59 {
					t.Errorf("%d objects, %v", len(got), err)
				}
				return
			}
			if want.result == "error" {
				var needs *render.NeedsError
				if !errors.As(err, &needs) {
					t.Fatalf("a chart is missing, and the answer is %d objects, %v", len(got), err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != want.objects || sum(got) != want.sum {
				t.Errorf("%d objects, sum %s; want %d, %s", len(got), sum(got), want.objects, want.sum)
			}
		})
	}
}
