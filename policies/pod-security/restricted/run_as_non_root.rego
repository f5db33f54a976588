# METADATA
# title: Containers say that they do not run as root
# description: |
#   With runAsNonRoot true the kubelet refuses to start a container whose image would run
#   as user 0. The pod may say it for all its containers; none may say false. A pod in a
#   user namespace of its own (hostUsers: false) is let off: there root is nobody on the
#   node. Restricted of the Pod Security Standards, control "Running as Non-root", with the
#   relaxation of 1.35.
#
#   What breaks: images that name no user, or a user by name only.
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
package gitward.pod_security.restricted.run_as_non_root

import data.gitward.pod_security.restricted.pod

deny contains {"msg": msg, "fix": fix} if {
	not pod.user_namespace
	pod.spec.securityContext.runAsNonRoot == false
	msg := "the pod sets runAsNonRoot false"
	fix := sprintf("set %s.securityContext.runAsNonRoot to true", [pod.path])
}

deny contains {"msg": msg, "fix": fix} if {
	not pod.user_namespace
	some container in pod.containers
	container.spec.securityContext.runAsNonRoot == false
	msg := sprintf("%s sets runAsNonRoot false", [container.name])
	fix := sprintf("set %s.securityContext.runAsNonRoot to true, or leave it out and set it for the pod", [container.path])
}

deny contains {"msg": msg, "fix": fix} if {
	not pod.user_namespace
	not said(pod.spec)
	some container in pod.containers
	not said(container.spec)
	msg := sprintf("%s may run as root: neither it nor the pod sets runAsNonRoot", [container.name])
	fix := sprintf("set %s.securityContext.runAsNonRoot to true", [pod.path])
}

said(spec) if is_boolean(spec.securityContext.runAsNonRoot)
