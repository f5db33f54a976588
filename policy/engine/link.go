package engine

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// part is what is compiled together: the modules of one directory, which speak,
// and those elsewhere that they lean on.
type part struct {
	own   map[string]*ast.Module
	leans map[string]*ast.Module
	tests map[string]*ast.Module
	// fixtures are other directories' test modules that the tests lean on.
	fixtures map[string]*ast.Module
}

func (p *part) modules() map[string]*ast.Module {
	all := maps.Clone(p.own)
	maps.Copy(all, p.leans)
	return all
}

// parts divides a bundle. As long as each package lies in one directory the whole
// bundle is one part. Where two directories have the same package they are
// alternatives, such as two versions of one policy, more often than halves of
// one: then each directory is a part, and takes from elsewhere only what it
// refers to and does not have.
func (b *Bundle) parts() []*part {
	if !b.spread() {
		return []*part{{own: b.modules, leans: map[string]*ast.Module{}, tests: b.tests}}
	}
	byDir := map[string]*part{}
	at := func(file string) *part {
		dir := path.Dir(file)
		if byDir[dir] == nil {
			byDir[dir] = &part{own: map[string]*ast.Module{}, leans: map[string]*ast.Module{}, tests: map[string]*ast.Module{}, fixtures: map[string]*ast.Module{}}
		}
		return byDir[dir]
	}
	for file, m := range b.modules {
		at(file).own[file] = m
	}
	for file, m := range b.tests {
		at(file).tests[file] = m
	}
	l := linker{modules: b.modules, tests: b.tests}
	var out []*part
	for _, dir := range slices.Sorted(maps.Keys(byDir)) {
		p := byDir[dir]
		l.link(dir, p)
		out = append(out, p)
	}
	return out
}

// spread reports a package that lies in more than one directory.
func (b *Bundle) spread() bool {
	dirs := map[string]string{}
	for file, m := range b.modules {
		key := m.Package.Path.String()
		if dir, ok := dirs[key]; ok && dir != path.Dir(file) {
			return true
		}
		dirs[key] = path.Dir(file)
	}
	return false
}

// linker finds what modules refer to. It reads them as they are written: two
// directories with one package cannot always be compiled together.
type linker struct{ modules, tests map[string]*ast.Module }

func (l *linker) link(dir string, p *part) {
	l.follow(dir, p, p.own)
	l.follow(dir, p, p.tests)
}

// follow adds to a part what some of its modules refer to, and what that refers
// to in turn. Only what is in tests may mean what is in tests.
func (l *linker) follow(dir string, p *part, from map[string]*ast.Module) {
	todo := slices.Collect(maps.Keys(from))
	for len(todo) > 0 {
		file := todo[0]
		todo = todo[1:]
		for _, ref := range references(l.module(file)) {
			if p.has(ref) {
				continue
			}
			found := nearest(l.modules, dir, ref)
			if len(found) == 0 && isTest(file) {
				found = nearest(l.tests, dir, ref)
			}
			for name, m := range found {
				if p.add(name, m) {
					todo = append(todo, name)
				}
			}
		}
	}
}

func (l *linker) module(file string) *ast.Module {
	if m := l.tests[file]; m != nil {
		return m
	}
	return l.modules[file]
}

// add takes a module from elsewhere, and reports whether it is new.
func (p *part) add(file string, m *ast.Module) bool {
	into := p.leans
	if isTest(file) {
		into = p.fixtures
	}
	if p.own[file] != nil || p.tests[file] != nil || into[file] != nil {
		return false
	}
	into[file] = m
	return true
}

// has reports whether a part's own directory has what a reference names.
func (p *part) has(ref ast.Ref) bool {
	for _, set := range []map[string]*ast.Module{p.own, p.tests} {
		for _, m := range set {
			if defines(m, ref) {
				return true
			}
		}
	}
	return false
}

// nearest are the modules that define what a reference names, of those
// directories to which one goes fewest steps up from dir, and then fewest down.
func nearest(of map[string]*ast.Module, dir string, ref ast.Ref) map[string]*ast.Module {
	out, best := map[string]*ast.Module{}, way{up: -1}
	for file, m := range of {
		if !defines(m, ref) {
			continue
		}
		switch to := between(dir, path.Dir(file)); {
		case best.up < 0 || to.up < best.up || to.up == best.up && to.down < best.down:
			out, best = map[string]*ast.Module{file: m}, to
		case to == best:
			out[file] = m
		}
	}
	return out
}

// way is how one goes from a directory to another.
type way struct{ up, down int }

func between(a, b string) way {
	x, y := steps(a), steps(b)
	n := 0
	for n < len(x) && n < len(y) && x[n] == y[n] {
		n++
	}
	return way{up: len(x) - n, down: len(y) - n}
}

func steps(dir string) []string {
	if dir == "." {
		return nil
	}
	return strings.Split(dir, "/")
}

// defines reports whether a module defines the document that a reference leads
// to, or one in or above it.
func defines(m *ast.Module, ref ast.Ref) bool {
	pkg := m.Package.Path
	if len(ref) <= len(pkg) {
		return pkg.HasPrefix(ref)
	}
	if !ref.HasPrefix(pkg) {
		return false
	}
	name, ok := ref[len(pkg)].Value.(ast.String)
	return !ok || slices.ContainsFunc(m.Rules, func(r *ast.Rule) bool { return ruleName(r) == string(name) })
}

func ruleName(r *ast.Rule) string {
	if v, ok := r.Head.Ref()[0].Value.(ast.Var); ok {
		return string(v)
	}
	return string(r.Head.Name)
}

// references are the documents below data that a module may mean: by their full
// name, by an import, or by a bare name that its own package could have in
// another file.
func references(m *ast.Module) []ast.Ref {
	imports := map[ast.Var]ast.Ref{}
	for _, i := range m.Imports {
		if ref, ok := i.Path.Value.(ast.Ref); ok && ref.HasPrefix(ast.DefaultRootRef) {
			imports[i.Name()] = ref
		}
	}
	var out []ast.Ref
	name := func(v ast.Var, rest ast.Ref) {
		switch imported, ok := imports[v]; {
		case v == ast.DefaultRootDocument.Value.(ast.Var):
			out = append(out, ast.Ref{ast.DefaultRootDocument}.Concat(rest).GroundPrefix())
		case ok:
			out = append(out, imported.Concat(rest).GroundPrefix())
		case !v.IsGenerated() && !v.IsWildcard():
			out = append(out, m.Package.Path.Append(ast.StringTerm(string(v))))
		}
	}
	for _, r := range m.Rules {
		ast.WalkTerms(r, func(t *ast.Term) bool {
			switch v := t.Value.(type) {
			case ast.Ref:
				if head, ok := v[0].Value.(ast.Var); ok {
					name(head, v[1:])
				}
			case ast.Var:
				name(v, nil)
			}
			return false
		})
	}
	return out
}
