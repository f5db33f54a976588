# The images that a pod pulls, and how to read their names.
package gitward.workloads.image

import data.gitward.workloads.pod

# pulled are the images of all containers, and those that are mounted as volumes.
pulled contains {"name": container.name, "path": sprintf("%s.image", [container.path]), "image": image} if {
	some container in pod.containers
	image := pod.object_image(container.spec)
}

pulled contains {"name": sprintf("volume %q", [pod.named(volume)]), "path": path, "image": volume.image.reference} if {
	some volume in pod.spec.volumes
	is_string(volume.image.reference)
	path := sprintf("%s.volumes[%s].image.reference", [pod.path, pod.named(volume)])
}

# repository is where an image is pulled from, as the runtime reads its name: without
# tag and digest, with the registry and the directory that Docker Hub leaves out.
repository(image) := bare(image) if {
	parts := split(bare(image), "/")
	count(parts) > 1
	is_host(parts[0])
}

repository(image) := sprintf("docker.io/%s", [bare(image)]) if {
	parts := split(bare(image), "/")
	count(parts) > 1
	not is_host(parts[0])
}

repository(image) := sprintf("docker.io/library/%s", [bare(image)]) if not contains(bare(image), "/")

bare(image) := regex.replace(image, `(:[^:/@]*)?(@.*)?$`, "")

is_host(part) if contains(part, ".")

is_host(part) if contains(part, ":")

is_host(part) if part == "localhost"

# below reports whether an image is in one of these registries, directories or
# repositories. They are compared part by part: docker.io/acme is not docker.io/acmebank.
below(image, places) if {
	some place in places
	is_string(place)
	trimmed := trim_suffix(place, "/")
	trimmed != ""
	startswith(sprintf("%s/", [repository(image)]), sprintf("%s/", [trimmed]))
}
