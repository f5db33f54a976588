# METADATA
# title: Every Ingress rule names its host
# description: |
#   A rule without a host answers for every host that no other rule has, and so does a
#   default backend: typing errors, new names, whatever is pointed at the cluster.
#
#   Parameter ingress.catchAll lists the namespaces that may. Default: none.
#
#   What breaks: default backends, and small clusters with one Ingress for everything.
# custom:
#   severity: medium
#   gitward:
#     action: deny
#     match:
#       kinds:
#         - {apiGroups: ["networking.k8s.io"], kinds: [Ingress]}
package gitward.ingress.named_host

deny contains {"msg": msg, "fix": fix} if {
	not excepted
	some index, rule in input.request.object.spec.rules
	object.get(rule, "host", "") in {"", null, "*"}
	msg := sprintf("rule %d names no host, so it answers for all of them", [index])
	fix := sprintf("set spec.rules[%d].host", [index])
}

deny contains {"msg": msg, "fix": fix} if {
	not excepted
	is_object(input.request.object.spec.defaultBackend)
	msg := "the default backend answers for every host"
	fix := "remove spec.defaultBackend, and write rules with a host"
}

excepted if input.request.namespace in data.parameters.ingress.catchAll

# What is there already may have its labels and finalizers changed.
excepted if {
	input.request.operation == "UPDATE"
	input.request.object.spec == input.request.oldObject.spec
}
