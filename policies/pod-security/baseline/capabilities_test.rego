package gitward.pod_security.baseline.capabilities_test

import data.gitward.pod_security.baseline.capabilities
import data.gitward.pod_security.baseline.fixture_test as fixture

test_denies_in_every_list if {
	capabilities.deny == {
		{
			"msg": `container "web" adds capability NET_RAW`,
			"fix": "remove NET_RAW from spec.containers[web].securityContext.capabilities.add",
		},
		{
			"msg": `init container "setup" adds capability NET_RAW`,
			"fix": "remove NET_RAW from spec.initContainers[setup].securityContext.capabilities.add",
		},
		{
			"msg": `ephemeral container "debug" adds capability NET_RAW`,
			"fix": "remove NET_RAW from spec.ephemeralContainers[debug].securityContext.capabilities.add",
		},
	} with input as fixture.secured({"capabilities": {"add": ["CHOWN", "NET_RAW"]}})
}

test_denies_other_spellings if {
	every capability in ["ALL", "CAP_CHOWN", "chown", ""] {
		count(capabilities.deny) == 3 with input as fixture.secured({"capabilities": {"add": [capability]}})
	}
}

test_allows_the_runtimes_own if {
	capabilities.deny == set() with input as fixture.secured({"capabilities": {"add": ["CHOWN", "KILL", "NET_BIND_SERVICE"], "drop": ["ALL"]}})
	capabilities.deny == set() with input as fixture.secured({"capabilities": {"add": null}})
	capabilities.deny == set() with input as fixture.secured({"capabilities": null})
}
