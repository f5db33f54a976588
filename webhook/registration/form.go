package registration

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// forms are configurations by name, each reduced to its form. They are read as
// they come, not as this build's types: a field that the API server knows and
// this build does not must not slip through.
type forms map[string]*unstructured.Unstructured

// formOf is what is kept of a configuration. An ownerReference is not: one to
// an owner that does not exist would have what was put back collected again.
func formOf(u *unstructured.Unstructured) *unstructured.Unstructured {
	out := u.DeepCopy()
	delete(out.Object, "metadata")
	out.SetName(u.GetName())
	out.SetLabels(u.GetLabels())
	out.SetAnnotations(u.GetAnnotations())
	return out
}

// complete says whether both are there and do what they are for.
func (f forms) complete() error {
	for _, name := range []string{Judge, Annotator} {
		if f[name] == nil {
			return fmt.Errorf("%s does not exist", name)
		}
		hooks := webhooks(f[name])
		if len(hooks) == 0 {
			return fmt.Errorf("%s has no webhooks", name)
		}
		for _, h := range hooks {
			if name == Judge && h["failurePolicy"] != "Fail" {
				return fmt.Errorf("%s: failurePolicy is not Fail", name)
			}
			if rules, _ := h["rules"].([]any); len(rules) == 0 {
				return fmt.Errorf("%s: no rules", name)
			}
			if !trusts(h) {
				return fmt.Errorf("%s: no authority in caBundle", name)
			}
		}
	}
	return nil
}

func webhooks(u *unstructured.Unstructured) []map[string]any {
	list, _, _ := unstructured.NestedSlice(u.Object, "webhooks")
	out := make([]map[string]any, 0, len(list))
	for _, item := range list {
		h, _ := item.(map[string]any)
		out = append(out, h) // nil where it is no object: then nothing equals it
	}
	return out
}

// trusts says whether a webhook's caBundle is PEM of certificates and nothing
// else.
func trusts(hook map[string]any) bool {
	text, _, _ := unstructured.NestedString(hook, "clientConfig", "caBundle")
	rest, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return false
	}
	found := false
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return found && strings.TrimSpace(string(rest)) == ""
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil || block.Type != "CERTIFICATE" {
			return false
		}
		found = true
	}
}

// differences names the fields of live that are not as wanted, metadata aside.
// A new caBundle of certificates is no difference: authorities are renewed.
func differences(wanted, live *unstructured.Unstructured) []string {
	var out []string
	for _, key := range keys(wanted.Object, live.Object) {
		if key != "metadata" && key != "webhooks" && !reflect.DeepEqual(wanted.Object[key], live.Object[key]) {
			out = append(out, key)
		}
	}
	w, l := webhooks(wanted), webhooks(live)
	if len(w) != len(l) {
		return append(out, "webhooks")
	}
	for i := range w {
		for _, field := range hookDifferences(w[i], l[i]) {
			out = append(out, fmt.Sprintf("webhooks[%d].%s", i, field))
		}
	}
	return out
}

func hookDifferences(wanted, live map[string]any) []string {
	var out []string
	for _, key := range keys(wanted, live) {
		if key != "clientConfig" && !reflect.DeepEqual(wanted[key], live[key]) {
			out = append(out, key)
		}
	}
	w, _ := wanted["clientConfig"].(map[string]any)
	l, _ := live["clientConfig"].(map[string]any)
	for _, key := range keys(w, l) {
		renewed := key == "caBundle" && trusts(live)
		if !renewed && !reflect.DeepEqual(w[key], l[key]) {
			out = append(out, "clientConfig."+key)
		}
	}
	return out
}

func keys(a, b map[string]any) []string {
	var out []string
	for _, m := range []map[string]any{a, b} {
		for k := range m {
			if !slices.Contains(out, k) {
				out = append(out, k)
			}
		}
	}
	slices.Sort(out)
	return out
}
