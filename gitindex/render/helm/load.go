package helm

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"strings"

	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/ignore"

	"github.com/gitward/gitward/gitindex"
)

// The most that a chart may hold, its dependencies included.
const (
	maxFiles  = 20_000
	maxBytes  = 64 << 20
	maxDepth  = 40 // of directories; links may lead in a circle
	maxOutput = 64 << 20
)

// loaded is a chart with all that it depends on.
type loaded struct {
	chart  *chart.Chart
	places map[string]string // what a file's path begins with, by Helm's name of the chart
}

// files are a chart's, by their names in its directory.
type files []*archive.BufferedFile

// load reads the chart and what it depends on.
func (r Release) load() (*loaded, error) {
	read, err := readChart(r.Chart, r.Dir, r.inTree())
	if err != nil {
		return nil, err
	}
	c, err := assemble(read)
	if err != nil {
		return nil, err
	}
	if err := r.amend(c); err != nil {
		return nil, err
	}
	l := &loaded{chart: c, places: map[string]string{}}
	l.places[c.Name()] = c.Name()
	if r.inTree() {
		l.place(c.Name(), r.Dir, read)
	}
	return l, r.depend(l, read)
}

// amend gives the chart the version and values that it is packaged with.
func (r Release) amend(c *chart.Chart) (err error) {
	if r.Defaults != nil {
		c.Values = loader.MergeMaps(nil, r.Defaults)
	}
	if r.Version != nil {
		c.Metadata.Version, err = r.Version(c.Metadata.Version)
	}
	return err
}

// assemble is a chart of its files.
func assemble(read files) (*chart.Chart, error) {
	c, err := loader.LoadFiles(read)
	if err != nil {
		return nil, errors.New(gitindex.Clean(err.Error(), 300))
	}
	return c, ambiguous(c)
}

// ambiguous refuses two dependencies of one name: Helm takes either, as the
// order of a map has it.
func ambiguous(c *chart.Chart) error {
	seen := map[string]bool{}
	for _, d := range c.Dependencies() {
		if seen[d.Name()] {
			return fmt.Errorf("the charts directory of %s holds the chart %s twice: Helm takes the one or the other",
				gitindex.Clean(c.Name(), 60), gitindex.Clean(d.Name(), 60))
		}
		seen[d.Name()] = true
		if err := ambiguous(d); err != nil {
			return err
		}
	}
	return nil
}

// walker reads a directory as Helm's own loader does: symbolic links are
// followed as the file system follows them, .helmignore decides. In a chart that
// was packed it has decided before, and Helm does not look at it again.
type walker struct {
	fsys  fs.FS
	dir   string
	rules *ignore.Rules
	files files
	size  int64
}

func readChart(fsys fs.FS, dir string, unpacked bool) (files, error) {
	w := &walker{fsys: fsys, dir: cleanDir(dir), rules: ignore.Empty()}
	if !fs.ValidPath(w.dir) {
		return nil, fmt.Errorf("the chart's path %q leads out of the tree", gitindex.Clean(dir, 200))
	}
	if unpacked {
		text, err := fs.ReadFile(fsys, path.Join(w.dir, ignore.HelmIgnore))
		if err == nil {
			w.rules, err = ignore.Parse(bytes.NewReader(text))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("reading .helmignore: %w", err)
		}
		w.rules.AddDefaults()
	}
	if err := w.directory("", 0); err != nil {
		return nil, err
	}
	return w.files, nil
}

func cleanDir(dir string) string {
	return path.Clean("./" + dir)
}

func (w *walker) directory(name string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s is more than %d directories deep", gitindex.Clean(name, 200), maxDepth)
	}
	entries, err := fs.ReadDir(w.fsys, path.Join(w.dir, name))
	if err != nil {
		return fmt.Errorf("reading the chart's directory: %w", err)
	}
	for _, e := range entries {
		if err := w.entry(path.Join(name, e.Name()), depth); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) entry(name string, depth int) error {
	at := path.Join(w.dir, name)
	state, err := fs.Stat(w.fsys, at)
	if err != nil {
		return fmt.Errorf("reading the chart: %w", err)
	}
	if w.rules.Ignore(name, state) {
		return nil
	}
	if state.IsDir() {
		return w.directory(name, depth+1)
	}
	if !state.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", gitindex.Clean(at, 200))
	}
	if w.size += state.Size(); w.size > maxBytes || len(w.files) >= maxFiles {
		return fmt.Errorf("the chart is larger than %d MiB or has more than %d files", maxBytes>>20, maxFiles)
	}
	data, err := fs.ReadFile(w.fsys, at)
	if err != nil {
		return fmt.Errorf("reading the chart: %w", err)
	}
	w.size += int64(len(data)) - state.Size()
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	w.files = append(w.files, &archive.BufferedFile{Name: name, Data: data})
	return nil
}

// inTree reports whether the chart is of the tree, so that its paths are too. One
// from elsewhere is always at the root of what it was unpacked to.
func (r Release) inTree() bool {
	return cleanDir(r.Dir) != "." || r.Sources != nil && sameFS(r.Chart, r.Sources.Tree())
}

// sameFS does not compare by == what Go cannot compare so, such as a map.
func sameFS(a, b fs.FS) bool {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	if !x.IsValid() || !y.IsValid() || x.Type() != y.Type() {
		return false
	}
	if x.Kind() == reflect.Map {
		return x.Pointer() == y.Pointer()
	}
	return x.Comparable() && a == b
}

// place notes where the templates of a chart and of those in its charts
// directory stand. name is Helm's for the chart.
func (l *loaded) place(name, dir string, read files) {
	l.places[name] = strings.TrimPrefix(cleanDir(dir), "./")
	inner := map[string]files{}
	for _, f := range read {
		rest, ok := strings.CutPrefix(f.Name, "charts/")
		if !ok {
			continue
		}
		sub, file, nested := strings.Cut(rest, "/")
		if !nested {
			l.archive(name, path.Join(dir, f.Name), f.Data)
			continue
		}
		inner[sub] = append(inner[sub], &archive.BufferedFile{Name: file, Data: f.Data})
	}
	for sub, read := range inner {
		if c := metadata(read); c != nil {
			l.place(name+"/charts/"+c.Name, path.Join(dir, "charts", sub), read)
		}
	}
	if c := metadata(read); c != nil {
		for _, d := range c.Dependencies {
			if d != nil {
				l.call(name, d)
			}
		}
	}
}

// archive notes that a chart is packed: its files have no nearer place.
func (l *loaded) archive(parent, at string, data []byte) {
	if path.Ext(at) != ".tgz" {
		return
	}
	if c, err := loader.LoadArchive(bytes.NewReader(data)); err == nil {
		l.places[parent+"/charts/"+c.Name()] = at
	}
}
