package gitward.pod_security.restricted.volume_types_test

import data.gitward.pod_security.restricted.fixture_test as fixture
import data.gitward.pod_security.restricted.volume_types

test_denies_others if {
	volume_types.deny == {{
		"msg": `volume "data" is of type nfs`,
		"fix": "make spec.volumes[data] one of configMap, csi, downwardAPI, emptyDir, ephemeral, image, persistentVolumeClaim, projected, secret",
	}} with input as fixture.pod({"volumes": [{"name": "data", "nfs": {"server": "nas", "path": "/"}, "emptyDir": null}]})
}

test_denies_a_host_path if {
	count(volume_types.deny) == 1 with input as fixture.pod({"volumes": [{"name": "sock", "hostPath": {"path": "/run"}}]})
}

test_denies_types_of_tomorrow if {
	count(volume_types.deny) == 1 with input as fixture.pod({"volumes": [{"name": "data", "wormhole": {}}]})
}

test_denies_no_type if {
	messages := {denial.msg | some denial in volume_types.deny} with input as fixture.pod({"volumes": [{"name": "data"}]})
	messages == {`volume "data" is of type none`}
}

test_allows_the_pods_own if {
	every source in volume_types.allowed {
		volume_types.deny == set() with input as fixture.pod({"volumes": [{"name": "data", source: {}}]})
	}
	volume_types.deny == set() with input as fixture.pod({"volumes": null})
	volume_types.deny == set() with input as fixture.pod({})
}
