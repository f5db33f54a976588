# METADATA
# title: Volumes are not directories of the node
# description: |
#   A hostPath volume mounts a file or directory of the node. From most of them there is
#   a way to the node itself: the runtime's socket, the kubelet's credentials, static pod
#   manifests. Baseline of the Pod Security Standards, control "HostPath Volumes".
#
#   What breaks: log collectors and device plugins. Other pods want a
#   PersistentVolumeClaim, an emptyDir, a ConfigMap or a Secret.
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
package gitward.pod_security.baseline.host_path_volumes

import data.gitward.pod_security.baseline.pod

deny contains {"msg": msg, "fix": fix} if {
	some volume in pod.spec.volumes
	is_object(volume.hostPath)
	msg := sprintf("volume %q is %q of the node (hostPath)", [pod.named(volume), object.get(volume.hostPath, "path", "")])
	fix := sprintf("make %s.volumes[%s] a PersistentVolumeClaim, an emptyDir, a ConfigMap or a Secret", [pod.path, pod.named(volume)])
}
