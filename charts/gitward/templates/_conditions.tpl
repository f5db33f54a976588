{{/*
What is never asked about. The API server works these out by itself, so that they
hold with every replica dead: they are what a cluster needs to come up again, and
Gitward with it. Nothing else belongs here. Who edits a namespace may impersonate
its service accounts by name, but not a uid: so an account without one is none, nor
is an API server, whose own has one. docs/install.md has them as a table,
which a test holds against this file.
*/}}
{{- define "gitward.matchConditions" -}}
- name: no-leases-and-events
  expression: >-
    !(request.resource.group == "coordination.k8s.io" && request.resource.resource == "leases") &&
    !(request.resource.group in ["", "events.k8s.io"] && request.resource.resource == "events")
- name: no-questions-about-rights
  expression: '!(request.resource.group in ["authentication.k8s.io", "authorization.k8s.io"])'
- name: no-status-without-metadata
  expression: >-
    !(request.?subResource.orValue("") == "status" && object != null && oldObject != null &&
    object.metadata.?labels == oldObject.metadata.?labels &&
    object.metadata.?annotations == oldObject.metadata.?annotations &&
    object.metadata.?finalizers == oldObject.metadata.?finalizers &&
    object.metadata.?ownerReferences == oldObject.metadata.?ownerReferences)
- name: no-bootstrap-of-the-api-server
  expression: >-
    !(request.userInfo.username == "system:apiserver" && request.userInfo.?uid.orValue("") != "" && (
    request.resource.group == "flowcontrol.apiserver.k8s.io" ||
    request.resource.group == "internal.apiserver.k8s.io" ||
    (request.resource.group == "networking.k8s.io" && request.resource.resource in ["ipaddresses", "servicecidrs"]) ||
    (request.resource.group == "apiregistration.k8s.io" && request.operation != "DELETE" && !has(object.spec.service)) ||
    (request.resource.group == "rbac.authorization.k8s.io" && request.operation != "DELETE" &&
    object.metadata.?labels["kubernetes.io/bootstrapping"].orValue("") == "rbac-defaults" &&
    (object.metadata.name.startsWith("system:") || object.metadata.name in ["cluster-admin", "admin", "edit", "view"] ||
    request.?namespace.orValue("") in ["kube-system", "kube-public"]) &&
    (!has(object.roleRef) || object.?subjects.orValue([]).all(s,
    s.kind == "ServiceAccount" ? s.?namespace.orValue("") == "kube-system" && !(object.roleRef.name in ["cluster-admin", "admin", "edit", "view"]) :
    s.name == "system:masters" ? s.kind == "Group" :
    s.name == "system:authenticated" ? object.roleRef.name in ["system:basic-user", "system:discovery", "system:public-info-viewer"] :
    s.name == "system:unauthenticated" ? object.roleRef.name == "system:public-info-viewer" :
    s.name == "system:serviceaccounts" ? object.roleRef.name in ["system:service-account-issuer-discovery", "system:cluster-trust-bundle-discovery"] :
    s.name.startsWith("system:") && !s.name.matches("^system:(anonymous|serviceaccount|node|bootstrap)") &&
    !(object.roleRef.name in ["cluster-admin", "admin", "edit", "view"]))) &&
    (!has(object.rules) || object.rules == null || !(object.metadata.name in ["admin", "edit", "view"]) ||
    object.rules.size() == 0 || (oldObject != null && object.rules == oldObject.rules)) &&
    (!has(object.rules) || object.rules == null || !(object.metadata.name in ["system:basic-user", "system:discovery", "system:public-info-viewer",
    "system:service-account-issuer-discovery", "system:cluster-trust-bundle-discovery"]) ||
    object.rules.all(r, r.verbs.all(v, v in ["get", "list", "watch", "create"]) && !("*" in r.?nonResourceURLs.orValue([])) &&
    r.?resources.orValue([]).all(x, x in ["selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews", "clustertrustbundles"])))) ||
    (request.resource.group == "scheduling.k8s.io" && request.?name.orValue("").startsWith("system-")) ||
    (request.resource.group == "" && request.resource.resource == "namespaces" &&
    request.?name.orValue("") in ["default", "kube-system", "kube-public", "kube-node-lease"]) ||
    (request.resource.group in ["", "discovery.k8s.io"] && request.resource.resource in ["services", "endpoints", "endpointslices"] &&
    request.?namespace.orValue("") == "default" && request.?name.orValue("") == "kubernetes") ||
    (request.resource.group == "" && request.resource.resource == "configmaps" && request.?namespace.orValue("") == "kube-system" &&
    request.?name.orValue("") in ["extension-apiserver-authentication", "kube-apiserver-legacy-service-account-token-tracking"]) ||
    (request.resource.group == "apiextensions.k8s.io" && request.?subResource.orValue("") == "status")))
- name: no-kubelet-about-itself
  expression: >-
    !("system:nodes" in request.userInfo.groups && request.userInfo.username.startsWith("system:node:") && (
    (request.resource.group == "" && request.resource.resource == "nodes" && request.?subResource.orValue("") in ["", "status"] &&
    request.operation in ["CREATE", "UPDATE"] && "system:node:" + object.metadata.name == request.userInfo.username) ||
    (request.resource.group == "storage.k8s.io" && request.resource.resource == "csinodes" &&
    request.operation in ["CREATE", "UPDATE"] && "system:node:" + object.metadata.name == request.userInfo.username) ||
    (request.resource.group == "certificates.k8s.io" && request.resource.resource == "certificatesigningrequests" &&
    request.?subResource.orValue("") == "" && request.operation == "CREATE") ||
    (request.resource.group == "" && request.resource.resource == "pods" && request.?subResource.orValue("") == "" && request.operation == "DELETE" &&
    oldObject != null && "system:node:" + oldObject.?spec.?nodeName.orValue("") == request.userInfo.username) ||
    (request.resource.group == "" && request.resource.resource == "pods" && request.?subResource.orValue("") == "" && request.operation == "CREATE" &&
    object.metadata.?annotations["kubernetes.io/config.mirror"].hasValue() &&
    "system:node:" + object.?spec.?nodeName.orValue("") == request.userInfo.username) ||
    (request.resource.group == "" && request.resource.resource == "serviceaccounts" && request.?subResource.orValue("") == "token" &&
    object.?spec.?boundObjectRef.?kind.orValue("") == "Pod" && object.?spec.?boundObjectRef.?uid.orValue("") != "")))
- name: no-identities-of-the-controllers
  expression: >-
    !(request.userInfo.username == "system:kube-controller-manager" && request.?namespace.orValue("") == "kube-system" &&
    request.operation == "CREATE" && request.resource.group == "" && request.resource.resource == "serviceaccounts")
- name: no-readiness-of-nodes
  expression: >-
    !(request.resource.group == "" && request.resource.resource == "nodes" && request.operation == "UPDATE" &&
    (request.userInfo.username in ["system:kube-controller-manager", "system:cloud-controller-manager"] ||
    (request.userInfo.?uid.orValue("") != "" && request.userInfo.username in ["system:serviceaccount:kube-system:node-controller",
    "system:serviceaccount:kube-system:ttl-controller", "system:serviceaccount:kube-system:cloud-controller-manager"])))
- name: not-gitwards-own-namespace
  expression: '!(request.?namespace.orValue("") == "{{ .Release.Namespace }}" && request.resource.resource != "namespaces")'
{{- range .Values.webhooks.recoveryNamespaces }}
- name: recovery-of-{{ . }}
  expression: >-
    !(request.?namespace.orValue("") == "{{ . }}" && request.resource.group == "" && request.resource.resource == "pods" && (
    (request.userInfo.username == "system:kube-scheduler" && (request.?subResource.orValue("") == "binding" ||
    (request.?subResource.orValue("") == "" && request.operation == "DELETE"))) ||
    (request.?subResource.orValue("") == "" && (request.userInfo.username == "system:kube-controller-manager" ||
    (request.userInfo.?uid.orValue("") != "" && request.userInfo.username in ["system:serviceaccount:kube-system:daemon-set-controller",
    "system:serviceaccount:kube-system:replicaset-controller"])) && (
    request.operation == "DELETE" || (request.operation == "UPDATE" && object.spec == oldObject.spec) ||
    (request.operation == "CREATE" && object.metadata.?ownerReferences.orValue([]).exists(o, o.?controller.orValue(false) && o.apiVersion == "apps/v1" &&
    ((o.kind == "DaemonSet" && !request.userInfo.username.endsWith(":replicaset-controller")) ||
    (o.kind == "ReplicaSet" && !request.userInfo.username.endsWith(":daemon-set-controller")))))))))
{{- end }}
{{- end }}
