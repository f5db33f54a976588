package controller

import (
	"path"
	"slices"
	"strings"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// part is one entry of an Origin's spec.render made ready.
type part struct {
	path      string // "" is the whole repository
	tool      render.Tool
	namespace string
	applier   *gitindex.Applier
	helm      *render.HelmOptions
	jsonnet   *render.JsonnetOptions
}

// parts are those of an Origin, the longest path first, so that the nearest one
// to a file wins.
type parts []part

func newParts(specs []v1alpha1.Render) parts {
	if len(specs) == 0 {
		specs = []v1alpha1.Render{{Namespace: "default"}}
	}
	var out parts
	for _, s := range specs {
		out = append(out, part{path: clean(s.Path), tool: toolOf(s.Type), namespace: s.Namespace, applier: applier(s.Applier),
			helm: helmOptions(s.Helm), jsonnet: jsonnetOptions(s.Jsonnet)})
	}
	slices.SortStableFunc(out, func(a, b part) int { return len(b.path) - len(a.path) })
	return out
}

// clean is a path as the tree has it: no slash at either end, "" for the root.
func clean(p string) string { return strings.Trim(path.Clean("/"+p), "/") }

func toolOf(t v1alpha1.RenderType) render.Tool {
	if t == "" {
		return render.Auto
	}
	return render.Tool(t)
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

func helmOptions(h *v1alpha1.HelmRender) *render.HelmOptions {
	if h == nil {
		return nil
	}
	o := &render.HelmOptions{ReleaseName: h.ReleaseName, Namespace: h.Namespace, ValuesFiles: h.ValuesFiles,
		SkipCRDs: h.SkipCRDs, SkipTests: h.SkipTests}
	if h.Values != nil {
		o.Values = h.Values.Raw
	}
	return o
}

func jsonnetOptions(j *v1alpha1.JsonnetRender) *render.JsonnetOptions {
	if j == nil {
		return nil
	}
	return &render.JsonnetOptions{Libraries: j.Libraries, ExtVars: jsonnetVars(j.ExtVars), TLAs: jsonnetVars(j.TLAs)}
}

func jsonnetVars(vars []v1alpha1.JsonnetVar) []render.JsonnetVar {
	var out []render.JsonnetVar
	for _, v := range vars {
		out = append(out, render.JsonnetVar(v))
	}
	return out
}

// of is the part that a path belongs to.
func (ps parts) of(p string) (part, bool) {
	for _, part := range ps {
		if within(part.path, p) {
			return part, true
		}
	}
	return part{}, false
}

func within(dir, file string) bool {
	return dir == "" || file == dir || strings.HasPrefix(file, dir+"/")
}

// unit is the one that a directory or file of the part is.
func (p *part) unit(tool render.Tool, at string, cluster render.Cluster) render.Unit {
	u := render.Unit{ID: string(tool) + " " + orRoot(at), Tool: tool, Path: at, Namespace: p.namespace, Cluster: cluster}
	if at != p.path {
		return u // found on the way: the entry's options are for its own path
	}
	switch tool {
	case render.Helm:
		u.Helm = p.helm
		if u.Helm == nil {
			u.Helm = &render.HelmOptions{}
		}
	case render.Jsonnet:
		u.Jsonnet = p.jsonnet
	}
	return u
}

func orRoot(p string) string {
	if p == "" {
		return "."
	}
	return p
}

// marker reports whether a file makes its directory another renderer's, and
// whose.
func marker(file string) (render.Tool, bool) {
	switch path.Base(file) {
	case "kustomization.yaml", "kustomization.yml", "Kustomization":
		return render.Kustomize, true
	case "Chart.yaml":
		return render.Helm, true
	}
	return "", false
}

// directoryOf is where a file lies; "" is the root.
func directoryOf(file string) string {
	dir, _ := split(file)
	return dir
}
