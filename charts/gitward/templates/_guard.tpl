{{/*
Who may touch what is Gitward's own. A service account that only claims to be one
has no uid. A static policy exempts nobody at all: whoever is system:masters can
impersonate every name.
*/}}
{{- define "gitward.trusted" -}}
{{- if .static -}}
false
{{- else -}}
(request.userInfo.username == "{{ include "gitward.account" .root }}" && request.userInfo.?uid.orValue("") != "")
{{- range .root.Values.guard.users }} || request.userInfo.username == "{{ . }}"{{ end }}
{{- range .root.Values.guard.groups }} || "{{ . }}" in request.userInfo.groups{{ end }}
{{- if eq .root.Values.certs.mode "cert-manager" }} || (request.userInfo.username in ["system:serviceaccount:cert-manager:cert-manager", "system:serviceaccount:cert-manager:cert-manager-cainjector"] && request.userInfo.?uid.orValue("") != "")
{{- end }}
{{- end -}}
{{- end }}

{{/*
The parts of Kubernetes keep Pods, ReplicaSets and endpoints alive here while
Gitward is down. Their names can be impersonated, so each may do here what it does
and nothing else, and what it runs must be Gitward.
*/}}
{{- define "gitward.kubernetes" -}}
(request.userInfo.username == "system:apiserver" && variables.sub == "status" && variables.core != "gitward.dev") ||
("system:nodes" in request.userInfo.groups && request.userInfo.username.startsWith("system:node:") && (
variables.what == "pods/status" || (variables.what == "pods" && request.operation == "DELETE") ||
(variables.what == "serviceaccounts/token" && object.?spec.?boundObjectRef.?kind.orValue("") == "Pod" && object.?spec.?boundObjectRef.?uid.orValue("") != ""))) ||
(request.userInfo.username == "system:kube-scheduler" && (
variables.what in ["pods/binding", "pods/status"] || (variables.what == "pods" && request.operation == "DELETE"))) ||
(variables.controller && (
(variables.sub == "status" && variables.core != "gitward.dev") ||
variables.what in ["endpoints", "endpointslices"] ||
(variables.what in ["pods", "replicasets"] && request.operation == "DELETE") ||
(variables.what in ["pods", "replicasets", "deployments"] && request.operation == "UPDATE" && variables.kept) ||
(variables.what == "replicasets" && request.operation == "UPDATE" && object.spec.template == oldObject.spec.template && object.spec.selector == oldObject.spec.selector) ||
(variables.what in ["pods", "replicasets"] && request.operation == "CREATE" && variables.ours) ||
(variables.what == "configmaps" && request.?name.orValue("") == "kube-root-ca.crt") ||
(variables.what == "serviceaccounts" && request.operation == "CREATE" && request.?name.orValue("") == "default") ||
(request.operation == "DELETE" && namespaceObject != null && has(namespaceObject.metadata.deletionTimestamp))))
{{- end }}

{{- define "gitward.variables" -}}
- name: sub
  expression: 'request.?subResource.orValue("")'
- name: core
  expression: 'request.resource.group'
- name: what
  expression: 'request.resource.resource + (variables.sub == "" ? "" : "/" + variables.sub)'
- name: controller
  expression: >-
    request.userInfo.username == "system:kube-controller-manager" || (request.userInfo.?uid.orValue("") != "" && request.userInfo.username in [
    {{- range $i, $c := list "deployment-controller" "replicaset-controller" "endpoint-controller" "endpointslice-controller" "endpointslicemirroring-controller" "generic-garbage-collector" "namespace-controller" "service-account-controller" "root-ca-cert-publisher" "disruption-controller" "resourcequota-controller" "pod-garbage-collector" "node-controller" }}
    {{- if $i }}, {{ end }}"system:serviceaccount:kube-system:{{ $c }}"{{ end }}])
- name: kept
  expression: 'oldObject != null && object != null && object.?spec == oldObject.?spec'
- name: pod
  expression: >-
    variables.what == "replicasets" ? object.?spec.?template.?spec : object.?spec
- name: ours
  expression: >-
    object != null && variables.pod.hasValue() && variables.pod.value().containers.size() == 1 &&
    variables.pod.value().containers.all(c, (c.image.startsWith("{{ .root.Values.image.repository }}:") || c.image.startsWith("{{ .root.Values.image.repository }}@")) &&
    !has(c.command) && has(c.args) && c.args.size() > 0 && c.args[0] == "serve") &&
    variables.pod.value().?initContainers.orValue([]).size() == 0 && variables.pod.value().?ephemeralContainers.orValue([]).size() == 0 &&
    !variables.pod.value().?hostNetwork.orValue(false) && !variables.pod.value().?hostPID.orValue(false) &&
    variables.pod.value().?volumes.orValue([]).all(v, has(v.emptyDir) || has(v.projected) || (has(v.secret) && v.secret.?secretName.orValue("") == "{{ .root.Values.certs.secretName }}"))
{{- end }}

{{- define "gitward.guard.registration" -}}
failurePolicy: Fail
matchConstraints:
  resourceRules:
  - apiGroups: [admissionregistration.k8s.io]
    apiVersions: ["*"]
    operations: [CREATE, UPDATE, DELETE]
    resources: [validatingwebhookconfigurations, mutatingwebhookconfigurations]
variables:
- name: names
  expression: 'request.operation == "DELETE" ? oldObject.metadata.name : object.metadata.name'
validations:
- expression: >-
    !(variables.names in ["from-git.gitward.dev", "annotate.gitward.dev"]) || {{ include "gitward.trusted" . }}
  messageExpression: >-
    variables.names + " is Gitward's own and is changed by its installation alone; do: change it in the chart's values, as one of guard.users"
  reason: Forbidden
{{- end }}

{{- define "gitward.guard.own" -}}
failurePolicy: Fail
matchConstraints:
  resourceRules:
  - apiGroups: ["*"]
    apiVersions: ["*"]
    operations: [CREATE, UPDATE, DELETE, CONNECT]
    resources: ["*/*"]
matchConditions:
- name: gitwards-own
  expression: >-
    (request.?namespace.orValue("") == "{{ .root.Release.Namespace }}") ||
    (request.resource.group == "gitward.dev" && request.?subResource.orValue("") == "status") ||
    (request.resource.group == "apiextensions.k8s.io" && (request.operation == "DELETE" ? oldObject : object).metadata.name.endsWith(".gitward.dev")) ||
    (request.resource.group == "rbac.authorization.k8s.io" && (request.operation == "DELETE" ? oldObject : object).metadata.name.startsWith("gitward"))
- name: not-leases-and-events
  expression: '!(request.resource.resource in ["leases", "events"])'
variables: {{- include "gitward.variables" . | nindent 0 }}
validations:
- expression: >-
    {{ include "gitward.trusted" (dict "root" .root "static" false) }} || {{ include "gitward.kubernetes" . | nindent 4 }}
  messageExpression: >-
    request.resource.resource + " of Gitward itself are changed by its installation alone; do: change them in the chart's values, as one of guard.users"
  reason: Forbidden
{{- end }}

{{- define "gitward.guard.stamps" -}}
failurePolicy: Fail
matchConstraints:
  resourceRules:
  - apiGroups: ["*"]
    apiVersions: ["*"]
    operations: [CREATE, UPDATE]
    resources: ["*/*"]
matchConditions:
- name: subresources
  expression: 'request.?subResource.orValue("") != "" || (request.resource.group == "" && request.resource.resource == "bindings")'
- name: with-an-object
  expression: 'object != null && has(object.metadata)'
variables:
- name: before
  expression: 'oldObject != null && has(oldObject.metadata) && has(oldObject.metadata.annotations) ? oldObject.metadata.annotations : {}'
- name: after
  expression: 'has(object.metadata.annotations) ? object.metadata.annotations : {}'
validations:
- expression: >-
    variables.after.all(k, !k.startsWith("gitward.dev/") || (k in variables.before && variables.before[k] == variables.after[k])) &&
    (oldObject == null || variables.before.all(k, !k.startsWith("gitward.dev/") || k in variables.after))
  message: "the gitward.dev/ annotations are Gitward's own: leave them out"
  reason: Forbidden
{{- end }}
