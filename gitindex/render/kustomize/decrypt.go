package kustomize

import (
	"errors"
	"io/fs"
	"path"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
)

// decrypt puts what Options.Decrypt gives in the place of files. What is not
// there is left for kustomize to complain about.
func (e *examination) decrypt(k *types.Kustomization) {
	if e.tree.options.Decrypt == nil || e.err != nil {
		return
	}
	for _, g := range k.SecretGenerator {
		changed := false
		for _, source := range g.FileSources {
			if _, name, named := strings.Cut(source, "="); named {
				source = name
			}
			changed = e.replace(source, "file") || changed
		}
		for _, name := range append(nonempty(g.EnvSource), g.EnvSources...) {
			changed = e.replace(name, "env") || changed
		}
		options := types.MergeGlobalOptionsIntoLocal(g.Options, k.GeneratorOptions)
		if changed && (options == nil || !options.DisableNameSuffixHash) {
			e.tree.hashed = append(e.tree.hashed, g.Name)
		}
	}
	for _, p := range k.Patches {
		if p.Path != "" {
			e.replace(p.Path, "patch")
		}
	}
}

func (e *examination) replace(ref, use string) bool {
	name, err := e.tree.resolve(path.Join(e.dir, ref))
	if err != nil {
		return false
	}
	rel, inside := below(name, treeRoot)
	if !inside {
		return false
	}
	if e.tree.opened[name] {
		return true
	}
	data, err := e.tree.raw(name)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			e.fail(use, err)
		}
		return false
	}
	opened, err := e.tree.options.Decrypt(Secret{Path: rel, Data: data, Use: use})
	if err != nil {
		e.fail(use, err)
	}
	if err != nil || opened == nil {
		return false
	}
	e.tree.add(name, opened)
	e.tree.opened[name] = true
	return true
}
