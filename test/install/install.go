// Package install puts Gitward in front of a control plane that tests and the
// demo started themselves: the webhook configurations, a certificate that they
// trust, and the custom resource definitions. A real cluster takes them from
// the chart.
package install

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/charts"
	"github.com/gitward/gitward/test/gitserver"
)

// The names of the two webhooks, and of their configurations.
const (
	Judge     = "from-git.gitward.dev"
	Annotator = "annotate.gitward.dev"
)

// Namespace is Gitward's own in tests and in the demo.
const Namespace = "gitward-system"

// Webhooks make the API server ask a Gitward at url ("https://127.0.0.1:9443")
// whose certificate caPEM vouches for: the chart's own configurations, for a
// Gitward that runs outside the cluster.
func Webhooks(url string, caPEM []byte) (*admissionregistrationv1.ValidatingWebhookConfiguration, *admissionregistrationv1.MutatingWebhookConfiguration) {
	judge := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	annotator := &admissionregistrationv1.MutatingWebhookConfiguration{}
	objects, err := Objects(url, caPEM, nil)
	for _, o := range objects {
		switch o.GetName() {
		case Judge:
			err = errors.Join(err, runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, judge))
		case Annotator:
			err = errors.Join(err, runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, annotator))
		}
	}
	if err != nil || judge.Name == "" || annotator.Name == "" {
		panic(fmt.Sprintf("the chart is broken: %v", err))
	}
	return judge, annotator
}

// Guard is the chart's guarding policy with its bindings, which the users named
// may pass beside Gitward itself.
func Guard(users ...string) ([]*unstructured.Unstructured, error) {
	list := []any{nobody}
	for _, u := range users {
		list = append(list, u)
	}
	objects, err := Objects("https://127.0.0.1:1", nil, map[string]any{"guard": map[string]any{"users": list}})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(objects, func(o *unstructured.Unstructured) bool {
		return !strings.HasPrefix(o.GetKind(), "ValidatingAdmissionPolicy")
	}), nil
}

// nobody may pass the guard where no user is named: the chart wants one.
const nobody = "nobody@example.org"

// Objects are all of the chart's, for a Gitward at url.
func Objects(url string, caPEM []byte, values map[string]any) ([]*unstructured.Unstructured, error) {
	if len(caPEM) == 0 {
		caPEM = []byte("none")
	}
	all := map[string]any{"certs": map[string]any{"mode": "secret", "caBundle": string(caPEM)}, "webhooks": map[string]any{"url": url},
		"guard": map[string]any{"users": []any{nobody}}}
	maps.Copy(all, values)
	return charts.Release{Name: "gitward", Namespace: Namespace, Values: all}.Objects()
}

// ServingCertificate makes a certificate for an address or a name, and the
// authority that vouches for it. All three are PEM; they count for a day.
func ServingCertificate(host string) (ca, cert, key []byte, err error) {
	authority, err := gitserver.NewAuthority("gitward test authority")
	if err != nil {
		return nil, nil, nil, fmt.Errorf("making an authority: %w", err)
	}
	pair, err := authority.Issue(host)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("making a certificate for %s: %w", host, err)
	}
	cert, key, err = gitserver.PEM(pair)
	return authority.PEM, cert, key, err
}

// CRDs are Origin and Gate, read from the chart in the checkout that this
// package was compiled from, or else from the one that the process runs in.
func CRDs() ([]*apiextensionsv1.CustomResourceDefinition, error) {
	files, err := fs.Glob(charts.CRDs, "gitward/crds/*.yaml")
	if err != nil || len(files) == 0 {
		return nil, errors.New("reading CRDs: the chart has none")
	}
	var crds []*apiextensionsv1.CustomResourceDefinition
	for _, file := range files {
		data, err := charts.CRDs.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading CRDs: %w", err)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(data, crd); err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		crds = append(crds, crd)
	}
	return crds, nil
}
