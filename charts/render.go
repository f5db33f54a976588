package charts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
)

// Release is one installation of the chart.
type Release struct {
	Name, Namespace string
	// Values go before the chart's own; one that the chart does not know is an
	// error.
	Values map[string]any
	// KubeVersion of the cluster, as in "v1.37.2". Default: 1.37.
	KubeVersion string
	// Cluster is where a certificate that was made before is looked up. Nil: none
	// is.
	Cluster *rest.Config
}

// Objects renders the release, as Helm does: first the custom resource
// definitions, then the rest in the order in which it should be applied, towards
// the end what makes the API server ask. Hooks of Helm's are not among them, but
// for what is to stand once Gitward answers.
func (r Release) Objects() ([]*unstructured.Unstructured, error) {
	objects, err := r.render("")
	if err != nil {
		return nil, err
	}
	objects = slices.DeleteFunc(objects, func(u *unstructured.Unstructured) bool {
		return !slices.Contains([]string{"", "post-install"}, u.GetAnnotations()[hookAnnotation])
	})
	for _, u := range objects {
		withoutHelm(u)
	}
	var crds []*unstructured.Unstructured
	for _, name := range []string{"gitward/crds"} {
		files, err := fs.ReadDir(Files, name)
		if err != nil {
			return nil, fmt.Errorf("reading the chart: %w", err)
		}
		for _, f := range files {
			data, err := Files.ReadFile(name + "/" + f.Name())
			if err != nil {
				return nil, fmt.Errorf("reading the chart: %w", err)
			}
			more, err := documents(f.Name(), data)
			if err != nil {
				return nil, err
			}
			crds = append(crds, more...)
		}
	}
	return append(crds, objects...), nil
}

// Announcement is what says to a running Gitward that its installation is at
// work; Helm makes it anew before it begins.
func (r Release) Announcement() (*unstructured.Unstructured, error) {
	objects, err := r.render("")
	if err != nil {
		return nil, err
	}
	for _, u := range objects {
		if strings.Contains(u.GetAnnotations()[hookAnnotation], "pre-upgrade") {
			withoutHelm(u)
			return u, nil
		}
	}
	return nil, errors.New("the chart announces no installation")
}

const hookAnnotation = "helm.sh/hook"

// withoutHelm takes away what is meant for Helm alone.
func withoutHelm(u *unstructured.Unstructured) {
	annotations := u.GetAnnotations()
	maps.DeleteFunc(annotations, func(k, _ string) bool {
		return strings.HasPrefix(k, "helm.sh/") || strings.HasPrefix(k, "meta.helm.sh/")
	})
	if len(annotations) == 0 {
		annotations = nil
	}
	u.SetAnnotations(annotations)
	labels := u.GetLabels()
	delete(labels, "app.kubernetes.io/managed-by")
	u.SetLabels(labels)
}

// Static renders the webhooks and the guard as files for the API server's own
// disk: Kubernetes' manifest-based admission configuration, KEP-5793. What they
// say nobody can change through the API, whoever they are.
func (r Release) Static() ([]*unstructured.Unstructured, error) {
	return r.render(static)
}

// render renders the chart's templates, or else one other that uses theirs.
func (r Release) render(other string) ([]*unstructured.Unstructured, error) {
	c, err := load()
	if err != nil {
		return nil, err
	}
	if other != "" {
		c.Templates = slices.DeleteFunc(c.Templates, func(f *common.File) bool { return !strings.HasSuffix(f.Name, ".tpl") })
		c.Templates = append(c.Templates, &common.File{Name: "templates/static.yaml", Data: []byte(other)})
	}
	values, err := r.values(c)
	if err != nil {
		return nil, err
	}
	e := engine.Engine{Strict: true}
	if r.Cluster != nil {
		e = engine.New(r.Cluster)
		e.Strict = true
	}
	rendered, err := e.RenderWithContext(context.Background(), c, values)
	if err != nil {
		return nil, fmt.Errorf("rendering the chart: %w", err)
	}
	var objects []*unstructured.Unstructured
	for _, name := range slices.Sorted(maps.Keys(rendered)) {
		more, err := documents(name, []byte(rendered[name]))
		if err != nil {
			return nil, err
		}
		objects = append(objects, more...)
	}
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int { return stage(a) - stage(b) })
	return objects, nil
}

// load reads the embedded chart.
func load() (*chart.Chart, error) {
	var files []*archive.BufferedFile
	err := fs.WalkDir(Files, "gitward", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := Files.ReadFile(path)
		files = append(files, &archive.BufferedFile{Name: strings.TrimPrefix(path, "gitward/"), Data: data})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the chart: %w", err)
	}
	c, err := loader.LoadFiles(files)
	if err != nil {
		return nil, fmt.Errorf("reading the chart: %w", err)
	}
	return c, nil
}

// values joins the release's values with the chart's, and holds them against
// the schema.
func (r Release) values(c *chart.Chart) (common.Values, error) {
	capabilities := common.DefaultCapabilities.Copy()
	version := r.KubeVersion
	if version == "" {
		version = "v1.37.0"
	}
	kube, err := common.ParseKubeVersion(version)
	if err != nil {
		return nil, fmt.Errorf("reading the Kubernetes version %q: %w", version, err)
	}
	capabilities.KubeVersion = *kube
	options := common.ReleaseOptions{Name: r.Name, Namespace: r.Namespace, IsInstall: true}
	values, err := util.ToRenderValuesWithSchemaValidation(c, r.Values, options, capabilities, false)
	if err != nil {
		return nil, fmt.Errorf("reading values: %w", err)
	}
	return values, nil
}

// documents splits a rendered file.
func documents(name string, data []byte) ([]*unstructured.Unstructured, error) {
	d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	var out []*unstructured.Unstructured
	for {
		u := &unstructured.Unstructured{}
		err := d.Decode(&u.Object)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s as it was rendered: %w", name, err)
		}
		if len(u.Object) > 0 {
			out = append(out, u)
		}
	}
}

// stage is when an object is applied: what others need first, then what makes the
// API server ask, then what puts the guard in force. A Gate is last: Gitward is
// asked about it.
func stage(u *unstructured.Unstructured) int {
	switch u.GetKind() {
	case "Namespace":
		return 0
	case "ServiceAccount", "Secret", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "Issuer", "Certificate":
		return 1
	case "ValidatingAdmissionPolicy":
		return 3
	case "MutatingWebhookConfiguration":
		return 4
	case "ValidatingWebhookConfiguration":
		return 5
	case "ValidatingAdmissionPolicyBinding":
		return 6
	case "Gate", "Origin":
		return 7
	}
	return 2
}
