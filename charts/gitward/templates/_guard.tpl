{{/*
Who is that service account, takes its name. An editor of its namespace may
impersonate it by name, but not its uid.
*/}}
{{- define "gitward.is" -}}
(request.userInfo.username == "{{ . }}" && request.userInfo.?uid.orValue("") != "" && "system:serviceaccounts:{{ index (splitList ":" .) 2 }}" in request.userInfo.?groups.orValue([]))
{{- end }}

{{/* Who may touch what is Gitward's own. */}}
{{- define "gitward.trusted" -}}
{{ include "gitward.is" (include "gitward.account" .root) }}
{{- range .root.Values.guard.users }} || {{ if hasPrefix "system:serviceaccount:" . }}{{ include "gitward.is" . }}{{ else }}request.userInfo.username == "{{ . }}"{{ end }}{{ end }}
{{- range .root.Values.guard.groups }} || "{{ . }}" in request.userInfo.?groups.orValue([]){{ end }}
{{- end }}

{{/*
cert-manager keeps the certificate's Secret, its authority's, and what it needs on
the way there: requests, and a key that becomes the next one.
*/}}
{{- define "gitward.certManager" -}}
{{- if eq .root.Values.certs.mode "cert-manager" }} || ({{ include "gitward.is" "system:serviceaccount:cert-manager:cert-manager" }} && (
(variables.core == "cert-manager.io" && (variables.sub in ["status", "finalizers"] || request.resource.resource == "certificaterequests")) ||
(variables.what == "secrets" && request.operation != "DELETE" && object.metadata.name in ["{{ .root.Values.certs.secretName }}"{{ if not .root.Values.certs.certManager.issuerRef }}, "gitward-authority"{{ end }}]) ||
(variables.what == "secrets" && [object, oldObject].all(o, o == null ||
(o.metadata.name.startsWith("gitward-") && o.metadata.?labels["cert-manager.io/next-private-key"].orValue("") == "true")))))
{{- end }}
{{- end }}

{{/* Its injector puts the authority into both configurations, and changes nothing else. */}}
{{- define "gitward.injector" -}}
{{- if eq .root.Values.certs.mode "cert-manager" }} || ({{ include "gitward.is" "system:serviceaccount:cert-manager:cert-manager-cainjector" }} &&
request.operation == "UPDATE" && object.?webhooks.orValue([]).size() == 1 && oldObject.?webhooks.orValue([]).size() == 1 &&
object.metadata.?labels == oldObject.metadata.?labels && object.metadata.?annotations == oldObject.metadata.?annotations &&
object.metadata.?finalizers == oldObject.metadata.?finalizers && object.metadata.?ownerReferences == oldObject.metadata.?ownerReferences &&
{{ template "gitward.same" (dict "a" "object.webhooks[0]" "b" "oldObject.webhooks[0]" "but" "clientConfig") }} &&
{{ template "gitward.same" (dict "a" "object.webhooks[0].clientConfig" "b" "oldObject.webhooks[0].clientConfig" "but" "caBundle") }})
{{- end }}
{{- end }}

{{- define "gitward.same" -}}
{{ .a }}.all(k, k == "{{ .but }}" || (k in {{ .b }} && {{ .a }}[k] == {{ .b }}[k])) && {{ .b }}.all(k, k == "{{ .but }}" || k in {{ .a }})
{{- end }}

{{/*
The parts of Kubernetes keep Pods, ReplicaSets and endpoints alive here while
Gitward is down. Their names can be impersonated, so each may do here what it does
and nothing else, and what it runs must be Gitward.
*/}}
{{- define "gitward.kubernetes" -}}
(request.userInfo.username == "system:apiserver" && request.userInfo.?uid.orValue("") != "" && variables.sub == "status" && variables.core != "gitward.dev") ||
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
    !has(c.command) && !has(c.envFrom) && !has(c.lifecycle) &&
    has(c.args) && c.args.size() > 0 && c.args[0] == "serve" &&
    c.args.all(a, a == "serve" || a == "--namespace={{ .root.Release.Namespace }}" || a == "--replica=$(POD_NAME)" ||
    ["--listen=", "--health-listen=", "--state-dir=", "--log-level=", "--log-format=", "--cluster="].exists(f, a.startsWith(f))) &&
    c.?env.orValue([]).all(e, e.name == "POD_NAME" && !has(e.value) && e.?valueFrom.?fieldRef.?fieldPath.orValue("") == "metadata.name") &&
    !has(c.?livenessProbe.orValue({}).exec) && !has(c.?readinessProbe.orValue({}).exec) && !has(c.?startupProbe.orValue({}).exec) &&
    !c.?securityContext.?privileged.orValue(false) && !c.?securityContext.?allowPrivilegeEscalation.orValue(true) &&
    !has(c.?securityContext.?capabilities.orValue({}).add)) &&
    variables.pod.value().?initContainers.orValue([]).size() == 0 && variables.pod.value().?ephemeralContainers.orValue([]).size() == 0 &&
    !variables.pod.value().?hostNetwork.orValue(false) && !variables.pod.value().?hostPID.orValue(false) && !variables.pod.value().?hostIPC.orValue(false) &&
    variables.pod.value().?volumes.orValue([]).all(v, has(v.emptyDir) || (has(v.secret) && v.secret.?secretName.orValue("") == "{{ .root.Values.certs.secretName }}") ||
    (has(v.projected) && v.projected.?sources.orValue([]).all(s, has(s.serviceAccountToken) || has(s.downwardAPI) || (has(s.configMap) && s.configMap.?name.orValue("") == "kube-root-ca.crt"))))
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
  expression: '(request.operation == "DELETE" ? oldObject : object).metadata.?name.orValue("")'
validations:
- expression: >-
    !(variables.names in ["from-git.gitward.dev", "annotate.gitward.dev"]) || {{ include "gitward.trusted" . }}{{ include "gitward.injector" . | nindent 4 }}
  messageExpression: >-
    variables.names + " is Gitward's own and is changed by its installation alone; do: change it in the chart's values, as one of guard.users"
  reason: Forbidden
# A token that was stolen must not give the thief a webhook of another name, which
# would be sent every Secret or stop every write.
- expression: >-
    request.userInfo.username != "{{ include "gitward.account" .root }}" || variables.names in ["from-git.gitward.dev", "annotate.gitward.dev"]
  messageExpression: >-
    variables.names + " is no webhook configuration of Gitward's: its own account changes from-git.gitward.dev and annotate.gitward.dev alone"
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
    (request.resource.resource in ["clusterroles", "clusterrolebindings"] && request.resource.group == "rbac.authorization.k8s.io" &&
    (request.operation == "DELETE" ? oldObject : object).metadata.?name.orValue("") in ["gitward", "gitward-metadata"])
- name: not-leases-and-events
  expression: '!(request.resource.resource in ["leases", "events"])'
# Draining a Node is for RBAC and the PodDisruptionBudget to allow.
- name: not-evictions
  expression: '!(request.resource.group == "" && request.resource.resource == "pods" && request.?subResource.orValue("") == "eviction")'
variables: {{- include "gitward.variables" . | nindent 0 }}
validations:
- expression: >-
    {{ include "gitward.trusted" . }}{{ include "gitward.certManager" . | nindent 4 }} || {{ include "gitward.kubernetes" . | nindent 4 }}
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
# Where the webhook is asked it stamps, and judges stamps. Here it is not asked.
- name: not-judged
  expression: >-
    request.?subResource.orValue("") != "" || (request.resource.group == "" && request.resource.resource == "bindings") ||
    request.resource.group == "admissionregistration.k8s.io"
    {{- range include "gitward.matchConditions" .root | fromYamlArray }} ||
    !({{ .expression | nindent 4 }})
    {{- end }}
- name: with-an-object
  expression: 'object != null && has(object.metadata)'
variables:
- name: before
  expression: 'oldObject != null && has(oldObject.metadata) && has(oldObject.metadata.annotations) ? oldObject.metadata.annotations : {}'
- name: after
  expression: 'has(object.metadata.annotations) ? object.metadata.annotations : {}'
# People tell Gitward so to adopt its registration anew; own.guard.gitward.dev says which people.
- name: adopts
  expression: >-
    request.?namespace.orValue("") == "{{ .root.Release.Namespace }}" && request.resource.group == "" &&
    request.resource.resource == "configmaps" ? ["gitward.dev/adopt"] : []
validations:
- expression: >-
    variables.after.all(k, !k.startsWith("gitward.dev/") || k in variables.adopts || (k in variables.before && variables.before[k] == variables.after[k])) &&
    (oldObject == null || variables.before.all(k, !k.startsWith("gitward.dev/") || k in variables.adopts || k in variables.after))
  message: "the gitward.dev/ annotations are Gitward's own: leave them out"
  reason: Forbidden
{{- end }}
