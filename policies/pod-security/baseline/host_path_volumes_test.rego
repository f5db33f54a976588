package gitward.pod_security.baseline.host_path_volumes_test

import data.gitward.pod_security.baseline.fixture_test as fixture
import data.gitward.pod_security.baseline.host_path_volumes

test_denies_a_host_path if {
	host_path_volumes.deny == {{
		"msg": `volume "sock" is "/run/containerd" of the node (hostPath)`,
		"fix": "make spec.volumes[sock] a PersistentVolumeClaim, an emptyDir, a ConfigMap or a Secret",
	}} with input as fixture.pod({"volumes": [{"name": "sock", "hostPath": {"path": "/run/containerd"}}, {"name": "tmp", "emptyDir": {}}]})
}

test_denies_an_empty_host_path if {
	count(host_path_volumes.deny) == 1 with input as fixture.pod({"volumes": [{"name": "sock", "hostPath": {}}]})
}

test_allows_other_volumes if {
	host_path_volumes.deny == set() with input as fixture.pod({"volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "set", "configMap": {"name": "set"}, "hostPath": null}]})
	host_path_volumes.deny == set() with input as fixture.pod({})
}
