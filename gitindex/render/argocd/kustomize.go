package argocd

//lint:file-ignore SA1019 what kustomize calls deprecated is still written, read and applied

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/gitindex/render/kustomize"
)

// kustomize builds a directory after Argo CD's edits of its kustomization. The
// load restriction is a setting of Argo CD that Git need not hold; it only
// decides whether a build fails, never what it gives, and nothing is read
// outside the tree in any case: so none is set.
func (b *builder) kustomize(s *Source, dir string, env environment) ([]render.Object, error) {
	b.src.rendered()
	var o kustomize.Options
	if s.Kustomize != nil {
		overlay, err := b.edit(s.Kustomize, dir, env)
		if err != nil {
			return nil, err
		}
		o.Overlay = overlay
	}
	return kustomize.Build(b.src, dir, o)
}

// edit is the kustomization as Argo CD's "kustomize edit" commands leave it, in
// their order: util/kustomize/kustomize.go, Build.
func (b *builder) edit(o *Kustomize, dir string, env environment) (map[string][]byte, error) {
	e := edit{given: o, env: env}
	steps := []struct {
		wanted bool
		do     func() error
	}{
		{o.NamePrefix != "", func() error { e.k.NamePrefix = o.NamePrefix; return nil }},
		{o.NameSuffix != "", func() error { e.k.NameSuffix = o.NameSuffix; return nil }},
		{len(o.Images) > 0, e.images},
		{len(o.Replicas) > 0, e.replicas},
		{len(o.CommonLabels) > 0, e.labels},
		{len(o.CommonAnnotations) > 0, e.annotations},
		{o.Namespace != "", func() error { e.k.Namespace = o.Namespace; return nil }},
		{len(o.Patches) > 0, e.patches},
		{len(o.Components) > 0, func() error { return e.components(b.src.Tree(), dir) }},
	}
	if !slices.ContainsFunc(steps, func(s struct {
		wanted bool
		do     func() error
	}) bool {
		return s.wanted
	}) {
		return nil, nil
	}
	name, err := e.read(b.src.Tree(), dir)
	if err != nil {
		return nil, err
	}
	for _, step := range steps {
		if !step.wanted {
			continue
		}
		if err := step.do(); err != nil {
			return nil, fmt.Errorf("editing %s: %w", gitindex.Clean(name, 200), err)
		}
	}
	text, err := yaml.Marshal(e.k)
	return map[string][]byte{name: text}, err
}

// edit is a kustomization that is being edited.
type edit struct {
	given *Kustomize
	env   environment
	k     types.Kustomization
}

// read takes the one kustomization of the directory: the edit commands refuse
// several, and fields that kustomize does not know.
func (e *edit) read(tree fs.FS, dir string) (string, error) {
	found := ""
	for _, name := range kustomizations {
		name = path.Join(dir, name)
		if _, err := fs.Stat(tree, name); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return "", err
		}
		if found != "" {
			return "", fmt.Errorf("%s has more than one kustomization", gitindex.Clean(dir, 200))
		}
		found = name
	}
	if found == "" {
		return "", fmt.Errorf("%s has no kustomization", gitindex.Clean(dir, 200))
	}
	text, err := fs.ReadFile(tree, found)
	if err != nil {
		return "", err
	}
	if err := e.k.Unmarshal(text); err != nil {
		return "", fmt.Errorf("reading %s: %s", gitindex.Clean(found, 200), gitindex.Clean(err.Error(), 300))
	}
	e.k.FixKustomization()
	return found, nil
}

// asterisk keeps the part of an image that stands in the kustomization already.
const asterisk = "*"

// images is "kustomize edit set image".
func (e *edit) images() error {
	all := map[string]types.Image{}
	for _, text := range e.given.Images {
		image, err := parseImage(e.env.expand(text))
		if err != nil {
			return err
		}
		all[image.Name] = image
	}
	for _, old := range e.k.Images {
		given, ok := all[old.Name]
		if !ok {
			all[old.Name] = old
			continue
		}
		all[old.Name] = keep(given, old)
	}
	e.k.Images = nil
	for _, name := range slices.Sorted(maps.Keys(all)) {
		e.k.Images = append(e.k.Images, keep(all[name], types.Image{}))
	}
	return nil
}

// keep puts old in place of asterisks. An image that has one loses its suffix
// of the tag, which no argument can name.
func keep(image, old types.Image) types.Image {
	kept := types.Image{Name: image.Name, NewName: image.NewName, NewTag: image.NewTag, Digest: image.Digest}
	marked := false
	for into, value := range map[*string]string{&kept.NewName: old.NewName, &kept.NewTag: old.NewTag, &kept.Digest: old.Digest} {
		if *into == asterisk {
			*into, marked = value, true
		}
	}
	if !marked {
		return image
	}
	return kept
}

// parseImage reads name=newname:tag@digest, of which parts may be left out.
func parseImage(text string) (types.Image, error) {
	key, value, renamed := strings.Cut(text, "=")
	if !renamed {
		key, value = "", text
	}
	name, tag, digest := splitImage(value)
	if name == text {
		return types.Image{}, fmt.Errorf("the image %q sets no name, tag or digest", gitindex.Clean(text, 200))
	}
	image := types.Image{Name: name, NewTag: tag, Digest: digest}
	if key != "" {
		image.Name, image.NewName = key, name
	}
	return image, nil
}

// splitImage divides host:port/name:tag@digest. A colon before the first slash
// belongs to the host.
func splitImage(text string) (name, tag, digest string) {
	from := max(strings.Index(text, "/"), 0)
	rest := text[from:]
	at, colon := strings.Index(rest, "@"), strings.Index(rest, ":")
	switch {
	case at < 0 && colon < 0:
		return text, "", ""
	case at < 0:
		return text[:from+colon], rest[colon+1:], ""
	case colon < 0 || at < colon:
		return text[:from+at], "", rest[at+1:]
	}
	return text[:from+colon], rest[colon+1 : at], rest[at+1:]
}

// replicas is "kustomize edit set replicas".
func (e *edit) replicas() error {
	all := map[string]types.Replica{}
	for _, old := range e.k.Replicas {
		all[old.Name] = old
	}
	for _, r := range e.given.Replicas {
		n, err := r.Count.number()
		if err != nil || strings.Contains(r.Name, "=") {
			return fmt.Errorf("the replicas of %q are no whole number", gitindex.Clean(r.Name, 100))
		}
		all[r.Name] = types.Replica{Name: r.Name, Count: n}
	}
	e.k.Replicas = nil
	for _, name := range slices.Sorted(maps.Keys(all)) {
		e.k.Replicas = append(e.k.Replicas, all[name])
	}
	return nil
}

// labels is "kustomize edit add label". Of equal labels without selector the
// command keeps one entry.
func (e *edit) labels() error {
	if e.given.LabelIncludeTemplates && !e.given.LabelWithoutSelector {
		return errors.New("labelIncludeTemplates needs labelWithoutSelector")
	}
	into := &e.k.CommonLabels
	if e.given.LabelWithoutSelector {
		into = e.unselective()
	}
	values := map[string]string{}
	for name, value := range e.given.CommonLabels {
		values[name] = e.env.expand(value)
	}
	return add(into, values, e.given.ForceCommonLabels, "label")
}

// unselective is the entry of labels that reach no selector.
func (e *edit) unselective() *map[string]string {
	for i := range e.k.Labels {
		if l := &e.k.Labels[i]; !l.IncludeSelectors && l.IncludeTemplates == e.given.LabelIncludeTemplates {
			return &l.Pairs
		}
	}
	e.k.Labels = append(e.k.Labels, types.Label{IncludeTemplates: e.given.LabelIncludeTemplates})
	return &e.k.Labels[len(e.k.Labels)-1].Pairs
}

// annotations is "kustomize edit add annotation".
func (e *edit) annotations() error {
	values := maps.Clone(e.given.CommonAnnotations)
	if e.given.CommonAnnotationsEnvsubst {
		for name, value := range values {
			values[name] = e.env.expand(value)
		}
	}
	return add(&e.k.CommonAnnotations, values, e.given.ForceCommonAnnotations, "annotation")
}

// add writes name:value arguments into a map. A pair of quotes around a value
// is taken off, as the commands do.
func add(into *map[string]string, values map[string]string, force bool, what string) error {
	if *into == nil {
		*into = map[string]string{}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		key, rest, split := strings.Cut(name+":"+values[name], ":")
		if key == "" || !split {
			return fmt.Errorf("a common %s has no name", what)
		}
		if len(rest) >= 2 && rest[0] == '"' && rest[len(rest)-1] == '"' {
			rest = rest[1 : len(rest)-1]
		}
		if _, there := (*into)[key]; there && !force {
			return fmt.Errorf("the %s %s is in the kustomization already: Argo CD needs force to change it", what, gitindex.Clean(key, 100))
		}
		(*into)[key] = rest
	}
	return nil
}

// patches are appended.
func (e *edit) patches() error {
	for _, p := range e.given.Patches {
		var patch types.Patch
		text, err := json.Marshal(p)
		if err == nil {
			err = yaml.Unmarshal(text, &patch)
		}
		if err != nil {
			return err
		}
		e.k.Patches = append(e.k.Patches, patch)
	}
	return nil
}

// components is "kustomize edit add component".
func (e *edit) components(tree fs.FS, dir string) error {
	for _, c := range e.given.Components {
		if strings.ContainsAny(c, "*?[") {
			return fmt.Errorf("the component %q is a pattern: write the components out", gitindex.Clean(c, 200))
		}
		if e.given.IgnoreMissingComponents {
			if _, err := fs.Stat(tree, path.Join(dir, c)); err != nil {
				continue
			}
		}
		if !slices.Contains(e.k.Components, c) {
			e.k.Components = append(e.k.Components, c)
		}
	}
	return nil
}
