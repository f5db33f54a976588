# METADATA
# title: Containers drop all capabilities
# description: |
#   A container gives up every capability and takes back at most NET_BIND_SERVICE, which
#   opens ports below 1024. It takes the place of baseline's control of the same name.
#   Restricted of the Pod Security Standards, control "Capabilities". Pods that say
#   os.name: windows are let off, for they cannot say it.
#
#   What breaks: images that start as root and change to another user themselves. Start
#   them as that user.
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
package gitward.pod_security.restricted.capabilities

import data.gitward.pod_security.restricted.pod

deny contains {"msg": msg, "fix": fix} if {
	not pod.windows
	some container in pod.containers
	not drops_all(container.spec)
	msg := sprintf("%s does not drop all capabilities", [container.name])
	fix := sprintf(`set %s.securityContext.capabilities.drop to ["ALL"]`, [container.path])
}

deny contains {"msg": msg, "fix": fix} if {
	not pod.windows
	some container in pod.containers
	some capability in container.spec.securityContext.capabilities.add
	capability != "NET_BIND_SERVICE"
	msg := sprintf("%s adds capability %v", [container.name, capability])
	fix := sprintf("remove %v from %s.securityContext.capabilities.add", [capability, container.path])
}

drops_all(container) if "ALL" in container.securityContext.capabilities.drop
