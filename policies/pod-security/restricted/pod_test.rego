package gitward.pod_security.restricted.pod_test

import data.gitward.pod_security.restricted.fixture_test as fixture
import data.gitward.pod_security.restricted.pod

web := {"containers": [{"name": "web", "image": "web:1"}]}

test_sees_the_containers_of_every_kind if {
	every path, request in fixture.every_kind(web) {
		pod.containers == {{"name": `container "web"`, "path": sprintf("%s.containers[web]", [path]), "spec": web.containers[0]}} with input as request
	}
}

test_sees_every_controller if {
	every kind in {"DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"} {
		pod.spec == web with input as fixture.creation("apps", kind, {"spec": {"template": {"spec": web}}})
	}
}

test_sees_every_list if {
	names := {container.name | some container in pod.containers} with input as fixture.everywhere({})
	names == {`container "web"`, `init container "setup"`, `ephemeral container "debug"`}
}

test_sees_a_container_without_a_name if {
	names := {container.name | some container in pod.containers} with input as fixture.pod({"containers": [{}]})
	names == {`container "?"`}
}

test_sees_nothing_in_other_kinds if {
	not pod.template with input as fixture.creation("", "ConfigMap", {"data": {}})
}

test_sees_nothing_in_a_deletion if {
	not pod.spec with input as {"request": {"operation": "DELETE", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "object": null, "oldObject": {"spec": web}}}
}

test_sees_nothing_in_a_controller_without_a_template if {
	not pod.spec with input as fixture.creation("", "ReplicationController", {"spec": {}})
	not pod.spec with input as fixture.creation("", "ReplicationController", {"spec": {"template": null}})
}

test_sees_annotations if {
	pod.annotations == {"a": "b"} with input as fixture.annotated({"a": "b"})
}

test_lets_a_finalizer_go if {
	not pod.spec with input as fixture.update("", "Pod", {
		"old": {"metadata": {"finalizers": ["x"]}, "spec": web},
		"new": {"metadata": {}, "spec": web},
	})
}

test_lets_a_pod_without_images_be if {
	not pod.spec with input as fixture.update("", "Pod", {"old": {"spec": {"containers": [{"name": "web"}]}}, "new": {"spec": {"containers": [{"name": "web"}]}}})
}

test_judges_another_image if {
	pod.spec with input as fixture.update("", "Pod", {"old": {"spec": web}, "new": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}})
}

test_judges_an_added_ephemeral_container if {
	pod.spec with input as fixture.update("", "Pod", {
		"old": {"spec": web},
		"new": {"spec": object.union(web, {"ephemeralContainers": [{"name": "debug", "image": "sh:1"}]})},
	})
}

test_lets_a_controller_be_scaled if {
	not pod.spec with input as fixture.update("apps", "Deployment", {
		"old": {"spec": {"replicas": 1, "template": {"spec": web}}},
		"new": {"spec": {"replicas": 2, "template": {"spec": web}}},
	})
}

test_judges_another_template if {
	pod.spec with input as fixture.update("apps", "Deployment", {
		"old": {"spec": {"template": {"spec": web}}},
		"new": {"spec": {"template": {"spec": web, "metadata": {"annotations": {"a": "b"}}}}},
	})
}

test_judges_a_template_that_was_not_there if {
	pod.spec with input as fixture.update("", "ReplicationController", {"old": {"spec": {}}, "new": {"spec": {"template": {"spec": web}}}})
}

test_knows_windows if {
	pod.windows with input as fixture.pod({"os": {"name": "windows"}})
	not pod.windows with input as fixture.pod({"os": {"name": "linux"}})
	not pod.windows with input as fixture.pod({})
}

test_knows_user_namespaces if {
	pod.user_namespace with input as fixture.pod({"hostUsers": false})
	not pod.user_namespace with input as fixture.pod({"hostUsers": true})
	not pod.user_namespace with input as fixture.pod({})
}
