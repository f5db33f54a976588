package render

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/test/corpus"
)

// trees are the directories of the corpus that hold one repository each.
func trees(t testing.TB, root string) []string {
	var all []string
	for _, group := range []string{"manifests", "odd", "flux", "ci", "kustomize"} {
		entries, err := os.ReadDir(filepath.Join(root, group))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			all = append(all, group+"/"+e.Name())
		}
	}
	return all
}

func eachFile(t testing.TB, root, tree string, do func(name string, data []byte)) {
	err := filepath.WalkDir(filepath.Join(root, tree), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !Eligible(p) {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, p)
		do(name, data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

var variable = regexp.MustCompile(`"[^"]*"|\*\S+|\d+|: [a-z]+ of kind.*`)

// problemKind is a problem's message without what differs from one to the next.
func problemKind(p gitindex.Problem) string {
	return variable.ReplaceAllString(p.Message, "…")
}

type tally struct{ files, objects, problems int }

func TestCorpus(t *testing.T) {
	root := corpus.Dir(t)
	kinds := map[string]int{}
	total := tally{}
	for _, tree := range trees(t, root) {
		var n tally
		eachFile(t, root, tree, func(name string, data []byte) {
			objects, problems := File(name, data, Limits{})
			n.files++
			n.objects += len(objects)
			n.problems += len(problems)
			lines := 1 + bytes.Count(data, []byte("\n"))
			for _, o := range objects {
				if o.Line < 1 || o.End < o.Line || o.End > lines || o.Kind == "" || o.Version == "" || o.Name == "" {
					t.Errorf("%s: %s %s at %d-%d of %d lines", name, o.Kind, o.Name, o.Line, o.End, lines)
				}
			}
			for _, p := range problems {
				kinds[problemKind(p)]++
				if testing.Verbose() && !strings.Contains(name, "templates/") {
					t.Log(p)
				}
			}
		})
		t.Logf("%-45s %5d files %5d objects %4d problems", tree, n.files, n.objects, n.problems)
		total.files += n.files
		total.objects += n.objects
		total.problems += n.problems
	}
	t.Logf("%-45s %5d files %5d objects %4d problems", "all", total.files, total.objects, total.problems)
	names := make([]string, 0, len(kinds))
	for k := range kinds {
		names = append(names, k)
	}
	sort.Strings(names)
	for _, k := range names {
		t.Logf("%4d × %s", kinds[k], k)
	}
}

// TestBrokenFilesOfTheCorpus holds every file that upstream's parsers refuse,
// or that says a key twice, against what is reported here: with a line.
func TestBrokenFilesOfTheCorpus(t *testing.T) {
	root := corpus.Dir(t)
	table, err := os.ReadFile(filepath.Join(root, "expected", "problems.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	rows, seen := 0, map[string]bool{}
	for line := range strings.Lines(string(table)) {
		class, name, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if !strings.HasPrefix(class, "err ") && class != "dupkey" && !strings.HasPrefix(class, "parseerr") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			continue // of a tree that is described there but not part of it
		}
		rows++
		seen[name] = true
		_, problems := File(name, data, Limits{})
		if len(problems) == 0 {
			t.Errorf("%s: %s: no problem is reported", class, name)
		}
		for _, p := range problems {
			if p.Line < 1 || p.Path != name {
				t.Errorf("%s: %s: reported without its place: %v", class, name, p)
			}
		}
	}
	if rows < 40 {
		t.Errorf("only %d rows of broken files were found", rows)
	}
	t.Logf("%d rows, %d files, each reported with its line", rows, len(seen))
}

// TestCensus compares with a count made with other libraries.
func TestCensus(t *testing.T) {
	root := corpus.Dir(t)
	table, err := os.ReadFile(filepath.Join(root, "expected", "census.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSpace(string(table)), "\n")
	column := map[string]int{}
	for i, name := range strings.Split(rows[0], "\t") {
		column[name] = i
	}
	for _, row := range rows[1:] {
		cells := strings.Split(row, "\t")
		tree := cells[0]
		if group, _, _ := strings.Cut(tree, "/"); !slices.Contains([]string{"manifests", "flux", "ci", "kustomize"}, group) {
			continue
		}
		want, _ := strconv.Atoi(cells[column["Objects"]])
		got, refused := 0, 0
		eachFile(t, root, tree, func(name string, data []byte) {
			if strings.Contains(name, "/helm-chart/templates/") {
				return // text templates of a chart, which the census only counts
			}
			objects, problems := File(name, data, Limits{})
			got += len(objects)
			refused += len(problems)
		})
		t.Logf("%-45s census %4d, here %4d, problems %3d", tree, want, got, refused)
		if got > want || want-got > refused {
			t.Errorf("%s: the census has %d objects, here are %d and %d problems", tree, want, got, refused)
		}
	}
}

func BenchmarkFile(b *testing.B) {
	root := corpus.Dir(b)
	type file struct {
		name string
		data []byte
	}
	for _, tree := range []string{"manifests/kube-prometheus", "manifests/microservices-demo", "flux/xunholy-k8s-gitops", "kustomize/kubeflow-manifests"} {
		b.Run(filepath.Base(tree), func(b *testing.B) {
			var files []file
			size := 0
			eachFile(b, root, tree, func(name string, data []byte) {
				files = append(files, file{name, data})
				size += len(data)
			})
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				for _, f := range files {
					File(f.name, f.data, Limits{})
				}
			}
		})
	}
}
