package argocd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/gobwas/glob"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/gitindex/render/jsonnet"
)

// skipMarker in a file keeps Argo CD from reading it as a manifest.
const skipMarker = "+argocd:skip-file-rendering"

// What one directory may hold.
const (
	maxDepth = 40
	maxFiles = 20_000
	maxBytes = 256 << 20
)

// directory reads plain files and jsonnet: findManifests of
// reposerver/repository/repository.go. A file that cannot be read is a problem
// and takes no other down, although Argo CD would apply nothing then: what the
// other files declare is none the less what Git says.
func (b *builder) directory(s *Source, dir string, env environment) ([]render.Object, error) {
	options := s.Directory
	if options == nil {
		options = &Directory{}
	}
	w := walk{b: b, root: dir, options: options}
	if err := w.globs(); err != nil {
		return nil, err
	}
	vars := render.JsonnetOptions{Libraries: append([]string{dir}, options.Jsonnet.Libs...),
		ExtVars: env.variables(options.Jsonnet.ExtVars), TLAs: env.variables(options.Jsonnet.TLAs)}
	w.jsonnet = vars
	err := w.directory(dir, 0)
	return w.objects, err
}

func (e environment) variables(given []Variable) []render.JsonnetVar {
	vars := make([]render.JsonnetVar, len(given))
	for i, v := range given {
		vars[i] = render.JsonnetVar{Name: v.Name, Value: e.expand(v.Value), Code: v.Code}
	}
	return vars
}

// walk is one way through a directory.
type walk struct {
	b                *builder
	root             string
	options          *Directory
	jsonnet          render.JsonnetOptions
	include, exclude pattern
	objects          []render.Object
	files, bytes     int
}

// globs compiles the patterns. In one that does not compile Argo CD finds no
// match. A star crosses slashes: util/glob/glob.go names no separators.
func (w *walk) globs() error {
	compile := func(text string) pattern {
		if g, err := glob.Compile(text); err == nil {
			return g
		}
		return nothing{}
	}
	if len(w.options.Include) > 1000 || len(w.options.Exclude) > 1000 {
		return errors.New("a pattern of its directory is longer than 1,000 characters")
	}
	if w.options.Include != "" {
		w.include = compile(w.options.Include)
	}
	if w.options.Exclude != "" {
		w.exclude = compile(w.options.Exclude)
	}
	return nil
}

type pattern interface{ Match(string) bool }

type nothing struct{}

func (nothing) Match(string) bool { return false }

func (w *walk) directory(dir string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s is more than %d directories deep", gitindex.Clean(dir, 200), maxDepth)
	}
	entries, err := fs.ReadDir(w.b.src.Tree(), dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if e.IsDir() && e.Type()&fs.ModeSymlink == 0 {
			if w.options.Recurse {
				err = w.directory(name, depth+1)
			}
		} else if w.wanted(name) {
			err = w.file(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// wanted goes by the name alone.
func (w *walk) wanted(name string) bool {
	switch path.Ext(name) {
	case ".yaml", ".yml", ".json", ".jsonnet":
	default:
		if !w.options.DisableExtensionFilter {
			return false
		}
	}
	rel := name
	if w.root != "." {
		rel = strings.TrimPrefix(name, w.root+"/")
	}
	return (w.exclude == nil || !w.exclude.Match(rel)) && (w.include == nil || w.include.Match(rel))
}

func (w *walk) file(name string) error {
	state, err := fs.Stat(w.b.src.Tree(), name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !state.Mode().IsRegular() {
		return nil // a link to nothing, or to a directory: Argo CD warns and goes on
	}
	if err != nil {
		return err
	}
	data, err := fs.ReadFile(w.b.src.Tree(), name)
	if err != nil {
		return err
	}
	if bytes.Contains(data, []byte(skipMarker)) {
		return nil
	}
	if w.files, w.bytes = w.files+1, w.bytes+len(data); w.files > maxFiles || w.bytes > maxBytes {
		return fmt.Errorf("it holds more than %d files or %d MiB", maxFiles, maxBytes>>20)
	}
	if strings.HasSuffix(name, ".jsonnet") {
		return w.evaluate(name)
	}
	objects, problems := plain(name, data)
	w.objects = append(w.objects, objects...)
	w.b.problems = append(w.b.problems, problems...)
	return nil
}

func (w *walk) evaluate(name string) error {
	w.b.src.rendered()
	documents, err := jsonnet.Documents(w.b.src, name, w.jsonnet)
	if err != nil {
		return err
	}
	for _, text := range documents {
		objects, problems := document(render.Doc{Text: text, Line: 1})
		for i := range objects {
			objects[i].Path, objects[i].Line, objects[i].End = name, 0, 0
		}
		for _, p := range problems {
			w.b.problems = append(w.b.problems, gitindex.Problem{Path: name, Message: p.Message})
		}
		w.objects = append(w.objects, objects...)
	}
	return nil
}

// plain reads a file as render does, and hooks besides that have a generated
// name, which only hooks can have.
func plain(name string, data []byte) ([]render.Object, []gitindex.Problem) {
	objects, problems := render.File(name, data, render.Limits{})
	if len(problems) > 0 && bytes.Contains(data, []byte("generateName")) && bytes.Contains(data, []byte("hook")) {
		objects, problems = nil, nil
		for _, doc := range render.Documents(data) {
			found, broken := document(doc)
			found, broken = doc.Place(name, found, broken)
			objects, problems = append(objects, found...), append(problems, broken...)
		}
	}
	for i := range objects {
		objects[i].Path = name
	}
	return objects, problems
}

func document(doc render.Doc) ([]render.Object, []gitindex.Problem) {
	objects, problems := render.Read(doc.Text, render.Limits{})
	if len(problems) == 1 && len(objects) == 0 {
		if hook, ok := generated(doc.Text); ok {
			return []render.Object{hook}, nil
		}
	}
	return objects, problems
}

// generated is a hook whose name Argo CD makes up: generateName, seven digits
// of the commit, the phase and the time.
func generated(text []byte) (render.Object, bool) {
	var o struct {
		APIVersion, Kind string
		Metadata         struct{ Name, GenerateName, Namespace string }
	}
	meaning, err := yaml.YAMLToJSON(text)
	if err != nil || json.Unmarshal(meaning, &o) != nil || o.Kind == "" || o.Metadata.Name != "" || o.Metadata.GenerateName == "" {
		return render.Object{}, false
	}
	annotations, err := annotationsOf(meaning)
	if hook, _ := hookOf(annotations); err != nil || !hook {
		return render.Object{}, false
	}
	group, version, found := strings.Cut(o.APIVersion, "/")
	if !found {
		group, version = "", o.APIVersion
	}
	return render.Object{Group: group, Version: version, Kind: o.Kind, Namespace: o.Metadata.Namespace,
		GenerateName: o.Metadata.GenerateName, JSON: meaning, Line: 1, End: bytes.Count(text, []byte("\n")) + 1}, true
}
