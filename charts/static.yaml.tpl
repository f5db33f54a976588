---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: from-git.gitward.dev.static.k8s.io}
webhooks:
- name: from-git.gitward.dev.static.k8s.io
  clientConfig: {{- include "gitward.clientConfig" (dict "root" . "path" "/validate" "ca" (.Values.certs.caBundle | b64enc)) | nindent 4 }}
  rules:
  - apiGroups: ["*"]
    apiVersions: ["*"]
    resources: ["*/*"]
    operations: [CREATE, UPDATE, DELETE, CONNECT]
    scope: "*"
  failurePolicy: Fail
  matchPolicy: Equivalent
  sideEffects: NoneOnDryRun
  timeoutSeconds: {{ .Values.webhooks.timeoutSeconds }}
  admissionReviewVersions: [v1]
  matchConditions: {{- include "gitward.matchConditions" . | nindent 2 }}
  - name: no-admission-configuration
    expression: '!(request.resource.group == "admissionregistration.k8s.io")'
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: registration.guard.gitward.dev.static.k8s.io}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
    - apiGroups: [admissionregistration.k8s.io]
      apiVersions: ["*"]
      operations: [CREATE, UPDATE, DELETE]
      resources: ["*"]
  variables:
  - name: names
    expression: 'request.operation == "DELETE" ? oldObject.metadata.name : object.metadata.name'
  validations:
  # Nobody is exempt: whoever is system:masters can be anybody.
  - expression: '!variables.names.endsWith(".gitward.dev")'
    messageExpression: >-
      variables.names + " is guarded by a file on the API server's own disk, for every user"
    reason: Forbidden
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: registration.guard.gitward.dev.static.k8s.io}
spec:
  policyName: registration.guard.gitward.dev.static.k8s.io
  validationActions: [Deny, Audit]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: stamps.guard.gitward.dev.static.k8s.io}
spec: {{- include "gitward.guard.stamps" (dict "root" .) | nindent 2 }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: stamps.guard.gitward.dev.static.k8s.io}
spec:
  policyName: stamps.guard.gitward.dev.static.k8s.io
  validationActions: [Deny, Audit]
