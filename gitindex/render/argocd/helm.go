package argocd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/strvals"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/gitindex/render/helm"
)

// place is where a chart lies: in the tree, or in what was fetched for it.
type place struct {
	files     fs.FS
	dir       string
	elsewhere bool
}

// fromElsewhere renders a chart of a repository or registry.
func (b *builder) fromElsewhere(s *Source) ([]render.Object, error) {
	ref, err := s.chart()
	if err != nil {
		return nil, err
	}
	files, pin, err := b.src.Chart(ref)
	if err != nil {
		return nil, err
	}
	merged, err := b.override(s, files, ".")
	if err != nil {
		return nil, err
	}
	tool, err := merged.tool(files, ".")
	if err != nil {
		return nil, err
	}
	if tool != render.Helm {
		return nil, &render.NeedsError{What: "the artifact " + ref.String(), Why: "it is no Helm chart", Do: "commit what it holds"}
	}
	resolved := pin.Version
	if ref.OCI != "" && s.Chart == "" {
		resolved = pin.Digest
	}
	return b.helm(merged, place{files: files, dir: ".", elsewhere: true}, b.environment(s).at(resolved))
}

// chart is the reference by which Argo CD fetches. An address without a scheme
// is a registry's: util/helm/client.go, IsHelmOciRepo.
func (s *Source) chart() (render.ChartRef, error) {
	ref := render.ChartRef{Version: s.TargetRevision}
	if strings.HasPrefix(s.RepoURL, "oci://") {
		if dir := path.Clean("./" + s.Path); dir != "." {
			return ref, &render.NeedsError{What: "the directory " + gitindex.Clean(dir, 200) + " of the artifact " + gitindex.Clean(s.RepoURL, 200),
				Why: "only a chart at an artifact's root can be read"}
		}
		ref.OCI = s.RepoURL
		return ref, nil
	}
	address, err := url.Parse(s.RepoURL)
	if err != nil || s.RepoURL == "" {
		return ref, errors.New("its repoURL is no address")
	}
	if s.TargetRevision == "" {
		return ref, errors.New("its chart has no targetRevision: Argo CD refuses that")
	}
	if address.Host == "" {
		ref.OCI = "oci://" + strings.TrimSuffix(s.RepoURL, "/") + "/" + s.Chart
	} else {
		ref.Repository, ref.Name = s.RepoURL, s.Chart
	}
	return ref, nil
}

// helm renders a chart with the arguments that Argo CD gives "helm template":
// reposerver/repository/repository.go, helmTemplate, and util/helm/cmd.go.
func (b *builder) helm(s *Source, at place, env environment) ([]render.Object, error) {
	b.src.rendered()
	given := s.Helm
	if given == nil {
		given = &Helm{}
	}
	values := valuesOf{b: b, at: at, env: env, given: given}
	files, err := values.files()
	if err != nil {
		return nil, err
	}
	inline, err := given.inline()
	if err != nil {
		return nil, err
	}
	set, err := values.parameters()
	if err != nil {
		return nil, err
	}
	o := render.HelmOptions{
		ReleaseName: or(given.ReleaseName, b.app.Name), Namespace: or(given.Namespace, b.app.Spec.Destination.Namespace),
		ValuesFiles: files, Values: inline, SkipCRDs: given.SkipCrds, SkipTests: given.SkipTests,
		KubeVersion: or(given.KubeVersion, b.unit.Cluster.KubeVersion), APIVersions: given.APIVersions,
	}
	if o.KubeVersion, err = kubeVersion(o.KubeVersion); err != nil {
		return nil, err
	}
	release := helm.Release{Sources: b.src, Chart: at.files, Dir: at.dir, Options: o, Cluster: b.unit.Cluster, Set: set}
	if given.SkipSchemaValidation {
		release.Sources, release.Chart = uncheck(b.src, at)
	}
	documents, err := release.Documents()
	if err != nil {
		return nil, err
	}
	return rendered(documents)
}

// rendered are the objects of a chart. A hook may have a generated name.
func rendered(documents []helm.Document) ([]render.Object, error) {
	var all []render.Object
	for _, d := range documents {
		found, err := d.Objects()
		if err != nil {
			hook, ok := generated(d.Text)
			if !ok {
				return nil, err
			}
			hook.Path, hook.Line, hook.End = d.Path, 0, 0
			found = []render.Object{hook}
		}
		all = append(all, found...)
	}
	return all, nil
}

func or(value, otherwise string) string {
	if value != "" {
		return value
	}
	return otherwise
}

// kubeVersion drops what a provider adds to a version, as Argo CD does.
func kubeVersion(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	v, err := version.ParseGeneric(text)
	if err != nil {
		return "", fmt.Errorf("reading the Kubernetes version %q: %w", gitindex.Clean(text, 60), err)
	}
	return "v" + v.String(), nil
}

// inline are the values in the source itself; an object goes before text.
func (h *Helm) inline() (json.RawMessage, error) {
	if len(h.ValuesObject) > 0 && string(h.ValuesObject) != "null" {
		return h.ValuesObject, nil
	}
	if h.Values == "" {
		return nil, nil
	}
	values, err := loader.LoadValues(bytes.NewReader([]byte(h.Values)))
	if err != nil {
		return nil, fmt.Errorf("reading helm.values: %s", gitindex.Clean(err.Error(), 200))
	}
	return json.Marshal(values)
}

// valuesOf works out what a release's values are.
type valuesOf struct {
	b     *builder
	at    place
	env   environment
	given *Helm
}

// located is a file that an option names: in the tree, or in the chart.
type located struct {
	files fs.FS
	name  string
	tree  bool
}

// files are the values files in order. One that a pattern matches keeps its own
// place where it is listed by name too, and none counts twice: getResolvedValueFiles.
func (v *valuesOf) files() ([]string, error) {
	listed := map[string]bool{}
	for _, raw := range v.given.ValueFiles {
		if f, err := v.locate(raw); err == nil && !isPattern(f.name) {
			listed[v.argument(f)] = true
		}
	}
	var all []string
	for _, raw := range v.given.ValueFiles {
		found, err := v.matches(raw, listed)
		if err != nil {
			return nil, fmt.Errorf("the values file %q: %w", gitindex.Clean(raw, 200), err)
		}
		for _, name := range found {
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all, nil
}

func (v *valuesOf) matches(raw string, listed map[string]bool) ([]string, error) {
	f, err := v.locate(raw)
	if err != nil {
		return nil, err
	}
	if !isPattern(f.name) {
		_, err := fs.Stat(f.files, f.name)
		if errors.Is(err, fs.ErrNotExist) {
			if v.given.IgnoreMissingValueFiles {
				return nil, nil
			}
			return nil, errors.New("there is no such file")
		}
		return []string{v.argument(f)}, err
	}
	names, err := matchFiles(f.files, f.name)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 && !v.given.IgnoreMissingValueFiles {
		return nil, errors.New("no file matches")
	}
	var found []string
	for _, name := range names {
		if one := v.argument(located{f.files, name, f.tree}); !listed[one] {
			found = append(found, one)
		}
	}
	return found, nil
}

// argument names a file as render.HelmOptions does: from the tree's root with a
// leading slash, else from the chart.
func (v *valuesOf) argument(f located) string {
	if f.tree {
		return "/" + f.name
	}
	return f.name
}

// locate finds the file that an option names: beside the chart, from the root
// with a leading slash, or from the root of the source that $name refers to.
func (v *valuesOf) locate(raw string) (located, error) {
	if first, rest, _ := strings.Cut(raw, "/"); strings.HasPrefix(raw, "$") && v.b.app.several() {
		git, known := v.b.refs[first]
		switch {
		case !known:
			return located{}, fmt.Errorf("no source has the ref %s", gitindex.Clean(strings.TrimPrefix(first, "$"), 60))
		case !git:
			return located{}, errors.New("a source that is referred to must be a Git repository")
		}
		return v.inside(located{files: v.b.src.Tree(), name: path.Join(".", v.env.expand(rest)), tree: true})
	}
	text := v.env.expand(raw)
	if u, err := url.Parse(text); err == nil && u.Scheme != "" {
		return located{}, &render.NeedsError{What: "the file " + gitindex.Clean(text, 200), Why: "it is not in the tree", Do: "commit it"}
	}
	f := located{files: v.at.files, name: path.Join(v.at.dir, text), tree: !v.at.elsewhere}
	if strings.HasPrefix(text, "/") {
		f.name = path.Join(".", strings.TrimLeft(text, "/"))
	}
	return v.inside(f)
}

func (v *valuesOf) inside(f located) (located, error) {
	if f.name == "." || !fs.ValidPath(f.name) {
		return located{}, errors.New("its path leads out of the repository")
	}
	return f, nil
}

// parameters are --set, --set-string and --set-file, which Helm takes in this
// order. Of two parameters of one name the last counts; between others Argo CD
// keeps no order, so such as touch each other are refused.
func (v *valuesOf) parameters() (func(map[string]any) error, error) {
	plain, quoted, files := map[string]string{}, map[string]string{}, map[string]string{}
	for _, p := range v.given.Parameters {
		if p.ForceString {
			quoted[p.Name] = p.Name + "=" + escape(v.env.expand(p.Value))
		} else {
			plain[p.Name] = p.Name + "=" + escape(v.env.expand(p.Value))
		}
	}
	for _, p := range v.given.FileParameters {
		text, err := v.fileParameter(p)
		if err != nil {
			return nil, fmt.Errorf("the file parameter %q: %w", gitindex.Clean(p.Name, 100), err)
		}
		files[p.Name] = text
	}
	for _, set := range []map[string]string{plain, quoted, files} {
		if err := orderless(set); err != nil {
			return nil, err
		}
	}
	if len(plain)+len(quoted)+len(files) == 0 {
		return nil, nil
	}
	return func(values map[string]any) error { return set(values, plain, quoted, files) }, nil
}

func set(values map[string]any, plain, quoted, files map[string]string) error {
	for name, argument := range sorted(plain) {
		if err := strvals.ParseInto(argument, values); err != nil {
			return fmt.Errorf("the parameter %s: %s", gitindex.Clean(name, 100), gitindex.Clean(err.Error(), 100))
		}
	}
	for name, argument := range sorted(quoted) {
		if err := strvals.ParseIntoString(argument, values); err != nil {
			return fmt.Errorf("the parameter %s: %s", gitindex.Clean(name, 100), gitindex.Clean(err.Error(), 100))
		}
	}
	for name, text := range sorted(files) {
		content := func([]rune) (any, error) { return text, nil }
		if err := strvals.ParseIntoFile(name+"=file", values, content); err != nil {
			return fmt.Errorf("the file parameter %s: %s", gitindex.Clean(name, 100), gitindex.Clean(err.Error(), 100))
		}
	}
	return nil
}

func (v *valuesOf) fileParameter(p FileParameter) (string, error) {
	f, err := v.locate(p.Path)
	if err != nil {
		return "", err
	}
	text, err := fs.ReadFile(f.files, f.name)
	if err == nil && len(text) > maxText {
		err = fmt.Errorf("is larger than %d MiB", maxText>>20)
	}
	return string(text), err
}

// maxText is the most that one file of options may hold.
const maxText = 16 << 20

// escape keeps a comma in a value from beginning another one, unless the value
// is a list in braces or the comma is escaped already.
func escape(value string) string {
	if strings.HasPrefix(value, "{") && strings.HasSuffix(value, "}") {
		return value
	}
	var b strings.Builder
	before := rune(0)
	for _, r := range value {
		if r == ',' && before != '\\' {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
		before = r
	}
	return b.String()
}

// orderless refuses parameters whose order would count.
func orderless(parameters map[string]string) error {
	for name := range parameters {
		for other := range parameters {
			rest, longer := strings.CutPrefix(other, name)
			if longer && rest != "" && strings.ContainsAny(rest[:1], ".[") {
				return fmt.Errorf("the parameters %s and %s set one value, in an order that Argo CD does not keep: %w",
					gitindex.Clean(name, 100), gitindex.Clean(other, 100), render.ErrUnstable)
			}
		}
	}
	return nil
}
