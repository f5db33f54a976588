package gitward.pod_security.restricted.selinux_test

import data.gitward.pod_security.restricted.fixture_test as fixture
import data.gitward.pod_security.restricted.selinux

test_denies_a_type_in_every_list if {
	fix := "remove %s.securityContext.seLinuxOptions.type, or use one of container_t, container_init_t, container_kvm_t, container_engine_t"
	selinux.deny == {
		{"msg": `container "web" sets SELinux type "spc_t"`, "fix": sprintf(fix, ["spec.containers[web]"])},
		{"msg": `init container "setup" sets SELinux type "spc_t"`, "fix": sprintf(fix, ["spec.initContainers[setup]"])},
		{"msg": `ephemeral container "debug" sets SELinux type "spc_t"`, "fix": sprintf(fix, ["spec.ephemeralContainers[debug]"])},
	} with input as fixture.secured({"seLinuxOptions": {"type": "spc_t"}})
}

test_denies_user_and_role_of_the_pod if {
	selinux.deny == {
		{"msg": `the pod sets SELinux user "sysadm_u"`, "fix": "remove spec.securityContext.seLinuxOptions.user"},
		{"msg": `the pod sets SELinux role "sysadm_r"`, "fix": "remove spec.securityContext.seLinuxOptions.role"},
	} with input as fixture.pod({"securityContext": {"seLinuxOptions": {"user": "sysadm_u", "role": "sysadm_r"}}})
}

test_allows_container_types_and_levels if {
	every type in ["", null, "container_t", "container_init_t", "container_kvm_t", "container_engine_t"] {
		selinux.deny == set() with input as fixture.secured({"seLinuxOptions": {"type": type, "level": "s0:c1,c2", "user": "", "role": null}})
	}
	selinux.deny == set() with input as fixture.secured({"seLinuxOptions": null})
	selinux.deny == set() with input as fixture.secured({})
}
