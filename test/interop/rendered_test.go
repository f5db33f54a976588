package interop

import (
	"strings"
	"testing"
)

// TestFluxRendered: all that a Kustomization can ask of its directory. The
// Origin lists nothing: Gitward finds the Kustomizations as Flux does.
func TestFluxRendered(t *testing.T) {
	playFlux(t, renderedStory())
}

func renderedStory() story {
	return story{
		units: []string{"overlay", "generated", "templated"},
		files: map[string]string{
			"clusters/test/apps.yaml": strings.Join([]string{
				kustomization("overlay", "apps/overlays/production", ""),
				kustomization("generated", "apps/generated", generatedFields),
				kustomization("templated", "apps/templated", templatedFields),
			}, "---\n"),
			"clusters/test/values.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: flux-system, name: cluster-values}\ndata: {REGION: eu-north, REPLICAS: \"3\"}\n",

			// A base with an overlay, with what kustomize makes of its own.
			"apps/base/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [web.yaml, service.yaml]\n",
			"apps/base/web.yaml":           deployment("", "registry.example.org/web:0"),
			"apps/base/service.yaml":       "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n",
			"apps/overlays/production/kustomization.yaml": `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: shop
resources: [namespace.yaml, ../../base, settings.yaml]
components: [../../component]
images: [{name: registry.example.org/web, newTag: "7"}]
labels: [{pairs: {team: shop}, includeSelectors: false}]
configMapGenerator:
- name: generated
  literals: [color=red]
secretGenerator:
- name: hidden
  literals: [password=not-a-secret]
patches:
- target: {kind: Deployment, name: web}
  patch: |-
    - op: replace
      path: /spec/replicas
      value: 3
`,
			"apps/overlays/production/namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
			"apps/overlays/production/settings.yaml":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {apple: red}\n",
			"apps/component/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches:\n- target: {kind: Deployment}\n" +
				"  patch: |-\n    apiVersion: apps/v1\n    kind: Deployment\n    metadata: {name: all, annotations: {example.org/component: \"yes\"}}\n",

			// No kustomization: Flux makes one, with what the Kustomization says.
			"apps/generated/account.yaml": "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: runner}\n",
			"apps/generated/job.yaml":     "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: tick}\nspec: {schedule: \"0 0 1 1 *\", unknownTypo: 1, jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: \"registry.example.org/tick:1\"}]}}}}}\n",
			"apps/generated/old.yaml":     "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: old}\ndata: {a: b}\n",
			"apps/generated/deep/a.yaml":  "apiVersion: v1\nkind: Secret\nmetadata: {name: token}\nstringData: {token: not a secret}\n",

			// Values from Git, and inline.
			"apps/templated/place.yaml":    "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: shop, name: place}\ndata: {region: \"${REGION}\", zone: \"${ZONE:=a}\", domain: \"${DOMAIN}\"}\n",
			"apps/templated/scaled.yaml":   strings.Replace(strings.Replace(deployment("shop", "registry.example.org/scaled:1"), "replicas: 2", "replicas: ${REPLICAS}", 1), "name: web}", "name: scaled}", 1),
			"apps/templated/verbatim.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: shop, name: verbatim, annotations: {kustomize.toolkit.fluxcd.io/substitute: disabled}}\ndata: {text: \"${NOT_A_VARIABLE}\"}\n",
		},
		web: "apps/v1 Deployment shop/web", image: "registry.example.org/web:7",
		setting: "v1 ConfigMap shop/settings", source: "apps/overlays/production/settings.yaml",
		pruned: "apps/generated/old.yaml", orphan: "v1 ConfigMap shop/pre-old",
		stays: []string{"v1 Namespace shop", "v1 Service shop/web", "v1 ServiceAccount shop/pre-runner", "batch/v1 CronJob shop/pre-tick",
			"v1 Secret shop/pre-token", "v1 ConfigMap shop/place", "apps/v1 Deployment shop/scaled", "v1 ConfigMap shop/verbatim"},
	}
}

const generatedFields = `  dependsOn: [{name: overlay}]
  targetNamespace: shop
  namePrefix: pre-
  commonMetadata:
    labels: {team: jobs}
    annotations: {example.org/owner: ada}
  images: [{name: registry.example.org/tick, newTag: "2"}]
  patches:
  - target: {kind: CronJob}
    patch: |-
      - op: add
        path: /metadata/annotations
        value: {example.org/patched: "yes"}
`

const templatedFields = `  dependsOn: [{name: overlay}]
  postBuild:
    substitute: {DOMAIN: shop.example.org}
    substituteFrom: [{kind: ConfigMap, name: cluster-values}]
`
