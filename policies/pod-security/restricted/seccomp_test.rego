package gitward.pod_security.restricted.seccomp_test

import data.gitward.pod_security.restricted.fixture_test as fixture
import data.gitward.pod_security.restricted.seccomp

test_denies_none_in_every_list if {
	fix := "set spec.securityContext.seccompProfile.type to RuntimeDefault"
	seccomp.deny == {
		{"msg": `container "web" has no seccomp profile: neither it nor the pod sets one`, "fix": fix},
		{"msg": `init container "setup" has no seccomp profile: neither it nor the pod sets one`, "fix": fix},
		{"msg": `ephemeral container "debug" has no seccomp profile: neither it nor the pod sets one`, "fix": fix},
	} with input as fixture.everywhere({"securityContext": {"seccompProfile": null}})
}

test_denies_unconfined_of_a_container if {
	seccomp.deny == {{
		"msg": `container "web" sets seccomp profile "Unconfined"`,
		"fix": "set spec.containers[web].securityContext.seccompProfile.type to RuntimeDefault or Localhost",
	}} with input as fixture.pod({
		"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
		"containers": [{"name": "web", "securityContext": {"seccompProfile": {"type": "Unconfined"}}}, {"name": "side"}],
	})
}

test_denies_unconfined_of_the_pod if {
	seccomp.deny == {{
		"msg": `the pod sets seccomp profile "Unconfined"`,
		"fix": "set spec.securityContext.seccompProfile.type to RuntimeDefault or Localhost",
	}} with input as fixture.pod({
		"securityContext": {"seccompProfile": {"type": "Unconfined"}},
		"containers": [{"name": "web", "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}],
	})
}

test_allows_the_pods_profile if {
	every type in ["RuntimeDefault", "Localhost"] {
		seccomp.deny == set() with input as fixture.pod({"securityContext": {"seccompProfile": {"type": type}}, "containers": [{"name": "web"}]})
	}
}

test_allows_the_containers_profiles if {
	seccomp.deny == set() with input as fixture.secured({"seccompProfile": {"type": "RuntimeDefault"}})
}

test_allows_windows if {
	seccomp.deny == set() with input as fixture.pod({"os": {"name": "windows"}, "containers": [{"name": "web"}]})
}
