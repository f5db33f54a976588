package gitward.pod_security.baseline.proc_mount_test

import data.gitward.pod_security.baseline.fixture_test as fixture
import data.gitward.pod_security.baseline.proc_mount

test_denies_unmasked_in_every_list if {
	proc_mount.deny == {
		{
			"msg": `container "web" sets procMount "Unmasked"`,
			"fix": "remove spec.containers[web].securityContext.procMount, or give the pod a user namespace (spec.hostUsers: false)",
		},
		{
			"msg": `init container "setup" sets procMount "Unmasked"`,
			"fix": "remove spec.initContainers[setup].securityContext.procMount, or give the pod a user namespace (spec.hostUsers: false)",
		},
		{
			"msg": `ephemeral container "debug" sets procMount "Unmasked"`,
			"fix": "remove spec.ephemeralContainers[debug].securityContext.procMount, or give the pod a user namespace (spec.hostUsers: false)",
		},
	} with input as fixture.secured({"procMount": "Unmasked"})
}

test_denies_unmasked_with_the_nodes_users if {
	count(proc_mount.deny) == 1 with input as fixture.pod({"hostUsers": true, "containers": [{"name": "web", "securityContext": {"procMount": "Unmasked"}}]})
}

test_allows_unmasked_in_a_user_namespace if {
	proc_mount.deny == set() with input as fixture.pod({"hostUsers": false, "containers": [{"name": "web", "securityContext": {"procMount": "Unmasked"}}]})
}

test_allows_default_and_absent if {
	every context in [{"procMount": "Default"}, {"procMount": null}, {}] {
		proc_mount.deny == set() with input as fixture.secured(context)
	}
}
