{{- define "gitward.account" -}}
system:serviceaccount:{{ .Release.Namespace }}:gitward
{{- end }}

{{- define "gitward.labels" -}}
app.kubernetes.io/name: gitward
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "gitward.selector" -}}
app.kubernetes.io/name: gitward
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "gitward.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/*
Whose certificate the API server expects. Computed once, so that the Secret and
both configurations agree.
*/}}
{{- define "gitward.pair" -}}
{{- $name := .Values.certs.secretName -}}
{{- $host := printf "gitward.%s.svc" .Release.Namespace -}}
{{- $known := lookup "v1" "Secret" .Release.Namespace $name -}}
{{- if .Values.certs.cert -}}
cert: {{ .Values.certs.cert | b64enc }}
key: {{ .Values.certs.key | b64enc }}
ca: {{ .Values.certs.caBundle | b64enc }}
{{- else if and $known (index ($known.data | default dict) "ca.crt") -}}
cert: {{ index $known.data "tls.crt" }}
key: {{ index $known.data "tls.key" }}
ca: {{ index $known.data "ca.crt" }}
{{- else -}}
{{- $ca := genCA "gitward" 3650 -}}
{{- $pair := genSignedCert $host nil (list $host (printf "%s.cluster.local" $host)) 3650 $ca -}}
cert: {{ $pair.Cert | b64enc }}
key: {{ $pair.Key | b64enc }}
ca: {{ $ca.Cert | b64enc }}
{{- end -}}
{{- end }}

{{/* How the API server reaches a webhook; takes a dict of root, path, ca. */}}
{{- define "gitward.clientConfig" -}}
{{- if .root.Values.webhooks.url }}
url: {{ trimSuffix "/" .root.Values.webhooks.url }}{{ .path }}
{{- else }}
service:
  name: gitward
  namespace: {{ .root.Release.Namespace }}
  path: {{ .path }}
  port: 443
{{- end }}
{{- if .ca }}
caBundle: {{ .ca }}
{{- end }}
{{- end }}
