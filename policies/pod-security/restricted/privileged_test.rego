package gitward.pod_security.restricted.privileged_test

import data.gitward.pod_security.restricted.fixture_test as fixture
import data.gitward.pod_security.restricted.privileged

test_denies_privileged_in_every_list if {
	privileged.deny == {
		{
			"msg": `container "web" is privileged`,
			"fix": "set spec.containers[web].securityContext.privileged to false, or leave it out",
		},
		{
			"msg": `init container "setup" is privileged`,
			"fix": "set spec.initContainers[setup].securityContext.privileged to false, or leave it out",
		},
		{
			"msg": `ephemeral container "debug" is privileged`,
			"fix": "set spec.ephemeralContainers[debug].securityContext.privileged to false, or leave it out",
		},
	} with input as fixture.secured({"privileged": true})
}

test_denies_privileged_in_every_kind if {
	every path, request in fixture.every_kind({"containers": [{"name": "web", "securityContext": {"privileged": true}}]}) {
		fixture.paths_of(privileged.deny) == {sprintf("%s.containers[web].securityContext.privileged", [path])} with input as request
	}
}

test_allows_false_and_absent if {
	every context in [{"privileged": false}, {"privileged": null}, {}, null] {
		privileged.deny == set() with input as fixture.secured(context)
	}
	privileged.deny == set() with input as fixture.everywhere({})
}
