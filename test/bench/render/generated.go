//go:build unix

package main

import (
	"fmt"
	"strings"
)

// apps are the parts of the generated shop.
var apps = []string{"web", "cart", "catalogue", "payment", "search", "mail", "stock", "login", "reports"}

// generatedKustomization is a base and an overlay of 30 objects: a Deployment, a
// Service and a ConfigMap for each app, a Namespace, and two that are generated.
// The overlay does what overlays do: namespace, labels, images, replicas,
// patches of both kinds, a merged generator.
func generatedKustomization() map[string]string {
	files := map[string]string{"kustomize/base/namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n"}
	resources := "  - namespace.yaml\n"
	images, replicas, patches := "", "", ""
	for i, app := range apps {
		files["kustomize/base/"+app+".yaml"] = appManifests(app)
		resources += "  - " + app + ".yaml\n"
		images += fmt.Sprintf("  - name: registry.example.org/shop/%s\n    newTag: v1.%d.0\n", app, i)
		if i%3 == 0 {
			replicas += fmt.Sprintf("  - name: %s\n    count: %d\n", app, 3+i)
			patches += fmt.Sprintf("  - path: %s-resources.yaml\n", app)
			files["kustomize/overlay/"+app+"-resources.yaml"] = resourcesPatch(app)
		}
	}
	files["kustomize/base/kustomization.yaml"] = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n" + resources + `configMapGenerator:
  - name: common
    literals:
      - region=eu
      - log-format=json
secretGenerator:
  - name: session
    literals:
      - cookie=example
`
	files["kustomize/overlay/kustomization.yaml"] = `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: shop
resources:
  - ../base
labels:
  - pairs:
      environment: production
    includeSelectors: true
    includeTemplates: true
configMapGenerator:
  - name: common
    behavior: merge
    literals:
      - region=us
images:
` + images + "replicas:\n" + replicas + "patches:\n" + patches + `  - target:
      kind: Service
      name: web
    patch: |-
      - op: replace
        path: /spec/type
        value: LoadBalancer
`
	return files
}

func appManifests(app string) string {
	return strings.ReplaceAll(`apiVersion: apps/v1
kind: Deployment
metadata:
  name: APP
  labels:
    app.kubernetes.io/name: APP
spec:
  replicas: 2
  selector:
    matchLabels:
      app.kubernetes.io/name: APP
  template:
    metadata:
      labels:
        app.kubernetes.io/name: APP
      annotations:
        prometheus.io/scrape: "true"
        prometheus.io/port: "9090"
    spec:
      serviceAccountName: default
      securityContext:
        runAsNonRoot: true
      containers:
        - name: APP
          image: registry.example.org/shop/APP:latest
          args: ["--listen=:8080", "--metrics=:9090"]
          ports:
            - name: http
              containerPort: 8080
            - name: metrics
              containerPort: 9090
          envFrom:
            - configMapRef:
                name: common
            - configMapRef:
                name: APP
          env:
            - name: COOKIE
              valueFrom:
                secretKeyRef:
                  name: session
                  key: cookie
          resources:
            requests: {cpu: 50m, memory: 64Mi}
            limits: {memory: 128Mi}
          readinessProbe:
            httpGet: {path: /ready, port: http}
          livenessProbe:
            httpGet: {path: /live, port: http}
            initialDelaySeconds: 10
          volumeMounts:
            - name: config
              mountPath: /etc/shop
      volumes:
        - name: config
          configMap:
            name: APP
---
apiVersion: v1
kind: Service
metadata:
  name: APP
spec:
  type: ClusterIP
  selector:
    app.kubernetes.io/name: APP
  ports:
    - name: http
      port: 80
      targetPort: http
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: APP
data:
  config.yaml: |
    name: APP
    upstreams:
      - http://catalogue
      - http://stock
    timeout: 3s
  level: info
`, "APP", app)
}

func resourcesPatch(app string) string {
	return strings.ReplaceAll(`apiVersion: apps/v1
kind: Deployment
metadata:
  name: APP
spec:
  template:
    spec:
      containers:
        - name: APP
          resources:
            requests: {cpu: 500m, memory: 512Mi}
            limits: {memory: 1Gi}
`, "APP", app)
}

// generatedChart has 20 templates that lean on helpers, as "helm create" lays
// them out: three for each of six apps, a ServiceAccount and an Ingress.
func generatedChart() map[string]string {
	files := map[string]string{
		"chart/Chart.yaml":                    "apiVersion: v2\nname: shop\nversion: 1.2.3\nappVersion: \"4.5.6\"\ndescription: A generated chart\n",
		"chart/templates/_helpers.tpl":        helpers,
		"chart/templates/serviceaccount.yaml": serviceAccountTemplate,
		"chart/templates/ingress.yaml":        ingressTemplate,
	}
	values, prod := defaultValues, "ingress:\n  host: shop.example.org\napps:\n"
	for i, app := range apps[:6] {
		for kind, template := range map[string]string{"deployment": deploymentTemplate, "service": serviceTemplate, "configmap": configMapTemplate} {
			files["chart/templates/"+app+"-"+kind+".yaml"] = strings.ReplaceAll(template, "APP", app)
		}
		values += strings.ReplaceAll(appValues, "APP", app)
		prod += fmt.Sprintf("  %s:\n    replicas: %d\n    config:\n      environment: production\n", app, 2+i)
	}
	files["chart/values.yaml"], files["chart/prod.yaml"] = values, prod
	return files
}

const helpers = `{{- define "shop.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "shop.fullname" -}}
{{- if contains (include "shop.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "shop.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "shop.selectorLabels" -}}
app.kubernetes.io/name: {{ include "shop.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "shop.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "shop.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "shop.image" -}}
{{- printf "%s/%s:%s" .root.Values.registry .app.image (default .root.Chart.AppVersion .app.tag) }}
{{- end }}

{{- define "shop.resources" -}}
{{- toYaml (mergeOverwrite (deepCopy .root.Values.resources) (default (dict) .app.resources)) }}
{{- end }}
`

const deploymentTemplate = `{{- with index .Values.apps "APP" }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "shop.fullname" $ }}-APP
  namespace: {{ $.Release.Namespace }}
  labels:
    {{- include "shop.labels" $ | nindent 4 }}
spec:
  replicas: {{ .replicas }}
  selector:
    matchLabels:
      {{- include "shop.selectorLabels" $ | nindent 6 }}
      app.kubernetes.io/component: APP
  template:
    metadata:
      annotations:
        checksum/config: {{ include (print $.Template.BasePath "/APP-configmap.yaml") $ | sha256sum }}
        {{- with $.Values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      labels:
        {{- include "shop.labels" $ | nindent 8 }}
        app.kubernetes.io/component: APP
    spec:
      serviceAccountName: {{ include "shop.fullname" $ }}
      securityContext:
        {{- toYaml $.Values.podSecurityContext | nindent 8 }}
      containers:
        - name: APP
          image: {{ include "shop.image" (dict "root" $ "app" .) | quote }}
          imagePullPolicy: {{ $.Values.pullPolicy }}
          ports:
            {{- range $name, $port := .ports }}
            - name: {{ $name }}
              containerPort: {{ $port }}
              protocol: TCP
            {{- end }}
          env:
            {{- range $key, $value := .env }}
            - name: {{ $key | upper | replace "-" "_" }}
              value: {{ tpl $value $ | quote }}
            {{- end }}
          {{- if .probes }}
          readinessProbe:
            httpGet:
              path: {{ .probes.ready | default "/ready" }}
              port: http
          {{- end }}
          resources:
            {{- include "shop.resources" (dict "root" $ "app" .) | nindent 12 }}
          volumeMounts:
            - name: config
              mountPath: /etc/shop
      volumes:
        - name: config
          configMap:
            name: {{ include "shop.fullname" $ }}-APP
{{- end }}
`

const serviceTemplate = `apiVersion: v1
kind: Service
metadata:
  name: {{ include "shop.fullname" . }}-APP
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "shop.labels" . | nindent 4 }}
spec:
  selector:
    {{- include "shop.selectorLabels" . | nindent 4 }}
    app.kubernetes.io/component: APP
  ports:
    {{- range $name, $port := (index .Values.apps "APP").ports }}
    - name: {{ $name }}
      port: {{ $port }}
      targetPort: {{ $name }}
    {{- end }}
`

const configMapTemplate = `apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "shop.fullname" . }}-APP
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "shop.labels" . | nindent 4 }}
data:
  config.yaml: |
    {{- toYaml (index .Values.apps "APP").config | nindent 4 }}
`

const serviceAccountTemplate = `{{- if .Values.serviceAccount.create }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "shop.fullname" . }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "shop.labels" . | nindent 4 }}
{{- end }}
`

const ingressTemplate = `apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ include "shop.fullname" . }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "shop.labels" . | nindent 4 }}
spec:
  rules:
    - host: {{ required "ingress.host" .Values.ingress.host }}
      http:
        paths:
          {{- range $app, $_ := .Values.apps }}
          - path: /{{ $app }}
            pathType: Prefix
            backend:
              service:
                name: {{ include "shop.fullname" $ }}-{{ $app }}
                port:
                  name: http
          {{- end }}
`

const defaultValues = `registry: registry.example.org/shop
pullPolicy: IfNotPresent
serviceAccount:
  create: true
ingress:
  host: ""
podAnnotations:
  prometheus.io/scrape: "true"
podSecurityContext:
  runAsNonRoot: true
  fsGroup: 2000
resources:
  requests:
    cpu: 50m
    memory: 64Mi
  limits:
    memory: 128Mi
apps:
`

const appValues = `  APP:
    image: APP
    replicas: 1
    probes:
      ready: /ready
    ports:
      http: 8080
      metrics: 9090
    env:
      listen-address: ":8080"
      public-name: "APP.{{ .Values.ingress.host }}"
    config:
      name: APP
      upstreams:
        - http://catalogue
        - http://stock
      timeout: 3s
`
