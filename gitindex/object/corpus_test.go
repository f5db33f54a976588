package object_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitward/gitward/gitindex/object"
	"github.com/gitward/gitward/test/corpus"
)

// recorded calls visit with each commit of the signed-commits corpus.
func recorded(t testing.TB, visit func(file, id string, raw []byte)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(corpus.Dir(t, "signed-commits"), "*.batch"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no batch files: %v", err)
	}
	for _, file := range files {
		if err := readBatch(file, func(id string, raw []byte) { visit(filepath.Base(file), id, raw) }); err != nil {
			t.Fatalf("reading %s: %v", file, err)
		}
	}
}

// readBatch reads the form of git cat-file --batch.
func readBatch(file string, visit func(id string, raw []byte)) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	in := bufio.NewReader(bytes.NewReader(data))
	for {
		line, err := in.ReadString('\n')
		if err == io.EOF {
			return nil
		}
		var id, kind string
		var size int
		if _, err := fmt.Sscanf(strings.TrimSpace(line), "%s %s %d", &id, &kind, &size); err != nil || kind != "commit" {
			return fmt.Errorf("line %q: %v", line, err)
		}
		raw := make([]byte, size+1)
		if _, err := io.ReadFull(in, raw); err != nil {
			return err
		}
		visit(id, raw[:size])
	}
}

// Every commit that real projects have in their history must be readable.
func TestParseCommitRecorded(t *testing.T) {
	total, signed := 0, 0
	recorded(t, func(file, id string, raw []byte) {
		total++
		c, err := object.ParseCommit(raw)
		if err != nil {
			t.Errorf("%s %s: %v", file, id, err)
			return
		}
		if c.Signature != nil {
			signed++
		}
		if got := rebuild(raw, c); !bytes.Equal(got, raw) {
			t.Errorf("%s %s: payload and signature do not make up the commit", file, id)
		}
	})
	t.Logf("%d commits parsed, %d of them signed", total, signed)
	if total < 5000 {
		t.Errorf("only %d commits in the corpus", total)
	}
}
