package main

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/gitward/gitward/charts"
)

// charted is a cluster with the chart's admission objects, as they are with values.
func charted(t *testing.T, namespace string, values map[string]any, change func(client.Object)) *fake.ClientBuilder {
	t.Helper()
	all := map[string]any{"certs": map[string]any{"mode": "secret", "caBundle": string(certificateUntil(t, time.Now().Add(80*24*time.Hour)))},
		"guard": map[string]any{"users": []any{"ada@example.com", "system:serviceaccount:flux-system:kustomize-controller"}, "groups": []any{"platform"}}}
	maps.Copy(all, values)
	objects, err := charts.Release{Name: "gitward", Namespace: namespace, Values: all}.Objects()
	if err != nil {
		t.Fatal(err)
	}
	b := fake.NewClientBuilder().WithScheme(readerScheme)
	for _, o := range objects {
		if o.GroupVersionKind().Group != admissionregistrationv1.GroupName {
			continue
		}
		typed, err := readerScheme.New(o.GroupVersionKind())
		if err == nil {
			err = runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, typed)
		}
		if err != nil {
			t.Fatal(err)
		}
		live := typed.(client.Object)
		live.SetResourceVersion("")
		if change != nil {
			if change(live); live.GetName() == "" {
				continue
			}
		}
		b = b.WithObjects(live)
	}
	return b
}

// TestGuard: the guard's policies are held against the chart, with whatever values
// it was installed.
func TestGuard(t *testing.T) {
	policy := func(o client.Object) *admissionregistrationv1.ValidatingAdmissionPolicySpec {
		if p, ok := o.(*admissionregistrationv1.ValidatingAdmissionPolicy); ok {
			return &p.Spec
		}
		return &admissionregistrationv1.ValidatingAdmissionPolicySpec{}
	}
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"nobody": "has"}}
	for name, c := range map[string]struct {
		namespace string
		values    map[string]any
		change    func(client.Object)
		fails     string // what it says; empty where all is well
	}{
		"as it is": {},
		"elsewhere": {namespace: "security", values: map[string]any{"image": map[string]any{"repository": "registry.example.org:5000/gitward"},
			"webhooks": map[string]any{"url": "https://10.0.0.1:9443", "recoveryNamespaces": []any{"kube-system", "dns"}}}},
		"cert-manager":   {values: map[string]any{"certs": map[string]any{"mode": "cert-manager", "secretName": "other"}}},
		"another issuer": {values: map[string]any{"certs": map[string]any{"mode": "cert-manager", "certManager": map[string]any{"issuerRef": map[string]any{"name": "ca"}}}}},
		"groups alone":   {values: map[string]any{"guard": map[string]any{"groups": []any{"system:masters"}}}},
		"disabled":       {values: map[string]any{"guard": map[string]any{"enabled": false}}, fails: "no such ValidatingAdmissionPolicy"},
		"no binding": {change: func(o client.Object) {
			if b, ok := o.(*admissionregistrationv1.ValidatingAdmissionPolicyBinding); ok {
				b.Name = ""
			}
		}, fails: "it has no binding"},
		"audits": {change: func(o client.Object) {
			if b, ok := o.(*admissionregistrationv1.ValidatingAdmissionPolicyBinding); ok {
				b.Spec.ValidationActions = []admissionregistrationv1.ValidationAction{"Audit"}
			}
		}, fails: "its binding"},
		"bound to few": {change: func(o client.Object) {
			if b, ok := o.(*admissionregistrationv1.ValidatingAdmissionPolicyBinding); ok {
				b.Spec.MatchResources = &admissionregistrationv1.MatchResources{NamespaceSelector: selector}
			}
		}, fails: "its binding"},
		"fails open": {change: func(o client.Object) { policy(o).FailurePolicy = new(admissionregistrationv1.Ignore) }, fails: "failurePolicy"},
		"few namespaces": {change: func(o client.Object) {
			if m := policy(o).MatchConstraints; m != nil {
				m.NamespaceSelector = selector
			}
		}, fails: "matchConstraints"},
		"a condition": {change: func(o client.Object) {
			policy(o).MatchConditions = append(policy(o).MatchConditions, admissionregistrationv1.MatchCondition{Name: "never", Expression: "false"})
		}, fails: "matchConditions"},
		"a way round": {change: func(o client.Object) {
			for i := range policy(o).Validations {
				policy(o).Validations[i].Expression += ` || request.userInfo.username.startsWith("m")`
			}
		}, fails: "validations"},
		"everybody": {change: func(o client.Object) {
			for i := range policy(o).Validations {
				policy(o).Validations[i].Expression += ` || "system:authenticated" in request.userInfo.?groups.orValue([])`
			}
		}, fails: "everybody"},
	} {
		if c.namespace == "" {
			c.namespace = "gitward-system"
		}
		reader := &clusterReader{client: charted(t, c.namespace, c.values, c.change).Build()}
		r := &doctorResult{}
		r.webhooks(context.Background(), reader, true, time.Now())
		var bad []string
		for _, d := range r.Items {
			if d.Result == checkFail {
				bad = append(bad, d.Found)
			}
		}
		if c.fails == "" && len(bad) > 0 || c.fails != "" && !strings.Contains(strings.Join(bad, "\n"), c.fails) {
			t.Errorf("%s: %q", name, bad)
		}
	}
	forbidden := interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
		return apierrors.NewForbidden(admissionregistrationv1.Resource("validatingadmissionpolicies"), "", nil)
	}}
	r := &doctorResult{}
	r.guard(context.Background(), &clusterReader{client: charted(t, "gitward-system", nil, nil).WithInterceptorFuncs(forbidden).Build()}, nil)
	if r.results() != checkWarn {
		t.Errorf("without the right: %+v", r.Items)
	}
}
