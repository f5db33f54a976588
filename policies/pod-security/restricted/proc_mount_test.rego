package gitward.pod_security.restricted.proc_mount_test

import data.gitward.pod_security.restricted.fixture_test as fixture
import data.gitward.pod_security.restricted.proc_mount

test_denies_unmasked_in_every_list if {
	proc_mount.deny == {
		{"msg": `container "web" sets procMount "Unmasked"`, "fix": "remove spec.containers[web].securityContext.procMount"},
		{"msg": `init container "setup" sets procMount "Unmasked"`, "fix": "remove spec.initContainers[setup].securityContext.procMount"},
		{"msg": `ephemeral container "debug" sets procMount "Unmasked"`, "fix": "remove spec.ephemeralContainers[debug].securityContext.procMount"},
	} with input as fixture.secured({"procMount": "Unmasked"})
}

test_denies_unmasked_in_a_user_namespace if {
	count(proc_mount.deny) == 1 with input as fixture.pod({"hostUsers": false, "containers": [{"name": "web", "securityContext": {"procMount": "Unmasked"}}]})
}

test_allows_default_and_absent if {
	every context in [{"procMount": "Default"}, {"procMount": null}, {}] {
		proc_mount.deny == set() with input as fixture.secured(context)
	}
}
