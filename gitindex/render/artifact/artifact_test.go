package artifact

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gitward/gitward/gitindex/render"
	"github.com/google/go-cmp/cmp"
)

// tree makes a tree of files that hold their own names, but for those that say
// what they hold: "values.yaml=a: 1", "link->target".
func tree(names ...string) fstest.MapFS {
	t := fstest.MapFS{}
	for _, name := range names {
		if at, target, ok := strings.Cut(name, "->"); ok {
			t[at] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
			continue
		}
		name, text, ok := strings.Cut(name, "=")
		if !ok {
			text = name
		}
		t[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	return t
}

// listing is what a tree holds: directories end with a slash, files that do not
// hold their own name say what they hold.
func listing(t *testing.T, files fs.FS) []string {
	t.Helper()
	var out []string
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		if d.IsDir() {
			out = append(out, name+"/")
			return nil
		}
		data, err := fs.ReadFile(files, name)
		if string(data) != name {
			name += "=" + strings.TrimSuffix(string(data), "\n")
		}
		out = append(out, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// leaves are the files of a listing and the directories without any.
func leaves(all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(dir string) bool {
		return strings.HasSuffix(dir, "/") && slices.ContainsFunc(all, func(s string) bool { return s != dir && strings.HasPrefix(s, dir) })
	})
}

func steps(copies ...render.Copy) render.Artifact { return render.Artifact{Copies: copies} }

func from(from, to string, exclude ...string) render.Copy {
	return render.Copy{From: from, To: to, Exclude: exclude}
}

func with(strategy string, c render.Copy) render.Copy { c.Strategy = strategy; return c }

func archive(t testing.TB, headers ...tar.Header) string {
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	w := tar.NewWriter(zipped)
	for _, h := range headers {
		content := h.Uname
		h.Uname, h.Mode = "", 0o644
		if h.Typeflag == 0 {
			h.Size = int64(len(content))
		}
		err := w.WriteHeader(&h)
		if err == nil && h.Size > 0 {
			_, err = w.Write([]byte(content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// packed is an archive with files that hold their names after a prefix.
func packed(t testing.TB, prefix string, names ...string) string {
	var headers []tar.Header
	for _, name := range names {
		h := tar.Header{Name: name, Uname: prefix + name}
		if strings.HasSuffix(name, "/") {
			h = tar.Header{Name: name, Typeflag: tar.TypeDir}
		}
		headers = append(headers, h)
	}
	return archive(t, headers...)
}

var repository = []string{
	"config.yaml", "README.md", "configs/file1.yaml", "configs/file2.yaml", "configs/notes.md",
	"configs/subdir/file3.yaml", "configs/subdir/testdata/x.yaml", "configs/subdir/deep/file4.yaml",
}

// TestCopies: the examples of docs/spec/v1beta1/artifactgenerators.md and the
// cases of internal/builder/*_test.go in source-watcher v2.2.1, and what its
// code says beyond them. TestAsTheBuilderDoes has what it makes
// of trees drawn at random.
func TestCopies(t *testing.T) {
	abc := packed(t, "tgz:", "a.yaml", "b/", "b/c.yaml")
	for name, c := range map[string]struct {
		tree   []string
		copies []render.Copy
		want   []string
	}{
		"a file to a path": {repository, []render.Copy{from("config.yaml", "apps/app.yaml")}, []string{"apps/app.yaml=config.yaml"}},
		"a file into a directory": {repository, []render.Copy{from("config.yaml", "apps/")},
			[]string{"apps/config.yaml=config.yaml"}},
		"a file into the root":               {repository, []render.Copy{from("config.yaml", "")}, []string{"config.yaml"}},
		"a file with a slash":                {repository, []render.Copy{from("config.yaml/", "")}, []string{"config.yaml"}},
		"a file into what is a directory":    {repository, []render.Copy{from("configs/subdir/testdata", ""), from("config.yaml", "testdata")}, []string{"testdata/config.yaml=config.yaml", "testdata/x.yaml=configs/subdir/testdata/x.yaml"}},
		"a file to the root without a slash": {repository, []render.Copy{from("config.yaml", ".")}, []string{"config.yaml"}},
		"files by a glob keep their path": {repository, []render.Copy{from("configs/*.yaml", "apps/")},
			[]string{"apps/configs/file1.yaml=configs/file1.yaml", "apps/configs/file2.yaml=configs/file2.yaml"}},
		"a glob without a slash is the same": {repository, []render.Copy{from("configs/*1.yaml", "apps")},
			[]string{"apps/configs/file1.yaml=configs/file1.yaml"}},
		"a directory becomes one within": {repository, []render.Copy{from("configs/subdir/testdata/", "apps/")},
			[]string{"apps/testdata/x.yaml=configs/subdir/testdata/x.yaml"}},
		"slashes do not matter to it": {repository, []render.Copy{from("configs/subdir/testdata", "apps")},
			[]string{"apps/testdata/x.yaml=configs/subdir/testdata/x.yaml"}},
		"the whole source": {repository, []render.Copy{from("", "")}, repository},
		"the whole source below": {[]string{"a.yaml", "b/c.yaml"}, []render.Copy{from("", "x/")},
			[]string{"x/a.yaml=a.yaml", "x/b/c.yaml=b/c.yaml"}},
		"two stars at the root": {repository, []render.Copy{from("**", "")}, repository},
		"what is below a directory": {repository, []render.Copy{from("configs/**", "apps/", "*.md", "**/testdata/**", "subdir/deep/**")},
			[]string{"apps/file1.yaml=configs/file1.yaml", "apps/file2.yaml=configs/file2.yaml", "apps/subdir/file3.yaml=configs/subdir/file3.yaml"}},
		"two stars in the middle are one": {repository, []render.Copy{from("configs/**/*.yaml", "")}, []string{"configs/subdir/file3.yaml"}},
		"two stars after another glob":    {repository, []render.Copy{from("con*/**", "", "*.md", "**/subdir")}, []string{"configs/file1.yaml", "configs/file2.yaml"}},
		"classes and question marks":      {repository, []render.Copy{from("configs/file[1]?yaml", "")}, []string{"configs/file1.yaml"}},
		"many braces are none either":     {[]string{strings.Repeat("{a,b}", 9)}, []render.Copy{from(strings.Repeat("{a,b}", 9), "x")}, []string{"x=" + strings.Repeat("{a,b}", 9)}},
		"braces are no glob":              {[]string{"{a,b}.yaml", "a.yaml"}, []render.Copy{from("{a,b}.yaml", "")}, []string{"{a,b}.yaml"}},
		"later ones write over": {[]string{"x/a=1", "x/b=1", "y/a=2", "y/c=2"}, []render.Copy{from("x/**", ""), from("y/**", "")},
			[]string{"a=2", "b=1", "c=2"}},
		"earlier ones do not": {[]string{"x/a=1", "y/a=2"}, []render.Copy{from("y/**", ""), from("x/**", "")}, []string{"a=1"}},
		"several roots": {[]string{"one/x/a.yaml", "two/x/b.yaml"},
			[]render.Copy{{Root: "one", From: "x/**"}, {Root: "two/x", From: "", To: "y"}},
			[]string{"a.yaml=one/x/a.yaml", "y/b.yaml=two/x/b.yaml"}},
		"excluded by the path in the source": {[]string{"in/con/d/a", "in/con/b"}, []render.Copy{from("in/**", "", "in/con/d/**")}, []string{"con/b=in/con/b"}},
		"the same for a directory":           {[]string{"in/con/d/a", "in/con/b"}, []render.Copy{from("in", "", "in/con/d/**")}, []string{"in/con/b"}},
		"excluded by the path below from":    {[]string{"in/con/d/a", "in/con/b"}, []render.Copy{from("in", "", "con/d/**")}, []string{"in/con/b"}},
		"not by a path in between":           {[]string{"in/con/d/a", "in/con/b"}, []render.Copy{from("in/**", "", "d/**")}, []string{"con/b=in/con/b", "con/d/a=in/con/d/a"}},
		"a file may be excluded":             {[]string{"a.md", "b"}, []render.Copy{from("b", ""), from("a.md", "", "*.md")}, []string{"b"}},
		"an emptied directory stays":         {[]string{"a/x.md", "b"}, []render.Copy{from("b", ""), from("a", "", "*.md")}, []string{"a/", "b"}},
		"and is no harm to a file":           {[]string{"a/x.md", "b"}, []render.Copy{from("b", "a"), from("a", "", "*.md")}, []string{"a=b"}},
		"braces in excludes":                 {repository, []render.Copy{from("configs/*", "", "**/file{2,3}.yaml", "*.md", "subdir")}, []string{"configs/file1.yaml"}},
		"links are left out":                 {[]string{"d/a.yaml", "d/l.yaml->a.yaml", "d/m->../e", "e/b.yaml"}, []render.Copy{from("d/**", ""), from("d", "")}, []string{"a.yaml=d/a.yaml", "d/a.yaml"}},
		"what Flux ignores is left out": {[]string{"a.yaml", ".github/b.yaml", ".github/w/b.yaml", "c/.sops.yaml", "c/x.png", "c/.gitignore", ".sourceignore=a.yaml", "d/cloudbuild.yaml/e.yaml"},
			[]render.Copy{from("", "")}, []string{".sourceignore=a.yaml", "a.yaml", "c/", "d/"}},
		"but may be the start of something": {[]string{".github/b.yaml"}, []render.Copy{from(".github/**", "")}, []string{"b.yaml=.github/b.yaml"}},
		"dots above, but within":            {repository, []render.Copy{from("configs/../config.yaml", "a/../")}, []string{"config.yaml"}},

		"Merge": {[]string{"a.yaml=name: app\nports: [80, 443]\nlabels: {env: dev, keep: me}\nreplicas: 3\n", "b.yaml=replicas: 5 # more\nports: [8080]\nlabels: {env: prod}\nenv: production\n"},
			[]render.Copy{from("a.yaml", "c.yaml"), with("Merge", from("b.yaml", "c.yaml"))},
			[]string{"c.yaml=env: production\nlabels:\n  env: prod\n  keep: me\nname: app\nports:\n- 8080\nreplicas: 5"}},
		"Merge of a chart": {[]string{"chart/podinfo/values.yaml=a: 1\nb: 2", "git/values-prod.yaml=b: 3"},
			[]render.Copy{{Root: "chart"}, with("Merge", render.Copy{Root: "git", From: "values-prod.yaml", To: "podinfo/values.yaml"})},
			[]string{"podinfo/values.yaml=a: 1\nb: 3"}},
		"Merge of JSON": {[]string{"a.yaml=a: b", "b.json={\"c\": {\"d\": \"e\"}, \"a\": \"x\"}"},
			[]render.Copy{from("a.yaml", "a.yaml"), with("Merge", from("b.json", "a.yaml"))}, []string{"a.yaml=a: x\nc:\n  d: e"}},
		"Merge by a glob, but not in directories": {[]string{"x/a.yaml=a: 1", "x/d/b.yaml=a: 1", "y/a.yaml=b: 2", "y/d/b.yaml=b: 2"},
			[]render.Copy{from("x/**", ""), with("Merge", from("y/**", ""))}, []string{"a.yaml=a: 1\nb: 2", "d/b.yaml=b: 2"}},
		"Merge with excludes": {[]string{"x/a.yaml=a: 1", "x/s.yaml=a: 1", "y/a.yaml=a: 2", "y/s.yaml=a: 2"},
			[]render.Copy{from("x/**", ""), with("Merge", from("y/**", "", "s.yaml"))}, []string{"a.yaml=a: 2", "s.yaml=a: 1"}},
		"Merge with nothing there copies": {[]string{"a.yaml=a:   1 # as it is"}, []render.Copy{with("Merge", from("a.yaml", ""))}, []string{"a.yaml=a:   1 # as it is"}},
		"Merge of many documents, twice": {[]string{"a=a: 1\n---\nb: {c: 1}\n---\n# none\n", "b=b: {d: 2}", "c=a: null\nb: {c: 3}"},
			[]render.Copy{from("a", "o"), with("Merge", from("b", "o")), with("Merge", from("c", "o"))}, []string{"o=a: null\nb:\n  c: 3\n  d: 2"}},
		"Merge with aliases and YAML 1.1": {[]string{"a=x: &x {p: 1}\ny: *x", "b=z: 1"},
			[]render.Copy{from("a", "o"), with("Merge", from("b", "o"))}, []string{"o=\"true\":\n  p: 1\nx:\n  p: 1\nz: 1"}},

		"Extract": {[]string{"m.tgz=" + abc}, []render.Copy{with("Extract", from("m.tgz", "x"))}, []string{"x/a.yaml=tgz:a.yaml", "x/b/c.yaml=tgz:b/c.yaml"}},
		"Extract to the root, any case": {[]string{"m.TAR.gz=" + abc}, []render.Copy{with("Extract", from("m.TAR.gz", ""))},
			[]string{"a.yaml=tgz:a.yaml", "b/c.yaml=tgz:b/c.yaml"}},
		"Extract by a glob, others passed over": {[]string{"m.tgz=" + abc, "n.txt", "i.tgz=no"}, []render.Copy{with("Extract", from("*", "x/", "i.tgz"))},
			[]string{"x/a.yaml=tgz:a.yaml", "x/b/c.yaml=tgz:b/c.yaml"}},
		"Extract at any depth, later over earlier": {[]string{"1.tgz=" + packed(t, "1:", "v", "w"), "r/s/2.tgz=" + packed(t, "2:", "v", "x"), "r/n.txt"},
			[]render.Copy{with("Extract", from("**/*.tgz", "x/"))}, []string{"x/v=2:v", "x/w=1:w", "x/x=2:x"}},
		"Extract with alternatives": {[]string{"a/1.tgz=" + packed(t, "1:", "v"), "b/2.tgz=" + packed(t, "2:", "w"), "c/3.tgz=no"},
			[]render.Copy{with("Extract", from("{a,b}/*.tgz", ""))}, []string{"v=1:v", "w=2:w"}},
		"Extract only what is no archive": {[]string{"a/n.txt", "b"}, []render.Copy{from("b", ""), with("Extract", from("a/**", "x/"))}, []string{"b"}},
		"Extract a file without a type":   {[]string{"m.tgz=" + archive(t, tar.Header{Name: "./"}, tar.Header{Name: "./a", Uname: "A"})}, []render.Copy{with("Extract", from("m.tgz", "/x"))}, []string{"x/a=A"}},
	} {
		t.Run(name, func(t *testing.T) {
			files := tree(c.tree...)
			before := maps.Clone(files)
			view, err := View(files, steps(c.copies...))
			if err != nil {
				t.Fatal(err)
			}
			all := listing(t, view)
			want := slices.Clone(c.want)
			slices.Sort(want)
			if diff := cmp.Diff(want, leaves(all)); diff != "" {
				t.Error(diff)
			}
			if err := fstest.TestFS(view, names(all)...); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(before, files); diff != "" {
				t.Error("the tree was changed", diff)
			}
		})
	}
}

func names(listing []string) (out []string) {
	for _, l := range listing {
		name, _, _ := strings.Cut(l, "=")
		out = append(out, strings.TrimSuffix(name, "/"))
	}
	return out
}

// TestRefused: each has no artifact, and says why.
func TestRefused(t *testing.T) {
	bomb := "a: &a [" + strings.Repeat("x", 1<<20) + "]\nb: [" + strings.Repeat("*a,", 100) + "]\n"
	for name, c := range map[string]struct {
		tree   []string
		copies []render.Copy
		want   string
	}{
		"no source":                        {[]string{"a"}, []render.Copy{from("b", "")}, "no such file"},
		"no source directory":              {[]string{"a"}, []render.Copy{from("b/", "")}, "no such file"},
		"below a file":                     {[]string{"a"}, []render.Copy{from("a/b", "")}, "no such file"},
		"nothing matches":                  {[]string{"a"}, []render.Copy{from("*.yaml", "")}, "nothing in the source matches"},
		"two stars below nothing":          {[]string{"a"}, []render.Copy{from("b/**", "")}, "nothing in the source matches"},
		"two stars below a file":           {[]string{"a"}, []render.Copy{from("a/**", "")}, "nothing in the source matches"},
		"all excluded":                     {[]string{"a.md"}, []render.Copy{from("*", "", "*.md")}, "is excluded"},
		"a broken pattern":                 {[]string{"a"}, []render.Copy{from("[", "")}, "syntax error in pattern"},
		"a broken exclude":                 {[]string{"a"}, []render.Copy{from("a", "", "[")}, "is no pattern"},
		"no strategy of that name":         {[]string{"a"}, []render.Copy{with("Replace", from("a", ""))}, "no strategy"},
		"no root":                          {[]string{"a"}, []render.Copy{{Root: "x", From: "a"}}, "no directory"},
		"a root that is a file":            {[]string{"a"}, []render.Copy{{Root: "a", From: "a"}}, "is no directory"},
		"a root outside":                   {[]string{"a"}, []render.Copy{{Root: "../a", From: "a"}}, "outside of the tree"},
		"a source outside":                 {[]string{"x/a", "b"}, []render.Copy{{Root: "x", From: "../b"}}, "outside of the source"},
		"a source from the root":           {[]string{"a"}, []render.Copy{from("/a", "")}, "outside of the source"},
		"a glob outside":                   {[]string{"x/a", "b"}, []render.Copy{{Root: "x", From: "../*"}}, "nothing in the source matches"},
		"a glob with dots":                 {[]string{"x/a", "b"}, []render.Copy{from("x/../*", "")}, "nothing in the source matches"},
		"a destination outside":            {[]string{"a"}, []render.Copy{from("a", "../b")}, `".."`},
		"a directory outside":              {[]string{"a/b"}, []render.Copy{from("a", "../")}, "outside of the artifact"},
		"a glob's destination outside":     {[]string{"a"}, []render.Copy{from("*", "x/../..")}, "outside of the artifact"},
		"a destination from the root":      {[]string{"a"}, []render.Copy{from("a", "/b")}, "outside of the artifact"},
		"a file over a directory":          {[]string{"a/b", "c/a"}, []render.Copy{from("a", ""), from("c/a", "")}, "is a directory there"},
		"a match over a directory":         {[]string{"x/a/b", "y/a"}, []render.Copy{from("x/**", ""), from("y/**", "")}, "is a directory there"},
		"a directory over a file":          {[]string{"x/a/b", "y/a"}, []render.Copy{from("y/**", ""), from("x/**", "")}, "is a file there"},
		"into a file":                      {[]string{"a", "b"}, []render.Copy{from("a", ""), from("b", "a/")}, "is a file there"},
		"a linked file":                    {[]string{"a", "l->a"}, []render.Copy{from("l", "")}, "no such file"},
		"a linked directory":               {[]string{"a/b", "l->a"}, []render.Copy{from("l", "")}, "no such file"},
		"through a link":                   {[]string{"a/b", "l->a"}, []render.Copy{from("l/b", "")}, "no such file"},
		"a glob through a link":            {[]string{"a/b", "l->a"}, []render.Copy{from("l/**", "")}, "nothing in the source matches"},
		"Merge of no map":                  {[]string{"a=- x", "b=b: 1"}, []render.Copy{from("a", "o"), with("Merge", from("b", "o"))}, `"o" cannot be merged into: document 1`},
		"Merge of no YAML":                 {[]string{"a=a: 1", "b=x: 1\ny: {secret"}, []render.Copy{from("a", "o"), with("Merge", from("b", "o"))}, `"b" cannot be merged: document 1, line`},
		"Merge into a directory":           {[]string{"a/x", "b/a=b: 1"}, []render.Copy{from("a", ""), with("Merge", from("b/**", ""))}, "is a directory"},
		"Merge of too much":                {[]string{"a=a: 1", "b=b: " + strings.Repeat("x", maxMerge)}, []render.Copy{from("a", "o"), with("Merge", from("b", "o"))}, "longer than"},
		"Merge of aliases":                 {[]string{"a=a: 1", "b=" + bomb}, []render.Copy{from("a", "o"), with("Merge", from("b", "o"))}, "too large"},
		"Merge of aliases within":          {[]string{"a=a: 1", "b=b: &b {c: *b}"}, []render.Copy{from("a", "o"), with("Merge", from("b", "o"))}, "no YAML map"},
		"Extract of a directory":           {[]string{"a/b"}, []render.Copy{with("Extract", from("a", ""))}, "a directory cannot be extracted"},
		"Extract of a directory by a glob": {[]string{"a.tgz/b"}, []render.Copy{with("Extract", from("*", ""))}, "is a directory"},
		"Extract of a file":                {[]string{"a"}, []render.Copy{with("Extract", from("a", ""))}, "only .tar.gz"},
		"Extract of no archive":            {[]string{"a.tgz"}, []render.Copy{with("Extract", from("a.tgz", ""))}, "not gzipped"},
		"Extract of half an archive":       {[]string{"a.tgz=" + packed(t, strings.Repeat("x", 99), "a", "b")[:40]}, []render.Copy{with("Extract", from("a.tgz", ""))}, "broken"},
		"Extract to outside":               {[]string{"a.tgz=" + packed(t, "", "a")}, []render.Copy{with("Extract", from("a.tgz", "../x"))}, "outside of the artifact"},
		"Extract into a file":              {[]string{"a.tgz=" + packed(t, "", "a"), "b"}, []render.Copy{from("b", "x"), with("Extract", from("a.tgz", "x"))}, "is a file there"},
		"an entry above":                   {[]string{"a.tgz=" + packed(t, "", "../a")}, []render.Copy{with("Extract", from("a.tgz", "x"))}, "outside of the archive"},
		"an entry that is above":           {[]string{"a.tgz=" + packed(t, "", "..")}, []render.Copy{with("Extract", from("a.tgz", "x"))}, "outside of the archive"},
		"an entry from the root":           {[]string{"a.tgz=" + packed(t, "", "/a")}, []render.Copy{with("Extract", from("a.tgz", "x"))}, "outside of the archive"},
		"an entry of Windows":              {[]string{"a.tgz=" + packed(t, "", `a\b`)}, []render.Copy{with("Extract", from("a.tgz", "x"))}, "outside of the archive"},
		"an entry that is a link":          {[]string{"a.tgz=" + archive(t, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/etc"})}, []render.Copy{with("Extract", from("a.tgz", "x"))}, "link"},
		"an entry with a long name":        {[]string{"a.tgz=" + packed(t, "", strings.Repeat("a/", 3000)+"b")}, []render.Copy{with("Extract", from("a.tgz", "x"))}, "longer than"},
		"too many alternatives":            {[]string{"a"}, []render.Copy{from("a", "", strings.Repeat("{a,b}", 8))}, "too many alternatives"},
		"too long a pattern":               {[]string{"a"}, []render.Copy{from(strings.Repeat("*", 1025), "")}, "longer than"},
		"too many patterns":                {[]string{"a"}, []render.Copy{from("a", "", make([]string, 101)...)}, "more than 100"},
		"directory and copies":             {[]string{"a"}, nil, "not both"},
	} {
		t.Run(name, func(t *testing.T) {
			a := steps(c.copies...)
			if c.copies == nil {
				a = render.Artifact{Root: "a", Copies: []render.Copy{from("a", "")}}
			}
			view, err := View(tree(c.tree...), a)
			if err == nil {
				t.Fatalf("there is one: %v", listing(t, view))
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v does not say %q", err, c.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("%v tells what a file holds", err)
			}
			if view != nil {
				t.Error("there is a view beside the error")
			}
		})
	}
}

// TestRoot: one directory is the tree below it, with all that a tree can do.
func TestRoot(t *testing.T) {
	files := tree("a.yaml", "k/b.yaml", "k/c/d.yaml", "k/l->b.yaml")
	for root, want := range map[string][]string{
		"":    {"a.yaml", "k/b.yaml", "k/c/d.yaml", "k/l->b.yaml"},
		"k":   {"b.yaml", "c/d.yaml", "l"},
		"k/c": {"d.yaml"},
		"./k": {"b.yaml"},
	} {
		view, err := View(files, render.Artifact{Root: root})
		if err != nil {
			t.Fatal(root, err)
		}
		if root == "" {
			if diff := cmp.Diff(fs.FS(files), view); diff != "" {
				t.Error(diff)
			}
			continue
		}
		if err := fstest.TestFS(view, want...); err != nil {
			t.Error(root, err)
		}
		for _, can := range []bool{is[fs.ReadFileFS](view), is[fs.ReadDirFS](view), is[fs.StatFS](view), is[fs.ReadLinkFS](view)} {
			if !can {
				t.Errorf("%s: an ability is lost", root)
			}
		}
		if _, err := fs.Stat(view, "../a.yaml"); !errors.Is(err, fs.ErrInvalid) {
			t.Error(root, err)
		}
	}
	for root, want := range map[string]string{"x": "no directory", "a.yaml": "is no directory", "..": "outside", "/k": "outside"} {
		if _, err := View(files, render.Artifact{Root: root}); err == nil || !strings.Contains(err.Error(), want) {
			t.Error(root, err)
		}
	}
}

func is[T any](v any) bool { _, ok := v.(T); return ok }

// noted tells what was asked of a tree.
type noted struct {
	fstest.MapFS
	asked map[string]bool
}

func (n noted) note(how, name string) { n.asked[how+" "+name] = true }

func (n noted) Open(name string) (fs.File, error) { n.note("open", name); return n.MapFS.Open(name) }
func (n noted) ReadFile(name string) ([]byte, error) {
	n.note("read", name)
	return n.MapFS.ReadFile(name)
}
func (n noted) ReadDir(name string) ([]fs.DirEntry, error) {
	n.note("list", name)
	return n.MapFS.ReadDir(name)
}
func (n noted) Stat(name string) (fs.FileInfo, error) {
	n.note("stat", name)
	return n.MapFS.Stat(name)
}
func (n noted) Lstat(name string) (fs.FileInfo, error) {
	n.note("lstat", name)
	return n.MapFS.Lstat(name)
}

// TestWhatIsAsked: only what is needed to lay out the copies, of the tree's own
// methods, and no file before it is asked for.
func TestWhatIsAsked(t *testing.T) {
	files := noted{tree("a/b/c.yaml", "a/b/d/e.yaml", "a/x.yaml", "z/y.yaml"), map[string]bool{}}
	view, err := View(files, steps(from("a/b/**", "o/")))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"list a/b", "list a/b/d", "lstat a", "lstat a/b", "stat ."}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(files.asked))); diff != "" {
		t.Error(diff)
	}
	clear(files.asked)
	if data, err := fs.ReadFile(view, "o/d/e.yaml"); err != nil || string(data) != "a/b/d/e.yaml" {
		t.Error(string(data), err)
	}
	if _, err := fs.ReadDir(view, "o"); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"read a/b/d/e.yaml"}, slices.Sorted(maps.Keys(files.asked))); diff != "" {
		t.Error(diff)
	}
}

// broken fails to list or look at some of what it has.
type broken struct {
	fstest.MapFS
	at string
}

var errDisk = errors.New("the disk is gone")

func (b broken) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == b.at {
		return nil, errDisk
	}
	return b.MapFS.ReadDir(name)
}

// TestBroken: globs pass over directories that cannot be listed. Here that
// would be a smaller artifact, of which nobody would know.
func TestBroken(t *testing.T) {
	for _, pattern := range []string{"**", "*/*/*.yaml", "a/**", "a", ""} {
		for _, strategy := range []string{"", "Extract"} {
			if strategy == "Extract" && !strings.Contains(pattern, "*") {
				continue
			}
			_, err := View(broken{tree("a/b/c.yaml", "d/e/f.yaml"), "a/b"}, steps(with(strategy, from(pattern, ""))))
			if !errors.Is(err, errDisk) {
				t.Errorf("%q %s: %v", pattern, strategy, err)
			}
		}
	}
}

// plain is a tree that cannot tell links from what they point to but in its
// listings.
type plain struct{ files fs.FS }

func (p plain) Open(name string) (fs.File, error)          { return p.files.Open(name) }
func (p plain) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(p.files, name) }

func TestLinksOfAPlainTree(t *testing.T) {
	files := plain{tree("a/b", "l->a")}
	if view, err := View(files, steps(from("l/b", ""))); err == nil {
		t.Error(listing(t, view))
	}
	view, err := View(files, steps(from("a/b", "")))
	if err != nil || !slices.Equal(listing(t, view), []string{"b=a/b"}) {
		t.Error(err)
	}
}

// TestLimits: what is past them is refused, and soon.
func TestLimits(t *testing.T) {
	many := fstest.MapFS{}
	for i := range maxFiles/2 + 1 {
		many[fmt.Sprintf("d%d/f%d", i%100, i)] = &fstest.MapFile{}
	}
	var all []render.Copy
	for range 50 {
		all = append(all, with("", from("**", "x/", "*a*b*c*d", "**/x/**/y/**/z", "{a,b,c}{d,e}/**")))
	}
	for name, c := range map[string]struct {
		copies []render.Copy
		want   string
	}{
		"files": {[]render.Copy{from("**", "a/"), from("**", "b/")}, "more than 50000 files"},
		"work":  {all, "more than 20000000 steps"},
	} {
		if _, err := View(many, steps(c.copies...)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	zeros := archive(t, tar.Header{Name: "z", Uname: strings.Repeat("\x00", maxBytes+1)})
	if _, err := View(tree("z.tgz="+zeros), steps(with("Extract", from("z.tgz", "")))); err == nil || !strings.Contains(err.Error(), "more than 104857600 bytes") {
		t.Error(err)
	}
}
