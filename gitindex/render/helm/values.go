package helm

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/gitindex"
)

// defaultKubeVersion is that of the Kubernetes this project is built for.
const defaultKubeVersion = "v1.37.0"

// values are what templates see.
func (r Release) values(c *chart.Chart, w *world) (common.Values, error) {
	given, err := r.given()
	if err != nil {
		return nil, err
	}
	if err := chartutil.ProcessDependencies(c, given); err != nil {
		return nil, fmt.Errorf("working out the chart's dependencies: %w", err)
	}
	capabilities, err := r.capabilities(w)
	if err != nil {
		return nil, err
	}
	if need := c.Metadata.KubeVersion; need != "" && !chartutil.IsCompatibleRange(need, capabilities.KubeVersion.String()) {
		return nil, fmt.Errorf("the chart is for Kubernetes %s, not for %s", gitindex.Clean(need, 100), capabilities.KubeVersion.Version)
	}
	options, err := r.options()
	if err != nil {
		return nil, err
	}
	values, err := util.ToRenderValuesWithSchemaValidation(c, given, options, capabilities, true)
	if err != nil {
		return nil, fmt.Errorf("joining the values: %w", err)
	}
	table, err := values.Table("Values")
	if err != nil {
		return nil, fmt.Errorf("joining the values: %w", err)
	}
	if r.SkipSchema {
		return values, nil
	}
	return values, validate(c, table)
}

// given are the values that the release has beside the chart's own: the files
// in order, then the inline ones, then what Set makes of them.
func (r Release) given() (map[string]any, error) {
	all := map[string]any{}
	for _, name := range r.Options.ValuesFiles {
		text, err := r.valuesFile(name)
		if err != nil {
			return nil, err
		}
		more, err := loader.LoadValues(bytes.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("the values file %s does not parse: %s", gitindex.Clean(name, 200), gitindex.Clean(err.Error(), 200))
		}
		all = loader.MergeMaps(all, more)
	}
	if len(r.Options.Values) > 0 {
		// As floats, for that is what numbers in a values file become.
		var inline map[string]any
		if err := yaml.Unmarshal(r.Options.Values, &inline); err != nil {
			return nil, errors.New("the inline values are no map")
		}
		all = loader.MergeMaps(all, inline)
	}
	if r.Set != nil {
		if err := r.Set(all); err != nil {
			return nil, fmt.Errorf("setting values: %w", err)
		}
	}
	return all, nil
}

func (r Release) valuesFile(name string) ([]byte, error) {
	fsys, at := r.Chart, path.Join(cleanDir(r.Dir), name)
	if strings.HasPrefix(name, "/") {
		if r.Sources == nil {
			return nil, fmt.Errorf("the values file %s: there is no tree", gitindex.Clean(name, 200))
		}
		fsys, at = r.Sources.Tree(), path.Clean("."+name)
	}
	if !fs.ValidPath(at) {
		return nil, fmt.Errorf("the values file %q is not in the tree", gitindex.Clean(name, 200))
	}
	text, err := fs.ReadFile(fsys, at)
	if err != nil {
		return nil, fmt.Errorf("reading the values file: %w", err)
	}
	if len(text) > maxBytes {
		return nil, fmt.Errorf("the values file %s is larger than %d MiB", gitindex.Clean(name, 200), maxBytes>>20)
	}
	return text, nil
}

// options are .Release. "helm template" calls a release that nobody named
// "release-name".
func (r Release) options() (common.ReleaseOptions, error) {
	o := common.ReleaseOptions{
		Name: r.Options.ReleaseName, Namespace: r.Options.Namespace, Revision: r.Options.Revision,
		IsUpgrade: r.Options.IsUpgrade, IsInstall: !r.Options.IsUpgrade,
	}
	if o.Name == "" {
		o.Name = "release-name"
	}
	if o.Namespace == "" {
		o.Namespace = "default"
	}
	if o.Revision == 0 {
		o.Revision = 1
	}
	if err := chartutil.ValidateReleaseName(o.Name); err != nil {
		return o, fmt.Errorf("%q cannot be a release's name: %w", gitindex.Clean(o.Name, 80), err)
	}
	return o, nil
}

// capabilities are .Capabilities: Helm's own list of API versions and those that
// are declared, as "helm template --api-versions" has it, or what a cluster serves.
func (r Release) capabilities(w *world) (*common.Capabilities, error) {
	version := defaultKubeVersion
	for _, v := range []string{r.Options.KubeVersion, r.Cluster.KubeVersion} {
		if v != "" {
			version = v
			break
		}
	}
	kube, err := common.ParseKubeVersion(version)
	if err != nil {
		return nil, fmt.Errorf("reading the Kubernetes version %q: %w", gitindex.Clean(version, 60), err)
	}
	more := r.Options.APIVersions
	if len(more) == 0 {
		more = r.Cluster.APIVersions
	}
	c := common.DefaultCapabilities.Copy()
	c.KubeVersion = *kube
	known := []string(common.DefaultVersionSet)
	if r.InCluster {
		known = Served()
	}
	c.APIVersions = slices.Concat(known, more)
	c.HelmVersion.Version, c.HelmVersion.GitCommit, c.HelmVersion.GitTreeState, c.HelmVersion.GoVersion = w.helm()
	return c, nil
}
