package gitward.pod_security.baseline.apparmor_test

import data.gitward.pod_security.baseline.apparmor
import data.gitward.pod_security.baseline.fixture_test as fixture

test_denies_unconfined_in_every_list if {
	apparmor.deny == {
		{
			"msg": `container "web" sets AppArmor profile "Unconfined"`,
			"fix": "set spec.containers[web].securityContext.appArmorProfile.type to RuntimeDefault or Localhost, or leave the profile out",
		},
		{
			"msg": `init container "setup" sets AppArmor profile "Unconfined"`,
			"fix": "set spec.initContainers[setup].securityContext.appArmorProfile.type to RuntimeDefault or Localhost, or leave the profile out",
		},
		{
			"msg": `ephemeral container "debug" sets AppArmor profile "Unconfined"`,
			"fix": "set spec.ephemeralContainers[debug].securityContext.appArmorProfile.type to RuntimeDefault or Localhost, or leave the profile out",
		},
	} with input as fixture.secured({"appArmorProfile": {"type": "Unconfined"}})
}

test_denies_unconfined_of_the_pod if {
	apparmor.deny == {{
		"msg": `the pod sets AppArmor profile "Unconfined"`,
		"fix": "set spec.securityContext.appArmorProfile.type to RuntimeDefault or Localhost, or leave the profile out",
	}} with input as fixture.pod({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}})
}

test_denies_a_profile_without_a_type if {
	count(apparmor.deny) == 3 with input as fixture.secured({"appArmorProfile": {}})
}

test_denies_an_annotation if {
	apparmor.deny == {{
		"msg": `container "web" sets AppArmor profile "unconfined" by annotation`,
		"fix": "remove the annotation container.apparmor.security.beta.kubernetes.io/web, and use securityContext.appArmorProfile",
	}} with input as fixture.annotated({"container.apparmor.security.beta.kubernetes.io/web": "unconfined"})
}

test_allows_profiles if {
	every type in ["RuntimeDefault", "Localhost"] {
		apparmor.deny == set() with input as fixture.secured({"appArmorProfile": {"type": type}})
	}
	apparmor.deny == set() with input as fixture.secured({"appArmorProfile": null})
	apparmor.deny == set() with input as fixture.secured({})
}

test_allows_annotations if {
	every value in ["", "runtime/default", "localhost/web", null] {
		apparmor.deny == set() with input as fixture.annotated({"container.apparmor.security.beta.kubernetes.io/web": value})
	}
	apparmor.deny == set() with input as fixture.annotated({"example.org/apparmor": "unconfined"})
}
