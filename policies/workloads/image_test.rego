package gitward.workloads.image_test

import data.gitward.workloads.fixture_test as fixture
import data.gitward.workloads.image

test_reads_repositories if {
	cases := {
		"nginx": "docker.io/library/nginx",
		"nginx:1.27": "docker.io/library/nginx",
		"nginx@sha256:00": "docker.io/library/nginx",
		"acme/web:1": "docker.io/acme/web",
		"acme/deep/web": "docker.io/acme/deep/web",
		"registry.example.com/web:1@sha256:00": "registry.example.com/web",
		"registry.example.com:5000/web": "registry.example.com:5000/web",
		"registry.example.com:5000/web:1": "registry.example.com:5000/web",
		"localhost/web": "localhost/web",
		"registry:5000/web": "registry:5000/web",
		"": "docker.io/library/",
	}
	every name, repository in cases {
		image.repository(name) == repository
	}
}

test_compares_part_by_part if {
	image.below("registry.example.com/acme/web:1", ["registry.example.com/acme"])
	image.below("registry.example.com/acme/web:1", ["registry.example.com/acme/"])
	image.below("registry.example.com/acme/web:1", ["registry.example.com/acme/web"])
	not image.below("registry.example.com/acmebank/web", ["registry.example.com/acme"])
	not image.below("registry.example.com.evil.example/acme/web", ["registry.example.com"])
	not image.below("registry.example.com/web", [""])
	not image.below("registry.example.com/web", [1])
}

test_sees_every_container_and_volume if {
	seen := {pulled.path: pulled.image | some pulled in image.pulled} with input as fixture.pod({
		"initContainers": [{"name": "setup", "image": "a"}],
		"containers": [{"name": "web", "image": "b"}, {"name": "none"}],
		"ephemeralContainers": [{"name": "debug", "image": "c"}],
		"volumes": [{"name": "model", "image": {"reference": "d"}}, {"name": "tmp", "emptyDir": {}}],
	})
	seen == {
		"spec.initContainers[setup].image": "a",
		"spec.containers[web].image": "b",
		"spec.containers[none].image": "",
		"spec.ephemeralContainers[debug].image": "c",
		"spec.volumes[model].image.reference": "d",
	}
}
