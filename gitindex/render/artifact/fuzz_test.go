package artifact

import (
	"bytes"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gitward/gitward/gitindex/render"
)

// FuzzView: whatever copies and files say, an artifact holds nothing that is not
// in the tree or made of it, nothing behind a link, and is a sound file system.
func FuzzView(f *testing.F) {
	f.Add("a/**", "o/", "*.md", "Merge", "a: 1", []byte("b: 2"))
	f.Add("", "", "", "", "x", []byte(nil))
	f.Add("**/*.tgz", "a/../", "{a,b}/*", "Extract", "x", []byte(packed(f, "in:", "a", "b/", "b/c")))
	f.Add("[", "/x", "[^", "Overwrite", "- x", []byte("&a [*a]"))
	f.Add("l/**", "..", "", "Extract", "", []byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, from, to, exclude, strategy, one string, two []byte) {
		tree := fstest.MapFS{
			"a/x.yaml":   {Data: []byte(one)},
			"a/b/y.tgz":  {Data: two},
			"a/b/z.yaml": {Data: []byte("z: 1")},
			"l":          {Data: []byte("secret"), Mode: fs.ModeSymlink | 0o777},
			"secret/s":   {Data: []byte("behind the link")},
		}
		view, err := View(tree, steps(
			render.Copy{Root: "a", From: "b/**", To: "b"},
			render.Copy{Root: "a", From: "x.yaml", To: "b/z.yaml"},
			render.Copy{From: from, To: to, Exclude: []string{exclude}, Strategy: strategy}))
		if err != nil {
			if view != nil {
				t.Error("a view beside an error")
			}
			return
		}
		var found []string
		known := [][]byte{[]byte(one), two, tree["a/b/z.yaml"].Data, tree["secret/s"].Data}
		err = fs.WalkDir(view, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			found = append(found, name)
			data, err := fs.ReadFile(view, name)
			whole := slices.ContainsFunc(known, func(k []byte) bool { return bytes.Equal(k, data) })
			if !whole && strategy != "Merge" && strategy != "Extract" {
				t.Errorf("%s holds %q", name, data)
			}
			if strings.HasPrefix(from, "l") && strings.Contains(string(data), "behind") {
				t.Errorf("%s lies behind a link", name)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		if err := fstest.TestFS(view, found...); err != nil {
			t.Error(err)
		}
	})
}
