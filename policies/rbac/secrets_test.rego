package gitward.rbac.secrets_test

import data.gitward.rbac.secrets

cluster_role(rules) := {"request": {
	"operation": "CREATE",
	"kind": {"group": "rbac.authorization.k8s.io", "version": "v1", "kind": "ClusterRole"},
	"name": "tool",
	"userInfo": {"username": "ada"},
	"object": {"rules": rules},
}}

binding(name) := {"request": {
	"operation": "CREATE",
	"kind": {"group": "rbac.authorization.k8s.io", "version": "v1", "kind": "ClusterRoleBinding"},
	"name": "ops",
	"userInfo": {"username": "ada"},
	"object": {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}},
}}

test_denies_reading if {
	every verb in ["get", "list", "watch", "*"] {
		every resource in ["secrets", "*"] {
			secrets.deny == {{
				"msg": sprintf("rules[0] grants %s on %s, so it reads the Secrets of every namespace it is bound to", [verb, resource]),
				"fix": sprintf("take %s out of rules[0], name the Secrets in resourceNames, or write a Role", [resource]),
			}} with input as cluster_role([{"apiGroups": [""], "resources": [resource], "verbs": [verb]}])
		}
	}
}

test_denies_an_empty_list_of_names if {
	count(secrets.deny) == 1 with input as cluster_role([{"apiGroups": ["*"], "resources": ["secrets"], "verbs": ["get"], "resourceNames": []}])
}

test_denies_binding_admin_to_the_cluster if {
	secrets.deny == {{
		"msg": `ClusterRole "edit" reads Secrets, and is bound to the whole cluster`,
		"fix": "make it a RoleBinding in each namespace that is meant",
	}} with input as binding("edit")
}

test_allows_other_rules if {
	secrets.deny == set() with input as cluster_role([
		{"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "delete"]},
		{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["tls"]},
		{"apiGroups": ["apps"], "resources": ["*"], "verbs": ["get"]},
		{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
	])
	secrets.deny == set() with input as binding("view")
}

test_allows_exceptions if {
	secrets.deny == set() with input as cluster_role([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}])
		with data.parameters.rbac.exceptions as {"ClusterRole/tool": ["secrets"]}
	secrets.deny == set() with input as binding("edit")
		with data.parameters.rbac.exceptions as {"ClusterRoleBinding/ops": ["secrets"]}
}

test_judges_a_binding_by_its_subjects if {
	old := [{"kind": "User", "name": "ada"}]
	changed := object.union(binding("edit"), {"request": {"operation": "UPDATE", "oldObject": {"subjects": old}, "object": {"subjects": array.concat(old, [{"kind": "User", "name": "bob"}])}}})
	count(secrets.deny) == 1 with input as changed
	secrets.deny == set() with input as object.union(changed, {"request": {"object": {"subjects": old}}})
}

test_allows_kubernetes if {
	secrets.deny == set() with input as object.union(binding("edit"), {"request": {"userInfo": {"username": "system:apiserver"}}})
}
