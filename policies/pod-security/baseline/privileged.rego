# METADATA
# title: Containers are not privileged
# description: |
#   A privileged container has every capability, sees the node's devices, and is not
#   held by AppArmor, SELinux or seccomp: whoever is root in it is root on the node.
#   Baseline of the Pod Security Standards, control "Privileged Containers".
#
#   What breaks: network and storage plugins, node agents, and builds that run Docker
#   in Docker. Give them a namespace of their own that this policy does not match.
# custom:
#   severity: critical
#   gitward:
#     action: deny
#     match:
#       kinds:
#         - {apiGroups: [""], kinds: [Pod, PodTemplate, ReplicationController]}
#         - {apiGroups: [apps], kinds: [DaemonSet, Deployment, ReplicaSet, StatefulSet]}
#         - {apiGroups: [batch], kinds: [CronJob, Job]}
#       excludedNamespaces: [kube-system]
package gitward.pod_security.baseline.privileged

import data.gitward.pod_security.baseline.pod

deny contains {"msg": msg, "fix": fix} if {
	some container in pod.containers
	container.spec.securityContext.privileged == true
	msg := sprintf("%s is privileged", [container.name])
	fix := sprintf("set %s.securityContext.privileged to false, or leave it out", [container.path])
}
