package controller

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gitward/gitward/gitindex"
)

// twoOrigins are a platform's repository and a tenant's. The tenant's signers
// are trusted for the tenant's Origin alone; what they write there opens units
// over the platform's content.
func twoOrigins(t *testing.T, platformFiles, tenantFiles map[string]string) (platform, tenant *scene, s *gitindex.Snapshot) {
	t.Helper()
	platform, tenant = newScene(t), newScene(t)
	platform.settings.Renderer, tenant.settings.Renderer = &counted{}, &counted{}
	tenant.settings.Name = "tenant"
	files := map[string]string{"source.yaml": "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: flux-system, namespace: tenant}\n" +
		"spec: {interval: 1m, url: '" + platform.settings.Spec.URL + "', ref: {branch: main}}\n"}
	for p, c := range tenantFiles {
		files[p] = c
	}
	platform.commit(platform.ada, platformFiles)
	tenant.commit(tenant.ben, files)
	platform.sync()
	tenant.sync()
	meet(map[string]*Tracker{"platform": platform.tracker, "tenant": tenant.tracker})
	return platform, tenant, platform.sync()
}

// tenants is a Kustomization of the tenant.
func tenants(name, path, more string) string {
	return strings.ReplaceAll(kustomization(name, path, more), "namespace: flux-system", "namespace: tenant")
}

var shop = map[string]string{
	"clusters/apps.yaml": kustomization("apps", "./apps", "  targetNamespace: shop\n  postBuild: {substituteFrom: [{kind: ConfigMap, name: vars}]}\n"),
	"clusters/vars.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: vars, namespace: flux-system}\ndata: {size: \"3\"}\n",
	"apps/a.yaml":        bare("a", "size ${size}"),
	"plain/p.yaml":       cm("p", "1"),
}

// own are the contents that an Origin declares of an object by itself.
func own(s *gitindex.Snapshot, ref gitindex.Ref) string {
	var out []string
	if e := s.Lookup(ref); e != nil {
		for _, m := range e.Current {
			if m.Via == "" {
				out = append(out, string(m.Raw))
			}
		}
	}
	return strings.Join(out, "\n")
}

// TestForeignOpenerOfOpeners: what a neighbour's object renders may be an opener
// in turn, which the neighbour has patched. What that opens is the neighbour's
// word as well.
func TestForeignOpenerOfOpeners(t *testing.T) {
	_, _, s := twoOrigins(t, shop, map[string]string{"evil.yaml": tenants("evil", "./clusters", `  namePrefix: evil-
  patches:
  - target: {kind: Kustomization}
    patch: |
      - {op: replace, path: /spec/targetNamespace, value: kube-system}
      - {op: remove, path: /spec/postBuild}
      - op: add
        path: /spec/patches
        value: [{target: {kind: ConfigMap}, patch: '[{"op": "replace", "path": "/data/value", "value": "forged"}]'}]
`)})
	found := 0
	for ref, e := range s.Objects {
		for _, m := range e.Current {
			if strings.Contains(string(m.Raw), "forged") && ref.Kind == "ConfigMap" {
				if found++; m.Via != "tenant" {
					t.Errorf("%v counts as the platform's own: %s, of %s", ref, m.Raw, m.Unit)
				}
			}
		}
	}
	if found == 0 {
		t.Fatalf("the tenant opened nothing; problems: %v", s.Problems)
	}
}

// TestForeignLookup: a neighbour patches the ConfigMap that the platform's own
// Kustomization takes variables from.
func TestForeignLookup(t *testing.T) {
	_, _, s := twoOrigins(t, shop, map[string]string{"evil.yaml": tenants("evil", "./clusters", `  patches:
  - target: {kind: ConfigMap, name: vars}
    patch: '[{"op": "replace", "path": "/data/size", "value": "666"}]'
`)})
	if got := own(s, shopOf("a")); !strings.Contains(got, "size 3") || strings.Contains(got, "666") {
		t.Errorf("the platform's own object is %s; problems: %v", got, s.Problems)
	}
}

// TestForeignClaim: that a neighbour renders a directory takes nothing away from
// those whose directory it is.
func TestForeignClaim(t *testing.T) {
	for _, path := range []string{"./plain", "./", "./apps"} {
		_, _, s := twoOrigins(t, shop, map[string]string{"evil.yaml": tenants("evil", path, "")})
		if own(s, shopOf("p")) == "" || own(s, shopOf("a")) == "" {
			t.Errorf("over %s: p %q, a %q; problems: %v", path, own(s, shopOf("p")), own(s, shopOf("a")), s.Problems)
		}
	}
}

// TestForeignNamesake: a neighbour's opener has the name of one of the
// platform's own, which goes on as it was.
func TestForeignNamesake(t *testing.T) {
	_, _, s := twoOrigins(t, shop, map[string]string{"evil.yaml": strings.ReplaceAll(
		kustomization("apps", "./plain", ""), "name: flux-system}\n", "name: flux-system, namespace: tenant}\n")})
	if own(s, shopOf("a")) == "" {
		t.Errorf("the platform's own Kustomization is pushed aside; problems: %v", s.Problems)
	}
}

// TestForeignFlood: a neighbour opens more units than an Origin may have.
func TestForeignFlood(t *testing.T) {
	w, _ := renderScene(t)
	w.commit(w.ada, shop)
	w.sync()
	n := &Neighbours{}
	for i := range mostUnits {
		o := opener{ref: gitindex.Ref{Group: "argoproj.io", Kind: "Application", Namespace: "tenant", Name: fmt.Sprint(i)}, tool: "Argo"}
		n.Opened = append(n.Opened, Opened{Unit: o.unit(w.tracker.builder(w.tracker.state).evaluator.cluster), By: "tenant"})
	}
	w.tracker.neighbours.Store(n)
	if s := w.sync(); own(s, shopOf("a")) == "" {
		t.Error("a neighbour's units leave no room for the platform's own")
	}
}
