package gitward.pod_security.baseline.host_namespaces_test

import data.gitward.pod_security.baseline.fixture_test as fixture
import data.gitward.pod_security.baseline.host_namespaces

test_denies_each if {
	every field in ["hostNetwork", "hostPID", "hostIPC"] {
		host_namespaces.deny == {{
			"msg": sprintf("the pod sets %s, so all its containers share that namespace with the node", [field]),
			"fix": sprintf("remove spec.%s, or set it to false", [field]),
		}} with input as fixture.pod({field: true})
	}
}

test_denies_all_at_once if {
	count(host_namespaces.deny) == 3 with input as fixture.pod({"hostNetwork": true, "hostPID": true, "hostIPC": true})
}

test_allows_false_and_absent if {
	host_namespaces.deny == set() with input as fixture.pod({"hostNetwork": false, "hostPID": null})
}
