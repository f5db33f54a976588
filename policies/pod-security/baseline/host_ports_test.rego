package gitward.pod_security.baseline.host_ports_test

import data.gitward.pod_security.baseline.fixture_test as fixture
import data.gitward.pod_security.baseline.host_ports

test_denies_host_ports_in_every_list if {
	host_ports.deny == {
		{
			"msg": `container "web" takes port 8080 of the node (hostPort)`,
			"fix": "remove spec.containers[web].ports[].hostPort 8080, and reach the pod through a Service",
		},
		{
			"msg": `init container "setup" takes port 8080 of the node (hostPort)`,
			"fix": "remove spec.initContainers[setup].ports[].hostPort 8080, and reach the pod through a Service",
		},
		{
			"msg": `ephemeral container "debug" takes port 8080 of the node (hostPort)`,
			"fix": "remove spec.ephemeralContainers[debug].ports[].hostPort 8080, and reach the pod through a Service",
		},
	} with input as fixture.everywhere({"ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}]})
}

test_allows_zero_and_absent if {
	host_ports.deny == set() with input as fixture.everywhere({"ports": [{"containerPort": 80, "hostPort": 0}, {"hostPort": null}, {}]})
	host_ports.deny == set() with input as fixture.everywhere({"ports": null})
}
