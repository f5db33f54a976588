package interop

import (
	"testing"

	"github.com/gitward/gitward/api/v1alpha1"
)

// TestFluxPlain: directories of plain YAML, for which kustomize-controller
// makes a kustomization of its own.
func TestFluxPlain(t *testing.T) {
	playFlux(t, plainStory())
}

func plainStory() story {
	return story{
		units: []string{"plain"},
		render: []v1alpha1.Render{
			{Path: "clusters/test", Namespace: "default", Applier: &v1alpha1.Applier{Flux: &v1alpha1.FluxApplier{Name: "flux-system", Namespace: fluxNamespace}}},
			{Path: "apps/plain", Namespace: "default", Applier: &v1alpha1.Applier{Flux: &v1alpha1.FluxApplier{Name: "plain", Namespace: fluxNamespace}}},
		},
		files: map[string]string{
			"clusters/test/apps.yaml":   kustomization("plain", "apps/plain", ""),
			"apps/plain/namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
			"apps/plain/web.yaml":       deployment("shop", "registry.example.org/web:1"),
			"apps/plain/service.yaml":   "apiVersion: v1\nkind: Service\nmetadata: {namespace: shop, name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n",
			"apps/plain/settings.yaml":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: shop, name: settings}\ndata: {apple: red}\n",
			"apps/plain/secret.yaml":    "apiVersion: v1\nkind: Secret\nmetadata: {namespace: shop, name: token}\nstringData: {token: not a secret}\n",
			"apps/plain/old.yaml":       "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: shop, name: old}\ndata: {a: b}\n",
			"apps/plain/more/roles.yaml": "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {namespace: shop, name: reader}\nrules: [{apiGroups: [\"\"], resources: [pods], verbs: [get]}]\n---\n" +
				"apiVersion: batch/v1\nkind: CronJob\nmetadata: {namespace: shop, name: tick}\nspec: {schedule: \"0 0 1 1 *\", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: x, resources: {limits: {cpu: \"0.5\"}}}]}}}}}\n",
		},
		web: "apps/v1 Deployment shop/web", image: "registry.example.org/web:1",
		setting: "v1 ConfigMap shop/settings", source: "apps/plain/settings.yaml",
		pruned: "apps/plain/old.yaml", orphan: "v1 ConfigMap shop/old",
		stays: []string{"v1 Namespace shop", "v1 Service shop/web", "v1 Secret shop/token", "rbac.authorization.k8s.io/v1 Role shop/reader", "batch/v1 CronJob shop/tick"},
	}
}

func deployment(namespace, image string) string {
	in := "{name: web}"
	if namespace != "" {
		in = "{namespace: " + namespace + ", name: web}"
	}
	return "apiVersion: apps/v1\nkind: Deployment\nmetadata: " + in + "\nspec:\n  replicas: 2\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n" +
		"    spec: {containers: [{name: web, image: \"" + image + "\", ports: [{containerPort: 80}], resources: {limits: {cpu: \"0.5\"}}}]}\n"
}
