# METADATA
# title: Windows pods are not processes of the node
# description: |
#   A HostProcess container runs on the Windows node itself, with the rights of an
#   account of that node: it is what privileged is on Linux. Baseline of the Pod Security
#   Standards, control "HostProcess".
#
#   What breaks: node agents of Windows nodes.
# custom:
#   severity: critical
#   gitward:
#     action: deny
#     match:
#       kinds:
#         - {apiGroups: [""], kinds: [Pod, PodTemplate, ReplicationController]}
#         - {apiGroups: [apps], kinds: [DaemonSet, Deployment, ReplicaSet, StatefulSet]}
#         - {apiGroups: [batch], kinds: [CronJob, Job]}
#       excludedNamespaces: [kube-system]
package gitward.pod_security.baseline.windows_host_process

import data.gitward.pod_security.baseline.pod

deny contains {"msg": msg, "fix": fix} if {
	some setter in setters
	setter.value == true
	msg := sprintf("%s is a process of the Windows node (hostProcess)", [setter.name])
	fix := sprintf("remove %s.securityContext.windowsOptions.hostProcess, or set it to false", [setter.path])
}

setters contains {"name": "the pod", "path": pod.path, "value": pod.spec.securityContext.windowsOptions.hostProcess}

setters contains {"name": container.name, "path": container.path, "value": container.spec.securityContext.windowsOptions.hostProcess} if {
	some container in pod.containers
}
