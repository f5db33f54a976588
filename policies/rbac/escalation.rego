# METADATA
# title: Roles give no way to more rights than they say
# description: |
#   bind and escalate let somebody hand out rights that they do not have, impersonate lets
#   them act as somebody else, a token of a ServiceAccount is that ServiceAccount,
#   nodes/proxy runs commands in any pod of the node, and whoever approves or signs
#   certificate requests can make themselves anybody. Source: "Role Based Access Control
#   Good Practices" in the documentation of Kubernetes.
#
#   To create Pods is a way to more rights too: to all ServiceAccounts of the namespace. It
#   is not asked about here, for most roles have it.
#
#   Parameter rbac.exceptions lets single roles off: {"ClusterRole/flux": [escalation]}.
#   Default: none. What the API server and the aggregation controller write is let off.
#
#   What breaks: operators that write roles, and tools that impersonate their users.
# custom:
#   severity: critical
#   gitward:
#     action: deny
#     match:
#       kinds:
#         - {apiGroups: ["rbac.authorization.k8s.io"], kinds: [ClusterRole, Role]}
package gitward.rbac.escalation

import data.gitward.rbac.role

deny contains {"msg": msg, "fix": fix} if {
	not role.excepted("escalation")
	some granted in role.granted
	some power in powers
	some verb in power.verbs
	holds(granted.rule.verbs, verb)
	some group in power.groups
	holds(granted.rule.apiGroups, group)
	some resource in power.resources
	holds(granted.rule.resources, resource)
	msg := sprintf("%s grants %s on %s: %s", [granted.path, verb, resource, power.why])
	fix := sprintf("take verb %s on %s out of %s", [verb, resource, granted.path])
}

deny contains {"msg": msg, "fix": fix} if {
	not role.excepted("escalation")
	some granted in role.granted
	some verb in granted.rule.verbs
	startswith(sprintf("%v", [verb]), "impersonate")
	msg := sprintf("%s grants %s: its holders can act as others", [granted.path, verb])
	fix := sprintf("take verb %s out of %s", [verb, granted.path])
}

holds(list, value) if value in list

holds(list, _) if "*" in list

powers := [
	{
		"groups": ["rbac.authorization.k8s.io"],
		"resources": ["clusterroles", "roles"],
		"verbs": ["bind", "escalate"],
		"why": "its holders can give themselves any right",
	},
	{
		"groups": [""],
		"resources": ["serviceaccounts/token"],
		"verbs": ["create"],
		"why": "its holders can act as any of these ServiceAccounts",
	},
	{
		"groups": [""],
		"resources": ["nodes/proxy"],
		"verbs": ["get", "create"],
		"why": "its holders can run commands in every pod of a node",
	},
	{
		"groups": ["certificates.k8s.io"],
		"resources": ["certificatesigningrequests/approval"],
		"verbs": ["update", "patch"],
		"why": "its holders can make certificates for anybody",
	},
	{
		"groups": ["certificates.k8s.io"],
		"resources": ["signers"],
		"verbs": ["approve", "sign"],
		"why": "its holders can make certificates for anybody",
	},
]
