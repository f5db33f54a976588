# METADATA
# title: No Ingress takes a host that another namespace has
# description: |
#   Ingress controllers merge what all namespaces say about a host: whoever adds a path to
#   another team's host gets part of its traffic. A host belongs to the namespace that had
#   it first. A wildcard (*.example.com) and a name that it covers count as the same host,
#   and a rule without a host as every host.
#
#   Parameter ingress.sharing: Namespace lets the Ingresses of one namespace share a host,
#   Nobody does not let even those. Default: Namespace.
#
#   It reads data.inventory, the Ingresses of the cluster. Without an inventory it cannot
#   know, and denies. Two Ingresses that come at the same moment are both let in: neither is
#   in the inventory yet; a scan of what is inside finds them. Of the Gateway API it knows
#   nothing.
#
#   What breaks: one host whose paths are spread over namespaces.
# custom:
#   severity: high
#   gitward:
#     action: deny
#     inventory: [Ingress]
#     match:
#       kinds:
#         - {apiGroups: ["networking.k8s.io"], kinds: [Ingress]}
package gitward.ingress.unique_host

deny contains {"msg": msg, "fix": fix} if {
	input.request.operation in {"CREATE", "UPDATE"}
	not unchanged
	some host in hosts(input.request.object)
	some other in others
	some taken in hosts(other.ingress)
	overlap(host, taken)
	msg := sprintf("host %q is taken by Ingress %s/%s, which has %q", [shown(host), other.namespace, other.name, shown(taken)])
	fix := sprintf("choose another host in spec.rules, or move the rule to namespace %q", [other.namespace])
}

deny contains {"msg": msg, "fix": fix} if {
	input.request.operation in {"CREATE", "UPDATE"}
	not unchanged
	not data.inventory
	msg := "it is not known which hosts are taken: there is no data.inventory"
	fix := "keep Ingresses in the inventory, or take this policy out where there is none"
}

# unchanged: labels and finalizers may change, whatever came of the hosts since.
unchanged if {
	input.request.operation == "UPDATE"
	input.request.object.spec == input.request.oldObject.spec
}

others contains {"namespace": namespace, "name": name, "ingress": ingress} if {
	some namespace, versions in data.inventory.namespace
	some version, kinds in versions
	startswith(version, "networking.k8s.io/")
	some name, ingress in kinds.Ingress
	apart(namespace, name)
}

apart(namespace, _) if namespace != input.request.namespace

apart(namespace, name) if {
	data.parameters.ingress.sharing == "Nobody"
	[namespace, name] != [input.request.namespace, input.request.name]
}

# hosts has an empty one for a rule, or a default backend, that answers for all.
hosts(ingress) := named(ingress) | unnamed(ingress)

named(ingress) := {lower(rule.host) | some rule in ingress.spec.rules; is_string(rule.host)}

unnamed(ingress) := {"" | some rule in ingress.spec.rules; not says_host(rule)} | {"" | is_object(ingress.spec.defaultBackend)}

says_host(rule) if is_string(rule.host)

overlap(a, b) if a == b

overlap(a, _) if a == ""

overlap(_, b) if b == ""

overlap(a, b) if covers(a, b)

overlap(a, b) if covers(b, a)

# covers: a wildcard stands for one label.
covers(wildcard, host) if {
	startswith(wildcard, "*.")
	contains(host, ".")
	substring(host, indexof(host, "."), -1) == substring(wildcard, 1, -1)
}

default shown(_) := "*"

shown(host) := host if host != ""
