package corpus

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Row is what upstream made of one directory, as expected/render.tsv has it.
type Row struct {
	Tree, Dir string // of the repository in the corpus, and in the repository
	Result    string // ok, error, remote or random
	Objects   int
	Sum, Note string // Sum is their Digest
}

// Path is the directory in the corpus.
func (r Row) Path() string { return path.Join(r.Tree, r.Dir) }

// Rendered are the rows of a tool, kustomize or helm, as the table orders them.
// Where there is no corpus it ends the test as Dir does.
func Rendered(t testing.TB, tool string) []Row {
	t.Helper()
	rows, err := Rows(Dir(t), tool)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// Rows is Rendered for what is no test, of the corpus at root.
func Rows(root, tool string) ([]Row, error) {
	name := filepath.Join(root, "expected", "render.tsv")
	table, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var rows []Row
	number := 0
	for line := range strings.Lines(string(table)) {
		number++
		cells := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if cells[0] != tool {
			continue
		}
		r, err := row(cells)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, number, err)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func row(cells []string) (Row, error) {
	if len(cells) != 6 {
		return Row{}, fmt.Errorf("%d cells, not 6", len(cells))
	}
	parts := strings.SplitN(cells[1], "/", 3)
	if len(parts) < 2 {
		return Row{}, fmt.Errorf("%q is no tree of a group", cells[1])
	}
	objects, err := strconv.Atoi(cells[3])
	if err != nil {
		return Row{}, err
	}
	return Row{Tree: path.Join(parts[:2]...), Dir: path.Join(parts[2:]...), Result: cells[2], Objects: objects, Sum: cells[4], Note: cells[5]}, nil
}

// Digest is the table's: the SHA-256 over objects as JSON with sorted keys, one
// a line, the lines sorted.
func Digest(objects [][]byte) string {
	sorted := slices.Clone(objects)
	slices.SortFunc(sorted, bytes.Compare)
	sum := sha256.Sum256(bytes.Join(sorted, []byte("\n")))
	return hex.EncodeToString(sum[:])
}
