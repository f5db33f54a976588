# METADATA
# title: cluster-admin is bound to those who are listed
# description: |
#   Whoever holds cluster-admin does what they like, this policy included. Bound in a
#   namespace it is that namespace's owner, with every credential in it, so RoleBindings are
#   asked too.
#
#   Parameter rbac.clusterAdmins lists who may: [{kind: Group, name: platform}, {kind:
#   ServiceAccount, namespace: flux-system, name: flux}]. Default: the group system:masters,
#   which holds it anyway, and which the API server binds when it starts.
#
#   What breaks: charts that bind cluster-admin to their ServiceAccount.
# custom:
#   severity: critical
#   gitward:
#     action: deny
#     match:
#       kinds:
#         - {apiGroups: ["rbac.authorization.k8s.io"], kinds: [ClusterRoleBinding, RoleBinding]}
package gitward.rbac.cluster_admin

deny contains {"msg": msg, "fix": fix} if {
	input.request.operation in {"CREATE", "UPDATE"}
	input.request.object.roleRef.kind == "ClusterRole"
	input.request.object.roleRef.name == "cluster-admin"
	some subject in input.request.object.subjects
	who := {field: value | some field in ["kind", "namespace", "name"]; value := subject[field]; value != ""}
	not who in admins
	not held(subject)
	msg := sprintf("%s %q gets cluster-admin", [object.get(who, "kind", "subject"), concat("/", [value | some field in ["namespace", "name"]; value := who[field]])])
	fix := "bind a role with the rights that are needed, or list the subject in parameter rbac.clusterAdmins"
}

# held: who is bound already stays so, when labels and finalizers change.
held(subject) if {
	input.request.operation == "UPDATE"
	subject in input.request.oldObject.subjects
}

default admins := [{"kind": "Group", "name": "system:masters"}]

admins := data.parameters.rbac.clusterAdmins
