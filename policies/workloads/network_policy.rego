# METADATA
# title: A NetworkPolicy selects every pod
# description: |
#   Where no NetworkPolicy selects a pod, everything in the cluster can talk to it. The
#   pods of a workload have to be selected by at least one in their namespace, for each
#   direction that is asked for; one that selects every pod of the namespace does.
#
#   Parameter networkPolicy.types lists the directions. Default: [Ingress]. Parameter
#   networkPolicy.wholeNamespace: true counts only those that select every pod.
#
#   It reads data.inventory, the NetworkPolicies of the cluster. Without an inventory it
#   cannot know, and denies. It sees what there was when the request came: not a
#   NetworkPolicy that is deleted later, nor whether the network plugin heeds any. Pods on
#   the node's network are beyond them in any case.
#
#   What breaks: a first deployment, where the workload is applied before its NetworkPolicy.
#   Appliers try again, so it heals itself. The default action is warn for that.
# custom:
#   severity: medium
#   gitward:
#     action: warn
#     inventory: [NetworkPolicy]
#     match:
#       kinds:
#         - {apiGroups: [""], kinds: [Pod, PodTemplate, ReplicationController]}
#         - {apiGroups: [apps], kinds: [DaemonSet, Deployment, ReplicaSet, StatefulSet]}
#         - {apiGroups: [batch], kinds: [CronJob, Job]}
#       excludedNamespaces: [kube-system]
package gitward.workloads.network_policy

import data.gitward.workloads.pod

deny contains {"msg": msg, "fix": fix} if {
	pod.spec
	some type in types
	not selected(type)
	msg := sprintf("no NetworkPolicy in namespace %q selects the pods of %s %q for %s", [input.request.namespace, input.request.kind.kind, input.request.name, type])
	fix := sprintf("add a NetworkPolicy to the namespace that selects them (podSelector: {} selects all), with %s in its policyTypes", [type])
}

deny contains {"msg": msg, "fix": fix} if {
	pod.spec
	not data.inventory
	msg := sprintf("it is not known which NetworkPolicies namespace %q has: there is no data.inventory", [input.request.namespace])
	fix := "keep NetworkPolicies in the inventory, or take this policy out where there is none"
}

selected(type) if {
	some version, kinds in data.inventory.namespace[input.request.namespace]
	startswith(version, "networking.k8s.io/")
	some policy in kinds.NetworkPolicy
	type in object.get(policy.spec, "policyTypes", ["Ingress"])
	selects(policy.spec.podSelector)
}

# An empty selector selects every pod.
selects({})

selects(selector) if {
	not whole_namespace
	every key, value in object.get(selector, "matchLabels", {}) {
		labels[key] == value
	}
	every expression in object.get(selector, "matchExpressions", []) {
		holds(expression)
	}
}

holds(expression) if {
	expression.operator == "In"
	listed(expression)
}

holds(expression) if {
	expression.operator == "NotIn"
	not listed(expression)
}

holds(expression) if {
	expression.operator == "Exists"
	labels[expression.key]
}

holds(expression) if {
	expression.operator == "DoesNotExist"
	not labels[expression.key]
}

listed(expression) if labels[expression.key] in expression.values

default labels := {}

labels := pod.template.metadata.labels

default types := ["Ingress"]

types := data.parameters.networkPolicy.types

whole_namespace if data.parameters.networkPolicy.wholeNamespace == true
