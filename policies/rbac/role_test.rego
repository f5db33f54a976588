package gitward.rbac.role_test

import data.gitward.rbac.role

cluster_role(rules) := {"request": {
	"operation": "CREATE",
	"kind": {"group": "rbac.authorization.k8s.io", "version": "v1", "kind": "ClusterRole"},
	"name": "tool",
	"userInfo": {"username": "ada"},
	"object": {"rules": rules},
}}

reading := {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}

test_names_objects if {
	role.id == "ClusterRole/tool" with input as cluster_role([])
	role.id == "Role/shop/tool" with input as {"request": {"kind": {"kind": "Role"}, "namespace": "shop", "name": "tool"}}
}

test_sees_rules if {
	role.granted == {{"path": "rules[0]", "rule": reading}} with input as cluster_role([reading])
	role.granted == set() with input as cluster_role(null)
}

test_sees_rules_that_are_new if {
	request := object.union(cluster_role([{"verbs": ["list"]}, reading]), {"request": {"operation": "UPDATE", "oldObject": {"rules": [reading]}}})
	role.granted == {{"path": "rules[0]", "rule": {"verbs": ["list"]}}} with input as request
}

test_lets_kubernetes_write if {
	every username in ["system:apiserver", "system:serviceaccount:kube-system:clusterrole-aggregation-controller"] {
		role.granted == set() with input as object.union(cluster_role([reading]), {"request": {"userInfo": {"username": username}}})
	}
}

test_knows_exceptions if {
	role.excepted("wildcards") with input as cluster_role([]) with data.parameters.rbac.exceptions as {"ClusterRole/tool": ["wildcards"]}
	not role.excepted("secrets") with input as cluster_role([]) with data.parameters.rbac.exceptions as {"ClusterRole/tool": ["wildcards"]}
	not role.excepted("wildcards") with input as cluster_role([])
}
