package controller

import (
	"encoding/json"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/gitindex/render/argocd"
	"github.com/gitward/gitward/gitindex/render/flux"
	"github.com/gitward/gitward/gitindex/render/fluxhelm"
)

// opener is a Flux or Argo CD object that says what else is rendered.
type opener struct {
	ref  gitindex.Ref
	tool render.Tool
	json json.RawMessage
	from string // the unit or file that it was found in
	at   spot   // its place in the tree
	root string // the file, or the unit of the Origin, that the chain began with
	via  string // the Origin whose object began the chain, where that is another one
}

// spot is a line of a file of the tree.
type spot struct {
	Path string
	Line int
}

// opens says which tool acts on an object of a kind; "" for all that open
// nothing.
func opens(group, kind string) render.Tool {
	switch group + "/" + kind {
	case "kustomize.toolkit.fluxcd.io/Kustomization":
		return render.Flux
	case "helm.toolkit.fluxcd.io/HelmRelease":
		return render.FluxHelm
	case "argoproj.io/Application":
		return render.Argo
	case "argoproj.io/ApplicationSet":
		return render.ArgoAppSet
	}
	return ""
}

// lookedUp reports whether renderings may ask for objects of a kind: what
// values are taken from, and what sources name.
func lookedUp(group, kind string) bool {
	return group == "" && (kind == "ConfigMap" || kind == "Secret") ||
		group == "source.toolkit.fluxcd.io" || group == generatorGroup || group == "argoproj.io" && kind == "AppProject"
}

// id names the unit that the opener opens.
func (o *opener) id() string {
	return o.ref.GroupKind() + " " + o.ref.Namespace + "/" + o.ref.Name
}

func (o *opener) unit(cluster render.Cluster) render.Unit {
	return render.Unit{ID: o.id(), Tool: o.tool, Opener: o.json, Namespace: o.ref.Namespace, Cluster: cluster}
}

// content is what an opener says about where it takes its content from.
type content struct {
	path string
	// repoURL and revision are an Argo CD source's own.
	repoURL, revision string
	// object is the Flux source object, where it is one.
	object gitindex.Ref
	// chart: the content is a chart from elsewhere, and path means nothing.
	chart bool
}

// contents reads where an opener's content lies. What does not parse names
// nothing: its renderer says what is wrong with it.
func (w *world) contents(o *opener) []content {
	switch o.tool {
	case render.Flux:
		if ref, dir, err := flux.Place(render.Unit{Opener: o.json}); err == nil {
			return []content{{path: clean(dir), object: ref}}
		}
	case render.FluxHelm:
		ref, dir, err := fluxhelm.Place(render.Alone{Objects: w.view(o.via)}, o.json)
		switch {
		case err != nil:
		case ref.Kind != "GitRepository":
			return []content{{chart: true}}
		default:
			return []content{{path: clean(dir), object: ref}}
		}
	case render.Argo:
		places, err := argocd.Sources(o.json)
		if err != nil {
			return nil
		}
		var out []content
		for _, p := range places {
			out = append(out, content{path: clean(p.Path), repoURL: p.RepoURL, revision: p.TargetRevision, chart: !p.Git || p.OnlyRef})
		}
		return out
	}
	return nil
}
