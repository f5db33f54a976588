// Package install puts Gitward in front of a control plane that tests and the
// demo started themselves: the webhook configurations, a certificate that they
// trust, and the custom resource definitions. A real cluster takes them from
// the chart.
package install

import (
	"errors"
	"fmt"
	"io/fs"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/charts"
	"github.com/gitward/gitward/test/gitserver"
)

// The names of the two webhooks, and of their configurations.
const (
	Judge     = "from-git.gitward.dev"
	Annotator = "annotate.gitward.dev"
)

// Webhooks make the API server ask a Gitward at url ("https://127.0.0.1:9443")
// whose certificate caPEM vouches for. The judge is asked about everything that
// changes anything, and must answer; the annotator may be missing.
func Webhooks(url string, caPEM []byte) (*admissionregistrationv1.ValidatingWebhookConfiguration, *admissionregistrationv1.MutatingWebhookConfiguration) {
	judge := &admissionregistrationv1.ValidatingWebhookConfiguration{
		TypeMeta:   metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "ValidatingWebhookConfiguration"},
		ObjectMeta: metav1.ObjectMeta{Name: Judge},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name:         Judge,
			ClientConfig: clientConfig(url+"/validate", caPEM),
			Rules: rules("*/*", admissionregistrationv1.Create, admissionregistrationv1.Update,
				admissionregistrationv1.Delete, admissionregistrationv1.Connect),
			FailurePolicy:           new(admissionregistrationv1.Fail),
			MatchPolicy:             new(admissionregistrationv1.Equivalent),
			SideEffects:             new(admissionregistrationv1.SideEffectClassNoneOnDryRun),
			TimeoutSeconds:          new(int32(10)),
			AdmissionReviewVersions: []string{"v1"},
			MatchConditions:         conditions(),
		}},
	}
	annotator := &admissionregistrationv1.MutatingWebhookConfiguration{
		TypeMeta:   metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "MutatingWebhookConfiguration"},
		ObjectMeta: metav1.ObjectMeta{Name: Annotator},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name:                    Annotator,
			ClientConfig:            clientConfig(url+"/mutate", caPEM),
			Rules:                   rules("*", admissionregistrationv1.Create, admissionregistrationv1.Update),
			FailurePolicy:           new(admissionregistrationv1.Ignore),
			MatchPolicy:             new(admissionregistrationv1.Equivalent),
			ReinvocationPolicy:      new(admissionregistrationv1.NeverReinvocationPolicy),
			SideEffects:             new(admissionregistrationv1.SideEffectClassNone),
			TimeoutSeconds:          new(int32(10)),
			AdmissionReviewVersions: []string{"v1"},
			MatchConditions:         conditions(),
		}},
	}
	return judge, annotator
}

func clientConfig(url string, ca []byte) admissionregistrationv1.WebhookClientConfig {
	return admissionregistrationv1.WebhookClientConfig{URL: &url, CABundle: ca}
}

func rules(resources string, operations ...admissionregistrationv1.OperationType) []admissionregistrationv1.RuleWithOperations {
	return []admissionregistrationv1.RuleWithOperations{{
		Operations: operations,
		Rule: admissionregistrationv1.Rule{
			APIGroups: []string{"*"}, APIVersions: []string{"*"}, Resources: []string{resources},
			Scope: new(admissionregistrationv1.AllScopes),
		},
	}}
}

// conditions keep out what a cluster needs in order to come up at all, and
// what it writes all the time about itself.
func conditions() []admissionregistrationv1.MatchCondition {
	return []admissionregistrationv1.MatchCondition{
		{Name: "not-the-api-server-itself", Expression: `request.userInfo.username != "system:apiserver"`},
		{Name: "no-leases", Expression: `!(request.resource.group == "coordination.k8s.io" && request.resource.resource == "leases")`},
		{Name: "no-events", Expression: `!(request.resource.group in ["", "events.k8s.io"] && request.resource.resource == "events")`},
	}
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
