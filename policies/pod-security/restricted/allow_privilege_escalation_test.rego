package gitward.pod_security.restricted.allow_privilege_escalation_test

import data.gitward.pod_security.restricted.allow_privilege_escalation
import data.gitward.pod_security.restricted.fixture_test as fixture

test_denies_true_in_every_list if {
	allow_privilege_escalation.deny == {
		{
			"msg": `container "web" has allowPrivilegeEscalation true`,
			"fix": "set spec.containers[web].securityContext.allowPrivilegeEscalation to false",
		},
		{
			"msg": `init container "setup" has allowPrivilegeEscalation true`,
			"fix": "set spec.initContainers[setup].securityContext.allowPrivilegeEscalation to false",
		},
		{
			"msg": `ephemeral container "debug" has allowPrivilegeEscalation true`,
			"fix": "set spec.ephemeralContainers[debug].securityContext.allowPrivilegeEscalation to false",
		},
	} with input as fixture.secured({"allowPrivilegeEscalation": true})
}

test_denies_absent if {
	every context in [{}, null, {"allowPrivilegeEscalation": null}] {
		count(allow_privilege_escalation.deny) == 3 with input as fixture.secured(context)
	}
	count(allow_privilege_escalation.deny) == 3 with input as fixture.everywhere({})
}

test_denies_absent_in_every_kind if {
	every path, request in fixture.every_kind({"containers": [{"name": "web"}]}) {
		allow_privilege_escalation.deny == {{
			"msg": `container "web" has allowPrivilegeEscalation not set, which allows it`,
			"fix": sprintf("set %s.containers[web].securityContext.allowPrivilegeEscalation to false", [path]),
		}} with input as request
	}
}

test_allows_false if {
	allow_privilege_escalation.deny == set() with input as fixture.secured({"allowPrivilegeEscalation": false})
}

test_allows_windows if {
	allow_privilege_escalation.deny == set() with input as fixture.pod({"os": {"name": "windows"}, "containers": [{"name": "web"}]})
}
