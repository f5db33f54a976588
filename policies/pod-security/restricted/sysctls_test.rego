package gitward.pod_security.restricted.sysctls_test

import data.gitward.pod_security.restricted.fixture_test as fixture
import data.gitward.pod_security.restricted.sysctls

test_denies_others if {
	sysctls.deny == {{
		"msg": `the pod sets sysctl "vm.max_map_count"`,
		"fix": `remove "vm.max_map_count" from spec.securityContext.sysctls: set it on the node, if it has to be`,
	}} with input as fixture.pod({"securityContext": {"sysctls": [{"name": "vm.max_map_count", "value": "1"}, {"name": "net.ipv4.tcp_syncookies", "value": "1"}]}})
}

test_denies_one_without_a_name if {
	count(sysctls.deny) == 1 with input as fixture.pod({"securityContext": {"sysctls": [{"value": "1"}]}})
}

test_allows_the_safe_ones if {
	sysctls.deny == set() with input as fixture.pod({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_notsent_lowat", "value": "1"}]}})
	sysctls.deny == set() with input as fixture.pod({"securityContext": {"sysctls": null}})
	sysctls.deny == set() with input as fixture.pod({})
}
