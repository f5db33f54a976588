package gitward.workloads.resources_test

import data.gitward.workloads.fixture_test as fixture
import data.gitward.workloads.resources

sized(resources) := fixture.pod({"containers": [{"name": "web", "resources": resources}]})

test_denies_none if {
	resources.deny == {
		{"msg": `container "web" has no requests of cpu`, "fix": "set spec.containers[web].resources.requests.cpu"},
		{"msg": `container "web" has no requests of memory`, "fix": "set spec.containers[web].resources.requests.memory"},
		{"msg": `container "web" has no limits of memory`, "fix": "set spec.containers[web].resources.limits.memory"},
	} with input as fixture.pod({"containers": [{"name": "web"}]})
}

test_denies_in_init_containers_but_not_in_ephemeral_ones if {
	names := {split(denial.msg, " has")[0] | some denial in resources.deny} with input as fixture.everywhere({})
	names == {`container "web"`, `init container "setup"`}
}

test_denies_null_and_empty if {
	count(resources.deny) == 2 with input as sized({"requests": {"cpu": "1", "memory": null}, "limits": {"memory": ""}})
}

test_denies_what_the_parameter_wants if {
	resources.deny == {{
		"msg": `container "web" has no limits of cpu`,
		"fix": "set spec.containers[web].resources.limits.cpu",
	}} with input as sized({"limits": {"memory": "1Gi"}})
		with data.parameters.resources.require as {"limits": ["cpu", "memory"]}
}

test_denies_more_than_the_cap if {
	resources.deny == {{
		"msg": `container "web" has limits of 8Gi memory, and 4096Mi is the most`,
		"fix": "set spec.containers[web].resources.limits.memory to 4096Mi or less, written like 250m, 2 or 512Mi",
	}} with input as sized({"requests": {"cpu": "100m", "memory": "4Gi"}, "limits": {"memory": "8Gi"}})
		with data.parameters.resources.max as {"memory": "4096Mi", "cpu": 2}
}

test_denies_what_it_cannot_read if {
	every value in ["1e30", "-1", "much", "1X", 1000000000000000000000] {
		count(resources.deny) == 1 with input as sized({"requests": {"cpu": "1"}, "limits": {"memory": value}})
			with data.parameters.resources.max as {"memory": "4Gi"}
	}
}

test_allows_what_is_asked_for if {
	resources.deny == set() with input as sized({"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}})
}

test_allows_limits_as_requests if {
	resources.deny == set() with input as sized({"limits": {"cpu": "1", "memory": "1Gi"}})
}

test_allows_what_the_pod_says_for_all if {
	resources.deny == set() with input as fixture.pod({
		"resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}},
		"containers": [{"name": "web"}, {"name": "side"}],
	})
}

test_allows_up_to_the_cap if {
	every value in ["4Gi", "4096Mi", "4G", "4294967296", 4294967296, "0.5Gi", "4294967296000m"] {
		resources.deny == set() with input as sized({"requests": {"cpu": "0.1"}, "limits": {"memory": value}})
			with data.parameters.resources.max as {"memory": "4Gi"}
	}
}
