package argocd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"strings"

	"helm.sh/helm/v4/pkg/chart/v2/loader"
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
			return ref, &render.NeedsError{What: "the directory " + gitindex.Clean(dir, 200) + " of the artifact " + gitindex.CleanURL(s.RepoURL, 200),
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
	release := helm.Release{Sources: b.src, Chart: at.files, Dir: at.dir, Options: o, Cluster: b.unit.Cluster, Set: set,
		SkipSchema: given.SkipSchemaValidation, Printed: true}
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
