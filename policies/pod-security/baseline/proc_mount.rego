# METADATA
# title: The mask over /proc stays
# description: |
#   The runtime hides parts of /proc that tell about the node, or change it. Unmasked
#   shows them, which only a pod in a user namespace of its own (hostUsers: false) may
#   want: there root is nobody on the node. Baseline of the Pod Security Standards, control
#   "/proc Mount Type", with the relaxation of 1.35.
#
#   What breaks: containers in containers without a user namespace.
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
package gitward.pod_security.baseline.proc_mount

import data.gitward.pod_security.baseline.pod

deny contains {"msg": msg, "fix": fix} if {
	not pod.user_namespace
	some container in pod.containers
	mount := container.spec.securityContext.procMount
	not mount in {"Default", null}
	msg := sprintf("%s sets procMount %q", [container.name, mount])
	fix := sprintf("remove %s.securityContext.procMount, or give the pod a user namespace (%s.hostUsers: false)", [container.path, pod.path])
}
