package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
)

// loaded is what a command has once it has read the world's configuration.
func (w *impactWorld) loaded(spec v1alpha1.GateSpec) *loaded {
	g := gateOf(spec)
	p := newProcess(w.t.TempDir(), false, slog.New(slog.DiscardHandler))
	view := *w.view
	view.Rules = rules([]v1alpha1.Gate{g})
	p.view.Store(&view)
	return &loaded{process: p, stop: func() {}, configuration: &configuration{gates: []v1alpha1.Gate{g}, origins: []v1alpha1.Origin{{ObjectMeta: metav1.ObjectMeta{Name: "platform"}}}}}
}

func (w *impactWorld) object(text string) *unstructured.Unstructured {
	w.t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(w.served(text, versionIn(field(w.t, text, "apiVersion"))), &o.Object); err != nil {
		w.t.Fatal(err)
	}
	return o
}

func used(ref gitindex.Ref, resource, version string) gate.Use {
	now := time.Now()
	return gate.Use{Gate: "default", Ref: ref, Resource: resource, Version: version, Operation: gate.Update, User: "ada", Reason: "INC-1 payments down", Decision: "d-1",
		Since: now, At: now, Until: now.Add(time.Hour), Count: 1}
}

// pages lists objects two at a time, as the API server does with more.
type pages struct {
	dynamic.NamespaceableResourceInterface
	items []unstructured.Unstructured
	fails error
	asked *[]string
}

func (p pages) Namespace(ns string) dynamic.ResourceInterface {
	*p.asked = append(*p.asked, ns)
	return p
}

func (p pages) List(_ context.Context, o metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	if p.fails != nil {
		return nil, p.fails
	}
	from := 0
	if o.Continue != "" {
		if _, err := fmt.Sscan(o.Continue, &from); err != nil {
			return nil, err
		}
	}
	page := &unstructured.UnstructuredList{Items: p.items[from:min(from+2, len(p.items))]}
	if from+2 < len(p.items) {
		page.SetContinue(fmt.Sprint(from + 2))
	}
	return page, nil
}

func TestCoverage(t *testing.T) {
	w := newImpactWorld(t)
	l := w.loaded(v1alpha1.GateSpec{Match: v1alpha1.Match{Namespaces: []string{"shop", "other"}},
		Derive:  []v1alpha1.DeriveRule{{Owner: v1alpha1.OwnerKind{Group: "cert-manager.io", Kind: "Certificate"}, Makes: []string{"secrets"}, Users: []string{robot}}},
		Exclude: []v1alpha1.Exclusion{{Namespaces: []string{"other"}, Resources: []string{"configmaps"}, Reason: "on trial"}}})
	l.ledger.Note(used(gitindex.Ref{Kind: "ConfigMap", Namespace: "shop", Name: "rescue"}, "configmaps", "v1"))
	c := newCounting(l, &coverageOptions{list: "drifted"})
	configMap := func(ns, name string) unstructured.Unstructured {
		return *w.object("{apiVersion: v1, kind: ConfigMap, metadata: {name: " + name + ", namespace: " + ns + "}, data: {a: hunter2}}")
	}
	secret := func(owner string) unstructured.Unstructured {
		return *w.object("{apiVersion: v1, kind: Secret, metadata: {name: tls-" + owner + ", namespace: shop, ownerReferences: [{apiVersion: cert-manager.io/v1, kind: Certificate, name: " + owner + ", uid: " + owner + "-shop, controller: true}]}, data: {k: aHVudGVyMg==}}")
	}
	var asked []string
	for _, kind := range []struct {
		gv       schema.GroupVersion
		resource metav1.APIResource
		pages    pages
	}{
		{schema.GroupVersion{Group: "apps", Version: "v1"}, metav1.APIResource{Name: "deployments", Kind: "Deployment"}, pages{items: []unstructured.Unstructured{
			*w.object(deployment("shop", "app:1", "")), *w.object(deployment("other", "app:2", ""))}}},
		{schema.GroupVersion{Version: "v1"}, metav1.APIResource{Name: "configmaps", Kind: "ConfigMap"}, pages{items: []unstructured.Unstructured{
			configMap("shop", "stray"), configMap("shop", "rescue"), configMap("other", "trial"), configMap("kube-system", "x"), configMap("shop", "kube-root-ca.crt")}}},
		{schema.GroupVersion{Version: "v1"}, metav1.APIResource{Name: "secrets", Kind: "Secret"}, pages{items: []unstructured.Unstructured{secret("site"), secret("stray")}}},
		{schema.GroupVersion{Version: "v1"}, metav1.APIResource{Name: "pods", Kind: "Pod"}, pages{fails: apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", nil)}},
	} {
		kind.pages.asked = &asked
		readable, err := eachOfKind(t.Context(), kind.pages, kind.gv.WithKind(kind.resource.Kind), kind.resource.Name, c.count)
		if err != nil {
			t.Fatal(err)
		}
		if !readable {
			c.result.Unread = append(c.result.Unread, kind.resource.Name+"."+kind.gv.Group)
		}
	}
	c.finish()
	var out, notes bytes.Buffer
	c.result.print(&console{out: &out, err: &notes})
	want := `NAMESPACE     COVERED           TRACED   DERIVED   DRIFTED   UNTRACED   BROKEN   EXCLUDED   PLATFORM   UNGATED
kube-system   -                 -        -         -         -          -        -          -          1
other         ░░░░░░░░░░   0%   -        -         1         -          -        1          -          -
shop          ████░░░░░░  40%   1        1         -         2          1        -          1          -
  drifted  Deployment other/web spec.template.spec.containers[web].image
  excluded by default: in other all configmaps (never expires): on trial
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
	if !strings.Contains(notes.String(), "could not be read: pods") || strings.Contains(out.String()+notes.String(), "hunter2") {
		t.Errorf("notes: %s", &notes)
	}
	if c.result.Total["untraced"] != 2 || c.read != 9 {
		t.Errorf("%v of %d", c.result.Total, c.read)
	}
}

// Columns that would be empty everywhere are left out, but for the first four.
func TestCoverageColumns(t *testing.T) {
	for want, counts := range map[string]map[string]int{
		"[traced derived drifted untraced]":                  {"traced": 1},
		"[traced derived drifted untraced ungated]":          {"ungated": 1},
		"[traced derived drifted untraced broken]":           {"broken": 2, "excluded": 0},
		"[traced derived drifted untraced excluded ungated]": {"excluded": 1, "ungated": 3},
	} {
		r := &coverageResult{Namespaces: []coverageItem{{Counts: counts}}}
		if got := fmt.Sprint(r.shown()); got != want {
			t.Errorf("%v: %s, want %s", counts, got, want)
		}
	}
}

func TestBar(t *testing.T) {
	for want, counts := range map[string]map[string]int{
		"-":               {"platform": 3, "ungated": 2},
		"..........   0%": {"broken": 1},
		"#####.....  50%": {"traced": 1, "derived": 1, "drifted": 1, "untraced": 1, "excluded": 9},
		"########## 100%": {"traced": 1},
	} {
		if got := (&console{ascii: true}).bar(counts); got != want {
			t.Errorf("%v: %q, want %q", counts, got, want)
		}
	}
}

func TestWorthReading(t *testing.T) {
	both := metav1.Verbs{"list", "create"}
	for name, c := range map[string]struct {
		group string
		r     metav1.APIResource
		want  bool
	}{
		"an ordinary kind": {"apps", metav1.APIResource{Name: "deployments", Verbs: both}, true},
		"a subresource":    {"apps", metav1.APIResource{Name: "deployments/scale", Verbs: both}, false},
		"events":           {"", metav1.APIResource{Name: "events", Verbs: both}, false},
		"leases":           {"coordination.k8s.io", metav1.APIResource{Name: "leases", Verbs: both}, false},
		"leases of others": {"acme.dev", metav1.APIResource{Name: "leases", Verbs: both}, true},
		"nobody makes it":  {"", metav1.APIResource{Name: "componentstatuses", Verbs: metav1.Verbs{"list"}}, false},
	} {
		if worthReading(c.group, &c.r) != c.want {
			t.Errorf("%s: %v", name, !c.want)
		}
	}
}
