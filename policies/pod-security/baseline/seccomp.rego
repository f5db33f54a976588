# METADATA
# title: Seccomp is not turned off
# description: |
#   The runtime's seccomp profile keeps containers from system calls that they do not
#   need and that kernel bugs sit behind. Baseline does not ask for a profile, it only
#   forbids to say Unconfined. Baseline of the Pod Security Standards, control "Seccomp".
#
#   What breaks: debuggers and sandboxes that say Unconfined. Write them a profile of
#   their own and use Localhost.
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
package gitward.pod_security.baseline.seccomp

import data.gitward.pod_security.baseline.pod

deny contains {"msg": msg, "fix": fix} if {
	some setter in setters
	is_object(setter.profile)
	type := object.get(setter.profile, "type", "")
	not type in {"RuntimeDefault", "Localhost"}
	msg := sprintf("%s sets seccomp profile %q", [setter.name, type])
	fix := sprintf("set %s.securityContext.seccompProfile.type to RuntimeDefault or Localhost, or leave the profile out", [setter.path])
}

setters contains {"name": "the pod", "path": pod.path, "profile": pod.spec.securityContext.seccompProfile}

setters contains {"name": container.name, "path": container.path, "profile": container.spec.securityContext.seccompProfile} if {
	some container in pod.containers
}
