package fluxhelm

import (
	"encoding/json"
	"fmt"

	"sigs.k8s.io/kustomize/api/filters/annotations"
	"sigs.k8s.io/kustomize/api/filters/labels"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/provider"
	"sigs.k8s.io/kustomize/api/resmap"
	kustypes "sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/kio"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/gitindex/render/helm"
)

// filename is the annotation by which Helm finds the documents of a file again
// after they went through a post-renderer: pkg/action/action.go.
const filename = "postrenderer.helm.sh/postrender-filename"

// postRender does what Helm's action does with post-renderers: they get one
// stream of documents, those of hooks in it or apart or left out.
// Which hooks are run is only asked after that.
func (hr *helmRelease) postRender(documents []helm.Document, run render.HelmOptions) ([]render.Object, error) {
	var crds, hooks, rest []helm.Document
	for _, d := range documents {
		switch {
		case d.Bare:
			crds = append(crds, d)
		case d.Hook && hr.Spec.PostRenderStrategy != "" && hr.Spec.PostRenderStrategy != "combined":
			hooks = append(hooks, d)
		default:
			rest = append(rest, d)
		}
	}
	var all []render.Object
	for _, group := range []struct {
		documents []helm.Document
		through   bool
	}{{hooks, hr.Spec.PostRenderStrategy == "separate"}, {rest, true}} {
		sent, err := hr.stream(group.documents, group.through)
		if err != nil {
			return nil, err
		}
		for _, d := range sent {
			found, err := applied(d, run)
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
		}
	}
	bare, err := onlyCRDs(crds)
	return append(bare, all...), err
}

func applied(d helm.Document, run render.HelmOptions) ([]render.Object, error) {
	d, ok, err := d.Reread(run)
	if err != nil || !ok {
		return nil, err
	}
	return d.Objects()
}

// onlyCRDs leaves out what else lies in a crds directory: so does Flux.
func onlyCRDs(documents []helm.Document) ([]render.Object, error) {
	var all []render.Object
	for _, d := range documents {
		found, err := d.Objects()
		if err != nil {
			return nil, err
		}
		for _, o := range found {
			if o.Group == "apiextensions.k8s.io" && o.Kind == "CustomResourceDefinition" {
				all = append(all, o)
			}
		}
	}
	return all, nil
}

func (hr *helmRelease) stream(documents []helm.Document, through bool) ([]helm.Document, error) {
	if !through || len(documents) == 0 {
		return documents, nil
	}
	places := map[string]helm.Document{}
	var nodes []*kyaml.RNode
	for _, d := range documents {
		found, err := kio.ParseAll(string(d.Text))
		if err != nil {
			return nil, fmt.Errorf("reading %s as it was rendered: %s", gitindex.Clean(d.Template, 200), gitindex.Clean(err.Error(), 200))
		}
		for _, n := range found {
			if err := n.PipeE(kyaml.SetAnnotation(filename, d.Template)); err != nil {
				return nil, fmt.Errorf("%s renders a document that is no object", gitindex.Clean(d.Template, 200))
			}
		}
		nodes = append(nodes, found...)
		places[d.Template] = d
	}
	merged, err := kio.StringAll(nodes)
	if err != nil {
		return nil, fmt.Errorf("joining what was rendered: %w", err)
	}
	out, err := hr.run([]byte(merged))
	if err != nil {
		return nil, fmt.Errorf("the post-renderers: %s", gitindex.Clean(err.Error(), 300))
	}
	return apart(out, places)
}

// run is BuildPostRenderers of internal/postrender/build.go: the kustomizations
// in order, the common metadata, the labels of the origin. Those are put on by
// whoever compares, but what they are put on goes through kustomize either way.
func (hr *helmRelease) run(text []byte) (out []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("kustomize stopped: %v", r)
		}
	}()
	for _, p := range hr.Spec.PostRenderers {
		if p.Kustomize == nil {
			continue
		}
		if text, err = p.Kustomize.run(text); err != nil {
			return nil, err
		}
	}
	if c := hr.Spec.CommonMetadata; c != nil && (c.Labels != nil || c.Annotations != nil) {
		if text, err = transform(text, *c); err != nil {
			return nil, err
		}
	}
	return transform(text, commonMetadata{})
}

// run is one kustomization over all that came before it: internal/postrender/kustomize.go.
func (k *kustomize) run(text []byte) ([]byte, error) {
	files := filesys.MakeFsInMemory()
	config := kustypes.Kustomization{TypeMeta: kustypes.TypeMeta{APIVersion: kustypes.KustomizationVersion, Kind: kustypes.KustomizationKind}}
	config.Resources = []string{"helm-output.yaml"}
	for _, i := range k.Images {
		config.Images = append(config.Images, kustypes.Image{Name: i.Name, NewName: i.NewName, NewTag: i.NewTag, Digest: i.Digest})
	}
	for _, p := range k.Patches {
		config.Patches = append(config.Patches, kustypes.Patch{Patch: p.Patch, Target: p.Target.kustomize()})
	}
	kustomization, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	for name, data := range map[string][]byte{"helm-output.yaml": text, "kustomization.yaml": kustomization} {
		if err := files.WriteFile(name, data); err != nil {
			return nil, err
		}
	}
	options := &krusty.Options{LoadRestrictions: kustypes.LoadRestrictionsNone, PluginConfig: kustypes.DisabledPluginConfig()}
	built, err := krusty.MakeKustomizer(options).Run(files, ".")
	if err != nil {
		return nil, err
	}
	return built.AsYaml()
}

func (s *selector) kustomize() *kustypes.Selector {
	if s == nil {
		return nil
	}
	out := &kustypes.Selector{LabelSelector: s.LabelSelector, AnnotationSelector: s.AnnotationSelector}
	out.Group, out.Version, out.Kind = s.Group, s.Version, s.Kind
	out.Name, out.Namespace = s.Name, s.Namespace
	return out
}

// transform sets labels and annotations: internal/postrender/transformer.go.
func transform(text []byte, common commonMetadata) ([]byte, error) {
	resources, err := resmap.NewFactory(provider.NewDefaultDepProvider().GetResourceFactory()).NewResMapFromBytes(text)
	if err != nil {
		return nil, err
	}
	if common.Labels != nil {
		if err := resources.ApplyFilter(labels.Filter{Labels: common.Labels, FsSlice: in("metadata/labels")}); err != nil {
			return nil, err
		}
	}
	if common.Annotations != nil {
		if err := resources.ApplyFilter(annotations.Filter{Annotations: common.Annotations, FsSlice: in("metadata/annotations")}); err != nil {
			return nil, err
		}
	}
	return resources.AsYaml()
}

func in(path string) kustypes.FsSlice {
	return kustypes.FsSlice{{Path: path, CreateIfNotPresent: true}}
}

// apart makes documents of the stream again.
func apart(text []byte, places map[string]helm.Document) ([]helm.Document, error) {
	nodes, err := kio.ParseAll(string(text))
	if err != nil {
		return nil, fmt.Errorf("reading what the post-renderers gave: %w", err)
	}
	var all []helm.Document
	for _, n := range nodes {
		name := n.GetAnnotations()[filename]
		if err := n.PipeE(kyaml.ClearAnnotation(filename)); err != nil {
			return nil, err
		}
		alone, err := kio.StringAll([]*kyaml.RNode{n})
		if err != nil {
			return nil, err
		}
		from, ok := places[name]
		if !ok {
			return nil, fmt.Errorf("the post-renderers made %s %s, or changed the annotation %s of it",
				gitindex.Clean(n.GetKind(), 60), gitindex.Clean(n.GetName(), 100), filename)
		}
		all = append(all, helm.Document{Template: from.Template, Path: from.Path, Text: []byte(alone)})
	}
	return all, nil
}
