package controller

import (
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gitindex/render/worker"
	"github.com/gitward/gitward/test/corpus"
)

// TestRealRepositories opens what is applied to one cluster of real Flux and
// Argo CD repositories.
func TestRealRepositories(t *testing.T) {
	root := corpus.Dir(t)
	everything := map[string]string{}
	for _, kind := range []string{"member-cluster", "internal-cluster", "host-cluster", "eaas-cluster"} {
		everything["appstudio.redhat.com/"+kind] = "true"
	}
	for _, c := range []struct {
		repo, url string
		spec      v1alpha1.OriginSpec
		units     int // at least so many are opened
		objects   int // at least so many objects come of them
	}{
		{"flux/flux2-kustomize-helm-example", "https://github.com/fluxcd/flux2-kustomize-helm-example", at("clusters/production"), 4, 15},
		{"flux/flux2-kustomize-helm-example", "https://github.com/fluxcd/flux2-kustomize-helm-example", at("clusters/staging"), 4, 15},
		{"flux/flux2-multi-tenancy", "https://github.com/fluxcd/flux2-multi-tenancy", at("clusters/production"), 5, 10},
		{"flux/xunholy-k8s-gitops", "https://github.com/xunholy/k8s-gitops", v1alpha1.OriginSpec{
			Render:    []v1alpha1.Render{{Path: "kubernetes/clusters/cluster-00"}},
			Artifacts: []v1alpha1.Artifact{{Kind: "OCIRepository", Name: "flux-system", Path: "kubernetes"}},
		}, 100, 300},
		{"argocd/infra-deployments", "https://github.com/redhat-appstudio/infra-deployments", v1alpha1.OriginSpec{
			Render: []v1alpha1.Render{{Path: "argo-cd-apps/overlays/development"}},
			Cluster: &v1alpha1.Cluster{Names: []string{"https://here.example"}, ArgoCD: []v1alpha1.ArgoCluster{
				{Name: "here", Server: "https://here.example", Labels: everything}}},
		}, 45, 45},
	} {
		s := Settings{Name: "origin", Spec: c.spec, Renderer: worker.Local{}}
		s.Spec.URL, s.Spec.Ref = c.url, &v1alpha1.GitRef{Branch: "main"}
		w, err := Checkout(s, filepath.Join(root, c.repo))
		if err != nil {
			t.Errorf("%s: %v", c.repo, err)
			continue
		}
		t.Logf("%s %s: %d units, %d objects, %d problems", c.repo, c.spec.Render[0].Path, len(w.Roots), len(w.Manifests), len(w.Problems))
		kinds := map[string]int{}
		for _, p := range w.Problems {
			kinds[regexp.MustCompile(`[a-z0-9.-]+/[^ ]+`).ReplaceAllString(p.Message, "x")]++
			if testing.Verbose() {
				t.Log("  ", p)
			}
		}
		var list []string
		for k := range kinds {
			list = append(list, k)
		}
		slices.Sort(list)
		if len(w.Roots) < c.units || len(w.Manifests) < c.objects {
			t.Errorf("%s: %d units and %d objects, want at least %d and %d: %v", c.repo, len(w.Roots), len(w.Manifests), c.units, c.objects, list)
		}
	}
}

func at(path string) v1alpha1.OriginSpec {
	return v1alpha1.OriginSpec{Render: []v1alpha1.Render{{Path: path}}}
}
