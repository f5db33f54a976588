package kustomize

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"github.com/gitward/gitward/gitindex/render"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
)

// source is one document of the tree, or one generator of a kustomization.
type source struct {
	kind, name, namespace string
	group                 string
	path                  string
	line, end             int
	generator             bool
}

// places are the sources of everything that a build read, by kind. kustomize's
// own tracking of origins is not used: it marks the objects while they are
// built, and patches and replacements can see the mark.
type places struct {
	byKind map[string][]source
}

func (t *tree) places() *places {
	p := &places{byKind: map[string][]source{}}
	for _, name := range t.order {
		shown, found := t.shown(t.home(name)), &places{byKind: map[string][]source{}}
		if slices.Contains(konfig.RecognizedKustomizationFileNames(), path.Base(name)) {
			found.generators(shown, t.content[name])
		} else if render.Eligible(name) {
			found.documents(shown, t.content[name])
		}
		p.merge(found, name == t.home(name))
	}
	return p
}

// merge takes over what one file holds. Lines of a file from elsewhere say
// nothing about the file of the tree that brought it in.
func (p *places) merge(found *places, lines bool) {
	for _, sources := range found.byKind {
		for _, s := range sources {
			if !lines {
				s.line, s.end = 0, 0
			}
			p.add(s)
		}
	}
}

func (p *places) add(s source) { p.byKind[s.kind] = append(p.byKind[s.kind], s) }

// documents scans for what names an object, without parsing: the files may be
// megabytes, and kustomize has parsed them already.
func (p *places) documents(name string, data []byte) {
	for _, d := range render.Documents(data) {
		s, ok := scan(d.Text)
		if !ok || strings.HasSuffix(s.kind, "List") {
			p.thorough(name, d)
			continue
		}
		s.path = name
		s.line, s.end = s.line+d.Line-1, s.end+d.Line-1
		p.add(s)
	}
}

// thorough reads the rare document that the scan does not understand: JSON, a
// flow mapping, a list.
func (p *places) thorough(name string, d render.Doc) {
	found, _ := render.Read(d.Text, render.Limits{})
	found, _ = d.Place(name, found, nil)
	for _, o := range found {
		p.add(source{kind: o.Kind, group: o.Group, name: o.Name, namespace: o.Namespace, path: name, line: o.Line, end: o.End})
	}
}

// scan finds apiVersion, kind and the names in a block mapping.
func scan(text []byte) (s source, ok bool) {
	var meta bool
	indent, n := -1, 0
	for line := range bytes.Lines(text) {
		n++
		trimmed := bytes.TrimLeft(line, " ")
		depth := len(line) - len(trimmed)
		trimmed = bytes.TrimSpace(trimmed)
		if len(trimmed) == 0 || trimmed[0] == '#' {
			continue
		}
		if s.line == 0 {
			s.line = n
		}
		s.end = n
		key, value, found := bytes.Cut(trimmed, []byte(":"))
		switch {
		case depth == 0:
			meta = found && string(key) == "metadata" && len(value) == 0
			indent = -1
			s.top(string(key), scalar(value))
		case meta && found:
			if indent < 0 {
				indent = depth
			}
			if depth == indent {
				s.inner(string(key), scalar(value))
			}
		}
	}
	return s, s.kind != "" && s.name != ""
}

func (s *source) top(key, value string) {
	switch key {
	case "kind":
		s.kind = value
	case "apiVersion":
		s.group, _, _ = strings.Cut(value, "/")
		if !strings.Contains(value, "/") {
			s.group = ""
		}
	}
}

func (s *source) inner(key, value string) {
	switch key {
	case "name":
		s.name = value
	case "namespace":
		s.namespace = value
	}
}

func scalar(value []byte) string {
	text := string(bytes.TrimSpace(value))
	if anchor, rest, found := strings.Cut(text, " "); found && strings.HasPrefix(anchor, "&") {
		text = rest
	}
	if text, _, found := strings.Cut(text, " #"); found {
		return strings.Trim(strings.TrimSpace(text), `"'`)
	}
	return strings.Trim(text, `"'`)
}

// generators are the objects that a kustomization makes itself.
func (p *places) generators(name string, data []byte) {
	var k types.Kustomization
	if k.Unmarshal(data) != nil {
		return
	}
	for _, g := range k.ConfigMapGenerator {
		p.add(source{kind: "ConfigMap", name: g.Name, namespace: g.Namespace, path: name, line: lineOf(data, g.Name), generator: true})
	}
	for _, g := range k.SecretGenerator {
		p.add(source{kind: "Secret", name: g.Name, namespace: g.Namespace, path: name, line: lineOf(data, g.Name), generator: true})
	}
}

// lineOf is the line of a generator's name; 0 if it is not written plainly.
func lineOf(data []byte, name string) int {
	n := 0
	for line := range bytes.Lines(data) {
		n++
		if _, value, ok := bytes.Cut(line, []byte("name:")); ok && scalar(value) == name {
			return n
		}
	}
	return 0
}

// find is the source that an object most likely comes from. Names and
// namespaces change on the way: of those whose name is a part of the object's,
// the longest is nearest.
func (p *places) find(o render.Object) (best source, ok bool) {
	score := 0
	for _, s := range p.byKind[o.Kind] {
		if s.group != o.Group || s.name == "" || !strings.Contains(o.Name, s.name) {
			continue
		}
		points := 4 * len(s.name)
		if s.namespace == o.Namespace {
			points += 2
		}
		if s.generator == (s.name != o.Name) {
			points++
		}
		if points > score {
			best, score = s, points
		}
	}
	if best.end == 0 {
		best.end = best.line
	}
	return best, score > 0
}

// kustomization is the name of the directory's kustomization file.
func (t *tree) kustomization(dir string) string {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		if t.Exists(path.Join(dir, name)) {
			return name
		}
	}
	return konfig.DefaultKustomizationFileName()
}
