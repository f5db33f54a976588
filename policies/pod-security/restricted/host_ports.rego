# METADATA
# title: Containers take no port of the node
# description: |
#   A hostPort opens a port on the node's own address, past Services and often past the
#   NetworkPolicies that were meant to guard the pod; two pods that want the same one do
#   not fit on a node. Baseline of the Pod Security Standards, control "Host Ports".
#
#   What breaks: node agents that are reached at the node's address. Others want a
#   Service of type NodePort or LoadBalancer.
# custom:
#   severity: high
#   gitward:
#     action: deny
#     match:
#       kinds:
#         - {apiGroups: [""], kinds: [Pod, PodTemplate, ReplicationController]}
#         - {apiGroups: [apps], kinds: [DaemonSet, Deployment, ReplicaSet, StatefulSet]}
#         - {apiGroups: [batch], kinds: [CronJob, Job]}
#       excludedNamespaces: [kube-system]
package gitward.pod_security.restricted.host_ports

import data.gitward.pod_security.restricted.pod

deny contains {"msg": msg, "fix": fix} if {
	some container in pod.containers
	some port in container.spec.ports
	is_number(port.hostPort)
	port.hostPort != 0
	msg := sprintf("%s takes port %v of the node (hostPort)", [container.name, port.hostPort])
	fix := sprintf("remove %s.ports[].hostPort %v, and reach the pod through a Service", [container.path, port.hostPort])
}
