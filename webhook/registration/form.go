package registration

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
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

// complete says whether both are there and do what they are for: ask about
// everything, as the chart has it. Conditions differ with the chart's values, so
// nothing is said about them; what changes of them is recorded.
func (f forms) complete() error {
	for _, name := range []string{Judge, Annotator} {
		if f[name] == nil {
			return fmt.Errorf("%s does not exist", name)
		}
		hooks := webhooks(f[name])
		if len(hooks) != 1 {
			return fmt.Errorf("%s has %d webhooks, not one", name, len(hooks))
		}
		if err := whole(name, hooks[0]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// charted are the rules that the chart has.
var charted = map[string]struct {
	operations []string
	resources  string
}{
	Judge:     {[]string{"CREATE", "UPDATE", "DELETE", "CONNECT"}, "*/*"},
	Annotator: {[]string{"CREATE", "UPDATE"}, "*"},
}

func whole(name string, h map[string]any) error {
	if name == Judge && h["failurePolicy"] != "Fail" {
		return errors.New("failurePolicy is not Fail")
	}
	if policy, ok := h["matchPolicy"]; ok && policy != "Equivalent" {
		return errors.New("matchPolicy is not Equivalent")
	}
	rules, _ := h["rules"].([]any)
	for _, op := range charted[name].operations {
		if !slices.ContainsFunc(rules, func(rule any) bool { return everything(rule, op, charted[name].resources) }) {
			return fmt.Errorf("no rule is for every %s", op)
		}
	}
	for _, selector := range []string{"namespaceSelector", "objectSelector"} {
		if s, _ := h[selector].(map[string]any); len(s) > 0 || s == nil && h[selector] != nil {
			return fmt.Errorf("%s is not empty", selector)
		}
	}
	if !trusts(h) {
		return errors.New("no authority in caBundle")
	}
	return nil
}

// everything says whether a rule is for an operation on all there is.
func everything(rule any, operation, resources string) bool {
	r, _ := rule.(map[string]any)
	with := func(field string, wanted ...string) bool {
		list, _ := r[field].([]any)
		return slices.ContainsFunc(list, func(v any) bool { s, ok := v.(string); return ok && slices.Contains(wanted, s) })
	}
	scope, ok := r["scope"]
	return with("apiGroups", "*") && with("apiVersions", "*") && with("resources", resources, "*/*") && with("operations", operation, "*") && (!ok || scope == "*")
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
