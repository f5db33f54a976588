# METADATA
# title: Seccomp is turned on
# description: |
#   The pod, or each of its containers, asks for a seccomp profile: the runtime's own, or
#   one that is on the node. Without one a container may make every system call, unless the
#   kubelet is told otherwise. It takes the place of baseline's control of the same name.
#   Restricted of the Pod Security Standards, control "Seccomp". Pods that say os.name:
#   windows are let off, for they cannot say it.
#
#   What breaks: little, beyond debuggers: the runtime's profile leaves out what containers
#   hardly ever use.
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
package gitward.pod_security.restricted.seccomp

import data.gitward.pod_security.restricted.pod

deny contains {"msg": msg, "fix": fix} if {
	not pod.windows
	some setter in setters
	is_object(setter.profile)
	type := object.get(setter.profile, "type", "")
	not type in {"RuntimeDefault", "Localhost"}
	msg := sprintf("%s sets seccomp profile %q", [setter.name, type])
	fix := sprintf("set %s.securityContext.seccompProfile.type to RuntimeDefault or Localhost", [setter.path])
}

deny contains {"msg": msg, "fix": fix} if {
	not pod.windows
	not given(pod.spec)
	some container in pod.containers
	not given(container.spec)
	msg := sprintf("%s has no seccomp profile: neither it nor the pod sets one", [container.name])
	fix := sprintf("set %s.securityContext.seccompProfile.type to RuntimeDefault", [pod.path])
}

given(spec) if is_object(spec.securityContext.seccompProfile)

setters contains {"name": "the pod", "path": pod.path, "profile": pod.spec.securityContext.seccompProfile}

setters contains {"name": container.name, "path": container.path, "profile": container.spec.securityContext.seccompProfile} if {
	some container in pod.containers
}
