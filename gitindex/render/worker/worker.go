// Package worker answers: who renders a unit, and what may it touch?
//
// Rendering runs templates and programs that people wrote into Git. So it is
// done in a child process that holds nothing: no environment, no file but two
// pipes, no network, no way to start a program, a bound on memory and on time.
// What it reads it asks of its parent, which thereby knows all that a unit
// depends on. If it dies, one unit is not traceable; nothing else is touched.
package worker

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/gitindex/render/argocd"
	"github.com/gitward/gitward/gitindex/render/artifact"
	"github.com/gitward/gitward/gitindex/render/flux"
	"github.com/gitward/gitward/gitindex/render/fluxhelm"
	"github.com/gitward/gitward/gitindex/render/helm"
	"github.com/gitward/gitward/gitindex/render/jsonnet"
	"github.com/gitward/gitward/gitindex/render/kustomize"
)

// Local renders in the calling process: the child does, and tests.
type Local struct{}

// Render makes the objects of a unit.
func (Local) Render(src render.Sources, u render.Unit) (render.Output, error) {
	build, ok := tools[u.Tool]
	if !ok {
		return render.Output{}, fmt.Errorf("there is no renderer for %s", u.Tool)
	}
	return build(src, u)
}

type builder func(render.Sources, render.Unit) (render.Output, error)

var tools = map[render.Tool]builder{
	render.Kustomize: buildKustomize,
	render.Helm:      buildHelm,
	render.Jsonnet:   buildJsonnet,

	render.Flux:       buildFlux,
	render.FluxHelm:   fluxhelm.Build,
	render.Argo:       buildArgo,
	render.ArgoAppSet: expandArgo,
}

// buildFlux renders a Kustomization over what its source holds, where the caller
// knows that.
func buildFlux(src render.Sources, u render.Unit) (render.Output, error) {
	if !u.Here {
		files, err := flux.Artifact(src, u)
		if err != nil {
			return render.Output{}, err
		}
		if files == nil {
			return flux.Build(src, u)
		}
		out, err := flux.BuildHere(holding{src, files}, u)
		for i := range out.Objects { // they stand nowhere in the tree
			out.Objects[i].Path, out.Objects[i].Line, out.Objects[i].End = "", 0, 0
		}
		return out, err
	}
	if u.Artifact == nil {
		return flux.BuildHere(src, u)
	}
	files, err := artifact.View(src.Tree(), *u.Artifact)
	if err != nil {
		return render.Output{}, err
	}
	build := flux.BuildHere
	if len(u.Artifact.Copies) > 0 {
		build = flux.BuildWhole
	}
	out, err := build(holding{src, files}, u)
	for i := range out.Objects {
		o := &out.Objects[i]
		if o.Path = artifact.Source(files, o.Path); o.Path == "" {
			o.Line, o.End = 0, 0
		}
	}
	for i := range out.Problems {
		if source := artifact.Source(files, out.Problems[i].Path); source != "" {
			out.Problems[i].Path = source
		}
	}
	return out, err
}

// holding are sources whose tree is what an artifact holds.
type holding struct {
	render.Sources
	tree fs.FS
}

// Tree is the artifact's.
func (h holding) Tree() fs.FS { return h.tree }

// Keys are those of the sources below.
func (h holding) Keys() (render.Keys, error) { return render.KeysOf(h.Sources) }

func expandArgo(src render.Sources, u render.Unit) (render.Output, error) {
	return argocd.Expand(hub{src, u}, u)
}

// hub is what Argo CD knows, as far as the unit says it: see argocd.Hub.
type hub struct {
	render.Sources
	unit render.Unit
}

func (h hub) Holds(repoURL, revision string) bool { return h.unit.Repository.Holds(repoURL, revision) }

func (h hub) Clusters() (clusters []argocd.Cluster, ok bool) {
	for _, c := range h.unit.Cluster.Clusters {
		clusters = append(clusters, argocd.Cluster(c))
	}
	return clusters, len(clusters) > 0
}

// buildArgo adds what the tracking id of an object without a namespace has.
func buildArgo(src render.Sources, u render.Unit) (render.Output, error) {
	out, err := argocd.Build(hub{src, u}, u)
	if out.Applier != nil && out.Applier.ArgoNamespace == "" {
		out.Applier.ArgoNamespace = out.Namespace
	}
	return out, err
}

func buildKustomize(src render.Sources, u render.Unit) (render.Output, error) {
	return kustomize.Render(src, u.Path, kustomize.Options{Restrict: true})
}

// buildHelm renders a chart of the tree as "helm upgrade --install" does, which
// asks the cluster what it serves. A release that the Origin leaves
// without a name has that of the chart's directory.
func buildHelm(src render.Sources, u render.Unit) (render.Output, error) {
	o := render.HelmOptions{}
	if u.Helm != nil {
		o = *u.Helm
	}
	if o.ReleaseName == "" {
		if u.Path == "" {
			return render.Output{}, fmt.Errorf("is a chart at the root of the repository: spec.render must name its release")
		}
		o.ReleaseName = path.Base(u.Path)
	}
	if o.Namespace == "" {
		o.Namespace = u.Namespace
	}
	release := helm.Release{Sources: src, Chart: src.Tree(), Dir: u.Path, Options: o, Cluster: u.Cluster, InCluster: true}
	objects, err := release.Objects()
	return render.Output{Objects: objects, Level: gitindex.Rendered, Namespace: o.Namespace,
		Applier: &gitindex.Applier{HelmRelease: o.ReleaseName, HelmNamespace: o.Namespace, CreatesNamespace: o.Namespace}}, err
}

// buildJsonnet evaluates one file, or each .jsonnet file of a directory.
func buildJsonnet(src render.Sources, u render.Unit) (render.Output, error) {
	o := render.JsonnetOptions{}
	if u.Jsonnet != nil {
		o = *u.Jsonnet
	}
	files := []string{u.Path}
	dir := u.Path
	if dir == "" {
		dir = "."
	}
	if info, err := fs.Stat(src.Tree(), dir); err == nil && info.IsDir() {
		entries, err := fs.ReadDir(src.Tree(), dir)
		if err != nil {
			return render.Output{}, err
		}
		files = nil
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".jsonnet") {
				files = append(files, path.Join(u.Path, e.Name()))
			}
		}
	}
	out := render.Output{Level: gitindex.Rendered}
	for _, f := range files {
		objects, err := jsonnet.Build(src, f, o)
		if err != nil {
			return render.Output{}, err
		}
		out.Objects = append(out.Objects, objects...)
	}
	return out, nil
}
