// Package flux answers: what does Flux's kustomize-controller apply for this
// Kustomization object?
//
// It does in memory what the controller does on disk (kustomize-controller
// v1.9.5, internal/controller/kustomization_controller.go): the artifact's
// files, a kustomization that is generated or edited, kustomize, decryption,
// variables, the round trip through Kubernetes' types, common metadata. What
// depends on values that are not in Git becomes a hole. The owner's labels are
// not part of the objects: whoever compares adds those of Output.Applier.
package flux

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/gitindex/render/kustomize"
)

const (
	group       = "kustomize.toolkit.fluxcd.io"
	sourceGroup = "source.toolkit.fluxcd.io"
)

// Place is where the unit's Kustomization takes its files from: a source object,
// and spec.path as it is written. Whether that is the tree at hand is for the
// caller to say.
func Place(u render.Unit) (source gitindex.Ref, path string, err error) {
	k, err := decode(u)
	if err != nil {
		return gitindex.Ref{}, "", err
	}
	return k.source(), k.Spec.Path, nil
}

// Fetches is the URL of a GitRepository, and what it follows there: a branch, or
// another ref in the words of render.Follows. Both are empty where it cannot be
// read.
func Fetches(gitRepository json.RawMessage) (url, follows string) {
	var r repository
	if gitRepository == nil || json.Unmarshal(gitRepository, &r) != nil {
		return "", ""
	}
	f := r.Spec.Ref
	return r.Spec.URL, render.Follows(f.Commit, f.Name, f.SemVer, f.Tag, f.Branch)
}

// Build renders the Kustomization in u.Opener from the tree of its source. A
// unit for another cluster (spec.kubeConfig) renders to nothing. An object that
// depends on what Git does not hold, in a way that no hole can say, is a
// problem and is left out.
//
// Objects of namespaced kinds that name no namespace are never applied by Flux:
// its dry run of them fails.
func Build(src render.Sources, u render.Unit) (render.Output, error) { return start(src, u, false) }

// BuildHere is Build for a source of any kind of which the caller knows that
// its content is the tree at hand: an OCIRepository that a pipeline fills from
// it, an ExternalArtifact that copies from it.
func BuildHere(src render.Sources, u render.Unit) (render.Output, error) { return start(src, u, true) }

// BuildWhole is BuildHere for a tree that is the artifact itself, file by file:
// nothing of it is left out.
func BuildWhole(src render.Sources, u render.Unit) (render.Output, error) {
	return startWith(src, u, func(k *kustomization) { k.here, k.whole = true, true })
}

func start(src render.Sources, u render.Unit, here bool) (render.Output, error) {
	return startWith(src, u, func(k *kustomization) { k.here = here })
}

func startWith(src render.Sources, u render.Unit, settle func(*kustomization)) (out render.Output, err error) {
	defer func() { // the libraries panic on some broken objects
		if p := recover(); p != nil {
			out, err = render.Output{}, fmt.Errorf("rendering a Kustomization panicked: %s", gitindex.Clean(fmt.Sprint(p), 200))
		}
	}()
	k, err := decode(u)
	if err != nil {
		return render.Output{}, err
	}
	settle(k)
	out, err = k.build(src)
	if err != nil {
		return render.Output{}, fmt.Errorf("Kustomization %s/%s: %w", gitindex.Clean(k.Metadata.Namespace, 63), gitindex.Clean(k.Metadata.Name, 253), err)
	}
	out.Applier = &gitindex.Applier{FluxName: k.Metadata.Name, FluxNamespace: k.Metadata.Namespace}
	out.Namespace = k.Spec.TargetNamespace
	return out, nil
}

func (k *kustomization) build(src render.Sources) (render.Output, error) {
	if len(k.Spec.KubeConfig) > 0 && string(k.Spec.KubeConfig) != "null" {
		return render.Output{Level: gitindex.Rendered}, nil
	}
	options, err := k.artifact(src)
	if err != nil {
		return render.Output{}, err
	}
	dir := path.Clean("/" + k.Spec.Path)[1:]
	view := kustomize.Look(src, options)
	if !view.IsDir(dir) {
		return render.Output{}, fmt.Errorf("spec.path: %q is no directory of the source", gitindex.Clean(k.Spec.Path, 200))
	}
	options.Overlay, err = k.generate(view, dir)
	if err != nil {
		return render.Output{}, err
	}
	opened := k.newFiles()
	if k.Spec.Decryption != nil && k.Spec.Decryption.Provider == "sops" {
		options.Decrypt = opened.decrypt
	}
	built, err := kustomize.Run(src, dir, options)
	if err != nil {
		return render.Output{}, err
	}
	opened.float(built)
	return k.finish(src, built, opened)
}

// finish takes each resource that kustomize built through the rest of the way.
func (k *kustomization) finish(src render.Sources, built *kustomize.Built, opened *files) (render.Output, error) {
	vars, err := k.variables(src)
	if err != nil {
		return render.Output{}, err
	}
	ignore, err := k.ignoreRules()
	if err != nil {
		return render.Output{}, err
	}
	f := finisher{k: k, vars: vars, ignore: ignore, files: opened, built: built, src: src, out: render.Output{Level: built.Level}}
	if k.Spec.Decryption != nil {
		if f.keys, err = render.KeysOf(src); err != nil {
			return render.Output{}, err
		}
	}
	for _, r := range built.Resources.Resources() {
		if r.GetName() == "" || r.GetKind() == "" || r.GetApiVersion() == "" {
			return render.Output{}, fmt.Errorf("a resource without apiVersion, kind or name: Flux applies nothing of the unit")
		}
		if err := f.resource(r); err != nil {
			return render.Output{}, fmt.Errorf("%s %s: %w", gitindex.Clean(r.GetKind(), 60), gitindex.Clean(r.GetName(), 253), err)
		}
	}
	return f.out, nil
}

// kustomization is what is read of the object. Fields that do not change what
// is applied are left out; unknown ones are the API server's to refuse.
type kustomization struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Spec  spec `json:"spec"`
	here  bool // the source's content is known to be the tree
	whole bool // and nothing of the tree is left out
}

type spec struct {
	SourceRef               reference       `json:"sourceRef"`
	Path                    string          `json:"path"`
	KubeConfig              json.RawMessage `json:"kubeConfig"`
	TargetNamespace         string          `json:"targetNamespace"`
	NamePrefix              string          `json:"namePrefix"`
	NameSuffix              string          `json:"nameSuffix"`
	Patches                 []patch         `json:"patches"`
	Components              []string        `json:"components"`
	IgnoreMissingComponents bool            `json:"ignoreMissingComponents"`
	Images                  []image         `json:"images"`
	BuildMetadata           []string        `json:"buildMetadata"`
	CommonMetadata          metadata        `json:"commonMetadata"`
	PostBuild               *postBuild      `json:"postBuild"`
	Decryption              *decryption     `json:"decryption"`
	Ignore                  []ignoreRule    `json:"ignore"`
	// Of the beta versions.
	PatchesStrategicMerge []json.RawMessage `json:"patchesStrategicMerge"`
	PatchesJSON6902       []jsonPatch       `json:"patchesJson6902"`
}

type reference struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	Namespace  string `json:"namespace"`
}

type selector struct {
	Group              string `json:"group"`
	Version            string `json:"version"`
	Kind               string `json:"kind"`
	Name               string `json:"name"`
	Namespace          string `json:"namespace"`
	AnnotationSelector string `json:"annotationSelector"`
	LabelSelector      string `json:"labelSelector"`
}

type patch struct {
	Patch  string    `json:"patch"`
	Target *selector `json:"target"`
}

type jsonPatch struct {
	Patch  []map[string]any `json:"patch"`
	Target selector         `json:"target"`
}

type image struct {
	Name    string `json:"name"`
	NewName string `json:"newName"`
	NewTag  string `json:"newTag"`
	Digest  string `json:"digest"`
}

type metadata struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

type postBuild struct {
	SubstituteStrategy string            `json:"substituteStrategy"`
	Substitute         map[string]string `json:"substitute"`
	SubstituteFrom     []valuesFrom      `json:"substituteFrom"`
}

type valuesFrom struct {
	Kind     string `json:"kind"`
	Name     string `json:"name"`
	Optional bool   `json:"optional"`
}

type decryption struct {
	Provider string `json:"provider"`
}

type ignoreRule struct {
	Paths  []string  `json:"paths"`
	Target *selector `json:"target"`
}

func decode(u render.Unit) (*kustomization, error) {
	k := &kustomization{}
	if err := json.Unmarshal(u.Opener, k); err != nil {
		return nil, fmt.Errorf("reading a Kustomization: %w", err)
	}
	if apiGroup, _, _ := strings.Cut(k.APIVersion, "/"); apiGroup != group || k.Kind != "Kustomization" || k.Metadata.Name == "" {
		return nil, fmt.Errorf("%s %s is no Kustomization of Flux", gitindex.Clean(k.APIVersion, 100), gitindex.Clean(k.Kind, 60))
	}
	if k.Metadata.Namespace == "" {
		k.Metadata.Namespace = u.Namespace
	}
	if k.APIVersion == group+"/v1" {
		k.Spec.PatchesStrategicMerge, k.Spec.PatchesJSON6902 = nil, nil
	}
	return k, nil
}
