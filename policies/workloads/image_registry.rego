# METADATA
# title: Images come from known registries
# description: |
#   Who may push to a registry decides what runs. Name yours, and a pod can pull from
#   nowhere else. Names are read as the runtime reads them: nginx is
#   docker.io/library/nginx. Every container is asked, and images that are mounted as
#   volumes.
#
#   Parameter images.registries lists registries, directories in them, or repositories,
#   compared part by part ("registry.example.com/acme"). Default: none, and then the policy
#   says nothing. An empty list allows no image at all.
#
#   What breaks: everything that is pulled from elsewhere, also by charts of others. Mirror
#   it.
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
package gitward.workloads.image_registry

import data.gitward.workloads.image

deny contains {"msg": msg, "fix": fix} if {
	registries := data.parameters.images.registries
	some pulled in image.pulled
	not image.below(pulled.image, registries)
	msg := sprintf("%s uses image %q from %s", [pulled.name, pulled.image, image.repository(pulled.image)])
	fix := sprintf("make %s an image from %s", [pulled.path, concat(" or ", registries)])
}
