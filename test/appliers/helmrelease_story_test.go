package appliers

import (
	"context"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitward/gitward/api/v1alpha1"
)

const helmController = "system:serviceaccount:flux-system:helm-controller"

// fluxCRDs are the kinds of Flux that the stories speak of, with any field.
func fluxCRDs() string {
	return strings.Join([]string{
		permissiveCRD("kustomize.toolkit.fluxcd.io", "Kustomization", "kustomizations", "Namespaced", "v1"),
		permissiveCRD("helm.toolkit.fluxcd.io", "HelmRelease", "helmreleases", "Namespaced", "v2"),
		permissiveCRD("source.toolkit.fluxcd.io", "GitRepository", "gitrepositories", "Namespaced", "v1"),
	}, "---\n")
}

// gitRepository is the source that Flux's own bootstrap commits.
func (l *lab) gitRepository() string {
	return "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: flux-system, namespace: flux-system}\n" +
		"spec: {interval: 1m, url: \"" + l.repoURL() + "\", ref: {branch: main}, secretRef: {name: flux-system}}\n"
}

const fluxNamespaceFile = "apiVersion: v1\nkind: Namespace\nmetadata: {name: flux-system}\n"

// TestHelmRelease: a HelmRelease of Flux whose chart lies in the repository, with
// what helm-controller adds to it.
func TestHelmRelease(t *testing.T) {
	l := newLab(t)
	job, controller := l.actor("system:serviceaccount:ci:deployer"), l.actor(helmController)
	l.put(fluxCRDs())
	l.commit(merged(chartFiles("charts/shop", "flux.helm.example.org"), map[string]string{
		"cluster/namespace.yaml": fluxNamespaceFile,
		"cluster/source.yaml":    l.gitRepository(),
		"cluster/release.yaml": `apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: shop, namespace: flux-system}
spec:
  interval: 1m
  targetNamespace: helm-flux
  install: {createNamespace: true}
  chart: {spec: {chart: ./charts/shop, sourceRef: {kind: GitRepository, name: flux-system}}}
  commonMetadata: {labels: {team: shop}}
  values: {color: red, replicas: 3}
`}))
	l.trust(v1alpha1.Render{Path: "cluster"})
	l.noProblems()
	l.runsAs(job, "HelmRelease", "apply", "--server-side", "--force-conflicts", "-f", l.path("cluster"))
	r := release{by: controller, chart: "charts/shop", name: "helm-flux-shop", namespace: "helm-flux", storage: "flux-system", manager: "helm-controller", serverSide: true, create: true,
		values: map[string]any{"color": "red", "replicas": 3},
		post:   labels{{"team": "shop"}, {"helm.toolkit.fluxcd.io/name": "shop", "helm.toolkit.fluxcd.io/namespace": "flux-system"}}}
	l.chapter("applied", func(*testing.T) {
		r.runs("install", r.install)
		r.runs("upgrade without a change", r.upgrade)
		file := "cluster/release.yaml"
		l.commit(map[string]string{file: strings.ReplaceAll(l.files[file], "color: red", "color: green")})
		l.runsAs(job, "changed HelmRelease", "apply", "--server-side", "-f", l.path(file))
		r = r.with("color", "green")
		r.runs("upgrade", r.upgrade)
		r.serverSide = false
		r.runs("upgrade by client-side apply", r.upgrade)
		r.serverSide = true
		r.runs("upgrade by server-side apply again", r.upgrade)
	})
	l.chapter("drift is corrected", func(*testing.T) { l.correctsDrift(controller) })
	l.chapter("refused", func(*testing.T) { l.helmReleaseAttacks(r, job) })
}

// correctsDrift: what a person spoilt while there was no gate is put back field by
// field (helm-controller/internal/action/diff.go).
func (l *lab) correctsDrift(controller *actor) {
	l.t.Helper()
	const web = "apps/v1 Deployment helm-flux/helm-flux-shop"
	l.gated(false)
	l.check(l.patch(controller, web, `{"spec":{"replicas":9}}`, metav1.PatchOptions{}))
	l.gated(true)
	controller.forget()
	correct := func(replicas string) error {
		client, err := l.client(controller.dynamic("helm-controller/v1.6.3"), ref(web))
		if err != nil {
			return err
		}
		_, err = client.Patch(context.Background(), "helm-flux-shop", types.JSONPatchType,
			[]byte(`[{"op":"replace","path":"/spec/replicas","value":`+replicas+`}]`), metav1.PatchOptions{FieldManager: "helm-controller"})
		return err
	}
	l.mustRefuse(controller, attack{name: "a correction to what Git does not have", do: func(bool) error { return correct("4") }})
	l.check(correct("3"))
	controller.tell(l.t, "correction")
}

func (l *lab) helmReleaseAttacks(r release, person *actor) {
	l.t.Helper()
	set, foreign := r.with("image", map[string]any{"tag": "evil"}), r
	foreign.post = labels{{"team": "shop"}, {"helm.toolkit.fluxcd.io/name": "other", "helm.toolkit.fluxcd.io/namespace": "flux-system"}}
	edited := strings.ReplaceAll(l.files["cluster/release.yaml"], "replicas: 3", "replicas: 3, image: {tag: evil}")
	byHand := strings.NewReplacer("name: shop", "name: byhand", "helm-flux", "helm-byhand").Replace(edited)
	l.gated(false)
	l.check(set.upgrade())
	l.check(foreign.upgrade())
	l.gated(true)
	r.by.forget()
	r.runs("upgrade, which repairs", r.upgrade)
	const trimmed = "DELETE /api/v1/namespaces/flux-system/secrets/sh.helm.release.v1."
	l.mustRefuse(r.by,
		attack{name: "values that Git does not have", do: func(bool) error { return set.upgrade() }, besides: trimmed},
		attack{name: "the labels of another HelmRelease", do: func(bool) error { return foreign.upgrade() }, besides: trimmed},
	)
	l.refuses(person, l.apply(person, "a HelmRelease edited by hand", edited), l.apply(person, "a HelmRelease created by hand", byHand))
}

// apply is server-side apply of a text that Git does not have.
func (l *lab) apply(a *actor, name, text string) attack {
	file := l.beside(strings.ReplaceAll(name, " ", "-")+".yaml", text)
	return attack{name: name, do: func(dry bool) error {
		args := []string{"apply", "--server-side", "--force-conflicts", "-f", file}
		if dry {
			args = append(args, "--dry-run=server")
		}
		_, err := a.kubectl(args...)
		return err
	}}
}
