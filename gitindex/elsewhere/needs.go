package elsewhere

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// Need is one thing from elsewhere that a repository names, and where.
type Need struct {
	Chart render.ChartRef
	Base  string // set in place of Chart
	Path  string
	Line  int
}

// What is what is needed, for people.
func (n Need) What() string {
	if n.Base != "" {
		return "base " + gitindex.CleanURL(n.Base, 400)
	}
	return "chart " + n.Chart.String()
}

// Fixed reports whether Git says already which content that is.
func (n Need) Fixed() bool {
	if n.Base == "" {
		return n.Chart.Digest != ""
	}
	b, err := parseBase(n.Base)
	return err == nil && b.ownPin().Digest != ""
}

// Needs finds what the files of a tree name: HelmReleases with their sources,
// Argo CD Applications, dependencies of charts, and what kustomizations take
// from other places. What a rendering would come to need beyond that (an object
// that a template makes) only a rendering tells.
func Needs(tree fs.FS) ([]Need, []gitindex.Problem) {
	f := finder{tree: tree, sources: map[gitindex.Ref]source{}}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == ".git":
			return fs.SkipDir
		case d.Type().IsRegular():
			f.file(name)
		}
		return nil
	})
	if err != nil {
		f.problem("", 0, "reading the tree: %v", err)
	}
	for _, r := range f.releases {
		f.release(r)
	}
	slices.SortStableFunc(f.needs, func(a, b Need) int { return strings.Compare(a.What(), b.What()) })
	return f.needs, f.problems
}

type finder struct {
	tree     fs.FS
	needs    []Need
	problems []gitindex.Problem
	releases []declared
	sources  map[gitindex.Ref]source
}

// declared is an object with the fields that name a chart.
type declared struct {
	render.Object
	body
}

// body has the fields of a HelmRelease, a HelmChart and an Application
// (fluxcd/helm-controller api/v2, fluxcd/source-controller api/v1,
// argoproj/argo-cd pkg/apis/application/v1alpha1).
type body struct {
	Spec struct {
		Chart     json.RawMessage `json:"chart"` // an object in a HelmRelease, a text in a HelmChart
		ChartRef  *sourceRef      `json:"chartRef"`
		Version   string          `json:"version"`
		SourceRef *sourceRef      `json:"sourceRef"`
		Source    *argoSource     `json:"source"`
		Sources   []argoSource    `json:"sources"`
	} `json:"spec"`
}

type sourceRef struct {
	Kind, Name, Namespace string
}

type argoSource struct {
	RepoURL, Chart, TargetRevision string
}

type chartSpec struct {
	Spec struct {
		Chart     string    `json:"chart"`
		Version   string    `json:"version"`
		SourceRef sourceRef `json:"sourceRef"`
	} `json:"spec"`
}

// source is a HelmRepository or OCIRepository.
type source struct {
	Spec struct {
		URL  string `json:"url"`
		Type string `json:"type"`
		Ref  struct {
			Tag    string `json:"tag"`
			SemVer string `json:"semver"`
			Digest string `json:"digest"`
		} `json:"ref"`
	} `json:"spec"`
}

func (f *finder) problem(name string, line int, format string, args ...any) {
	f.problems = append(f.problems, gitindex.Problem{Path: name, Line: line, Message: fmt.Sprintf(format, args...)})
}

func (f *finder) add(n Need) {
	text := n.Base + chartKey(n.Chart)
	switch {
	case strings.Contains(text, "${") || strings.Contains(text, "{{"):
		f.problem(n.Path, n.Line, "%s depends on a variable: only a rendering tells what it is", n.What())
	case !slices.ContainsFunc(f.needs, func(o Need) bool { return o.Base == n.Base && o.Chart == n.Chart }):
		f.needs = append(f.needs, n)
	}
}

func (f *finder) file(name string) {
	base := path.Base(name)
	kustomization := base == "kustomization.yaml" || base == "kustomization.yml" || base == "Kustomization"
	if !kustomization && (!render.Eligible(name) || f.template(name)) {
		return
	}
	data, err := fs.ReadFile(f.tree, name)
	if err != nil {
		f.problem(name, 0, "%v", err)
		return
	}
	switch {
	case kustomization:
		f.kustomization(name, data)
	case base == "Chart.yaml":
		f.chart(name, data)
	default:
		objects, _ := render.File(name, data, render.Limits{}) // what is broken is the renderers' to tell
		for _, o := range objects {
			f.object(name, o)
		}
	}
}

// template reports whether a file is a part of a chart that is no YAML yet.
func (f *finder) template(name string) bool {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if path.Base(dir) == "templates" {
			if _, err := fs.Stat(f.tree, path.Join(path.Dir(dir), "Chart.yaml")); err == nil {
				return true
			}
		}
	}
	return false
}

func (f *finder) object(name string, o render.Object) {
	ref := gitindex.Ref{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}
	o.Path = name
	switch o.Group + "/" + o.Kind {
	case "source.toolkit.fluxcd.io/HelmRepository", "source.toolkit.fluxcd.io/OCIRepository":
		var s source
		if err := json.Unmarshal(o.JSON, &s); err != nil {
			f.problem(name, o.Line, "%s does not read as one: %v", o.Kind, err)
		}
		f.sources[ref] = s
	case "helm.toolkit.fluxcd.io/HelmRelease", "source.toolkit.fluxcd.io/HelmChart", "argoproj.io/Application":
		d := declared{Object: o}
		if err := json.Unmarshal(o.JSON, &d.body); err != nil {
			f.problem(name, o.Line, "%s does not read as one: %v", o.Kind, err)
		}
		f.releases = append(f.releases, d)
	}
}

// release says what an object takes its chart from, once all are known.
func (f *finder) release(d declared) {
	switch {
	case d.Kind == "Application":
		for _, s := range append(d.Spec.Sources, deref(d.Spec.Source)) {
			f.application(d, s)
		}
	case d.Spec.ChartRef != nil:
		if d.Spec.ChartRef.Kind == "OCIRepository" { // a HelmChart speaks for itself
			f.from(d, *d.Spec.ChartRef, "", "")
		}
	case d.Kind == "HelmChart" && d.Spec.SourceRef != nil:
		var name string
		if json.Unmarshal(d.Spec.Chart, &name) == nil {
			f.from(d, *d.Spec.SourceRef, name, d.Spec.Version)
		}
	case len(d.Spec.Chart) > 0:
		var c chartSpec
		if err := json.Unmarshal(d.Spec.Chart, &c); err != nil {
			f.problem(d.Path, d.Line, "spec.chart does not read: %v", err)
			return
		}
		f.from(d, c.Spec.SourceRef, c.Spec.Chart, c.Spec.Version)
	}
}

func deref(s *argoSource) argoSource {
	if s == nil {
		return argoSource{}
	}
	return *s
}

func (f *finder) application(d declared, s argoSource) {
	n := Need{Path: d.Path, Line: d.Line}
	switch {
	case s.Chart == "":
		return
	case strings.Contains(s.RepoURL, "://"):
		n.Chart = render.ChartRef{Repository: s.RepoURL, Name: s.Chart, Version: s.TargetRevision}
	default: // a registry, as Argo CD takes it
		n.Chart = render.ChartRef{OCI: "oci://" + strings.TrimSuffix(s.RepoURL, "/") + "/" + s.Chart, Version: s.TargetRevision}
	}
	f.add(n)
}

func (f *finder) from(d declared, ref sourceRef, chart, version string) {
	if ref.Kind != "HelmRepository" && ref.Kind != "OCIRepository" {
		return // a chart in a Git repository or bucket
	}
	if ref.Namespace == "" {
		ref.Namespace = d.Namespace
	}
	s, ok := f.source(gitindex.Ref{Kind: ref.Kind, Namespace: ref.Namespace, Name: ref.Name})
	if !ok {
		f.problem(d.Path, d.Line, "%s %s takes its chart from %s %s, which no file declares", d.Kind, gitindex.Clean(d.Name, 100), ref.Kind, gitindex.Clean(ref.Name, 100))
		return
	}
	n := Need{Path: d.Path, Line: d.Line}
	switch {
	case ref.Kind == "OCIRepository":
		n.Chart = render.ChartRef{OCI: s.Spec.URL, Version: s.Spec.Ref.Tag, Digest: s.Spec.Ref.Digest}
		if s.Spec.Ref.SemVer != "" {
			n.Chart.Version = s.Spec.Ref.SemVer
		}
		if n.Chart.Version == "" && n.Chart.Digest == "" {
			n.Chart.Version = "latest"
		}
	case strings.HasPrefix(s.Spec.URL, "oci://"):
		n.Chart = render.ChartRef{OCI: strings.TrimSuffix(s.Spec.URL, "/") + "/" + chart, Version: version}
	default:
		n.Chart = render.ChartRef{Repository: s.Spec.URL, Name: chart, Version: version}
	}
	f.add(n)
}

// source finds what is named. A file may leave the namespace to its
// kustomization; then the name says enough if it is the only one.
func (f *finder) source(want gitindex.Ref) (source, bool) {
	if s, ok := f.sources[want]; ok {
		return s, true
	}
	var found []source
	for ref, s := range f.sources {
		if ref.Kind == want.Kind && ref.Name == want.Name && (ref.Namespace == "" || want.Namespace == "") && !slices.Contains(found, s) {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		return source{}, false
	}
	return found[0], true
}

// kustomization looks at the fields that may name other places.
func (f *finder) kustomization(name string, data []byte) {
	var k struct {
		Resources  []yaml.Node `yaml:"resources"`
		Bases      []yaml.Node `yaml:"bases"`
		Components []yaml.Node `yaml:"components"`
		CRDs       []yaml.Node `yaml:"crds"`
		HelmCharts []struct {
			Name    string `yaml:"name"`
			Repo    string `yaml:"repo"`
			Version string `yaml:"version"`
		} `yaml:"helmCharts"`
	}
	if err := yaml.Unmarshal(data, &k); err != nil {
		return // the renderer tells
	}
	for _, node := range slices.Concat(k.Resources, k.Bases, k.Components, k.CRDs) {
		if IsRemote(node.Value) {
			f.add(Need{Base: node.Value, Path: name, Line: node.Line})
		}
	}
	for _, c := range k.HelmCharts {
		f.dependency(name, dependency{Name: c.Name, Repository: c.Repo, Version: c.Version})
	}
}

type dependency struct {
	Name       string `yaml:"name"`
	Version    string `yaml:"version"`
	Repository string `yaml:"repository"`
}

func (f *finder) dependency(name string, d dependency) {
	n := Need{Path: name}
	switch {
	case strings.HasPrefix(d.Repository, "oci://"):
		n.Chart = render.ChartRef{OCI: strings.TrimSuffix(d.Repository, "/") + "/" + d.Name, Version: d.Version}
	case strings.HasPrefix(d.Repository, "https://"), strings.HasPrefix(d.Repository, "http://"):
		n.Chart = render.ChartRef{Repository: d.Repository, Name: d.Name, Version: d.Version}
	default:
		return // beside the chart, or by a name that only a machine knows
	}
	f.add(n)
}

// chart looks at the dependencies of a chart in the tree that are not in it.
// Chart.lock says which version "helm dependency update" found.
func (f *finder) chart(name string, data []byte) {
	var c, lock struct {
		Dependencies []dependency `yaml:"dependencies"`
	}
	if yaml.Unmarshal(data, &c) != nil {
		return
	}
	if text, err := fs.ReadFile(f.tree, path.Join(path.Dir(name), "Chart.lock")); err == nil && yaml.Unmarshal(text, &lock) != nil {
		return
	}
	for _, d := range c.Dependencies {
		beside := path.Join(path.Dir(name), "charts", d.Name)
		archives, _ := fs.Glob(f.tree, beside+"-*.tgz") // a name with odd letters has none
		if _, err := fs.Stat(f.tree, beside); err == nil || len(archives) > 0 {
			continue
		}
		for _, l := range lock.Dependencies {
			if l.Name == d.Name && l.Repository == d.Repository {
				d.Version = l.Version
			}
		}
		f.dependency(name, d)
	}
}
