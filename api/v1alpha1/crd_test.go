package v1alpha1

import (
	"context"
	"io/fs"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/charts"
	"github.com/gitward/gitward/test/controlplane"
)

// TestCRDs installs the definitions on a real API server and holds what they
// take, what they refuse and with which words, and what they fill in.
func TestCRDs(t *testing.T) {
	cp := controlplane.ForTest(t, controlplane.Options{})
	scheme := runtime.NewScheme()
	if err := apiextensionsv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	if err := AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(cp.RESTConfig(controlplane.Admin), client.Options{Scheme: scheme, FieldValidation: "Strict"})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	install(t, ctx, c)
	for name, tc := range map[string]struct{ spec, kind, refused string }{
		"smallest":        {"url: https://x/y.git\nsigners: {secretRef: {name: a}}", "Origin", ""},
		"scp url":         {"url: git@x:y.git\nsigners: {secretRef: {name: a}}", "Origin", ""},
		"password in url": {"url: https://me:pw@x/y.git\nsigners: {secretRef: {name: a}}", "Origin", "url must not carry a password"},
		"other scheme":    {"url: ftp://x/y\nsigners: {secretRef: {name: a}}", "Origin", "url must be https://"},
		"no signers":      {"url: https://x/y.git", "Origin", "signers"},
		"two refs":        {"url: https://x/y.git\nref: {branch: a, tag: b}\nsigners: {secretRef: {name: a}}", "Origin", "at most one of branch"},
		"history":         {"url: https://x/y.git\nsigners: {require: History, secretRef: {name: a}}", "Origin", "History needs signers.after"},
		"leaving":         {"url: https://x/y.git\nrender: [{path: a/../..}]\nsigners: {secretRef: {name: a}}", "Origin", "must not leave it"},
		"two appliers":    {"url: https://x/y.git\nrender: [{applier: {flux: {name: a}, argocd: {application: b}}}]\nsigners: {secretRef: {name: a}}", "Origin", "exactly one of flux and argocd"},
		"unknown field":   {"url: https://x/y.git\nsigner: x\nsigners: {secretRef: {name: a}}", "Origin", "unknown field"},
		"gate":            {"origins: [{name: a}]\naction: Deny", "Gate", ""},
		"empty gate":      {"{}", "Gate", ""},
		"deny of nothing": {"action: Deny", "Gate", "needs at least one origin"},
		"long lag":        {"lag: 25h", "Gate", "lag must be between"},
		"odd action":      {"action: Maybe", "Gate", "Unsupported value"},
	} {
		t.Run(name, func(t *testing.T) {
			u := &unstructured.Unstructured{}
			text := "apiVersion: gitward.dev/v1alpha1\nkind: " + tc.kind + "\nmetadata: {generateName: t-}\nspec:\n  " + strings.ReplaceAll(tc.spec, "\n", "\n  ")
			if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
				t.Fatal(err)
			}
			err := c.Create(ctx, u)
			switch {
			case tc.refused == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.refused != "" && (err == nil || !strings.Contains(err.Error(), tc.refused)):
				t.Errorf("got %v, want a refusal that says %q", err, tc.refused)
			}
		})
	}
	defaults(t, ctx, c)
}

func install(t *testing.T, ctx context.Context, c client.Client) {
	t.Helper()
	files, err := fs.Glob(charts.CRDs, "gitward/crds/*.yaml")
	if err != nil || len(files) != 2 {
		t.Fatalf("%v %v", files, err)
	}
	for _, f := range files {
		data, err := charts.CRDs.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(data, &crd); err != nil {
			t.Fatal(err)
		}
		if err := c.Create(ctx, &crd); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		if c.List(ctx, &OriginList{}) == nil && c.List(ctx, &GateList{}) == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the kinds are not served")
		}
	}
}

// defaults: what the CRD fills in is what SetDefaults fills in.
func defaults(t *testing.T, ctx context.Context, c client.Client) {
	t.Helper()
	o := &Origin{Spec: OriginSpec{URL: "https://x/y.git", Render: []Render{{Path: "a", Applier: &Applier{Flux: &FluxApplier{Name: "x"}}}}, Signers: Signers{SecretRef: LocalRef{Name: "a"}}}}
	g := &Gate{}
	o.Name, g.Name = "defaults", "defaults"
	wantO, wantG := o.DeepCopy(), g.DeepCopy()
	wantO.SetDefaults()
	wantG.SetDefaults()
	if err := c.Create(ctx, o); err != nil {
		t.Fatal(err)
	}
	if err := c.Create(ctx, g); err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]any{{o.Spec, wantO.Spec}, {g.Spec, wantG.Spec}} {
		got, _ := yaml.Marshal(pair[0])
		want, _ := yaml.Marshal(pair[1])
		if string(got) != string(want) {
			t.Errorf("the API server makes\n%s\nSetDefaults makes\n%s", got, want)
		}
	}
}
