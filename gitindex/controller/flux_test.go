package controller

import (
	"strings"
	"testing"

	"github.com/gitward/gitward/gitindex"
)

func kustomization(name, path, more string) string {
	return `apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: ` + name + `, namespace: flux-system}
spec:
  interval: 1m
  prune: true
  path: ` + path + `
  sourceRef: {kind: GitRepository, name: flux-system}
` + more
}

func bare(name, value string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\ndata: {value: \"" + value + "\"}\n"
}

// TestFluxOpensUnits is a repository as "flux bootstrap" leaves it: a cluster's
// directory that names itself, and what is applied from there.
func TestFluxOpensUnits(t *testing.T) {
	w, _ := renderScene(t)
	first := w.commit(w.ada, map[string]string{
		"clusters/prod/flux-system/gotk-sync.yaml": "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: flux-system, namespace: flux-system}\n" +
			"spec: {interval: 1m, url: '" + w.settings.Spec.URL + "', ref: {branch: main}}\n---\n" + kustomization("flux-system", "./clusters/prod", ""),
		"clusters/prod/flux-system/kustomization.yaml": "resources: [gotk-sync.yaml]\n",
		"clusters/prod/vars.yaml":                      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: vars, namespace: flux-system}\ndata: {size: \"3\"}\n",
		"clusters/prod/apps.yaml":                      kustomization("apps", "./apps/prod", "  targetNamespace: shop\n  postBuild: {substitute: {color: red}, substituteFrom: [{kind: ConfigMap, name: vars}]}\n"),
		"apps/prod/a.yaml":                             bare("a", "${color} ${size}"),
		"apps/prod/copied.yaml":                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: copied, labels: {kustomize.toolkit.fluxcd.io/name: another, team: a}}\n",
		"apps/staging/a.yaml":                          bare("a", "staging"),
	})
	s := w.sync()
	w.want(s, "a", first)
	e := w.entry(s, "a")
	if len(e.Current) != 1 || e.Current[0].Unit != "Kustomization.kustomize.toolkit.fluxcd.io flux-system/apps" ||
		!strings.Contains(string(e.Current[0].Raw), "red 3") || e.Current[0].Applier == nil || e.Current[0].Applier.FluxName != "apps" {
		t.Fatalf("a is %+v; problems %v", e.Current, s.Problems)
	}
	if m := w.entry(s, "copied").Current; len(m) != 1 || strings.Contains(string(m[0].Raw), "another") || !strings.Contains(string(m[0].Raw), "team") {
		t.Errorf("a label that Flux sets over is declared: %v; problems %v", m, s.Problems)
	}
	apps := gitindex.Ref{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization", Namespace: "flux-system", Name: "apps"}
	if e := s.Lookup(apps); e == nil || len(e.Current) != 1 || e.Current[0].Applier.FluxName != "flux-system" {
		t.Errorf("the Kustomization apps is not applied by flux-system: %+v", e)
	}
	if len(s.Problems) > 0 {
		t.Errorf("problems: %v", s.Problems)
	}
	second := w.commit(w.ben, map[string]string{"clusters/prod/vars.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: vars, namespace: flux-system}\ndata: {size: \"4\"}\n"})
	w.commit(w.ben, map[string]string{"clusters/prod/other.yaml": kustomization("other", "./apps/nowhere", "")})
	s = w.sync()
	w.want(s, "a", second)
	if !strings.Contains(string(w.entry(s, "a").Current[0].Raw), "red 4") {
		t.Errorf("the variable's new value is not there: %s", w.entry(s, "a").Current[0].Raw)
	}
	if !strings.Contains(strings.Join(texts(s.Problems), "\n"), "flux-system/other") {
		t.Errorf("a path that is not there is not named: %v", s.Problems)
	}
	w.commit(w.alien, map[string]string{"clusters/prod/apps.yaml": kustomization("apps", "./apps/staging", "  targetNamespace: shop\n")})
	s = w.sync()
	w.want(s, "a", second)
	if held := w.entry(s, "a").Held; len(held) != 1 || !strings.Contains(string(held[0].Raw), "staging") {
		t.Errorf("what the stranger would apply is not told: %v", held)
	}
}

func texts(ps []gitindex.Problem) []string {
	var out []string
	for _, p := range ps {
		out = append(out, p.String())
	}
	return out
}
