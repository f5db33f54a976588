package chart

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/charts"
)

// modes are the three ways to a certificate, with the values that each needs.
var modes = map[string]map[string]any{
	"self":         {},
	"cert-manager": {"certs": map[string]any{"mode": "cert-manager"}},
	"secret":       {"certs": map[string]any{"mode": "secret", "caBundle": "-----BEGIN CERTIFICATE-----\n"}},
}

// guarded adds whom the guard trusts, without whom the chart is not rendered.
func guarded(values map[string]any) map[string]any {
	out := map[string]any{"guard": map[string]any{"groups": []any{"system:masters"}}}
	maps.Copy(out, values)
	return out
}

func render(t testing.TB, values map[string]any) []*unstructured.Unstructured {
	t.Helper()
	objects, err := charts.Release{Name: "gitward", Namespace: "gitward-system", Values: guarded(values)}.Objects()
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func named(objects []*unstructured.Unstructured) []string {
	var out []string
	for _, o := range objects {
		out = append(out, o.GetKind()+" "+o.GetName())
	}
	return out
}

// TestObjects: what is installed, in its order.
func TestObjects(t *testing.T) {
	want := strings.Fields(`CustomResourceDefinition/gates.gitward.dev CustomResourceDefinition/origins.gitward.dev
		ServiceAccount/gitward ClusterRole/gitward ClusterRoleBinding/gitward Role/gitward RoleBinding/gitward Secret/gitward-tls
		Deployment/gitward Service/gitward PodDisruptionBudget/gitward
		ValidatingAdmissionPolicy/registration.guard.gitward.dev ValidatingAdmissionPolicy/own.guard.gitward.dev
		ValidatingAdmissionPolicy/stamps.guard.gitward.dev
		MutatingWebhookConfiguration/annotate.gitward.dev ValidatingWebhookConfiguration/from-git.gitward.dev
		ValidatingAdmissionPolicyBinding/registration.guard.gitward.dev ValidatingAdmissionPolicyBinding/own.guard.gitward.dev
		ValidatingAdmissionPolicyBinding/stamps.guard.gitward.dev`)
	for i := range want {
		want[i] = strings.Replace(want[i], "/", " ", 1)
	}
	if got := named(render(t, nil)); !slices.Equal(got, want) {
		t.Errorf("the chart renders\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestUnknownValues: what is misspelt must not look as if it were in force.
func TestUnknownValues(t *testing.T) {
	for what, values := range map[string]map[string]any{
		"top level":    {"replica": 3},
		"nested":       {"guard": map[string]any{"user": []any{"a"}}},
		"action":       {"gate": map[string]any{"action": "Block"}},
		"mode":         {"certs": map[string]any{"mode": "none"}},
		"no authority": {"certs": map[string]any{"mode": "secret"}},
		"a quote":      {"guard": map[string]any{"users": []any{`x" || true || "`}}},
		"http":         {"webhooks": map[string]any{"url": "http://example.org"}},
	} {
		if _, err := (charts.Release{Name: "gitward", Namespace: "gitward-system", Values: guarded(values)}).Objects(); err == nil {
			t.Errorf("%s: %v is taken", what, values)
		}
	}
}

// TestCertManager holds the Certificate and the Issuers against cert-manager's
// own types: a field that these do not have is an error.
func TestCertManager(t *testing.T) {
	seen := 0
	for _, o := range render(t, modes["cert-manager"]) {
		var into any
		switch o.GetKind() {
		case "Certificate":
			into = &certmanagerv1.Certificate{}
		case "Issuer":
			into = &certmanagerv1.Issuer{}
		default:
			continue
		}
		seen++
		data, err := yaml.Marshal(o.Object)
		if err == nil {
			err = yaml.UnmarshalStrict(data, into)
		}
		if err != nil {
			t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
	if seen != 4 {
		t.Errorf("%d objects of cert-manager's, want 4", seen)
	}
}

// TestSelfMadePair: Secret and configurations agree about the authority.
func TestSelfMadePair(t *testing.T) {
	var ca string
	bundles := map[string]bool{}
	for _, o := range render(t, nil) {
		switch o.GetKind() {
		case "Secret":
			ca, _, _ = unstructured.NestedString(o.Object, "data", "ca.crt")
		case "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration":
			hooks, _, _ := unstructured.NestedSlice(o.Object, "webhooks")
			for _, h := range hooks {
				bundles[fmt.Sprint(h.(map[string]any)["clientConfig"].(map[string]any)["caBundle"])] = true
			}
		}
	}
	if ca == "" || len(bundles) != 1 || !bundles[ca] {
		t.Errorf("the Secret has one authority, the configurations have %d others", len(bundles))
	}
}

// TestRecoverySetDocumented holds that docs/install.md names every condition
// under which nobody is asked, and no other.
func TestRecoverySetDocumented(t *testing.T) {
	data, err := os.ReadFile("../../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(data), "| condition | never asked about |\n|---|---|\n")
	if !ok {
		t.Fatal("docs/install.md has no table of the recovery set")
	}
	var documented []string
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			break
		}
		documented = append(documented, strings.ToLower(strings.Trim(cells[1], " `")))
	}
	for _, o := range render(t, map[string]any{"webhooks": map[string]any{"recoveryNamespaces": []any{"name"}}}) {
		if !strings.HasSuffix(o.GetKind(), "WebhookConfiguration") {
			continue
		}
		hooks, _, _ := unstructured.NestedSlice(o.Object, "webhooks")
		var conditions []string
		list, _, _ := unstructured.NestedSlice(hooks[0].(map[string]any), "matchConditions")
		for _, c := range list {
			conditions = append(conditions, c.(map[string]any)["name"].(string))
		}
		if !slices.Equal(conditions, documented) {
			t.Errorf("%s has the conditions\n%q, docs/install.md\n%q", o.GetName(), conditions, documented)
		}
	}
}
