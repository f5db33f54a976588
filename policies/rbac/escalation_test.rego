package gitward.rbac.escalation_test

import data.gitward.rbac.escalation

cluster_role(rules) := {"request": {
	"operation": "CREATE",
	"kind": {"group": "rbac.authorization.k8s.io", "version": "v1", "kind": "ClusterRole"},
	"name": "tool",
	"userInfo": {"username": "ada"},
	"object": {"rules": rules},
}}

test_denies_each_power if {
	cases := [
		["rbac.authorization.k8s.io", "roles", "escalate"],
		["rbac.authorization.k8s.io", "clusterroles", "bind"],
		["", "serviceaccounts/token", "create"],
		["", "nodes/proxy", "get"],
		["certificates.k8s.io", "certificatesigningrequests/approval", "update"],
		["certificates.k8s.io", "signers", "approve"],
	]
	every case in cases {
		count(escalation.deny) == 1 with input as cluster_role([{"apiGroups": [case[0]], "resources": [case[1]], "verbs": ["list", case[2]]}])
	}
}

test_denies_binding if {
	escalation.deny == {{
		"msg": "rules[1] grants bind on clusterroles: its holders can give themselves any right",
		"fix": "take verb bind on clusterroles out of rules[1]",
	}} with input as cluster_role([
		{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
		{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["bind"]},
	])
}

test_denies_impersonation_of_every_kind if {
	every verb in ["impersonate", "impersonate:user-info", "impersonate-on:user-info:get"] {
		escalation.deny == {{
			"msg": sprintf("rules[0] grants %s: its holders can act as others", [verb]),
			"fix": sprintf("take verb %s out of rules[0]", [verb]),
		}} with input as cluster_role([{"apiGroups": ["authentication.k8s.io"], "resources": ["userextras/scopes"], "verbs": [verb]}])
	}
}

test_denies_powers_behind_wildcards if {
	count(escalation.deny) == 11 with input as cluster_role([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}])
}

test_allows_the_ordinary if {
	escalation.deny == set() with input as cluster_role([
		{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["get", "list", "watch", "create"]},
		{"apiGroups": ["", "apps"], "resources": ["pods", "deployments", "serviceaccounts"], "verbs": ["create"]},
		{"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
	])
}

test_allows_an_exception if {
	escalation.deny == set() with input as cluster_role([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*", "impersonate"]}])
		with data.parameters.rbac.exceptions as {"ClusterRole/tool": ["escalation"]}
}
