package kustomize

//lint:file-ignore SA1019 what kustomize calls deprecated is still written, read and applied

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/gitward/gitward/gitindex"
	"sigs.k8s.io/kustomize/api/builtins"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/provider"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"
)

// plugins examines the configurations of generators, transformers and
// validators. Those built into kustomize read files too, and by the same loader
// that fetches addresses.
func (e *examination) plugins(field string, entries []string) {
	for i := range entries {
		if e.err != nil {
			return
		}
		inline, err := parse([]byte(entries[i]))
		if err != nil { // so kustomize takes it for a path
			e.check(field, asResource, &entries[i])
			err = e.configuration(path.Join(e.dir, entries[i]))
		} else {
			err = e.documents(inline)
		}
		if err != nil {
			e.fail(field, err)
		}
	}
}

// configuration examines what a path holds: a file, or a directory whose
// kustomization does nothing but list files. One that changes what it lists
// could put an address together that nobody sees before kustomize follows it.
func (e *examination) configuration(name string) error {
	t := e.tree
	real, err := t.resolve(name)
	key := e.dir + "\x00" + real // what it refers to depends on who names it
	if err != nil || t.plugins[key] {
		return err
	}
	t.plugins[key] = true
	dir, err := t.stat(real)
	if err != nil {
		return nil // kustomize will say so
	}
	if !dir {
		data, err := t.raw(real)
		if err != nil {
			return err
		}
		if err := unfolds(data, t.limit()); err != nil {
			return fmt.Errorf("%s: %w", t.shown(real), err)
		}
		found, err := parse(data)
		if err != nil {
			return nil // kustomize will say so
		}
		return e.documents(found)
	}
	return e.directory(real)
}

func (e *examination) directory(dir string) error {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		name = path.Join(dir, name)
		data, err := e.tree.raw(name)
		var k types.Kustomization
		if err != nil || k.Unmarshal(data) != nil {
			continue
		}
		list := append(append([]string{}, k.Resources...), k.Bases...)
		k.TypeMeta, k.MetaData, k.Resources, k.Bases = types.TypeMeta{}, nil, nil, nil
		if k.CheckEmpty() != nil {
			return e.listed(dir, list)
		}
		return fmt.Errorf("%s does more than list resources: the configuration of a plugin may not be built", e.tree.shown(name))
	}
	return nil // kustomize will say so
}

func (e *examination) listed(dir string, list []string) error {
	for _, ref := range list {
		if baseReach(ref) != local {
			return fmt.Errorf("%q: the configuration of a plugin may not come from elsewhere", gitindex.Clean(ref, 200))
		}
		if err := e.configuration(path.Join(dir, ref)); err != nil {
			return err
		}
	}
	return nil
}

// parse reads resources exactly as kustomize does.
func parse(data []byte) (found []*resource.Resource, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("the document breaks kustomize's parser")
		}
	}()
	m, err := resmap.NewFactory(provider.NewDefaultDepProvider().GetResourceFactory()).NewResMapFromBytes(data)
	if err != nil {
		return nil, err
	}
	return m.Resources(), nil
}

// documents examines plugin configurations. The references in them are
// resolved against the kustomization that names the plugin.
func (e *examination) documents(found []*resource.Resource) error {
	for _, r := range found {
		gvk := r.GetGvk()
		if gvk.Group != "" || gvk.Version != konfig.BuiltinPluginApiVersion {
			return fmt.Errorf("%s is a plugin that is not built into kustomize: it is never run here", gitindex.Clean(gvk.Kind, 60))
		}
		text, err := r.AsYAML()
		if err != nil {
			return err
		}
		refs, err := references(gvk.Kind, text)
		if err != nil {
			return err
		}
		for _, ref := range refs {
			if err := e.read(ref); err != nil {
				return fmt.Errorf("%s: %w", gitindex.Clean(gvk.Kind, 60), err)
			}
		}
	}
	return nil
}

// read allows a file of the tree, and nothing else.
func (e *examination) read(ref string) error {
	settled, err := e.settle(asFile, ref)
	if err == nil && settled != ref {
		err = fmt.Errorf("%q: a plugin may not read what is elsewhere", gitindex.Clean(ref, 200))
	}
	return err
}

// references are the files that a built-in plugin reads, taken from its
// configuration with kustomize's own types, so that both read it alike.
func references(kind string, text []byte) ([]string, error) {
	switch kind {
	case "HelmChartInflationGenerator":
		return nil, errors.New("HelmChartInflationGenerator would run the helm command, which is never done here: " +
			"declare the chart as a unit of its own, or commit what it renders to")
	case "ConfigMapGenerator":
		var p builtins.ConfigMapGeneratorPlugin
		err := yaml.Unmarshal(text, &p)
		return pairSources(p.KvPairSources), err
	case "SecretGenerator":
		var p builtins.SecretGeneratorPlugin
		err := yaml.Unmarshal(text, &p)
		return pairSources(p.KvPairSources), err
	case "PatchTransformer":
		var p builtins.PatchTransformerPlugin
		err := yaml.Unmarshal(text, &p)
		return nonempty(p.Path), err
	case "PatchJson6902Transformer":
		var p builtins.PatchJson6902TransformerPlugin
		err := yaml.Unmarshal(text, &p)
		return nonempty(p.Path), err
	case "PatchStrategicMergeTransformer":
		return patchPaths(text)
	case "ReplacementTransformer":
		return replacementPaths(text)
	case "ValueAddTransformer":
		var p builtins.ValueAddTransformerPlugin
		err := yaml.Unmarshal(text, &p)
		return nonempty(p.TargetFilePath), err
	}
	return nil, nil
}

func patchPaths(text []byte) (refs []string, err error) {
	var p builtins.PatchStrategicMergeTransformerPlugin
	err = yaml.Unmarshal(text, &p)
	for _, ref := range p.Paths {
		refs = append(refs, string(ref))
	}
	return refs, err
}

func replacementPaths(text []byte) (refs []string, err error) {
	var p builtins.ReplacementTransformerPlugin
	err = yaml.Unmarshal(text, &p)
	for _, r := range p.ReplacementList {
		refs = append(refs, nonempty(r.Path)...)
	}
	return refs, err
}

func pairSources(s types.KvPairSources) []string {
	refs := append(nonempty(s.EnvSource), s.EnvSources...)
	for _, source := range s.FileSources {
		if _, name, named := strings.Cut(source, "="); named {
			source = name
		}
		refs = append(refs, source)
	}
	return refs
}

func nonempty(ref string) []string {
	if ref == "" {
		return nil
	}
	return []string{ref}
}
