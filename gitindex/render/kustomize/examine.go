package kustomize

//lint:file-ignore SA1019 what kustomize calls deprecated is still written, read and applied

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"sigs.k8s.io/kustomize/api/types"
)

// use is what kustomize does with a reference.
type use uint8

const (
	asFile      use = iota // reads it
	asResource             // reads it, and if that fails takes it for a directory
	asComponent            // takes it for a directory
)

// examination is one kustomization under the eyes of its examiner.
type examination struct {
	tree    *tree
	name    string // of the kustomization file
	dir     string
	changed bool
	err     error // the first
}

// examine checks every reference of a kustomization before kustomize sees it.
// It returns what kustomize may read: the file itself, or the same
// kustomization with references to what was mounted in place of addresses.
func (t *tree) examine(name string, data []byte) ([]byte, error) {
	var k types.Kustomization
	if k.Unmarshal(data) != nil {
		return data, nil // kustomize reads it the same way, and will say what is wrong
	}
	e := &examination{tree: t, name: name, dir: path.Dir(name)}
	e.helm(&k)
	e.bases(&k)
	e.inputs(&k)
	e.generated(&k)
	e.decrypt(&k)
	e.plugins("generators", k.Generators)
	e.plugins("transformers", k.Transformers)
	e.plugins("validators", k.Validators)
	if e.err != nil {
		return nil, e.err
	}
	if !e.changed {
		return data, nil
	}
	return json.Marshal(k)
}

// helm refuses what only the helm binary could render.
func (e *examination) helm(k *types.Kustomization) {
	field := ""
	switch {
	case len(k.HelmCharts) > 0:
		field = "helmCharts"
	case len(k.HelmChartInflationGenerator) > 0:
		field = "helmChartInflationGenerator"
	default:
		return
	}
	e.fail(field, errors.New("kustomize would run the helm command for it, which is never done here: "+
		"declare the chart as a unit of its own, or commit what it renders to"))
}

func (e *examination) bases(k *types.Kustomization) {
	e.each("resources", asResource, k.Resources)
	e.each("bases", asResource, k.Bases)
	e.each("components", asComponent, k.Components)
}

func (e *examination) inputs(k *types.Kustomization) {
	e.each("crds", asFile, k.Crds)
	e.each("configurations", asFile, k.Configurations)
	for i := range k.Patches {
		e.check("patches", asFile, &k.Patches[i].Path)
	}
	for i := range k.PatchesJson6902 {
		e.check("patchesJson6902", asFile, &k.PatchesJson6902[i].Path)
	}
	for i := range k.PatchesStrategicMerge {
		e.patch("patchesStrategicMerge", (*string)(&k.PatchesStrategicMerge[i]))
	}
	for i := range k.Replacements {
		e.check("replacements", asFile, &k.Replacements[i].Path)
	}
	if schema, ok := k.OpenAPI["path"]; ok {
		e.check("openapi", asFile, &schema)
		k.OpenAPI["path"] = schema
	}
}

func (e *examination) generated(k *types.Kustomization) {
	for i := range k.ConfigMapGenerator {
		e.pairs("configMapGenerator", &k.ConfigMapGenerator[i].KvPairSources)
	}
	for i := range k.SecretGenerator {
		e.pairs("secretGenerator", &k.SecretGenerator[i].KvPairSources)
	}
}

func (e *examination) pairs(field string, s *types.KvPairSources) {
	e.each(field, asFile, s.EnvSources)
	e.check(field, asFile, &s.EnvSource)
	for i, source := range s.FileSources {
		key, name, named := strings.Cut(source, "=")
		if !named {
			e.check(field, asFile, &s.FileSources[i])
			continue
		}
		e.check(field, asFile, &name)
		s.FileSources[i] = key + "=" + name
	}
}

func (e *examination) each(field string, u use, refs []string) {
	for i := range refs {
		e.check(field, u, &refs[i])
	}
}

// patch is a file's name or the patch itself; kustomize tries both.
func (e *examination) patch(field string, ref *string) {
	if fileReach(*ref) != local || path.IsAbs(*ref) {
		e.check(field, asFile, ref)
	}
}

func (e *examination) fail(field string, err error) {
	if e.err == nil {
		e.err = fmt.Errorf("%s: %s: %w", e.tree.shown(e.name), field, err)
	}
}

// check settles one reference, and puts a path in its place if it reaches out.
func (e *examination) check(field string, u use, ref *string) {
	if *ref == "" || e.err != nil {
		return
	}
	settled, err := e.settle(u, *ref)
	if err != nil {
		e.fail(field, err)
		return
	}
	if settled != *ref {
		*ref, e.changed = settled, true
	}
}

func (e *examination) settle(u use, ref string) (string, error) {
	where := fileReach(ref)
	if u != asFile && where == local {
		where = baseReach(ref)
	}
	if where == repository && u == asResource && e.isFile(ref) {
		where = local // kustomize tries a file first
	}
	if where != local {
		return e.fetch(u, ref)
	}
	if path.IsAbs(ref) {
		return "", fmt.Errorf("%q is an absolute path: write it relative to the kustomization", gitindex.Clean(ref, 200))
	}
	if err := e.inside(u, path.Join(e.dir, ref)); err != nil {
		return "", fmt.Errorf("%q %w", gitindex.Clean(ref, 200), err)
	}
	if u != asFile && !plainly(ref) {
		return "./" + ref, nil // which nothing takes for an address
	}
	return ref, nil
}

func (e *examination) isFile(ref string) bool {
	dir, err := e.tree.stat(path.Join(e.dir, ref))
	return err == nil && !dir
}

// inside keeps references in the tree they stand in. What comes from elsewhere
// keeps kustomize's load restriction, whatever the options say.
func (e *examination) inside(u use, target string) error {
	root := treeRoot
	if rest, ok := below(e.name, mountRoot); ok {
		number, _, _ := strings.Cut(rest, "/")
		root = path.Join(mountRoot, number)
		if _, under := below(target, e.dir); u == asFile && !under {
			return errors.New("lies outside its directory, and a base from elsewhere may not read that")
		}
	}
	if _, ok := below(target, root); !ok {
		return errors.New("leads out of the tree")
	}
	return nil
}

// fetch mounts what a reference to elsewhere is pinned to.
func (e *examination) fetch(u use, ref string) (string, error) {
	if _, ok := below(e.name, mountRoot); ok && hasPrefixFold(ref, "file:") {
		return "", fmt.Errorf("%q names a file of the machine", gitindex.Clean(ref, 200))
	}
	root, err := e.tree.mount(ref, e.name)
	if err != nil {
		return "", err
	}
	if u != asComponent {
		if name, ok := e.tree.single(root, ref); ok {
			return e.adopt(root, name)
		}
	}
	if u == asFile {
		return "", fmt.Errorf("what %q is pinned to holds no such file", gitindex.Clean(ref, 200))
	}
	_, dir, _ := splitRepository(ref)
	target := path.Join(root, path.Clean("/"+dir))
	return strings.Repeat("../", strings.Count(e.dir, "/")) + target[1:], nil
}

// mount gives the place of what the reference is pinned to.
func (t *tree) mount(ref, by string) (string, error) {
	if root, ok := t.bases[ref]; ok {
		return root, nil
	}
	files, _, err := t.src.Base(ref)
	if err != nil {
		return "", err
	}
	if files == nil {
		return "", &render.NeedsError{What: "the base " + gitindex.Clean(ref, 200), Why: "it is not in the tree"}
	}
	root := path.Join(mountRoot, strconv.Itoa(len(t.mounts)))
	t.mounts = append(t.mounts, files)
	t.namedBy = append(t.namedBy, t.home(by))
	t.bases[ref], t.elsewhere = root, true
	return root, nil
}

// home is the file of the tree itself that brought a file from elsewhere in.
func (t *tree) home(name string) string {
	rest, ok := below(name, mountRoot)
	if !ok {
		return name
	}
	number, _, _ := strings.Cut(rest, "/")
	if n, err := strconv.Atoi(number); err == nil && n < len(t.namedBy) {
		return t.namedBy[n]
	}
	return treeRoot
}

// single is the file that an address names, if it is one.
func (t *tree) single(root, ref string) (name string, ok bool) {
	u, err := url.Parse(ref)
	if err != nil || fileReach(ref) != address {
		return "", false
	}
	name = path.Base(u.Path)
	files, _, err := t.in(root)
	if err != nil || !fs.ValidPath(name) {
		return "", false
	}
	info, err := fs.Stat(files, name)
	return name, err == nil && info.Mode().IsRegular()
}

// adopt puts a file from elsewhere below the kustomization, where kustomize's
// load restriction lets it be read: that is not asked of addresses.
func (e *examination) adopt(root, name string) (string, error) {
	data, err := e.tree.raw(path.Join(root, name))
	if err != nil {
		return "", err
	}
	local := path.Join(".elsewhere", path.Base(root), name)
	e.tree.add(path.Join(e.dir, local), data)
	return local, nil
}
