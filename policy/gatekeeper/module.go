package gatekeeper

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	regoschema "github.com/open-policy-agent/frameworks/constraint/pkg/client/drivers/rego/schema"
	"github.com/open-policy-agent/frameworks/constraint/pkg/regorewriter"
	"github.com/open-policy-agent/opa/v1/ast"
	yamlv3 "go.yaml.in/yaml/v3"
)

// Module is one text of Rego of a template.
type Module struct {
	Name string // like a file's: the template's file, then what it is of the template
	Text string
	// Line is the line of the template's file where Text begins, for the
	// messages of a compiler. 0 if Text does not stand there line by line: in
	// JSON, or in a quoted string.
	Line int
}

// The parts of data that the Rego of a template may refer to, by Gatekeeper's
// rule: its libraries, and the objects of the cluster.
const (
	libraries = "data.lib"
	inventory = "data.inventory"
)

// load takes the Rego of a template, and refuses what Gatekeeper refuses of it
// before it compiles it.
func (t *Template) load(source *regoschema.Source) error {
	base := t.File + "/" + t.Name
	t.Modules = []Module{{Name: base + ".rego", Text: source.Rego}}
	for i, text := range source.Libs {
		t.Modules = append(t.Modules, Module{Name: base + ".lib" + strconv.Itoa(i) + ".rego", Text: text})
	}
	parsed := make([]*ast.Module, len(t.Modules))
	for i, module := range t.Modules {
		var err error
		if parsed[i], err = t.parse(module); err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(parsed[0].Rules, func(r *ast.Rule) bool { return r.Head.Name == "violation" }) {
		return errors.New("its Rego has no rule named violation")
	}
	if err := t.enter(parsed[0]); err != nil {
		return err
	}
	return check(t.Modules, parsed)
}

func (t *Template) parse(module Module) (*ast.Module, error) {
	version := ast.RegoV0
	if t.V1 {
		version = ast.RegoV1
	}
	parsed, err := ast.ParseModuleWithOpts(module.Name, module.Text, ast.ParserOptions{RegoVersion: version})
	if err != nil {
		return nil, err
	}
	if parsed == nil {
		return nil, fmt.Errorf("%s is empty", module.Name)
	}
	return parsed, nil
}

// enter finds the entry. Gatekeeper moves the package of a template out of the
// way of all else in data, whatever its name. Here it stays, so that messages
// speak of the package that its author wrote, unless that is in the way: within
// data.lib or data.inventory.
func (t *Template) enter(module *ast.Module) error {
	path := module.Package.Path
	if path.HasPrefix(ast.MustParseRef(libraries)) || path.HasPrefix(ast.MustParseRef(inventory)) {
		text, at := t.Modules[0].Text, module.Package.Location.Offset
		old := clause.FindString(text[at:])
		if old == "" {
			return fmt.Errorf("its package %v is where libraries and the inventory are: give it another name", path)
		}
		t.Modules[0].Text = text[:at] + "package template" + strings.Repeat("\n", strings.Count(old, "\n")) + text[at+len(old):]
		path = ast.MustParseRef("data.template")
	}
	t.Entry = path.String() + ".violation"
	return nil
}

// clause is what gives a module its package.
var clause = regexp.MustCompile(`^package\s+[A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\["[^"]*"\])*`)

// check holds the modules to Gatekeeper's rules of what a library's package is
// called, of imports and of references to data. Its rewriter makes changes too,
// which would keep the libraries of several templates apart; they are compiled
// apart here, so what it wrote is dropped.
func check(modules []Module, parsed []*ast.Module) error {
	rewriter, err := regorewriter.New(regorewriter.NewPackagePrefixer("libs"), []string{libraries}, []string{inventory})
	if err != nil {
		return err
	}
	parsed[0].Package.Path = ast.MustParseRef("data.template")
	rewriter.AddEntryPointModule(modules[0].Name, parsed[0])
	for i := 1; i < len(parsed); i++ {
		if err := rewriter.AddLib(modules[i].Name, parsed[i]); err != nil {
			return err
		}
	}
	_, err = rewriter.Rewrite()
	return err
}

// findLines says of each module where in the file it begins.
func (t *Template) findLines(raw []byte) {
	var document yamlv3.Node
	if yamlv3.Unmarshal(raw, &document) != nil || len(document.Content) == 0 {
		return // then it has no lines to tell
	}
	first := child(child(child(document.Content[0], "spec"), "targets"), "0")
	rego, libs := child(first, "rego"), child(first, "libs")
	if rego == nil || rego.Value == "" { // the older field counts, if both are there
		source := child(regoCode(child(first, "code")), "source")
		rego, libs = child(source, "rego"), child(source, "libs")
	}
	t.Modules[0].Line = t.lineOf(rego)
	for i := range t.Modules[1:] {
		t.Modules[1+i].Line = t.lineOf(child(libs, strconv.Itoa(i)))
	}
}

// lineOf is the line of the file where a text begins that is a literal block.
func (t *Template) lineOf(text *yamlv3.Node) int {
	if text == nil || text.Style&yamlv3.LiteralStyle == 0 {
		return 0
	}
	return t.Line + text.Line // the text begins on the line after its "|"
}

// regoCode is the first element of spec.targets[0].code that is Rego.
func regoCode(code *yamlv3.Node) *yamlv3.Node {
	if code == nil {
		return nil
	}
	for _, one := range code.Content {
		if engine := child(one, "engine"); engine != nil && engine.Value == regoschema.Name {
			return one
		}
	}
	return nil
}

// child is the value of a key of a mapping, or an element of a sequence; nil if
// there is none.
func child(node *yamlv3.Node, key string) *yamlv3.Node {
	if node != nil && node.Kind == yamlv3.AliasNode {
		node = node.Alias
	}
	switch {
	case node == nil:
	case node.Kind == yamlv3.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == key {
				return node.Content[i+1]
			}
		}
	case node.Kind == yamlv3.SequenceNode:
		if i, err := strconv.Atoi(key); err == nil && i < len(node.Content) {
			return node.Content[i]
		}
	}
	return nil
}
