package appliers

// chartFiles is a chart with what charts have: helpers, values, a CRD, hooks,
// things that only a Helm release knows.
func chartFiles(dir, group string) map[string]string {
	files := map[string]string{}
	for name, text := range map[string]string{
		"Chart.yaml":             "apiVersion: v2\nname: shop\nversion: 1.2.3\nappVersion: \"7\"\n",
		"values.yaml":            "color: red\nreplicas: 2\nimage: {repository: registry.example.org/web, tag: \"\"}\npassword: not-a-secret\nextra: true\n",
		"crds/widgets.yaml":      permissiveCRD(group, "Widget", "widgets", "Namespaced", "v1"),
		"templates/NOTES.txt":    "{{ .Release.Name }} is there.\n",
		"templates/_names.tpl":   "{{ define \"labels\" }}app.kubernetes.io/name: {{ .Chart.Name }}\nhelm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}\n{{ end }}",
		"templates/account.yaml": "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: {{ .Release.Name }}\n  labels: {{ include \"labels\" . | nindent 4 }}\n",
		"templates/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n  namespace: {{ .Release.Namespace }}\n  labels: {{ include \"labels\" . | nindent 4 }}\n" +
			"data:\n  color: {{ .Values.color }}\n  kube: {{ .Capabilities.KubeVersion.Major | quote }}\n",
		"templates/secret.yaml": "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {{ .Release.Name }}\nstringData:\n  password: {{ .Values.password }}\n",
		"templates/web.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ .Release.Name }}\n  labels: {{ include \"labels\" . | nindent 4 }}\nspec:\n  replicas: {{ .Values.replicas }}\n" +
			"  selector: {matchLabels: {app: {{ .Release.Name }}}}\n  template:\n    metadata:\n      labels: {app: {{ .Release.Name }}}\n      annotations: {checksum/config: {{ include (print $.Template.BasePath \"/config.yaml\") . | sha256sum }}}\n" +
			"    spec:\n      containers:\n      - name: web\n        image: {{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}\n        resources: {limits: {cpu: \"0.5\"}}\n",
		"templates/rbac.yaml":   "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: {{ .Release.Namespace }}-{{ .Release.Name }}}\nrules: [{apiGroups: [\"\"], resources: [pods], verbs: [get]}]\n",
		"templates/widget.yaml": "apiVersion: " + group + "/v1\nkind: Widget\nmetadata: {name: {{ .Release.Name }}}\nspec: {size: 1}\n",
		"templates/extra.yaml":  "{{ if .Values.extra }}\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-extra}\ndata: {a: b}\n{{ end }}",
		"templates/hook.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-before\n  annotations:\n    helm.sh/hook: pre-install,pre-upgrade\n    helm.sh/hook-delete-policy: before-hook-creation\ndata: {color: {{ .Values.color }}}\n---\n" +
			"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-after\n  annotations:\n    helm.sh/hook: post-install,post-upgrade\n    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded\ndata: {a: b}\n",
		"templates/tests/ask.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: {{ .Release.Name }}-test, annotations: {helm.sh/hook: test}}\nspec: {restartPolicy: Never, containers: [{name: ask, image: registry.example.org/ask}]}\n",
	} {
		files[dir+"/"+name] = text
	}
	return files
}

// permissiveCRD is a definition of a kind that takes any field.
func permissiveCRD(group, kind, plural, scope string, versions ...string) string {
	text := "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: " + plural + "." + group + "\nspec:\n  group: " + group +
		"\n  scope: " + scope + "\n  names: {kind: " + kind + ", plural: " + plural + "}\n  versions:\n"
	for i, v := range versions {
		storage := "false"
		if i == 0 {
			storage = "true"
		}
		text += "  - name: " + v + "\n    served: true\n    storage: " + storage +
			"\n    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}\n"
	}
	return text
}
