package controller

import (
	"path"
	"slices"
	"strings"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// units says which files of a repository are read, and how: it is an Origin's
// spec.render made ready.
type units struct {
	parts []part // longest path first, so that the nearest one wins
	// opaque are directories that another renderer owns, by what it is. Their
	// files are input to that renderer and no objects of their own.
	opaque map[string]string
}

type part struct {
	path      string // "" is the whole repository
	namespace string
	plain     bool
	applier   *gitindex.Applier
}

func newUnits(specs []v1alpha1.Render) *units {
	u := &units{opaque: map[string]string{}}
	if len(specs) == 0 {
		specs = []v1alpha1.Render{{Namespace: "default"}}
	}
	for _, s := range specs {
		p := strings.Trim(path.Clean("/"+s.Path), "/")
		u.parts = append(u.parts, part{path: p, namespace: s.Namespace, plain: s.Type == v1alpha1.RenderPlain, applier: applier(s.Applier)})
	}
	slices.SortStableFunc(u.parts, func(a, b part) int { return len(b.path) - len(a.path) })
	return u
}

func applier(a *v1alpha1.Applier) *gitindex.Applier {
	switch {
	case a == nil:
		return nil
	case a.Flux != nil:
		return &gitindex.Applier{FluxName: a.Flux.Name, FluxNamespace: a.Flux.Namespace}
	case a.ArgoCD != nil:
		return &gitindex.Applier{ArgoApplication: a.ArgoCD.Application, ArgoInstallationID: a.ArgoCD.InstallationID,
			ArgoInstanceLabel: a.ArgoCD.InstanceLabel}
	}
	return nil
}

// find returns the part a file belongs to, if its objects are read as they
// stand.
func (u *units) find(file string) (part, bool) {
	if !render.Eligible(file) {
		return part{}, false
	}
	for _, p := range u.parts {
		if !within(p.path, file) {
			continue
		}
		return p, p.plain || !u.isOpaque(p.path, file)
	}
	return part{}, false
}

func (u *units) isOpaque(root, file string) bool {
	for dir := path.Dir(file); ; dir = path.Dir(dir) {
		if dir == "." {
			dir = ""
		}
		if _, ok := u.opaque[dir]; ok {
			return true
		}
		if dir == root || dir == "" {
			return false
		}
	}
}

func within(dir, file string) bool {
	return dir == "" || file == dir || strings.HasPrefix(file, dir+"/")
}

// marker reports whether a file makes its directory another renderer's, and
// whose.
func marker(file string) (string, bool) {
	switch path.Base(file) {
	case "kustomization.yaml", "kustomization.yml", "Kustomization":
		return "kustomize", true
	case "Chart.yaml":
		return "Helm", true
	}
	return "", false
}

// observe notes the directories that other renderers own, and returns a problem
// for each topmost one: what is not rendered yet is said by name.
func (u *units) observe(files []string) []gitindex.Problem {
	u.opaque = map[string]string{}
	for _, f := range files {
		if tool, ok := marker(f); ok {
			dir := path.Dir(f)
			if dir == "." {
				dir = ""
			}
			u.opaque[dir] = tool
		}
	}
	var problems []gitindex.Problem
	for dir, tool := range u.opaque {
		p, ok := u.partOf(dir)
		if !ok || p.plain || u.opaqueAbove(p.path, dir) {
			continue
		}
		problems = append(problems, gitindex.Problem{Path: path.Join(dir, "."),
			Message: "is a " + tool + " directory, which this version cannot render; nothing in it is declared (render it into Git, or list its path with type: Plain)"})
	}
	slices.SortFunc(problems, func(a, b gitindex.Problem) int { return strings.Compare(a.Path, b.Path) })
	return problems
}

func (u *units) partOf(dir string) (part, bool) {
	for _, p := range u.parts {
		if within(p.path, dir) {
			return p, true
		}
	}
	return part{}, false
}

func (u *units) opaqueAbove(root, dir string) bool {
	return dir != root && dir != "" && u.isOpaque(root, dir)
}
