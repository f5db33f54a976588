# METADATA
# title: Images are named by digest
# description: |
#   A tag can be moved after the commit was reviewed and signed; a digest cannot. Only with
#   a digest does the commit say what runs. Every container is asked, and images that are
#   mounted as volumes.
#
#   Parameter images.byTag lists registries, directories or repositories whose images may
#   go by a tag ("registry.example.com/tools"). Default: none.
#
#   What breaks: every manifest that says a tag. `crane digest IMAGE` or the registry tells
#   the digest; Renovate, Flux and Argo CD Image Updater keep it current. The tag may stay
#   in front of it: web:1.8.2@sha256:…
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
package gitward.workloads.image_digest

import data.gitward.workloads.image

deny contains {"msg": msg, "fix": fix} if {
	some pulled in image.pulled
	not regex.match(`^[^@]+@sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$`, pulled.image)
	not image.below(pulled.image, by_tag)
	msg := sprintf("%s uses image %q, which no digest pins", [pulled.name, pulled.image])
	fix := sprintf("add the digest to %s: %s@sha256:…", [pulled.path, pulled.image])
}

default by_tag := []

by_tag := data.parameters.images.byTag
