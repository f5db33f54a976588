# METADATA
# title: Roles name their verbs and resources
# description: |
#   A * grants what nobody thought of: resources that are installed later, verbs that are
#   invented later, and bind, escalate and impersonate with them. Source: "Role Based Access
#   Control Good Practices" in the documentation of Kubernetes.
#
#   Parameter rbac.exceptions lets single roles off: {"ClusterRole/flux": [wildcards]}.
#   Default: none. What the API server and the aggregation controller write is let off.
#
#   What breaks: the roles of most GitOps tools and many operators. Name them.
# custom:
#   severity: high
#   gitward:
#     action: deny
#     match:
#       kinds:
#         - {apiGroups: ["rbac.authorization.k8s.io"], kinds: [ClusterRole, Role]}
package gitward.rbac.wildcards

import data.gitward.rbac.role

deny contains {"msg": msg, "fix": fix} if {
	not role.excepted("wildcards")
	some granted in role.granted
	some field in ["verbs", "resources", "nonResourceURLs"]
	some value in granted.rule[field]
	wild(value)
	msg := sprintf("%s has %q in %s", [granted.path, value, field])
	fix := sprintf("list in %s.%s what is needed", [granted.path, field])
}

wild(value) if value in {"*", "/*"}

wild(value) if {
	is_string(value)
	startswith(value, "*/")
}
