package gitward.pod_security.restricted.run_as_non_root_test

import data.gitward.pod_security.restricted.fixture_test as fixture
import data.gitward.pod_security.restricted.run_as_non_root

test_denies_absent_in_every_list if {
	fix := "set spec.securityContext.runAsNonRoot to true"
	run_as_non_root.deny == {
		{"msg": `container "web" may run as root: neither it nor the pod sets runAsNonRoot`, "fix": fix},
		{"msg": `init container "setup" may run as root: neither it nor the pod sets runAsNonRoot`, "fix": fix},
		{"msg": `ephemeral container "debug" may run as root: neither it nor the pod sets runAsNonRoot`, "fix": fix},
	} with input as fixture.everywhere({"securityContext": {"runAsNonRoot": null}})
}

test_denies_false_in_a_container if {
	run_as_non_root.deny == {{
		"msg": `container "web" sets runAsNonRoot false`,
		"fix": "set spec.containers[web].securityContext.runAsNonRoot to true, or leave it out and set it for the pod",
	}} with input as fixture.pod({"securityContext": {"runAsNonRoot": true}, "containers": [{"name": "web", "securityContext": {"runAsNonRoot": false}}]})
}

test_denies_false_of_the_pod if {
	run_as_non_root.deny == {{
		"msg": "the pod sets runAsNonRoot false",
		"fix": "set spec.securityContext.runAsNonRoot to true",
	}} with input as fixture.pod({"securityContext": {"runAsNonRoot": false}, "containers": [{"name": "web", "securityContext": {"runAsNonRoot": true}}]})
}

test_allows_true_of_the_pod if {
	run_as_non_root.deny == set() with input as fixture.pod({"securityContext": {"runAsNonRoot": true}, "containers": [{"name": "web"}]})
}

test_allows_true_of_each_container if {
	run_as_non_root.deny == set() with input as fixture.secured({"runAsNonRoot": true})
}

test_allows_root_in_a_user_namespace if {
	run_as_non_root.deny == set() with input as fixture.pod({"hostUsers": false, "securityContext": {"runAsNonRoot": false}, "containers": [{"name": "web"}]})
}
