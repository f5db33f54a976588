# What a request would let the holders of a role do.
package gitward.rbac.role

# id is how a parameter names the object: ClusterRole/flux, Role/shop/deployer.
id := concat("/", [part | some part in [input.request.kind.kind, object.get(input.request, "namespace", ""), input.request.name]; part != ""])

# granted are the rules that the request brings in. The rules of a role that holds
# them already are not asked about again, so that labels and finalizers can change.
granted contains {"path": sprintf("rules[%d]", [index]), "rule": rule} if {
	not by_kubernetes
	input.request.operation in {"CREATE", "UPDATE"}
	some index, rule in input.request.object.rules
	not held(rule)
}

held(rule) if {
	input.request.operation == "UPDATE"
	rule in input.request.oldObject.rules
}

# by_kubernetes: the API server writes the roles that come with it, and a controller
# the sums of aggregated ones, whose parts were asked about.
by_kubernetes if input.request.userInfo.username in {
	"system:apiserver",
	"system:serviceaccount:kube-system:clusterrole-aggregation-controller",
}

# excepted reports whether parameter rbac.exceptions lets this object off a policy:
# {"ClusterRole/flux": [wildcards, escalation]}.
excepted(policy) if policy in data.parameters.rbac.exceptions[id]
