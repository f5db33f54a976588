package gitward.rbac.wildcards_test

import data.gitward.rbac.wildcards

cluster_role(rules) := {"request": {
	"operation": "CREATE",
	"kind": {"group": "rbac.authorization.k8s.io", "version": "v1", "kind": "ClusterRole"},
	"name": "tool",
	"userInfo": {"username": "ada"},
	"object": {"rules": rules},
}}

test_denies_wildcards if {
	wildcards.deny == {
		{"msg": `rules[0] has "*" in verbs`, "fix": "list in rules[0].verbs what is needed"},
		{"msg": `rules[1] has "*/scale" in resources`, "fix": "list in rules[1].resources what is needed"},
		{"msg": `rules[2] has "/*" in nonResourceURLs`, "fix": "list in rules[2].nonResourceURLs what is needed"},
	} with input as cluster_role([
		{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "*"]},
		{"apiGroups": ["apps"], "resources": ["*/scale"], "verbs": ["get"]},
		{"nonResourceURLs": ["/*"], "verbs": ["get"]},
	])
}

test_allows_names if {
	wildcards.deny == set() with input as cluster_role([
		{"apiGroups": ["*"], "resources": ["pods", "pods/log"], "verbs": ["get"]},
		{"nonResourceURLs": ["/healthz/*"], "verbs": ["get"]},
	])
}

test_allows_an_exception if {
	wildcards.deny == set() with input as cluster_role([{"apiGroups": [""], "resources": ["*"], "verbs": ["*"]}])
		with data.parameters.rbac.exceptions as {"ClusterRole/tool": ["wildcards"]}
}
