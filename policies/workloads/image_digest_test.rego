package gitward.workloads.image_digest_test

import data.gitward.workloads.fixture_test as fixture
import data.gitward.workloads.image_digest

digest := "sha256:4bf8f4e1a2c5b1d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9001122334455"

test_denies_a_tag_in_every_list if {
	image_digest.deny == {
		{"msg": `container "web" uses image "web:1", which no digest pins`, "fix": "add the digest to spec.containers[web].image: web:1@sha256:…"},
		{"msg": `init container "setup" uses image "web:1", which no digest pins`, "fix": "add the digest to spec.initContainers[setup].image: web:1@sha256:…"},
		{"msg": `ephemeral container "debug" uses image "web:1", which no digest pins`, "fix": "add the digest to spec.ephemeralContainers[debug].image: web:1@sha256:…"},
	} with input as fixture.everywhere({"image": "web:1"})
}

test_denies_what_only_looks_like_a_digest if {
	every image in ["", "web", "web@sha256:4bf8", sprintf("%s/web:1", [digest]), sprintf("web@%s.", [digest]), digest, sprintf("web@x@%s", [digest]), sprintf("web@%s", [upper(digest)])] {
		count(image_digest.deny) == 1 with input as fixture.pod({"containers": [{"name": "web", "image": image}]})
	}
}

test_denies_a_volume_by_tag if {
	image_digest.deny == {{
		"msg": `volume "model" uses image "models/small:1", which no digest pins`,
		"fix": "add the digest to spec.volumes[model].image.reference: models/small:1@sha256:…",
	}} with input as fixture.pod({"volumes": [{"name": "model", "image": {"reference": "models/small:1"}}]})
}

test_denies_other_repositories_than_those_excepted if {
	count(image_digest.deny) == 3 with input as fixture.everywhere({"image": "registry.example.com/toolshed/sh:1"})
		with data.parameters.images.byTag as ["registry.example.com/tools"]
}

test_allows_a_digest if {
	image_digest.deny == set() with input as fixture.everywhere({"image": sprintf("registry.example.com:5000/web:1@%s", [digest])})
	image_digest.deny == set() with input as fixture.everywhere({"image": sprintf("web@sha512:%s%s", [substring(digest, 7, -1), substring(digest, 7, -1)])})
}

test_allows_a_tag_where_it_is_excepted if {
	image_digest.deny == set() with input as fixture.everywhere({"image": "registry.example.com/tools/sh:1"})
		with data.parameters.images.byTag as ["registry.example.com/tools"]
}
