package gitward.pod_security.restricted.capabilities_test

import data.gitward.pod_security.restricted.capabilities
import data.gitward.pod_security.restricted.fixture_test as fixture

test_denies_in_every_list if {
	capabilities.deny == {
		{"msg": `container "web" does not drop all capabilities`, "fix": `set spec.containers[web].securityContext.capabilities.drop to ["ALL"]`},
		{"msg": `init container "setup" does not drop all capabilities`, "fix": `set spec.initContainers[setup].securityContext.capabilities.drop to ["ALL"]`},
		{"msg": `ephemeral container "debug" does not drop all capabilities`, "fix": `set spec.ephemeralContainers[debug].securityContext.capabilities.drop to ["ALL"]`},
	} with input as fixture.everywhere({})
}

test_denies_what_drops_too_little if {
	every context in [null, {"capabilities": null}, {"capabilities": {}}, {"capabilities": {"drop": null}}, {"capabilities": {"drop": ["all", "NET_RAW"]}}] {
		count(capabilities.deny) == 3 with input as fixture.secured(context)
	}
}

test_denies_what_adds_too_much if {
	capabilities.deny == {{
		"msg": `container "web" adds capability CHOWN`,
		"fix": "remove CHOWN from spec.containers[web].securityContext.capabilities.add",
	}} with input as fixture.pod({"containers": [{"name": "web", "securityContext": {"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE", "CHOWN"]}}}]})
}

test_allows_net_bind_service if {
	capabilities.deny == set() with input as fixture.secured({"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}})
	capabilities.deny == set() with input as fixture.secured({"capabilities": {"drop": ["NET_RAW", "ALL"]}})
}

test_allows_windows if {
	capabilities.deny == set() with input as fixture.pod({"os": {"name": "windows"}, "containers": [{"name": "web"}]})
}
