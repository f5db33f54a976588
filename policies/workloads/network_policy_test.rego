package gitward.workloads.network_policy_test

import data.gitward.workloads.fixture_test as fixture
import data.gitward.workloads.network_policy

web := fixture.creation("apps", "Deployment", {"spec": {"template": {"metadata": {"labels": {"app": "web", "tier": "front"}}, "spec": {"containers": [{"name": "web"}]}}}})

inventory(spec) := {"namespace": {"shop": {"networking.k8s.io/v1": {"NetworkPolicy": {"guard": {"spec": spec}}}}}}

test_denies_where_there_is_none if {
	network_policy.deny == {{
		"msg": `no NetworkPolicy in namespace "shop" selects the pods of Deployment "shop" for Ingress`,
		"fix": "add a NetworkPolicy to the namespace that selects them (podSelector: {} selects all), with Ingress in its policyTypes",
	}} with input as web with data.inventory as {"namespace": {}}
}

test_denies_without_an_inventory if {
	{
		"msg": `it is not known which NetworkPolicies namespace "shop" has: there is no data.inventory`,
		"fix": "keep NetworkPolicies in the inventory, or take this policy out where there is none",
	} in network_policy.deny with input as web
}

test_denies_where_another_pod_is_selected if {
	every selector in [
		{"matchLabels": {"app": "db"}},
		{"matchLabels": {"app": "web", "team": "a"}},
		{"matchExpressions": [{"key": "app", "operator": "In", "values": ["db"]}]},
		{"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]},
		{"matchExpressions": [{"key": "team", "operator": "Exists"}]},
		{"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]},
		{"matchExpressions": [{"key": "app", "operator": "Near"}]},
	] {
		count(network_policy.deny) == 1 with input as web with data.inventory as inventory({"podSelector": selector, "policyTypes": ["Ingress"]})
	}
}

test_denies_in_another_namespace if {
	count(network_policy.deny) == 1 with input as web
		with data.inventory as {"namespace": {"bank": {"networking.k8s.io/v1": {"NetworkPolicy": {"guard": {"spec": {"podSelector": {}}}}}}}}
}

test_denies_another_group if {
	count(network_policy.deny) == 1 with input as web
		with data.inventory as {"namespace": {"shop": {"example.org/v1": {"NetworkPolicy": {"guard": {"spec": {"podSelector": {}}}}}}}}
}

test_denies_a_direction_that_is_missing if {
	count(network_policy.deny) == 1 with input as web
		with data.inventory as inventory({"podSelector": {}})
		with data.parameters.networkPolicy.types as ["Ingress", "Egress"]
}

test_denies_a_part_of_the_namespace if {
	count(network_policy.deny) == 1 with input as web
		with data.inventory as inventory({"podSelector": {"matchLabels": {"app": "web"}}})
		with data.parameters.networkPolicy.wholeNamespace as true
}

test_allows_what_is_selected if {
	every selector in [
		{},
		{"matchLabels": {"app": "web"}},
		{"matchExpressions": [{"key": "app", "operator": "In", "values": ["db", "web"]}]},
		{"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}, {"key": "team", "operator": "NotIn", "values": ["a"]}]},
		{"matchExpressions": [{"key": "app", "operator": "Exists"}, {"key": "team", "operator": "DoesNotExist"}]},
	] {
		network_policy.deny == set() with input as web with data.inventory as inventory({"podSelector": selector, "policyTypes": ["Ingress", "Egress"]})
	}
}

test_denies_pods_without_labels_where_some_are_selected if {
	count(network_policy.deny) == 1 with input as fixture.pod({}) with data.inventory as inventory({"podSelector": {"matchLabels": {"app": "web"}}})
}

test_allows_pods_without_labels_where_all_are_selected if {
	network_policy.deny == set() with input as fixture.pod({}) with data.inventory as inventory({"podSelector": {}})
}

test_allows_the_whole_namespace if {
	network_policy.deny == set() with input as web
		with data.inventory as inventory({"podSelector": {}})
		with data.parameters.networkPolicy.wholeNamespace as true
}

test_allows_other_kinds if {
	network_policy.deny == set() with input as fixture.creation("", "ConfigMap", {})
}
