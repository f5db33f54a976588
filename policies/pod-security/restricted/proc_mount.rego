# METADATA
# title: The mask over /proc stays, in user namespaces too
# description: |
#   The runtime hides parts of /proc that tell about the node, or change it. Baseline lets
#   a pod in a user namespace of its own unmask them; restricted lets nobody. It takes the
#   place of baseline's control of the same name. Restricted of the Pod Security Standards,
#   control "/proc Mount Type".
#
#   What breaks: containers in containers.
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
package gitward.pod_security.restricted.proc_mount

import data.gitward.pod_security.restricted.pod

deny contains {"msg": msg, "fix": fix} if {
	some container in pod.containers
	mount := container.spec.securityContext.procMount
	not mount in {"Default", null}
	msg := sprintf("%s sets procMount %q", [container.name, mount])
	fix := sprintf("remove %s.securityContext.procMount", [container.path])
}
