package controller

import (
	"encoding/json"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
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

type sourceRef struct {
	Kind, Name, Namespace string
}

type argoSource struct {
	RepoURL        string `json:"repoURL"`
	Path           string `json:"path"`
	TargetRevision string `json:"targetRevision"`
	Chart          string `json:"chart"`
	Ref            string `json:"ref"`
}

// contents reads where an opener's content lies. What does not parse names
// nothing: its renderer says what is wrong with it.
func (o *opener) contents() []content {
	var obj struct {
		Spec struct {
			Path      string       `json:"path"`
			SourceRef sourceRef    `json:"sourceRef"`
			Source    *argoSource  `json:"source"`
			Sources   []argoSource `json:"sources"`
			Chart     struct {
				Spec struct {
					Chart     string    `json:"chart"`
					SourceRef sourceRef `json:"sourceRef"`
				} `json:"spec"`
			} `json:"chart"`
			SourceHydrator *struct {
				DrySource  argoSource `json:"drySource"`
				SyncSource struct {
					TargetBranch string `json:"targetBranch"`
					Path         string `json:"path"`
				} `json:"syncSource"`
			} `json:"sourceHydrator"`
		} `json:"spec"`
	}
	if json.Unmarshal(o.json, &obj) != nil {
		return nil
	}
	spec := &obj.Spec
	switch o.tool {
	case render.Flux:
		return []content{{path: clean(spec.Path), object: o.fluxSource(spec.SourceRef)}}
	case render.FluxHelm:
		c := spec.Chart.Spec
		if c.SourceRef.Kind != "GitRepository" {
			return []content{{chart: true}}
		}
		return []content{{path: clean(c.Chart), object: o.fluxSource(c.SourceRef)}}
	case render.Argo:
		list := spec.Sources
		if spec.Source != nil && len(list) == 0 {
			list = []argoSource{*spec.Source}
		}
		if h := spec.SourceHydrator; h != nil {
			list = []argoSource{{RepoURL: h.DrySource.RepoURL, TargetRevision: h.SyncSource.TargetBranch, Path: h.SyncSource.Path}}
		}
		return argoContents(list)
	}
	return nil
}

func argoContents(list []argoSource) []content {
	var out []content
	for _, s := range list {
		out = append(out, content{path: clean(s.Path), repoURL: s.RepoURL, revision: s.TargetRevision, chart: s.Chart != "" || s.Path == ""})
	}
	return out
}

func (o *opener) fluxSource(r sourceRef) gitindex.Ref {
	if r.Namespace == "" {
		r.Namespace = o.ref.Namespace
	}
	return gitindex.Ref{Group: "source.toolkit.fluxcd.io", Kind: r.Kind, Namespace: r.Namespace, Name: r.Name}
}
