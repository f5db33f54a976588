package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
)

// fewObjects is a cluster that holds a few objects.
type fewObjects struct {
	client.Client
	live []*unstructured.Unstructured
}

func (f *fewObjects) RESTMapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	for _, gvk := range []schema.GroupVersionKind{{Group: "apps", Version: "v1", Kind: "Deployment"}, {Version: "v1", Kind: "Secret"}, {Version: "v1", Kind: "ConfigMap"}} {
		m.Add(gvk, meta.RESTScopeNamespace)
	}
	return m
}

func (f *fewObjects) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	o := into.(*unstructured.Unstructured)
	for _, l := range f.live {
		if l.GroupVersionKind() == o.GroupVersionKind() && l.GetNamespace() == key.Namespace && l.GetName() == key.Name {
			o.Object = l.DeepCopy().Object
			return nil
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{Resource: o.GetKind()}, key.Name)
}

// owes is the debt of a world for these uses.
func (w *impactWorld) owes(live []*unstructured.Unstructured, uses ...gate.Use) *debtResult {
	w.t.Helper()
	l := w.loaded(v1alpha1.GateSpec{BreakGlass: &v1alpha1.BreakGlass{Groups: []string{"sre"}}})
	l.cluster = &clusterReader{client: &fewObjects{live: live}}
	r := &debtResult{document: documentOf("BreakGlassDebt"), Items: []debtItem{}}
	for _, u := range uses {
		item, err := l.debt(w.t.Context(), u)
		if err != nil {
			w.t.Fatal(err)
		}
		r.Items = append(r.Items, *item)
	}
	return r
}

// everyWay is the debt in each way in which it is printed.
func (r *debtResult) everyWay(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for name, show := range map[string]func(*console) error{
		"table": func(c *console) error { r.print(c); return nil }, "to commit": r.toCommit,
		"json": func(c *console) error { return c.structured("json", r) }, "yaml": func(c *console) error { return c.structured("yaml", r) },
	} {
		var b bytes.Buffer
		if err := show(&console{out: &b, err: &b}); err != nil {
			t.Fatal(err)
		}
		out[name] = b.String()
	}
	return out
}

func TestDebt(t *testing.T) {
	w := newImpactWorld(t)
	ref := func(group, kind, ns, name string) gitindex.Ref {
		return gitindex.Ref{Group: group, Kind: kind, Namespace: ns, Name: name}
	}
	late := used(ref("", "ConfigMap", "shop", "rescue"), "configmaps", "v1")
	late.Until = time.Now().Add(-time.Minute)
	live := []*unstructured.Unstructured{w.object(deployment("shop", "app:1", "")), w.object(deployment("other", "app:2", ", uid: u, resourceVersion: '7', generation: 3, "+
		"annotations: {gitward.dev/break-glass: INC-1 payments down, deployment.kubernetes.io/revision: '4', example.org/own: kept}")),
		w.object("{apiVersion: v1, kind: ConfigMap, metadata: {name: rescue, namespace: shop}, data: {a: b}}")}
	r := w.owes(live, used(ref("apps", "Deployment", "shop", "web"), "deployments", "v1"), used(ref("apps", "Deployment", "other", "web"), "deployments", "v1"), late,
		used(ref("", "ConfigMap", "shop", "gone"), "configmaps", "v1"), used(ref("", "Secret", "shop", "token"), "secrets", "v1"))
	for i, want := range []string{"paid", "different", "not in Git", "paid", "gone"} {
		if item := r.Items[i]; item.State != want || item.Overdue != (i == 2) {
			t.Errorf("%v: %q, overdue %v; want %q", item.ref, item.State, item.Overdue, want)
		}
	}
	all := r.everyWay(t)
	mustContain(t, all["table"], "Deployment other/web", "Git app:1, live app:2", "ended ", "INC-1 payments down")
	mustContain(t, all["to commit"], "# Deployment shop/web: Git has caught up", "# Deployment other/web, for a.yaml:1", "# ConfigMap shop/rescue, for a new file",
		"# Secret shop/token was deleted: take it out of a.yaml:1", "image: app:2", "example.org/own: kept")
	for _, not := range []string{"gitward.dev/", "resourceVersion", "uid:", "generation", "deployment.kubernetes.io/revision"} {
		if strings.Contains(all["to commit"], not) {
			t.Errorf("%s is to be committed:\n%s", not, all["to commit"])
		}
	}
}

// TestValuesOfSecretsAreNeverPrinted, wherever in a Secret they stand, and
// whichever way the debt is looked at.
func TestValuesOfSecretsAreNeverPrinted(t *testing.T) {
	const plain, encoded = "hunter2", "aHVudGVyMg=="
	for name, more := range map[string]string{
		"data":            "data: {word: " + encoded + ", other: " + encoded + "}",
		"stringData":      "stringData: {word: " + plain + "}, data: {word: " + encoded + "}",
		"last applied":    `data: {word: ` + encoded + `}, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"data":{"word":"` + encoded + `"}}'}`,
		"another copy":    `data: {word: ` + encoded + `}, annotations: {acme.dev/original: '{"stringData":{"word":"` + plain + `"}}'}`,
		"data is a list":  "data: [" + encoded + "]",
		"data is text":    "data: " + encoded,
		"data is a tree":  "data: {word: {deeper: [" + plain + "]}}",
		"an unknown part": "data: {word: " + encoded + "}, spec: {value: " + plain + "}, status: {value: " + plain + "}",
	} {
		t.Run(name, func(t *testing.T) {
			w := newImpactWorld(t)
			var uses []gate.Use
			var live []*unstructured.Unstructured
			for _, secret := range []string{"token", "undeclared"} {
				o := &unstructured.Unstructured{}
				if err := yaml.Unmarshal([]byte("{apiVersion: v1, kind: Secret, type: Opaque, immutable: true, metadata: {name: "+secret+", namespace: shop, labels: {app: web}}, "+more+"}"), &o.Object); err != nil {
					t.Fatal(err)
				}
				if annotations, ok := o.Object["annotations"]; ok {
					delete(o.Object, "annotations")
					o.Object["metadata"].(map[string]any)["annotations"] = annotations
				}
				live = append(live, o)
				uses = append(uses, used(gitindex.Ref{Kind: "Secret", Namespace: "shop", Name: secret}, "secrets", "v1"))
			}
			r := w.owes(live, uses...)
			for way, out := range r.everyWay(t) {
				for _, value := range []string{plain, encoded, "correct-horse", "Y29ycmVjdC1ob3JzZQ=="} {
					if strings.Contains(out, value) {
						t.Errorf("%s tells %s:\n%s", way, value, out)
					}
				}
				mustContain(t, out, "token")
			}
			for i := range r.Items {
				data, err := yaml.Marshal(worthCommitting(r.Items[i].live))
				if err != nil {
					t.Fatal(err)
				}
				var s corev1.Secret
				if err := yaml.Unmarshal([]byte(strings.ReplaceAll(string(data), notShown, "")), &s); err != nil || s.Type != "Opaque" || s.Labels["app"] != "web" || s.Immutable == nil {
					t.Errorf("%v of\n%s", err, data)
				}
				if _, has := s.Data["word"]; has != (strings.Contains(more, "data: {word")) {
					t.Errorf("its keys are %v", s.Data)
				}
			}
			// What is printed is a copy.
			if data, _, _ := unstructured.NestedString(live[0].Object, "data", "word"); name == "data" && data != encoded {
				t.Error("the object itself was changed")
			}
		})
	}
}
