package fluxhelm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/Masterminds/semver/v3"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// SourceGroup is that of the objects that say where charts are.
const SourceGroup = "source.toolkit.fluxcd.io"

// Place is where the HelmRelease takes its chart from: a source object, and the
// chart there as it is written, which in a GitRepository is a directory. A chart
// of a GitRepository is read from the tree: whoever calls Build decides whether
// that is the repository meant.
func Place(src render.Sources, opener json.RawMessage) (source gitindex.Ref, chart string, err error) {
	hr, err := parse(opener)
	if err != nil {
		return gitindex.Ref{}, "", err
	}
	switch ref := hr.Spec.ChartRef; {
	case hr.Spec.Chart != nil:
	case ref == nil:
		return gitindex.Ref{}, "", fmt.Errorf("%s: %w", hr.ref(), errNoChart)
	case ref.Kind != "HelmChart":
		return hr.source(ref.Kind, ref.Namespace, ref.Name), "", nil
	}
	spec, namespace, err := hr.chartSpec(src)
	if err != nil {
		return gitindex.Ref{}, "", fmt.Errorf("%s: %w", hr.ref(), err)
	}
	return gitindex.Ref{Group: SourceGroup, Kind: spec.SourceRef.Kind, Namespace: namespace, Name: spec.SourceRef.Name}, spec.Chart, nil
}

var errNoChart = errors.New("exactly one of spec.chart and spec.chartRef must be set")

// chart is where the chart is, and what Flux changes of it when it packs it.
type chart struct {
	fsys     fs.FS
	dir      string
	defaults map[string]any // in place of its values.yaml
	// suffix is build metadata that the version gets; an unknown one has a pattern.
	suffix  string
	unknown []unknown
}

// Chart notes that it is asked.
func (n *noting) Chart(ref render.ChartRef) (fs.FS, render.Pin, error) {
	n.elsewhere = true
	return n.Sources.Chart(ref)
}

func (hr *helmRelease) chart(src render.Sources) (*chart, error) {
	if ref := hr.Spec.ChartRef; ref != nil {
		switch ref.Kind {
		case "OCIRepository":
			return hr.ociRepository(src)
		case "HelmChart":
		default:
			return nil, fmt.Errorf("a chart from a source of kind %s cannot be known from Git", gitindex.Clean(ref.Kind, 40))
		}
	}
	spec, namespace, err := hr.chartSpec(src)
	if err != nil {
		return nil, err
	}
	if spec.ValuesFile != "" {
		return nil, errors.New("the chart has a valuesFile, which Flux no longer reads: write it under valuesFiles")
	}
	switch spec.SourceRef.Kind {
	case "HelmRepository":
		return helmRepository(src, spec, namespace)
	case "GitRepository":
		return gitRepository(src, spec)
	}
	return nil, fmt.Errorf("a chart from a source of kind %s cannot be known from Git", gitindex.Clean(spec.SourceRef.Kind, 40))
}

// chartSpec is the HelmRelease's own, or that of the HelmChart it names, and the
// namespace of the source.
func (hr *helmRelease) chartSpec(src render.Sources) (*chartSpec, string, error) {
	if t := hr.Spec.Chart; t != nil {
		ref := hr.source(t.Spec.SourceRef.Kind, t.Spec.SourceRef.Namespace, "")
		return &t.Spec, ref.Namespace, nil
	}
	ref := hr.source("HelmChart", hr.Spec.ChartRef.Namespace, hr.Spec.ChartRef.Name)
	var declared struct {
		Spec chartSpec `json:"spec"`
	}
	if err := declaredAs(src, ref, &declared); err != nil {
		return nil, "", err
	}
	return &declared.Spec, ref.Namespace, nil
}

func (hr *helmRelease) source(kind, namespace, name string) gitindex.Ref {
	if namespace == "" {
		namespace = hr.Metadata.Namespace
	}
	return gitindex.Ref{Group: SourceGroup, Kind: kind, Namespace: namespace, Name: name}
}

// declaredAs reads an object that Git declares.
func declaredAs(src render.Sources, ref gitindex.Ref, into any) error {
	raw, err := src.Declared(ref)
	if err != nil {
		return fmt.Errorf("reading %v: %w", ref, err)
	}
	if raw == nil {
		return &render.NeedsError{What: ref.String(), Why: "Git does not declare it"}
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, into); err != nil {
		return fmt.Errorf("%v is not as Flux reads it", ref)
	}
	return nil
}

// helmRepository is a chart of a HelmRepository, by index or by OCI.
func helmRepository(src render.Sources, spec *chartSpec, namespace string) (*chart, error) {
	var repository struct {
		Spec struct {
			URL  string `json:"url"`
			Type string `json:"type"`
		} `json:"spec"`
	}
	at := gitindex.Ref{Group: SourceGroup, Kind: "HelmRepository", Namespace: namespace, Name: spec.SourceRef.Name}
	if err := declaredAs(src, at, &repository); err != nil {
		return nil, err
	}
	ref := render.ChartRef{Version: spec.Version}
	if ref.Version == "*" {
		ref.Version = ""
	}
	url := repository.Spec.URL
	switch oci := strings.HasPrefix(url, "oci://"); {
	case oci:
		ref.OCI = strings.TrimSuffix(url, "/") + "/" + spec.Chart
	case repository.Spec.Type == "oci":
		return nil, fmt.Errorf("%v is of type oci, but its address %q is not", at, gitindex.CleanURL(url, 200))
	default:
		ref.Repository, ref.Name = url, spec.Chart
	}
	fsys, _, err := src.Chart(ref)
	if err != nil {
		return nil, err
	}
	c := &chart{fsys: fsys, dir: "."}
	return c, c.pack(spec, fsys)
}

// gitRepository is a chart of the tree.
func gitRepository(src render.Sources, spec *chartSpec) (*chart, error) {
	dir := path.Clean("./" + spec.Chart)
	if !fs.ValidPath(dir) {
		return nil, fmt.Errorf("the chart %q is not in the tree", gitindex.Clean(spec.Chart, 200))
	}
	if path.Ext(dir) == ".tgz" {
		return nil, fmt.Errorf("the chart %s is packed: unpack it into a directory", gitindex.Clean(dir, 200))
	}
	c := &chart{fsys: src.Tree(), dir: dir}
	if spec.ReconcileStrategy == "Revision" {
		c.attach("the commit that Flux has fetched", "[0-9a-f]{12}")
	}
	return c, c.pack(spec, src.Tree())
}

// pack joins the values files, which then stand for the chart's values.yaml.
// Their paths count from the root of the source. The version tells of them by the
// HelmChart's generation, which only the cluster knows.
func (c *chart) pack(spec *chartSpec, root fs.FS) error {
	if len(spec.ValuesFiles) == 0 {
		return nil
	}
	c.defaults = map[string]any{}
	for _, name := range spec.ValuesFiles {
		at := path.Clean("./" + name)
		if !fs.ValidPath(at) {
			return fmt.Errorf("the values file %q is not in the source", gitindex.Clean(name, 200))
		}
		text, err := fs.ReadFile(root, at)
		if errors.Is(err, fs.ErrNotExist) && spec.IgnoreMissingValuesFiles {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading the values file: %w", err)
		}
		var more map[string]any
		if err := yaml.Unmarshal(text, &more); err != nil {
			return fmt.Errorf("the values file %s does not parse", gitindex.Clean(name, 200))
		}
		c.defaults = loader.MergeMaps(c.defaults, more)
	}
	c.attach("the generation of the HelmChart", "[0-9]+")
	return nil
}

// attach adds something unknown to the version's build metadata.
func (c *chart) attach(why, pattern string) {
	u := newUnknown("m", len(c.unknown), why, pattern)
	c.unknown = append(c.unknown, u)
	if c.suffix != "" {
		c.suffix += "."
	}
	c.suffix += u.stands
}

// ociRepository is a chart that an OCIRepository fetches. Its version gets the
// first twelve digits of the manifest's digest: mutateChartWithSourceRevision of
// helmrelease_controller.go.
func (hr *helmRelease) ociRepository(src render.Sources) (*chart, error) {
	var r struct {
		Spec struct {
			URL       string `json:"url"`
			Reference struct {
				Digest       string `json:"digest"`
				SemVer       string `json:"semver"`
				SemverFilter string `json:"semverFilter"`
				Tag          string `json:"tag"`
			} `json:"ref"`
			LayerSelector struct {
				MediaType string `json:"mediaType"`
			} `json:"layerSelector"`
		} `json:"spec"`
	}
	at := hr.source("OCIRepository", hr.Spec.ChartRef.Namespace, hr.Spec.ChartRef.Name)
	if err := declaredAs(src, at, &r); err != nil {
		return nil, err
	}
	if t := r.Spec.LayerSelector.MediaType; t != "" && t != "application/vnd.cncf.helm.chart.content.v1.tar+gzip" {
		return nil, fmt.Errorf("%v takes a layer of type %s, which is no chart", at, gitindex.Clean(t, 100))
	}
	ref := render.ChartRef{OCI: r.Spec.URL}
	switch from := r.Spec.Reference; {
	case from.Digest != "":
		ref.Digest = from.Digest
	case from.SemVer != "" && from.SemverFilter != "":
		return nil, fmt.Errorf("%v chooses among tags by semverFilter: name a tag, or a digest", at)
	case from.SemVer != "":
		ref.Version = from.SemVer
	case from.Tag != "":
		ref.Version = from.Tag
	default:
		ref.Version = "latest"
	}
	fsys, pin, err := src.Chart(ref)
	if err != nil {
		return nil, err
	}
	digest := pin.Digest
	if ref.Digest != "" {
		digest = ref.Digest
	}
	_, hash, ok := strings.Cut(digest, ":")
	if !ok || len(hash) < 12 {
		return nil, &render.NeedsError{What: "the digest of " + ref.String(), Why: "the chart is not pinned by one"}
	}
	return &chart{fsys: fsys, dir: ".", suffix: hash[:12]}, nil
}

// version is the chart's with its build metadata, as source-controller and
// helm-controller set it.
func (c *chart) version(suffix string) func(string) (string, error) {
	if suffix == "" {
		return nil
	}
	return func(version string) (string, error) {
		v, err := semver.NewVersion(version)
		if err != nil {
			return "", fmt.Errorf("the chart's version %q is no semantic version", gitindex.Clean(version, 60))
		}
		with, err := v.SetMetadata(suffix)
		if err != nil {
			return "", fmt.Errorf("setting the chart's version: %w", err)
		}
		return with.String(), nil
	}
}
