package gitward.rbac.cluster_admin_test

import data.gitward.rbac.cluster_admin

binding(kind, role, subjects) := {"request": {
	"operation": "CREATE",
	"kind": {"group": "rbac.authorization.k8s.io", "version": "v1", "kind": kind},
	"namespace": "shop",
	"name": "ops",
	"object": {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}, "subjects": subjects},
}}

flux := {"kind": "ServiceAccount", "namespace": "flux-system", "name": "flux"}

test_denies_both_kinds_of_binding if {
	every kind in ["ClusterRoleBinding", "RoleBinding"] {
		cluster_admin.deny == {{
			"msg": `ServiceAccount "flux-system/flux" gets cluster-admin`,
			"fix": "bind a role with the rights that are needed, or list the subject in parameter rbac.clusterAdmins",
		}} with input as binding(kind, "cluster-admin", [flux])
	}
}

test_denies_others_than_those_listed if {
	messages := {denial.msg | some denial in cluster_admin.deny} with input as binding("ClusterRoleBinding", "cluster-admin", [
		flux,
		{"kind": "ServiceAccount", "namespace": "shop", "name": "flux"},
		{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "system:masters"},
	])
		with data.parameters.rbac.clusterAdmins as [flux, {"kind": "Group", "name": "system:masters"}]
	messages == {`ServiceAccount "shop/flux" gets cluster-admin`, `User "system:masters" gets cluster-admin`}
}

test_allows_the_group_of_kubernetes if {
	cluster_admin.deny == set() with input as binding("ClusterRoleBinding", "cluster-admin", [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:masters"}])
}

test_allows_those_listed if {
	cluster_admin.deny == set() with input as binding("ClusterRoleBinding", "cluster-admin", [flux])
		with data.parameters.rbac.clusterAdmins as [flux]
}

test_denies_only_those_who_are_added if {
	messages := {denial.msg | some denial in cluster_admin.deny} with input as object.union(
		binding("ClusterRoleBinding", "cluster-admin", [flux, {"name": "ada"}]),
		{"request": {"operation": "UPDATE", "oldObject": {"subjects": [flux]}}},
	)
	messages == {`subject "ada" gets cluster-admin`}
}

test_allows_other_roles if {
	cluster_admin.deny == set() with input as binding("ClusterRoleBinding", "view", [flux])
}
