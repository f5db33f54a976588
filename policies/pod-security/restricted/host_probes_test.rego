package gitward.pod_security.restricted.host_probes_test

import data.gitward.pod_security.restricted.fixture_test as fixture
import data.gitward.pod_security.restricted.host_probes

test_denies_a_host_in_every_list if {
	host_probes.deny == {
		{
			"msg": `container "web" sends the kubelet to host "169.254.169.254" in livenessProbe`,
			"fix": "remove spec.containers[web].livenessProbe.httpGet.host: the pod's own address is used then",
		},
		{
			"msg": `init container "setup" sends the kubelet to host "169.254.169.254" in livenessProbe`,
			"fix": "remove spec.initContainers[setup].livenessProbe.httpGet.host: the pod's own address is used then",
		},
		{
			"msg": `ephemeral container "debug" sends the kubelet to host "169.254.169.254" in livenessProbe`,
			"fix": "remove spec.ephemeralContainers[debug].livenessProbe.httpGet.host: the pod's own address is used then",
		},
	} with input as fixture.everywhere({"livenessProbe": {"httpGet": {"port": 80, "host": "169.254.169.254"}}})
}

test_denies_a_host_in_every_place if {
	every action in ["httpGet", "tcpSocket"] {
		every probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
			count(host_probes.deny) == 1 with input as fixture.pod({"containers": [{"name": "web", probe: {action: {"host": "x"}}}]})
		}
		every hook in ["postStart", "preStop"] {
			count(host_probes.deny) == 1 with input as fixture.pod({"containers": [{"name": "web", "lifecycle": {hook: {action: {"host": "x"}}}}]})
		}
	}
}

test_allows_handlers_without_a_host if {
	host_probes.deny == set() with input as fixture.everywhere({
		"livenessProbe": {"httpGet": {"port": 80}},
		"readinessProbe": {"tcpSocket": {"port": 80, "host": ""}},
		"startupProbe": {"grpc": {"port": 80}},
		"lifecycle": {"preStop": {"exec": {"command": ["sync"]}}, "postStart": {"httpGet": {"host": null}}},
	})
	host_probes.deny == set() with input as fixture.everywhere({"livenessProbe": null, "lifecycle": null})
}
