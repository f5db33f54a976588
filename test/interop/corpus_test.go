package interop

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/test/corpus"
	"github.com/gitward/gitward/test/server"
)

// readTree is every file below a directory, by its path.
func readTree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		files[filepath.ToSlash(name)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// hasten makes a copy of a real cluster's Kustomizations that is over in a
// minute: they look every three seconds and wait for nothing that would come
// from elsewhere, for there is no network here.
func hasten(files map[string]string, cluster string) {
	interval := regexp.MustCompile(`(?m)^(  (?:interval|retryInterval): ).*$`)
	for name, text := range files {
		if !strings.HasPrefix(name, "clusters/"+cluster+"/") {
			continue
		}
		text = interval.ReplaceAllString(text, "${1}3s")
		files[name] = strings.ReplaceAll(text, "  wait: true\n", "")
	}
}

// permissive is a definition of a kind whose own is not here: any field goes.
func permissive(l *lab, group, version, kind, plural, scope string) {
	l.put(map[string]any{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": plural + "." + group,
			"annotations": map[string]any{"api-approved.kubernetes.io": "unapproved, a stand-in"}},
		"spec": map[string]any{"group": group, "scope": scope,
			"names": map[string]any{"kind": kind, "plural": plural, "singular": strings.ToLower(kind), "listKind": kind + "List"},
			"versions": []any{map[string]any{"name": version, "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}})
}

// tour is a real repository as Flux deploys it, told up to where it is settled.
type tour struct {
	name, cluster string
	units         []string          // its Kustomizations in Flux's own namespace; or ...
	count         int               // ... how many there are in all
	unable        map[string]string // "namespace/name" of those that cannot be applied here, and why
	contested     []string          // objects that are in two Kustomizations
	kinds         [][5]string       // group, version, kind, plural, scope
	change        func(files map[string]string)
	objects       []string
}

func (v tour) take(t *testing.T) {
	need(t, "flux")
	files := readTree(t, filepath.Join(corpus.Dir(t, "flux"), v.name))
	hasten(files, v.cluster)
	if v.change != nil {
		v.change(files)
	}
	l := newLab(t)
	for _, k := range v.kinds {
		permissive(l, k[0], k[1], k[2], k[3], k[4])
	}
	at := "clusters/" + v.cluster
	files[at+"/flux-system/gotk-components.yaml"] = components(l)
	files[at+"/flux-system/gotk-sync.yaml"] = gotkSync(l, at)
	f := newFlux(l)
	for _, name := range append([]string{"flux-system"}, v.units...) {
		f.kustomizations = append(f.kustomizations, fluxNamespace+"/"+name)
	}
	f.bootstrap(files[at+"/flux-system/gotk-sync.yaml"])
	f.accounts()
	f.contested = v.contested
	tip := l.commit(files)
	s := &stage{lab: l, applier: f, files: files}
	// The repository has a directory for each of its clusters: this is the one.
	s.trust(tip, []v1alpha1.Render{{Path: at, Namespace: "default"}})
	s.gated(true)
	defer s.tellAtEnd(t)
	begin := s.lab.mark()
	if !t.Run("everything that is applied is admitted", s.chapter(func(t *testing.T) {
		s.run(t)
		// Of many, one is at work again at any time: each is met once.
		met := map[string]bool{}
		server.Await(t, "the first reconciliation", patience+time.Duration(v.count)*5*time.Second, func() error {
			if err := v.find(f); err != nil {
				return err
			}
			for _, name := range f.kustomizations {
				if met[name] {
					continue
				}
				if err := f.applied(name, tip); err != nil {
					return err
				}
				met[name] = true
			}
			return nil
		})
		t.Logf("%d Kustomizations are applied, %d cannot be: %v", len(f.kustomizations), len(v.unable), v.unable)
		s.nothingDenied(t, begin, s.users()...)
		for _, object := range v.objects {
			if _, err := s.get(object); err != nil {
				t.Errorf("%s: %v", object, err)
			}
		}
		table(t, "the first reconciliation", s.tallies(begin.requests, s.users()...))
		s.second(t)
	})) {
		table(t, "what was asked for", s.tallies(begin.requests, s.users()...))
		return
	}
	t.Run("it is settled after the first", s.chapter(func(t *testing.T) { s.settled(t, 4) }))
	t.Run("what tells the tool what to do cannot be edited by hand", s.chapter(func(t *testing.T) { s.refusals(t, s.eve, s.edits()) }))
}

// find makes a list of the cluster's Kustomizations where the tour has none.
func (v tour) find(f *flux) error {
	if v.count == 0 {
		return nil
	}
	u := ref(fluxKustomization + "any")
	client, err := f.client(f.dynamic, u)
	if err != nil {
		return err
	}
	list, err := client.List(context.Background(), metav1.ListOptions{})
	if err != nil {
		return err
	}
	f.kustomizations = nil
	for _, k := range list.Items {
		if name := k.GetNamespace() + "/" + k.GetName(); v.unable[name] == "" {
			f.kustomizations = append(f.kustomizations, name)
		}
	}
	if len(f.kustomizations) != v.count {
		return fmt.Errorf("there are %d Kustomizations, not %d", len(f.kustomizations), v.count)
	}
	return nil
}

var helmRelease = [5]string{"helm.toolkit.fluxcd.io", "v2", "HelmRelease", "helmreleases", "Namespaced"}

// TestFluxMultiTenancy is fluxcd/flux2-multi-tenancy as its staging cluster.
// Its bootstrap impersonates Flux's own account.
func TestFluxMultiTenancy(t *testing.T) {
	tour{name: "flux2-multi-tenancy", cluster: "staging", units: []string{"kyverno", "kyverno-policies", "tenants"},
		kinds: [][5]string{helmRelease, {"kyverno.io", "v1", "ClusterPolicy", "clusterpolicies", "Cluster"}},
		// Its OCIRepository is of a version that Flux 2.7 serves no more.
		change: func(files map[string]string) {
			const source = "infrastructure/kyverno/source.yaml"
			files[source] = strings.Replace(files[source], "source.toolkit.fluxcd.io/v1beta2", "source.toolkit.fluxcd.io/v1", 1)
		},
		objects: []string{"kyverno.io/v1 ClusterPolicy verify-flux-images", "v1 ServiceAccount apps/dev-team",
			fluxKustomization + "apps/dev-team", gitRepository + "apps/dev-team"},
	}.take(t)
}

// TestFluxHelmExample is fluxcd/flux2-kustomize-helm-example as its staging
// cluster, as it was before its sources came from source-watcher: each
// Kustomization takes its path of the one repository.
func TestFluxHelmExample(t *testing.T) {
	tour{name: "flux2-kustomize-helm-example", cluster: "staging", units: []string{"infra-controllers", "infra-configs", "apps"},
		kinds: [][5]string{helmRelease, {"cert-manager.io", "v1", "ClusterIssuer", "clusterissuers", "Cluster"},
			{"gateway.networking.k8s.io", "v1", "Gateway", "gateways", "Namespaced"},
			{"gateway.networking.k8s.io", "v1", "GatewayClass", "gatewayclasses", "Cluster"}},
		change: func(files map[string]string) {
			delete(files, "clusters/staging/artifacts.yaml")
			delete(files, "clusters/production/artifacts.yaml")
			for _, name := range []string{"clusters/staging/apps.yaml", "clusters/staging/infrastructure.yaml"} {
				files[name] = strings.NewReplacer("path: ./controllers", "path: ./infrastructure/controllers", "path: ./configs", "path: ./infrastructure/configs",
					"path: ./staging", "path: ./apps/staging", "kind: ExternalArtifact\n    name: apps\n", "kind: GitRepository\n    name: flux-system\n",
					"kind: ExternalArtifact\n    name: infrastructure\n", "kind: GitRepository\n    name: flux-system\n").Replace(files[name])
			}
		},
		objects: []string{"helm.toolkit.fluxcd.io/v2 HelmRelease podinfo/podinfo", "cert-manager.io/v1 ClusterIssuer letsencrypt",
			"gateway.networking.k8s.io/v1 Gateway envoy-gateway-system/envoy"},
	}.take(t)
}
