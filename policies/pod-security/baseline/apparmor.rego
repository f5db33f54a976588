# METADATA
# title: AppArmor is not turned off
# description: |
#   Where nodes have AppArmor the runtime's profile keeps a container from mounting and
#   from writing below /proc and /sys. A pod may pick a profile that is on the node, but
#   not run without one. The field is asked and the annotation that came before it too,
#   for kubelets of earlier releases obey that. Baseline of the Pod Security Standards,
#   control "AppArmor".
#
#   What breaks: containers that say Unconfined so that they may mount.
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
package gitward.pod_security.baseline.apparmor

import data.gitward.pod_security.baseline.pod

deny contains {"msg": msg, "fix": fix} if {
	some setter in setters
	is_object(setter.profile)
	type := object.get(setter.profile, "type", "")
	not type in {"RuntimeDefault", "Localhost"}
	msg := sprintf("%s sets AppArmor profile %q", [setter.name, type])
	fix := sprintf("set %s.securityContext.appArmorProfile.type to RuntimeDefault or Localhost, or leave the profile out", [setter.path])
}

deny contains {"msg": msg, "fix": fix} if {
	some key, value in pod.annotations
	startswith(key, prefix)
	not allowed(value)
	msg := sprintf("container %q sets AppArmor profile %q by annotation", [trim_prefix(key, prefix), value])
	fix := sprintf("remove the annotation %s, and use securityContext.appArmorProfile", [key])
}

setters contains {"name": "the pod", "path": pod.path, "profile": pod.spec.securityContext.appArmorProfile}

setters contains {"name": container.name, "path": container.path, "profile": container.spec.securityContext.appArmorProfile} if {
	some container in pod.containers
}

prefix := "container.apparmor.security.beta.kubernetes.io/"

allowed(value) if value in {"", "runtime/default", null}

allowed(value) if {
	is_string(value)
	startswith(value, "localhost/")
}
