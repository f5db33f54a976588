package gitward.pod_security.restricted.windows_host_process_test

import data.gitward.pod_security.restricted.fixture_test as fixture
import data.gitward.pod_security.restricted.windows_host_process

test_denies_in_every_list if {
	windows_host_process.deny == {
		{
			"msg": `container "web" is a process of the Windows node (hostProcess)`,
			"fix": "remove spec.containers[web].securityContext.windowsOptions.hostProcess, or set it to false",
		},
		{
			"msg": `init container "setup" is a process of the Windows node (hostProcess)`,
			"fix": "remove spec.initContainers[setup].securityContext.windowsOptions.hostProcess, or set it to false",
		},
		{
			"msg": `ephemeral container "debug" is a process of the Windows node (hostProcess)`,
			"fix": "remove spec.ephemeralContainers[debug].securityContext.windowsOptions.hostProcess, or set it to false",
		},
	} with input as fixture.secured({"windowsOptions": {"hostProcess": true}})
}

test_denies_the_pod if {
	windows_host_process.deny == {{
		"msg": "the pod is a process of the Windows node (hostProcess)",
		"fix": "remove spec.securityContext.windowsOptions.hostProcess, or set it to false",
	}} with input as fixture.pod({"securityContext": {"windowsOptions": {"hostProcess": true}}})
}

test_allows_false_and_absent if {
	every context in [{"windowsOptions": {"hostProcess": false}}, {"windowsOptions": {"hostProcess": null}}, {"windowsOptions": null}, {}] {
		windows_host_process.deny == set() with input as fixture.secured(context)
		windows_host_process.deny == set() with input as fixture.pod({"securityContext": context})
	}
}
