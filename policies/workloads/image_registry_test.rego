package gitward.workloads.image_registry_test

import data.gitward.workloads.fixture_test as fixture
import data.gitward.workloads.image_registry

test_denies_other_registries_in_every_list if {
	fix := "make %s.image an image from registry.example.com/acme or docker.io/library"
	image_registry.deny == {
		{"msg": `container "web" uses image "evil/web:1" from docker.io/evil/web`, "fix": sprintf(fix, ["spec.containers[web]"])},
		{"msg": `init container "setup" uses image "evil/web:1" from docker.io/evil/web`, "fix": sprintf(fix, ["spec.initContainers[setup]"])},
		{"msg": `ephemeral container "debug" uses image "evil/web:1" from docker.io/evil/web`, "fix": sprintf(fix, ["spec.ephemeralContainers[debug]"])},
	} with input as fixture.everywhere({"image": "evil/web:1"})
		with data.parameters.images.registries as ["registry.example.com/acme", "docker.io/library"]
}

test_denies_all_where_the_list_is_empty if {
	count(image_registry.deny) == 3 with input as fixture.everywhere({"image": "nginx"})
		with data.parameters.images.registries as []
}

test_allows_the_known if {
	image_registry.deny == set() with input as fixture.everywhere({"image": "registry.example.com/acme/web:1"})
		with data.parameters.images.registries as ["registry.example.com/acme", "docker.io/library"]
	image_registry.deny == set() with input as fixture.everywhere({"image": "nginx:1"})
		with data.parameters.images.registries as ["registry.example.com/acme", "docker.io/library"]
}

test_allows_all_without_the_parameter if {
	image_registry.deny == set() with input as fixture.everywhere({"image": "evil/web:1"})
}
