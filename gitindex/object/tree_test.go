package object_test

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/gitward/gitward/gitindex/object"
	"github.com/gitward/gitward/test/corpus"
)

const someID = "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14"

// lines makes a raw tree of "mode name" lines, all with the same id.
func lines(entries ...string) []byte {
	var b strings.Builder
	for _, e := range entries {
		b.WriteString(e + "\x00" + someID)
	}
	return []byte(b.String())
}

// encode writes entries as git does.
func encode(entries []object.Entry) []byte {
	var b bytes.Buffer
	for _, e := range entries {
		fmt.Fprintf(&b, "%o %s\x00%s", e.Mode, e.Name, e.ID[:])
	}
	return b.Bytes()
}

func TestParseTree(t *testing.T) {
	raw := lines("100644 .gitignore", "100755 run", "40000 run.d", "100664 run.old", "120000 src", "160000 vendor")
	got, err := object.ParseTree(raw)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, e := range got {
		kinds = append(kinds, fmt.Sprintf("%s:%t%t%t%t", e.Name, e.IsFile(), e.IsTree(), e.IsSymlink(), e.IsGitlink()))
	}
	want := ".gitignore:truefalsefalsefalse run:truefalsefalsefalse run.d:falsetruefalsefalse " +
		"run.old:truefalsefalsefalse src:falsefalsetruefalse vendor:falsefalsefalsetrue"
	if s := strings.Join(kinds, " "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
	if id := got[0].ID.String(); id != "0102030405060708090a0b0c0d0e0f1011121314" {
		t.Errorf("id %s", id)
	}
	if !bytes.Equal(encode(got), raw) {
		t.Error("the tree does not re-encode to itself")
	}
	if entries, err := object.ParseTree(nil); err != nil || len(entries) != 0 {
		t.Errorf("empty tree: %v, %v", entries, err)
	}
}

var goodTrees = map[string][]byte{
	"directory sorts with its slash": lines("100644 a-b", "100644 a.b", "40000 a", "100644 a0"),
	"file before its longer names":   lines("100644 a", "40000 a-b", "100644 a.b", "40000 a0"),
	"names that only look reserved":  lines("100644 ...", "100644 .gitattributes", "100644 .github", "100644 git"),
	"cases and control characters":   lines("100644 A", "100644 Icon\r", "100644 a"),
}

var evilTrees = map[string][]byte{
	"unsorted":                       lines("100644 b", "100644 a"),
	"twice":                          lines("100644 a", "100644 a"),
	"directory twice":                lines("40000 a", "40000 a"),
	"file and directory":             lines("100644 a", "40000 a"),
	"file and directory, apart":      lines("100644 a", "100644 a-b", "100644 a.b", "40000 a"),
	"link and directory, nested":     lines("100644 a", "120000 a-", "100644 a-b", "40000 a-", "100644 a.b"),
	"directory sorted as a file":     lines("40000 a", "100644 a.b"),
	"empty name":                     lines("100644 "),
	"dot":                            lines("40000 ."),
	"dot dot":                        lines("40000 .."),
	".git":                           lines("40000 .git"),
	".GIT":                           lines("100644 .GiT"),
	"slash":                          lines("100644 a/b"),
	"no mode":                        lines(" a"),
	"no name":                        lines("100644"),
	"zero-padded mode":               lines("040000 a"),
	"unknown mode":                   lines("100600 a"),
	"device":                         lines("20666 a"),
	"no id":                          []byte("100644 a\x00"),
	"short id":                       lines("100644 a")[:20],
	"junk behind":                    append(lines("100644 a"), 'x'),
	"id of zeros":                    []byte("100644 a\x00" + strings.Repeat("\x00", 20)),
	"entry of the first entry again": append(lines("100644 a"), lines("100644 a")...),
}

func TestParseTreeTables(t *testing.T) {
	for name, raw := range goodTrees {
		if got, err := object.ParseTree(raw); err != nil || !bytes.Equal(encode(got), raw) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, raw := range evilTrees {
		if got, err := object.ParseTree(raw); !errors.Is(err, object.ErrMalformed) || got != nil {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

// git fsck is the second opinion on both tables.
func TestParseTreeBesideFsck(t *testing.T) {
	corpus.Programs(t, "git")
	// What fsck only warns of, or calls a bad object only later.
	lenient := map[string]bool{"zero-padded mode": true, "unknown mode": true, "device": true, "id of zeros": true}
	check := func(name string, raw []byte, good bool) {
		repo := t.TempDir()
		if out, err := exec.Command("git", "init", "-q", "--bare", repo).CombinedOutput(); err != nil {
			t.Fatalf("git init: %v: %s", err, out)
		}
		write := exec.Command("git", "-C", repo, "hash-object", "-t", "tree", "-w", "--stdin", "--literally")
		write.Stdin = bytes.NewReader(raw)
		if out, err := write.CombinedOutput(); err != nil {
			t.Fatalf("%s: git hash-object: %v: %s", name, err, out)
		}
		all, _ := exec.Command("git", "-C", repo, "fsck", "--full").CombinedOutput()
		out := slices.DeleteFunc(strings.Split(string(all), "\n"), func(line string) bool {
			return strings.Contains(line, "broken links") // the entries' objects are not there
		})
		text := strings.Join(out, "\n")
		said := strings.Contains(text, "error in tree") || strings.Contains(text, "warning in tree") ||
			strings.Contains(text, "could not be parsed") || strings.Contains(text, "bad tree")
		if said == good {
			if !good && lenient[name] {
				return
			}
			t.Errorf("%s: git fsck says %q", name, text)
		}
	}
	for name, raw := range goodTrees {
		check(name, raw, true)
	}
	for name, raw := range evilTrees {
		check(name, raw, false)
	}
}

func TestParseID(t *testing.T) {
	if id, err := object.ParseID(treeID); err != nil || id.String() != treeID || id.IsZero() {
		t.Errorf("got %v, %v", id, err)
	}
	for _, s := range []string{"", treeID[1:], treeID + "0", strings.ToUpper(treeID), "g" + treeID[1:]} {
		if _, err := object.ParseID(s); !errors.Is(err, object.ErrMalformed) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzTreeParse(f *testing.F) {
	for _, raw := range goodTrees {
		f.Add(raw)
	}
	for _, raw := range evilTrees {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		entries, err := object.ParseTree(raw)
		if err != nil {
			if !errors.Is(err, object.ErrMalformed) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if !bytes.Equal(encode(entries), raw) {
			t.Fatal("an accepted tree does not re-encode to itself")
		}
		names := map[string]bool{}
		for _, e := range entries {
			if names[e.Name] {
				t.Fatalf("name %q twice", e.Name)
			}
			names[e.Name] = true
		}
	})
}

func BenchmarkParseTree(b *testing.B) {
	var entries []string
	for i := range 100 {
		entries = append(entries, fmt.Sprintf("100644 manifest-%03d.yaml", i))
	}
	raw := lines(entries...)
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := object.ParseTree(raw); err != nil {
			b.Fatal(err)
		}
	}
}
