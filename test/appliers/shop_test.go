package appliers

import "strings"

// shop is an application as a base with an overlay, in a namespace; each part is
// labelled, so that kubectl can prune it.
func shop(namespace string) map[string]string {
	files := map[string]string{
		"base/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [web.yaml, service.yaml, account.yaml]\n",
		"base/web.yaml":           deployment("web", "", "registry.example.org/web:0"),
		"base/service.yaml":       "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n",
		"base/account.yaml":       "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web}\n",
		"component/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches:\n- target: {kind: Deployment}\n" +
			"  patch: |-\n    apiVersion: apps/v1\n    kind: Deployment\n    metadata: {name: all, annotations: {example.org/component: \"yes\"}}\n",
		"overlay/kustomization.yaml": `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: NAMESPACE
resources: [namespace.yaml, ../base, settings.yaml, old.yaml, roles.yaml, job.yaml]
components: [../component]
images: [{name: registry.example.org/web, newTag: "7"}]
labels: [{pairs: {app.kubernetes.io/part-of: NAMESPACE}, includeSelectors: false}]
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
		"overlay/namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: NAMESPACE}\n",
		"overlay/settings.yaml":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {apple: red}\n",
		"overlay/old.yaml":       "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: old}\ndata: {a: b}\n",
		"overlay/roles.yaml": "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: reader}\nrules: [{apiGroups: [\"\"], resources: [pods], verbs: [get]}]\n---\n" +
			"apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: reader}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}\nsubjects: [{kind: ServiceAccount, name: web}]\n",
		"overlay/job.yaml": "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: tick}\nspec: {schedule: \"0 0 1 1 *\", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: \"registry.example.org/tick:1\"}]}}}}}\n",
	}
	return filled(files, "NAMESPACE", namespace)
}

// filled are files with a word in their text replaced.
func filled(files map[string]string, word, by string) map[string]string {
	out := map[string]string{}
	for name, text := range files {
		out[name] = strings.ReplaceAll(text, word, by)
	}
	return out
}

// deployment has a quantity that the API server writes otherwise, so that
// client-side apply sends an update each time.
func deployment(name, namespace, image string) string {
	in := "{name: " + name + "}"
	if namespace != "" {
		in = "{namespace: " + namespace + ", name: " + name + "}"
	}
	return "apiVersion: apps/v1\nkind: Deployment\nmetadata: " + in + "\nspec:\n  replicas: 2\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n" +
		"    spec: {containers: [{name: web, image: \"" + image + "\", ports: [{containerPort: 80}], resources: {limits: {cpu: \"0.5\"}}}]}\n"
}

// labelled is a text of plain YAML with a label for kubectl to select by.
func labelled(text, label string) string {
	return strings.ReplaceAll(text, "\nmetadata: {", "\nmetadata: {labels: {app.kubernetes.io/part-of: "+label+"}, ")
}

// plainShop is the same sort of application as files that stand for themselves.
func plainShop(namespace string) map[string]string {
	files := map[string]string{
		"plain/namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: NAMESPACE}\n",
		"plain/web.yaml":       deployment("web", "NAMESPACE", "registry.example.org/web:1"),
		"plain/service.yaml":   "apiVersion: v1\nkind: Service\nmetadata: {namespace: NAMESPACE, name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n",
		"plain/settings.yaml":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: NAMESPACE, name: settings}\ndata: {apple: red}\n",
		"plain/secret.yaml":    "apiVersion: v1\nkind: Secret\nmetadata: {namespace: NAMESPACE, name: token}\nstringData: {token: not a secret}\n",
		"plain/old.yaml":       "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: NAMESPACE, name: old}\ndata: {a: b}\n",
	}
	for name, text := range files {
		files[name] = strings.ReplaceAll(labelled(text, "NAMESPACE"), "NAMESPACE", namespace)
	}
	return files
}
