// Package layout holds the house to its plan: which room may import which, and
// which library belongs to which room. It reads the imports itself: what `go
// list` would say is no input of a test, so the test cache would not notice.
package layout

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// source is what the layout is about in one Go file.
type source struct {
	path    string // from the root of the module, with slashes
	pkg     string
	imports []string
	lines   int
	written bool // by a person, not by a generator
}

func TestLayout(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := readSources(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(sources) == 0 {
		t.Fatal("no Go files found")
	}
	for _, s := range sources {
		for _, problem := range check(s) {
			t.Error(problem)
		}
		if s.lines > 600 && s.written && !strings.HasSuffix(s.path, "_test.go") {
			t.Logf("%s has %d lines: is there a second room in it?", s.path, s.lines)
		}
	}
}

// check says what one file does that the plan does not have.
func check(s source) []string {
	var problems []string
	say := func(format string, args ...any) {
		problems = append(problems, s.path+": "+fmt.Sprintf(format, args...))
	}
	dir := path.Dir(s.path)
	for _, name := range append(strings.Split(dir, "/"), s.pkg) {
		if slices.Contains(vague, name) {
			say("the name %q says nothing about what is inside", name)
		}
	}
	here, ok := roomOf(dir)
	if !ok {
		say("%s is in no room: if it has to be, give it a line in rules_test.go", dir)
		return problems
	}
	if strings.HasSuffix(s.path, "_test.go") {
		return problems
	}
	for _, imported := range s.imports {
		if why := refuse(here, imported); why != "" {
			say("%s", why)
		}
	}
	return problems
}

// refuse says why a room may not import a package; it is empty if it may.
func refuse(here, imported string) string {
	if within(imported, module) {
		return refuseRoom(here, strings.TrimPrefix(strings.TrimPrefix(imported, module), "/"))
	}
	plan := rooms[here]
	if plan.quiet && withinAny(imported, logging) {
		return fmt.Sprintf("%s does not log, it returns: it may not import %s", here, imported)
	}
	if plan.libraries != nil && strings.Contains(firstElement(imported), ".") && !withinAny(imported, plan.libraries) {
		return fmt.Sprintf("%s may import the standard library and %v, not %s", here, plan.libraries, imported)
	}
	for _, library := range libraries {
		if withinAny(imported, library.names) && !slices.Contains(library.rooms, here) {
			return fmt.Sprintf("%s belongs to %v, %s may not import it", imported, library.rooms, here)
		}
	}
	return ""
}

func refuseRoom(here, dir string) string {
	there, ok := roomOf(dir)
	switch {
	case !ok:
		return fmt.Sprintf("%s may not import %s, which is in no room", here, dir)
	case here == there:
		return ""
	}
	allowed := slices.Contains(rooms[here].imports, there) || slices.Contains(rooms[here].imports, "*")
	if guests, ok := reserved[there]; ok {
		allowed = slices.Contains(guests, here)
	}
	if allowed {
		return ""
	}
	return fmt.Sprintf("%s may not import %s: arrows point downwards, and neighbours do not know each other", here, there)
}

// roomOf is the innermost room that a directory is in.
func roomOf(dir string) (string, bool) {
	for ; dir != "." && dir != ""; dir = path.Dir(dir) {
		if _, ok := rooms[dir]; ok {
			return dir, true
		}
	}
	return "", false
}

// within reports whether a package is the named one or below it. A major
// version is part of the name: structured-merge-diff/v6 is below
// structured-merge-diff.
func within(pkg, name string) bool { return pkg == name || strings.HasPrefix(pkg, name+"/") }

func withinAny(pkg string, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return within(pkg, name) })
}

func firstElement(pkg string) string {
	first, _, _ := strings.Cut(pkg, "/")
	return first
}

// readSources reads all Go files of the module, whatever they are built for.
func readSources(root string) ([]source, error) {
	var sources []source
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if file != root && foreign(file, entry.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(file) != ".go" || strings.HasPrefix(entry.Name(), "_") || strings.HasPrefix(entry.Name(), ".") {
			return nil
		}
		s, err := readSource(root, file)
		sources = append(sources, s)
		return err
	})
	return sources, err
}

// foreign reports whether a directory is not part of the module.
func foreign(dir, name string) bool {
	if name == "testdata" || name == "vendor" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return true
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

func readSource(root, file string) (source, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return source{}, err
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		return source{}, err
	}
	name, err := filepath.Rel(root, file)
	if err != nil {
		return source{}, err
	}
	s := source{
		path:    filepath.ToSlash(name),
		pkg:     strings.TrimSuffix(parsed.Name.Name, "_test"),
		lines:   bytes.Count(text, []byte("\n")),
		written: !ast.IsGenerated(parsed),
	}
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return source{}, err
		}
		s.imports = append(s.imports, imported)
	}
	return s, nil
}
