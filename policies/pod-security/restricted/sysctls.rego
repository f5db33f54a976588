# METADATA
# title: Only sysctls that stay in the pod
# description: |
#   A sysctl is allowed where it belongs to the pod alone and cannot harm its neighbours;
#   all others reach the node. The list is that of Kubernetes 1.37. Baseline of the Pod
#   Security Standards, control "Sysctls".
#
#   What breaks: databases and proxies that raise kernel limits of the node. Set those on
#   the node.
# custom:
#   severity: medium
#   gitward:
#     action: deny
#     match:
#       kinds:
#         - {apiGroups: [""], kinds: [Pod, PodTemplate, ReplicationController]}
#         - {apiGroups: [apps], kinds: [DaemonSet, Deployment, ReplicaSet, StatefulSet]}
#         - {apiGroups: [batch], kinds: [CronJob, Job]}
#       excludedNamespaces: [kube-system]
package gitward.pod_security.restricted.sysctls

import data.gitward.pod_security.restricted.pod

deny contains {"msg": msg, "fix": fix} if {
	some sysctl in pod.spec.securityContext.sysctls
	name := pod.named(sysctl)
	not name in allowed
	msg := sprintf("the pod sets sysctl %q", [name])
	fix := sprintf("remove %q from %s.securityContext.sysctls: set it on the node, if it has to be", [name, pod.path])
}

allowed := {
	"kernel.shm_rmid_forced",
	"net.ipv4.ip_local_port_range",
	"net.ipv4.ip_local_reserved_ports",
	"net.ipv4.ip_unprivileged_port_start",
	"net.ipv4.ping_group_range",
	"net.ipv4.tcp_fin_timeout",
	"net.ipv4.tcp_keepalive_intvl",
	"net.ipv4.tcp_keepalive_probes",
	"net.ipv4.tcp_keepalive_time",
	"net.ipv4.tcp_notsent_lowat",
	"net.ipv4.tcp_rmem",
	"net.ipv4.tcp_slow_start_after_idle",
	"net.ipv4.tcp_syncookies",
	"net.ipv4.tcp_wmem",
}
