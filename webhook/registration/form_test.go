package registration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/gitward/gitward/test/install"
)

func chartForms() forms {
	judge, annotator := install.Webhooks("https://127.0.0.1:1", authority())
	f := forms{}
	for _, o := range []any{judge, annotator} {
		u := &unstructured.Unstructured{Object: must(runtime.DefaultUnstructuredConverter.ToUnstructured(o))}
		f[u.GetName()] = formOf(u)
	}
	return f
}

func hook(f forms, name string) map[string]any {
	return f[name].Object["webhooks"].([]any)[0].(map[string]any)
}

func rule(f forms, name string) map[string]any {
	return hook(f, name)["rules"].([]any)[0].(map[string]any)
}

func TestComplete(t *testing.T) {
	if err := chartForms().complete(); err != nil {
		t.Errorf("the chart's form: %v", err)
	}
	for what, spoil := range map[string]func(forms){
		"no judge":     func(f forms) { delete(f, Judge) },
		"no annotator": func(f forms) { delete(f, Annotator) },
		"no webhooks":  func(f forms) { f[Judge].Object["webhooks"] = []any{} },
		"not Fail":     func(f forms) { hook(f, Judge)["failurePolicy"] = "Ignore" },
		"no rules":     func(f forms) { delete(hook(f, Judge), "rules") },
		"two webhooks": func(f forms) {
			f[Judge].Object["webhooks"] = []any{hook(f, Judge), hook(f, Judge)}
		},
		"no subresources": func(f forms) { rule(f, Judge)["resources"] = []any{"*"} },
		"no CONNECT":      func(f forms) { rule(f, Judge)["operations"] = []any{"CREATE", "UPDATE", "DELETE"} },
		"one group":       func(f forms) { rule(f, Annotator)["apiGroups"] = []any{"apps"} },
		"one version":     func(f forms) { rule(f, Judge)["apiVersions"] = []any{"v1"} },
		"Namespaced":      func(f forms) { rule(f, Judge)["scope"] = "Namespaced" },
		"Exact":           func(f forms) { hook(f, Judge)["matchPolicy"] = "Exact" },
		"a namespaceSelector": func(f forms) {
			hook(f, Judge)["namespaceSelector"] = map[string]any{"matchLabels": map[string]any{"nobody": "has"}}
		},
		"an objectSelector": func(f forms) {
			hook(f, Annotator)["objectSelector"] = map[string]any{"matchExpressions": []any{map[string]any{"key": "a", "operator": "Exists"}}}
		},
		"no authority":    func(f forms) { delete(hook(f, Judge)["clientConfig"].(map[string]any), "caBundle") },
		"not PEM":         func(f forms) { hook(f, Annotator)["clientConfig"].(map[string]any)["caBundle"] = "bm9uZQ==" },
		"not an object":   func(f forms) { f[Judge].Object["webhooks"] = []any{"x"} },
		"no clientConfig": func(f forms) { delete(hook(f, Judge), "clientConfig") },
	} {
		f := chartForms()
		spoil(f)
		if f.complete() == nil {
			t.Errorf("%s: complete", what)
		}
	}
	if (forms{}).complete() == nil {
		t.Error("nothing is complete")
	}
}

func TestDifferences(t *testing.T) {
	for want, change := range map[string]func(forms){
		"webhooks[0].clientConfig.service": func(f forms) {
			hook(f, Judge)["clientConfig"].(map[string]any)["service"] = map[string]any{"name": "x"}
		},
		"webhooks[0].unknownToThisBuild": func(f forms) { hook(f, Judge)["unknownToThisBuild"] = true },
		"webhooks":                       func(f forms) { f[Judge].Object["webhooks"] = []any{} },
		"spec":                           func(f forms) { f[Judge].Object["spec"] = "x" },
	} {
		wanted, live := chartForms(), chartForms()
		live[Judge].Object["webhooks"] = wanted[Judge].DeepCopy().Object["webhooks"]
		change(live)
		if got := differences(wanted[Judge], live[Judge]); !slices.Equal(got, []string{want}) {
			t.Errorf("got %v, want %s", got, want)
		}
	}
	// Another authority, labels and owners are none.
	wanted, live := chartForms(), chartForms()
	live[Judge].SetLabels(map[string]string{"a": "b"})
	live[Judge].SetOwnerReferences([]metav1.OwnerReference{{Name: "o"}})
	if got := differences(wanted[Judge], live[Judge]); got != nil {
		t.Errorf("got %v", got)
	}
	if formOf(live[Judge]).GetOwnerReferences() != nil {
		t.Error("an ownerReference is kept")
	}
}

// What is written to the file is read back equal; a spoilt file is refused.
func TestFile(t *testing.T) {
	s := &store{file: filepath.Join(t.TempDir(), key)}
	if k, err := s.remember(); err != nil || k.Wanted != nil {
		t.Errorf("without a file: %v, %v", k, err)
	}
	f := chartForms()
	if err := s.note(kept{Wanted: f, Seen: map[string]string{Judge: "7"}}); err != nil {
		t.Fatal(err)
	}
	k, err := s.remember()
	if err != nil || k.Seen[Judge] != "7" || len(differences(f[Judge], k.Wanted[Judge])) > 0 {
		t.Errorf("read back %v, %v", k, err)
	}
	hook(f, Judge)["failurePolicy"] = "Ignore"
	if err := os.WriteFile(s.file, must(json.Marshal(kept{Wanted: f})), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.remember(); err == nil {
		t.Error("an incomplete form was read")
	}
}
