# METADATA
# title: Nobody asks for user 0
# description: |
#   No container runs as user 0, and the pod does not say so for all of them. A pod in a
#   user namespace of its own (hostUsers: false) is let off. Restricted of the Pod Security
#   Standards, control "Running as Non-root user", with the relaxation of 1.35.
#
#   What breaks: images that want to be root. Most of them run as another user once their
#   files are readable to it.
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
package gitward.pod_security.restricted.run_as_user

import data.gitward.pod_security.restricted.pod

deny contains {"msg": msg, "fix": fix} if {
	not pod.user_namespace
	some setter in setters
	setter.user == 0
	msg := sprintf("%s sets runAsUser 0", [setter.name])
	fix := sprintf("set %s.securityContext.runAsUser to another user, or leave it to the image", [setter.path])
}

setters contains {"name": "the pod", "path": pod.path, "user": pod.spec.securityContext.runAsUser}

setters contains {"name": container.name, "path": container.path, "user": container.spec.securityContext.runAsUser} if {
	some container in pod.containers
}
