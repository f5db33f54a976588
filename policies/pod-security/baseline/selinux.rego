# METADATA
# title: SELinux labels stay those of containers
# description: |
#   Where nodes have SELinux the type of a process decides what of the node it may touch.
#   Only the types made for containers may be asked for, and neither another user nor
#   another role, which choose between whole sets of rules. Baseline of the Pod Security
#   Standards, control "SELinux".
#
#   What breaks: pods that ask for spc_t or a type of their own.
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
package gitward.pod_security.baseline.selinux

import data.gitward.pod_security.baseline.pod

deny contains {"msg": msg, "fix": fix} if {
	some setter in setters
	type := setter.options.type
	not type in allowed
	msg := sprintf("%s sets SELinux type %q", [setter.name, type])
	fix := sprintf("remove %s.securityContext.seLinuxOptions.type, or use one of container_t, container_init_t, container_kvm_t, container_engine_t", [setter.path])
}

deny contains {"msg": msg, "fix": fix} if {
	some setter in setters
	some field in ["user", "role"]
	value := setter.options[field]
	not value in {"", null}
	msg := sprintf("%s sets SELinux %s %q", [setter.name, field, value])
	fix := sprintf("remove %s.securityContext.seLinuxOptions.%s", [setter.path, field])
}

setters contains {"name": "the pod", "path": pod.path, "options": pod.spec.securityContext.seLinuxOptions}

setters contains {"name": container.name, "path": container.path, "options": container.spec.securityContext.seLinuxOptions} if {
	some container in pod.containers
}

allowed := {"", null, "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
