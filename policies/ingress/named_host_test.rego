package gitward.ingress.named_host_test

import data.gitward.ingress.named_host

ingress(spec) := {"request": {
	"operation": "CREATE",
	"kind": {"group": "networking.k8s.io", "version": "v1", "kind": "Ingress"},
	"namespace": "shop",
	"name": "web",
	"object": {"spec": spec},
}}

test_denies_a_rule_without_a_host if {
	named_host.deny == {{
		"msg": "rule 1 names no host, so it answers for all of them",
		"fix": "set spec.rules[1].host",
	}} with input as ingress({"rules": [{"host": "shop.example.com"}, {"http": {}}]})
}

test_denies_a_default_backend if {
	named_host.deny == {{
		"msg": "the default backend answers for every host",
		"fix": "remove spec.defaultBackend, and write rules with a host",
	}} with input as ingress({"defaultBackend": {"service": {"name": "web"}}})
}

test_allows_hosts if {
	named_host.deny == set() with input as ingress({"rules": [{"host": "shop.example.com"}, {"host": "*.example.com"}]})
}

test_allows_to_take_a_finalizer_off if {
	named_host.deny == set() with input as object.union(ingress({"rules": [{}]}), {"request": {"operation": "UPDATE", "oldObject": {"spec": {"rules": [{}]}}}})
}

test_allows_where_it_is_excepted if {
	named_host.deny == set() with input as ingress({"rules": [{}], "defaultBackend": {}})
		with data.parameters.ingress.catchAll as ["shop"]
}
