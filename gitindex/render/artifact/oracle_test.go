package artifact

import (
	"encoding/json"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gitward/gitward/gitindex/render"
	"github.com/google/go-cmp/cmp"
)

// recorded is what source-watcher v2.2.1's own builder (internal/builder,
// applyCopyOperations, then the filter of its archives) made of trees and
// copies that were drawn at random. It is internal to its module and cannot be
// run from here.
type recorded struct {
	Contents [][]byte // that the files of the trees have
	Cases    []struct {
		Tree    map[string]int // file to content
		Copies  []render.Copy
		Refused bool
		// Want is "" for a directory, which ends with a slash; a content's number,
		// or "=" and a content that was merged.
		Want map[string]string
	}
}

func TestAsTheBuilderDoes(t *testing.T) {
	text, err := os.ReadFile("testdata/builder.json")
	if err != nil {
		t.Fatal(err)
	}
	var r recorded
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	made, refused := 0, 0
	for i, c := range r.Cases {
		tree := fstest.MapFS{}
		for name, content := range c.Tree {
			tree[name] = &fstest.MapFile{Data: r.Contents[content], Mode: 0o644}
		}
		view, err := View(tree, steps(c.Copies...))
		if (err != nil) != c.Refused {
			t.Errorf("case %d: %v: refused: %v, here %v", i, c.Copies, c.Refused, err)
		}
		if err != nil {
			refused++
			continue
		}
		made++
		want := map[string]string{}
		for name, what := range c.Want {
			if n, err := strconv.Atoi(what); err == nil {
				what = "=" + string(r.Contents[n])
			}
			want[name] = strings.TrimPrefix(what, "=")
		}
		if diff := cmp.Diff(want, whole(t, view)); diff != "" {
			t.Errorf("case %d: %v of %v:\n%s", i, c.Copies, c.Tree, diff)
		}
	}
	t.Logf("%d artifacts are the builder's, %d are refused as by it", made, refused)
	if made < 200 || refused < 60 {
		t.Error("there are fewer cases than were recorded")
	}
}

func whole(t *testing.T, files fs.FS) map[string]string {
	out := map[string]string{}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		if d.IsDir() {
			out[name+"/"] = ""
			return nil
		}
		data, err := fs.ReadFile(files, name)
		out[name] = string(data)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return out
}
