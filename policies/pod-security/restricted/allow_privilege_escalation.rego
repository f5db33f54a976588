# METADATA
# title: Processes gain no privileges that their parent lacks
# description: |
#   With allowPrivilegeEscalation false the kernel ignores set-user-ID bits and file
#   capabilities (no_new_privs), so that whoever gets into a container stays who they are.
#   Restricted of the Pod Security Standards, control "Privilege Escalation". Pods that say
#   os.name: windows are let off, for they cannot say it.
#
#   What breaks: images that call sudo, su or ping with file capabilities.
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
package gitward.pod_security.restricted.allow_privilege_escalation

import data.gitward.pod_security.restricted.pod

deny contains {"msg": msg, "fix": fix} if {
	not pod.windows
	some container in pod.containers
	not forbidden(container.spec)
	msg := sprintf("%s has allowPrivilegeEscalation %s", [container.name, said(container.spec)])
	fix := sprintf("set %s.securityContext.allowPrivilegeEscalation to false", [container.path])
}

forbidden(container) if container.securityContext.allowPrivilegeEscalation == false

default said(_) := "not set, which allows it"

said(container) := "true" if container.securityContext.allowPrivilegeEscalation == true
