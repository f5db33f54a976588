package gitward.pod_security.baseline.seccomp_test

import data.gitward.pod_security.baseline.fixture_test as fixture
import data.gitward.pod_security.baseline.seccomp

test_denies_unconfined_in_every_list if {
	fix := "set %s.securityContext.seccompProfile.type to RuntimeDefault or Localhost, or leave the profile out"
	seccomp.deny == {
		{"msg": `container "web" sets seccomp profile "Unconfined"`, "fix": sprintf(fix, ["spec.containers[web]"])},
		{"msg": `init container "setup" sets seccomp profile "Unconfined"`, "fix": sprintf(fix, ["spec.initContainers[setup]"])},
		{"msg": `ephemeral container "debug" sets seccomp profile "Unconfined"`, "fix": sprintf(fix, ["spec.ephemeralContainers[debug]"])},
	} with input as fixture.secured({"seccompProfile": {"type": "Unconfined"}})
}

test_denies_unconfined_of_the_pod if {
	seccomp.deny == {{
		"msg": `the pod sets seccomp profile "Unconfined"`,
		"fix": "set spec.securityContext.seccompProfile.type to RuntimeDefault or Localhost, or leave the profile out",
	}} with input as fixture.pod({"securityContext": {"seccompProfile": {"type": "Unconfined"}}})
}

test_denies_a_profile_without_a_type if {
	count(seccomp.deny) == 3 with input as fixture.secured({"seccompProfile": {}})
}

test_allows_profiles_and_none if {
	every context in [{"seccompProfile": {"type": "RuntimeDefault"}}, {"seccompProfile": {"type": "Localhost"}}, {"seccompProfile": null}, {}] {
		seccomp.deny == set() with input as fixture.secured(context)
		seccomp.deny == set() with input as fixture.pod({"securityContext": context})
	}
}
