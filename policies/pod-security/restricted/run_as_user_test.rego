package gitward.pod_security.restricted.run_as_user_test

import data.gitward.pod_security.restricted.fixture_test as fixture
import data.gitward.pod_security.restricted.run_as_user

test_denies_zero_in_every_list if {
	fix := "set %s.securityContext.runAsUser to another user, or leave it to the image"
	run_as_user.deny == {
		{"msg": `container "web" sets runAsUser 0`, "fix": sprintf(fix, ["spec.containers[web]"])},
		{"msg": `init container "setup" sets runAsUser 0`, "fix": sprintf(fix, ["spec.initContainers[setup]"])},
		{"msg": `ephemeral container "debug" sets runAsUser 0`, "fix": sprintf(fix, ["spec.ephemeralContainers[debug]"])},
	} with input as fixture.secured({"runAsUser": 0})
}

test_denies_zero_of_the_pod if {
	run_as_user.deny == {{
		"msg": "the pod sets runAsUser 0",
		"fix": "set spec.securityContext.runAsUser to another user, or leave it to the image",
	}} with input as fixture.pod({"securityContext": {"runAsUser": 0}, "containers": [{"name": "web", "securityContext": {"runAsUser": 1000}}]})
}

test_allows_others_and_absent if {
	every context in [{"runAsUser": 1000}, {"runAsUser": null}, {}, null] {
		run_as_user.deny == set() with input as fixture.secured(context)
	}
}

test_allows_root_in_a_user_namespace if {
	run_as_user.deny == set() with input as fixture.pod({"hostUsers": false, "securityContext": {"runAsUser": 0}})
}
