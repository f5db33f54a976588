package corpus

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// table is a corpus that has these lines for its table.
func table(t *testing.T, lines string) string {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "expected"), 0o755); err != nil {
		t.Fatal(err)
	}
	head := "renderer\tpath\tresult\tobjects\tsha256-of-sorted-JSON-objects\tnote\n"
	if err := os.WriteFile(filepath.Join(root, "expected", "render.tsv"), []byte(head+lines), 0o600); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestRows(t *testing.T) {
	root := table(t, "helm\tg/r/charts/a\tok\t2\tab\t\nkustomize\tg/r\terror\t0\t\tno such file\n")
	for tool, want := range map[string][]Row{
		"helm":      {{Tree: "g/r", Dir: "charts/a", Result: "ok", Objects: 2, Sum: "ab"}},
		"kustomize": {{Tree: "g/r", Result: "error", Note: "no such file"}},
		"jsonnet":   nil,
	} {
		if got, err := Rows(root, tool); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", tool, got, err)
		}
	}
	for _, broken := range []string{"helm\tg/r/a\tok\t2\tab\n", "helm\tg/r/a\tok\tmany\tab\t\n", "helm\tg\tok\t2\tab\t\n"} {
		if got, err := Rows(table(t, broken), "helm"); err == nil {
			t.Errorf("%q: %v", broken, got)
		}
	}
}

// The paths that tests build from are the table's own.
func TestPaths(t *testing.T) {
	for row, want := range map[Row]string{{Tree: "g/r", Dir: "a/b"}: "g/r/a/b", {Tree: "g/r"}: "g/r"} {
		if got := row.Path(); got != want {
			t.Errorf("%v: %s", row, got)
		}
	}
}

// The sums are sha256sum's, of the sorted lines without a last line break.
func TestDigest(t *testing.T) {
	objects := [][]byte{[]byte(`{"b":1}`), []byte(`{"a":1}`)}
	if got := Digest(objects); got != "14dca8ac671084034b13ccfe52815c9a66203ad57347d965d1ac2acd57ba48e5" {
		t.Error(got)
	}
	if string(objects[0]) != `{"b":1}` {
		t.Error("the caller's objects are sorted")
	}
	if got := Digest(nil); got != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Error(got)
	}
}
