# METADATA
# title: Pods share no namespace with the node
# description: |
#   On the node's network a pod reaches what listens on the node's loopback and is
#   subject to no NetworkPolicy; with the node's process ids it sees, and as root may
#   signal, every process; with the node's IPC it reads their shared memory. Baseline of
#   the Pod Security Standards, control "Host Namespaces".
#
#   What breaks: ingress controllers and node agents that use hostNetwork. A Service of
#   type LoadBalancer or NodePort serves most of the former.
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
package gitward.pod_security.restricted.host_namespaces

import data.gitward.pod_security.restricted.pod

deny contains {"msg": msg, "fix": fix} if {
	some field in ["hostNetwork", "hostPID", "hostIPC"]
	pod.spec[field] == true
	msg := sprintf("the pod sets %s, so all its containers share that namespace with the node", [field])
	fix := sprintf("remove %s.%s, or set it to false", [pod.path, field])
}
