# METADATA
# title: Containers add only harmless capabilities
# description: |
#   Capabilities are parts of root's power. Beyond those that container runtimes give
#   anyway, several are as good as root on the node (SYS_ADMIN, SYS_PTRACE, SYS_MODULE),
#   and NET_RAW lets a pod pretend to be another. Baseline of the Pod Security Standards,
#   control "Capabilities".
#
#   What breaks: network tools that add NET_ADMIN or NET_RAW, debuggers, VPNs.
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
package gitward.pod_security.baseline.capabilities

import data.gitward.pod_security.baseline.pod

deny contains {"msg": msg, "fix": fix} if {
	some container in pod.containers
	some capability in container.spec.securityContext.capabilities.add
	not capability in allowed
	msg := sprintf("%s adds capability %v", [container.name, capability])
	fix := sprintf("remove %v from %s.securityContext.capabilities.add", [capability, container.path])
}

allowed := {
	"AUDIT_WRITE",
	"CHOWN",
	"DAC_OVERRIDE",
	"FOWNER",
	"FSETID",
	"KILL",
	"MKNOD",
	"NET_BIND_SERVICE",
	"SETFCAP",
	"SETGID",
	"SETPCAP",
	"SETUID",
	"SYS_CHROOT",
}
