# METADATA
# title: Volumes are of the types that belong to the pod or the cluster
# description: |
#   A pod may mount what is its own (emptyDir, projected, downwardAPI, ephemeral, image),
#   what its namespace holds (ConfigMap, Secret, PersistentVolumeClaim), and what a CSI
#   driver gives. All other types name storage, and often its credentials, in the pod
#   itself. It takes the place of baseline's control of hostPath. Restricted of the Pod
#   Security Standards, control "Volume Types".
#
#   A volume with no source at all is denied too. The API server makes it an emptyDir
#   before anybody sees it; write that down where manifests are checked as they stand.
#
#   What breaks: pods with inline nfs, iscsi, rbd and the like. Make a PersistentVolume.
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
package gitward.pod_security.restricted.volume_types

import data.gitward.pod_security.restricted.pod

deny contains {"msg": msg, "fix": fix} if {
	some volume in pod.spec.volumes
	not permitted(volume)
	msg := sprintf("volume %q is of type %s", [pod.named(volume), type(volume)])
	fix := sprintf("make %s.volumes[%s] one of %s", [pod.path, pod.named(volume), concat(", ", allowed)])
}

permitted(volume) if {
	some source in allowed
	is_object(volume[source])
}

default type(_) := "none"

type(volume) := concat(", ", sources) if {
	sources := {source | some source, value in volume; source != "name"; value != null}
	sources != set()
}

allowed := {
	"configMap",
	"csi",
	"downwardAPI",
	"emptyDir",
	"ephemeral",
	"image",
	"persistentVolumeClaim",
	"projected",
	"secret",
}
