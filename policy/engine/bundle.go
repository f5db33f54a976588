package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/policy"
)

// Bundle is what one directory holds for policies: Rego with its tests, data,
// and Gatekeeper's objects. All modules are of one dialect of Rego.
type Bundle struct {
	version   ast.RegoVersion
	modules   map[string]*ast.Module // by file
	tests     map[string]*ast.Module
	data      map[string]any
	documents []document
	// Problems name what cannot be read, or does not compile. A bundle with
	// problems is not to be used.
	Problems []gitindex.Problem
}

// document is one of Gatekeeper's objects.
type document struct {
	file     string
	line     int
	text     []byte
	kind     string
	template bool // a ConstraintTemplate, and otherwise a constraint
}

// Read reads the policies of a directory, as policy.Collect found them.
func Read(files policy.Files) *Bundle {
	b := &Bundle{modules: map[string]*ast.Module{}, tests: map[string]*ast.Module{}, data: map[string]any{}}
	sources := map[string]string{}
	var given *int
	for _, name := range slices.Sorted(maps.Keys(files)) {
		switch text := files[name]; policy.KindOf(name) {
		case policy.Rego:
			sources[name] = string(text)
		case policy.Data:
			b.mount(name, text)
		case policy.Manifest:
			given = b.manifest(name, text)
		case policy.YAML:
			b.gatekeeper(name, text)
		}
	}
	b.parse(sources, given)
	return b
}

func (b *Bundle) problem(file string, line int, format string, args ...any) {
	b.Problems = append(b.Problems, gitindex.Problem{Path: file, Line: line, Message: fmt.Sprintf(format, args...)})
}

// mount puts a data file where its directory is.
func (b *Bundle) mount(name string, text []byte) {
	value, err := readData(text)
	if err != nil {
		b.problem(name, 0, "this data does not parse: %s", gitindex.Clean(err.Error(), 200))
		return
	}
	if _, ok := value.(map[string]any); !ok {
		b.problem(name, 0, "data must be an object")
		return
	}
	if dir := path.Dir(name); dir != "." {
		for _, step := range slices.Backward(strings.Split(dir, "/")) {
			value = map[string]any{step: value}
		}
	}
	b.merge(name, b.data, value.(map[string]any), "data")
}

// readData reads YAML or JSON, and leaves numbers as they are.
func readData(text []byte) (any, error) {
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, err
	}
	var value any
	d := json.NewDecoder(bytes.NewReader(asJSON))
	d.UseNumber()
	return value, d.Decode(&value)
}

// merge adds what a file has to what others have. Two may have the same object,
// but not the same value in it.
func (b *Bundle) merge(name string, into, from map[string]any, at string) {
	for _, key := range slices.Sorted(maps.Keys(from)) {
		have, taken := into[key]
		if !taken {
			into[key] = from[key]
			continue
		}
		old, ok1 := have.(map[string]any)
		more, ok2 := from[key].(map[string]any)
		if !ok1 || !ok2 {
			b.problem(name, 0, "another file gives %s as well", gitindex.Clean(at+"."+key, 200))
			continue
		}
		b.merge(name, old, more, at+"."+key)
	}
}

// manifest reads of an OPA bundle's manifest which Rego it is in.
func (b *Bundle) manifest(name string, text []byte) *int {
	var m struct {
		RegoVersion *int `json:"rego_version"`
	}
	if err := json.Unmarshal(text, &m); err != nil {
		b.problem(name, 0, "this manifest does not parse")
	}
	return m.RegoVersion
}

// gatekeeper keeps the documents that are Gatekeeper's.
func (b *Bundle) gatekeeper(name string, text []byte) {
	line := 1
	for _, doc := range splitDocuments(text) {
		var head struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
		}
		err := yaml.Unmarshal(doc, &head)
		group, _, _ := strings.Cut(head.APIVersion, "/")
		switch {
		case err != nil:
			b.problem(name, line, "this document does not parse: %s", gitindex.Clean(err.Error(), 200))
		case group == "templates.gatekeeper.sh" || group == "constraints.gatekeeper.sh":
			b.documents = append(b.documents, document{file: name, line: line, text: doc, kind: head.Kind, template: group == "templates.gatekeeper.sh"})
		}
		line += bytes.Count(doc, []byte("\n")) + 1
	}
}

// splitDocuments splits YAML at lines that begin with three dashes.
func splitDocuments(text []byte) [][]byte {
	var out [][]byte
	from := 0
	for at := 0; at < len(text); {
		end := bytes.IndexByte(text[at:], '\n')
		if end < 0 {
			break
		}
		if next := at + end + 1; bytes.HasPrefix(text[next:], []byte("---")) {
			out = append(out, text[from:next-1])
			from = next
		}
		at += end + 1
	}
	return append(out, text[from:])
}

// parse reads the modules in the one dialect that all of them are in: the
// manifest's, or version 1 if that can be, or else version 0.
func (b *Bundle) parse(sources map[string]string, given *int) {
	versions := []ast.RegoVersion{ast.RegoV1, ast.RegoV0}
	if given != nil {
		version, err := ast.RegoVersionFromIntStrict(*given)
		if err != nil {
			b.problem(".manifest", 0, "rego_version: %s", gitindex.Clean(err.Error(), 100))
			return
		}
		versions = []ast.RegoVersion{version}
	}
	var fewest []gitindex.Problem
	failed := make([]map[string]bool, len(versions))
	for i, version := range versions {
		modules, problems := parseAll(sources, version)
		failed[i] = map[string]bool{}
		for _, p := range problems {
			failed[i][p.Path] = true
		}
		if len(problems) == 0 {
			b.version = version
			for name, m := range modules {
				if isTest(name) {
					b.tests[name] = m
				} else {
					b.modules[name] = m
				}
			}
			return
		}
		if i == 0 || len(problems) < len(fewest) {
			fewest = problems
		}
	}
	b.mixed(failed)
	b.Problems = append(b.Problems, fewest...)
}

// mixed says so where every module is good Rego, but not of one version.
func (b *Bundle) mixed(failed []map[string]bool) {
	if len(failed) < 2 {
		return
	}
	for name := range failed[0] {
		if failed[1][name] {
			return
		}
	}
	old, young := slices.Sorted(maps.Keys(failed[0]))[0], slices.Sorted(maps.Keys(failed[1]))[0]
	b.problem(young, 0, "this is version 1 of Rego, and %s is version 0: \"import rego.v1\" here goes with that", gitindex.Clean(old, 200))
}

func isTest(name string) bool { return strings.HasSuffix(name, "_test.rego") }

func parseAll(sources map[string]string, version ast.RegoVersion) (map[string]*ast.Module, []gitindex.Problem) {
	out := map[string]*ast.Module{}
	var problems []gitindex.Problem
	for name, text := range sources {
		m, err := ast.ParseModuleWithOpts(name, text, ast.ParserOptions{RegoVersion: version, ProcessAnnotation: true})
		switch {
		case err != nil:
			problems = append(problems, explain(name, err)...)
		case m == nil:
			problems = append(problems, gitindex.Problem{Path: name, Message: "an empty module: it has no package"})
		default:
			out[name] = m
		}
	}
	slices.SortFunc(problems, func(x, y gitindex.Problem) int { return strings.Compare(x.Path, y.Path) })
	return out, problems
}

// explain makes problems of OPA's errors, and says what to write in place of a
// built-in that is not there.
func explain(name string, err error) []gitindex.Problem {
	var list ast.Errors
	var alone *ast.Error
	if errors.As(err, &alone) {
		list = ast.Errors{alone}
	} else if !errors.As(err, &list) {
		return []gitindex.Problem{{Path: name, Message: gitindex.Clean(err.Error(), 300)}}
	}
	out := make([]gitindex.Problem, 0, len(list))
	for _, e := range list {
		p := gitindex.Problem{Path: name, Message: gitindex.Clean(e.Message, 300)}
		if e.Location != nil {
			p.Line = e.Location.Row
			if e.Location.File != "" {
				p.Path = e.Location.File
			}
		}
		if f, ok := strings.CutPrefix(e.Message, "undefined function "); ok && impure()[f] {
			p.Message = f + " is not for policies, whose answer hangs on their input alone"
			if why := instead[f]; why != "" {
				p.Message += ": " + why
			}
		}
		out = append(out, p)
	}
	return out
}
