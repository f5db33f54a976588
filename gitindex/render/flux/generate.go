package flux

//lint:file-ignore SA1019 what kustomize calls deprecated is still written, read and applied

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render/kustomize"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"
)

// generate is the kustomization that Flux writes into the directory before it
// builds (fluxcd/pkg/kustomize v1.35.6, GenerateManifest): the one that is
// there, or a list of what lies below, with the Kustomization's own fields.
func (k *kustomization) generate(view kustomize.View, dir string) (map[string][]byte, error) {
	kus := types.Kustomization{TypeMeta: types.TypeMeta{APIVersion: types.KustomizationVersion, Kind: types.KustomizationKind}}
	name := view.Kustomization(dir)
	if name == "" {
		name = path.Join(dir, konfig.DefaultKustomizationFileName())
		if err := scan(view, dir, &kus); err != nil {
			return nil, err
		}
	} else if err := read(view, name, &kus); err != nil {
		return nil, err
	}
	if err := k.edit(view, dir, &kus); err != nil {
		return nil, err
	}
	data, err := yaml.Marshal(kus)
	return map[string][]byte{name: data}, err
}

// read takes the kustomization that is there. Unlike kustomize, Flux overlooks
// fields that it does not know.
func read(view kustomize.View, name string, kus *types.Kustomization) error {
	data, err := view.ReadFile(name)
	if err != nil {
		return err
	}
	if err := yaml.Unmarshal(data, kus); err != nil {
		return fmt.Errorf("%s: %w", gitindex.Clean(name, 200), err)
	}
	if len(kus.Resources) == 0 {
		// Against kustomize's error on an empty file, says Flux, though the
		// file may have components and generators.
		kus.BuildMetadata = []string{types.OriginAnnotations}
	}
	return nil
}

// scan lists every manifest below the directory. A directory with a
// kustomization of its own is listed as such.
func scan(view kustomize.View, dir string, kus *types.Kustomization) error {
	err := view.Walk(dir, func(name string, info fs.FileInfo, err error) error {
		if err != nil || name == dir || dir == "" && name == "." {
			return err
		}
		ext := path.Ext(name)
		switch {
		case info.IsDir() && view.Kustomization(name) != "":
			kus.Resources = append(kus.Resources, "./"+relative(dir, name))
			return filepath.SkipDir
		case !info.IsDir() && (ext == ".yaml" || ext == ".yml"):
			kus.Resources = append(kus.Resources, "./"+relative(dir, name))
		}
		return nil
	})
	if len(kus.Resources) == 0 {
		kus.Namespace = "_placeholder" // so that the file is not empty
	}
	return err
}

func relative(dir, name string) string {
	if dir == "" {
		return name
	}
	return name[len(dir)+1:]
}

// edit writes the Kustomization's fields into the kustomization.
func (k *kustomization) edit(view kustomize.View, dir string, kus *types.Kustomization) error {
	s := &k.Spec
	set(&kus.Namespace, s.TargetNamespace)
	set(&kus.NamePrefix, s.NamePrefix)
	set(&kus.NameSuffix, s.NameSuffix)
	for _, p := range s.Patches {
		kus.Patches = append(kus.Patches, types.Patch{Patch: p.Patch, Target: p.Target.kustomize()})
	}
	for _, c := range s.Components {
		if !kustomize.Local(c) {
			return fmt.Errorf("spec.components: %q is no local and relative path", gitindex.Clean(c, 200))
		}
		if s.IgnoreMissingComponents && !view.Exists(path.Join(dir, c)) {
			continue
		}
		kus.Components = append(kus.Components, c)
	}
	for _, p := range s.PatchesStrategicMerge {
		kus.PatchesStrategicMerge = append(kus.PatchesStrategicMerge, types.PatchStrategicMerge(p))
	}
	for _, p := range s.PatchesJSON6902 {
		text, err := json.Marshal(p.Patch)
		if err != nil {
			return err
		}
		kus.PatchesJson6902 = append(kus.PatchesJson6902, types.Patch{Patch: string(text), Target: p.Target.kustomize()})
	}
	for _, i := range s.Images {
		i.into(kus)
	}
	if len(s.BuildMetadata) > 0 {
		kus.BuildMetadata = s.BuildMetadata
	}
	return nil
}

func set(field *string, value string) {
	if value != "" {
		*field = value
	}
}

func (s *selector) kustomize() *types.Selector {
	if s == nil {
		return nil
	}
	out := &types.Selector{LabelSelector: s.LabelSelector, AnnotationSelector: s.AnnotationSelector}
	out.Group, out.Version, out.Kind, out.Name, out.Namespace = s.Group, s.Version, s.Kind, s.Name, s.Namespace
	return out
}

// into merges an image. Tag and digest are replaced as one.
func (i image) into(kus *types.Kustomization) {
	for n := range kus.Images {
		there := &kus.Images[n]
		if there.Name != i.Name {
			continue
		}
		if i.NewName != "" {
			there.NewName = i.NewName
		}
		if i.NewTag != "" || i.Digest != "" {
			there.NewTag, there.Digest = i.NewTag, i.Digest
		}
		return
	}
	kus.Images = append(kus.Images, types.Image{Name: i.Name, NewName: i.NewName, NewTag: i.NewTag, Digest: i.Digest})
}
