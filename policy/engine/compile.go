package engine

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"github.com/gitward/gitward/policy"
)

// unit is Rego that was compiled together, with its data. Units do not see each
// other.
type unit struct {
	compiler *ast.Compiler
	store    storage.Store
	stocked  *byte // the beginning of the inventory that is in the store
}

// compile makes a unit of modules, or says with ast.Errors why it cannot.
func compile(modules map[string]*ast.Module, version ast.RegoVersion, data map[string]any) (*unit, error) {
	store := inmem.NewFromObjectWithOpts(data, inmem.OptReturnASTValuesOnRead(true))
	c := ast.NewCompiler().WithCapabilities(capabilities()).WithDefaultRegoVersion(version).WithPathConflictsCheck(func(p []string) (bool, error) {
		return holds(data, p), nil
	})
	copies := make(map[string]*ast.Module, len(modules))
	for name, m := range modules {
		copies[name] = m.Copy() // the compiler rewrites what it is given
	}
	if c.Compile(copies); c.Failed() {
		return nil, c.Errors
	}
	return &unit{compiler: c, store: store}, nil
}

// holds reports whether data has something at a path.
func holds(data map[string]any, path []string) bool {
	var at any = data
	for _, step := range path {
		object, ok := at.(map[string]any)
		if !ok {
			return false
		}
		if at, ok = object[step]; !ok {
			return false
		}
	}
	return true
}

// entryName are the rules that speak: those of OPA's Kubernetes tutorial, of
// conftest and of Gatekeeper. Conftest lets a name follow.
var entryName = regexp.MustCompile(`^(deny|violation|warn)(_[A-Za-z0-9_]+)?$`)

// Policy is what one package, or one constraint, says of requests.
type Policy struct {
	Name  string // of the package, or "Kind/name" of a constraint
	Title string
	File  string
	Line  int

	unit  *unit
	shape shape
	rules []rule
	// exception is the package's rule of that name, if it has one.
	exception *rule
	terms     // of the package, or of the constraint; points are of all rules together
	// judges narrows the operations; nil leaves it to the shape.
	judges     func(operation string) bool
	parameters *ast.Term
	inventory  []string
}

// rule is one entry of a policy, ready to be asked.
type rule struct {
	name  string
	path  ast.Ref
	line  int
	file  string
	title string
	warns bool
	query rego.PreparedEvalQuery
	// titles are those of its definitions, by their place.
	titles map[string]string
	terms  // that stand above the rule; points are the package's if there are none
}

// packages finds the packages of some of a unit's modules that have something to
// say, and makes each a policy.
func (u *unit) packages(of map[string]*ast.Module) ([]*Policy, error) {
	byPackage := map[string]*Policy{}
	for _, file := range slices.Sorted(maps.Keys(of)) {
		m := u.compiler.Modules[file]
		for _, r := range m.Rules {
			name := ruleName(r)
			if !entryName.MatchString(name) || len(r.Head.Args) > 0 {
				continue
			}
			path := m.Package.Path.Append(ast.StringTerm(name))
			key := m.Package.Path.String()
			p := byPackage[key]
			if p == nil {
				p = &Policy{Name: dotted(m.Package.Path), File: file, Line: m.Package.Loc().Row, unit: u}
				byPackage[key] = p
			}
			if !slices.ContainsFunc(p.rules, func(have rule) bool { return have.name == name }) {
				p.rules = append(p.rules, rule{name: name, path: path, file: file, line: r.Loc().Row, warns: strings.HasPrefix(name, "warn"), titles: map[string]string{}})
			}
		}
	}
	var out []*Policy
	for _, key := range slices.Sorted(maps.Keys(byPackage)) {
		p := byPackage[key]
		p.exempt()
		if err := p.prepare(); err != nil {
			return nil, err
		}
		w := u.readings(p.all())
		p.shape, p.inventory = w.shape(), slices.Sorted(maps.Keys(w.inventory))
		out = append(out, p)
	}
	return out, nil
}

// dotted is a package's name as its author has it, though a step may be a word
// of the language.
func dotted(pkg ast.Ref) string {
	var steps []string
	for _, t := range pkg[1:] {
		step, _ := t.Value.(ast.String)
		steps = append(steps, string(step))
	}
	return strings.Join(steps, ".")
}

// all are the policy's rules, and the one that makes exceptions of them.
func (p *Policy) all() []*rule {
	var out []*rule
	for i := range p.rules {
		out = append(out, &p.rules[i])
	}
	if p.exception != nil {
		out = append(out, p.exception)
	}
	return out
}

// prepare makes a policy's rules ready.
func (p *Policy) prepare() error {
	for _, r := range p.all() {
		query := ast.NewBody(ast.NewExpr(ast.NewTerm(r.path)))
		q, err := rego.New(rego.Compiler(p.unit.compiler), rego.Store(p.unit.store), rego.ParsedQuery(query)).PrepareForEval(background)
		if err != nil {
			return fmt.Errorf("preparing %s: %w", r.path, err)
		}
		r.query = q
	}
	return nil
}

// Inventory are the kinds of which the policy wants all objects that Git
// declares, under data.inventory; "*" is any.
func (p *Policy) Inventory() []string { return p.inventory }

// Stock gives the policy's unit its inventory: JSON of data.inventory. It is not
// for use while a policy of the unit is evaluated.
func (p *Policy) Stock(inventory []byte) error {
	if len(inventory) == 0 || p.unit.stocked == &inventory[0] {
		return nil // nothing to do, or done for another policy of the unit
	}
	v, err := decode(inventory)
	if err != nil {
		return fmt.Errorf("reading the inventory: %w", err)
	}
	p.unit.stocked = &inventory[0]
	return storage.WriteOne(background, p.unit.store, storage.AddOp, storage.Path{"inventory"}, v)
}

// Points are where the policy is asked, and what follows there; nil is
// everywhere, and a denial.
func (p *Policy) Points() map[policy.Point]policy.Action { return p.points }
