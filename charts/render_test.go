package charts

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func release(namespace string, values map[string]any) Release {
	return Release{Name: "gitward", Namespace: namespace, Values: values}
}

func guardOf(field string, names ...any) map[string]any {
	return map[string]any{"guard": map[string]any{field: names}}
}

// What would guard nothing, or lock out whoever installs it, is not rendered; the
// refusal says where, and what to do.
func TestChecks(t *testing.T) {
	good := guardOf("users", "installer")
	for _, c := range []struct {
		what, namespace string
		values          map[string]any
		says            string
	}{
		{"users", "gitward-system", good, ""},
		{"groups", "gitward-system", guardOf("groups", "platform-admins"), ""},
		{"no guard", "default2", map[string]any{"guard": map[string]any{"enabled": false}}, ""},
		{"nobody", "gitward-system", nil, "kubectl auth whoami"},
		{"default", "default", good, "a namespace of its own"},
		{"kube-system", "kube-system", good, "a namespace of its own"},
		{"kube-public", "kube-public", map[string]any{"guard": map[string]any{"enabled": false}}, "a namespace of its own"},
		{"everybody", "gitward-system", guardOf("groups", "admins", "system:authenticated"), "system:authenticated is everybody"},
		{"nobody in particular", "gitward-system", guardOf("groups", "system:unauthenticated"), "system:unauthenticated is everybody"},
		{"accounts", "gitward-system", guardOf("groups", "system:serviceaccounts"), "system:serviceaccounts is everybody"},
		{"a namespace's accounts", "gitward-system", guardOf("groups", "system:serviceaccounts:flux-system"), "guard.users"},
	} {
		_, err := release(c.namespace, c.values).Objects()
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%s: %v", c.what, err)
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "; do: ")):
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// Helm's hooks are Helm's: what announces an installation is not installed, and a
// Gate is, after all that has to answer for it.
func TestHooks(t *testing.T) {
	values := guardOf("users", "installer")
	values["gate"] = map[string]any{"origins": []any{map[string]any{"name": "platform"}}}
	r := release("gitward-system", values)
	objects, err := r.Objects()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		for k := range o.GetAnnotations() {
			if strings.Contains(k, "helm.sh/") {
				t.Errorf("%s %s has %s", o.GetKind(), o.GetName(), k)
			}
		}
	}
	at := func(kind string) int {
		return slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == kind })
	}
	if at("ConfigMap") >= 0 {
		t.Error("the announcement is among the objects")
	}
	if at("Gate") != len(objects)-1 || at("ValidatingAdmissionPolicyBinding") < at("ValidatingWebhookConfiguration") {
		t.Error("the bindings are not last but for the Gate")
	}
	a, err := r.Announcement()
	if err != nil || a.GetKind() != "ConfigMap" || a.GetName() != "gitward-installation" || a.GetNamespace() != "gitward-system" || a.GetAnnotations() != nil {
		t.Errorf("the announcement is %v, %v", a, err)
	}
}
