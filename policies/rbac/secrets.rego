# METADATA
# title: No role reads the Secrets of every namespace
# description: |
#   A ClusterRole that reads Secrets gives, bound to the cluster, every credential in it,
#   ServiceAccount tokens and the applier's own keys included. list and watch show the
#   contents as get does. A rule that names its Secrets (resourceNames) is let through. The
#   roles admin, edit and cluster-admin of Kubernetes read Secrets: they may be bound in a
#   namespace, not to the cluster; for cluster-admin there is a policy of its own.
#
#   It sees the rules of a ClusterRole when they come, not what a binding adds up to later.
#
#   Parameter rbac.exceptions lets single objects off: {"ClusterRole/flux": [secrets]}, for
#   bindings {"ClusterRoleBinding/ops": [secrets]}. Default: none. What the API server and
#   the aggregation controller write is let off.
#
#   What breaks: operators that ask for all Secrets. Give them a Role in each namespace that
#   they serve.
# custom:
#   severity: high
#   gitward:
#     action: deny
#     match:
#       kinds:
#         - {apiGroups: ["rbac.authorization.k8s.io"], kinds: [ClusterRole, ClusterRoleBinding]}
package gitward.rbac.secrets

import data.gitward.rbac.role

deny contains {"msg": msg, "fix": fix} if {
	input.request.kind.kind == "ClusterRole"
	not role.excepted("secrets")
	some granted in role.granted
	some group in granted.rule.apiGroups
	group in {"", "*"}
	some resource in granted.rule.resources
	resource in {"secrets", "*"}
	some verb in granted.rule.verbs
	verb in {"get", "list", "watch", "*"}
	not named(granted.rule)
	msg := sprintf("%s grants %s on %s, so it reads the Secrets of every namespace it is bound to", [granted.path, verb, resource])
	fix := sprintf("take %s out of %s, name the Secrets in resourceNames, or write a Role", [resource, granted.path])
}

deny contains {"msg": msg, "fix": fix} if {
	input.request.kind.kind == "ClusterRoleBinding"
	input.request.operation in {"CREATE", "UPDATE"}
	not role.excepted("secrets")
	not role.by_kubernetes
	not unchanged
	input.request.object.roleRef.name in {"admin", "edit"}
	msg := sprintf("ClusterRole %q reads Secrets, and is bound to the whole cluster", [input.request.object.roleRef.name])
	fix := "make it a RoleBinding in each namespace that is meant"
}

named(rule) if rule.resourceNames[0]

# A binding that is there already may have its labels and finalizers changed.
unchanged if {
	input.request.operation == "UPDATE"
	input.request.object.subjects == input.request.oldObject.subjects
}
