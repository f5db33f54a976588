package gitward.ingress.unique_host_test

import data.gitward.ingress.unique_host

ingress(rules) := {"request": {
	"operation": "CREATE",
	"kind": {"group": "networking.k8s.io", "version": "v1", "kind": "Ingress"},
	"namespace": "shop",
	"name": "web",
	"object": {"spec": {"rules": rules}},
}}

inventory(namespace, name, spec) := {"namespace": {namespace: {"networking.k8s.io/v1": {"Ingress": {name: {"spec": spec}}}}}}

test_denies_the_host_of_another_namespace if {
	unique_host.deny == {{
		"msg": `host "pay.example.com" is taken by Ingress bank/web, which has "pay.example.com"`,
		"fix": `choose another host in spec.rules, or move the rule to namespace "bank"`,
	}} with input as ingress([{"host": "shop.example.com"}, {"host": "pay.example.com"}])
		with data.inventory as inventory("bank", "web", {"rules": [{"host": "pay.example.com"}]})
}

test_denies_wildcards_that_cover_or_are_covered if {
	count(unique_host.deny) == 1 with input as ingress([{"host": "*.example.com"}])
		with data.inventory as inventory("bank", "web", {"rules": [{"host": "pay.example.com"}]})
	count(unique_host.deny) == 1 with input as ingress([{"host": "pay.example.com"}])
		with data.inventory as inventory("bank", "web", {"rules": [{"host": "*.example.com"}]})
}

test_denies_rules_for_every_host if {
	unique_host.deny == {{
		"msg": `host "*" is taken by Ingress bank/web, which has "pay.example.com"`,
		"fix": `choose another host in spec.rules, or move the rule to namespace "bank"`,
	}} with input as ingress([{"http": {}}])
		with data.inventory as inventory("bank", "web", {"rules": [{"host": "pay.example.com"}]})
	count(unique_host.deny) == 1 with input as ingress([{"host": "shop.example.com"}])
		with data.inventory as inventory("bank", "web", {"defaultBackend": {"service": {"name": "web"}}})
}

test_denies_another_of_the_namespace_where_nobody_shares if {
	count(unique_host.deny) == 1 with input as ingress([{"host": "shop.example.com"}])
		with data.inventory as inventory("shop", "old", {"rules": [{"host": "shop.example.com"}]})
		with data.parameters.ingress.sharing as "Nobody"
}

test_denies_without_an_inventory if {
	unique_host.deny == {{
		"msg": "it is not known which hosts are taken: there is no data.inventory",
		"fix": "keep Ingresses in the inventory, or take this policy out where there is none",
	}} with input as ingress([{"host": "shop.example.com"}])
}

test_allows_a_free_host if {
	every taken in ["pay.example.com", "*.shop.example.com", "*.example.org", "example.com"] {
		unique_host.deny == set() with input as ingress([{"host": "shop.example.com"}])
			with data.inventory as inventory("bank", "web", {"rules": [{"host": taken}]})
	}
	unique_host.deny == set() with input as ingress([{"host": "*.example.com"}])
		with data.inventory as inventory("bank", "web", {"rules": [{"host": "deep.pay.example.com"}]})
}

test_allows_the_same_namespace if {
	unique_host.deny == set() with input as ingress([{"host": "shop.example.com"}])
		with data.inventory as inventory("shop", "old", {"rules": [{"host": "shop.example.com"}]})
}

test_allows_the_ingress_itself if {
	unique_host.deny == set() with input as ingress([{"host": "shop.example.com"}])
		with data.inventory as inventory("shop", "web", {"rules": [{"host": "shop.example.com"}]})
		with data.parameters.ingress.sharing as "Nobody"
}

test_allows_to_take_a_finalizer_off if {
	unique_host.deny == set() with input as object.union(ingress([{"host": "pay.example.com"}]), {"request": {"operation": "UPDATE", "oldObject": {"spec": {"rules": [{"host": "pay.example.com"}]}}}})
		with data.inventory as inventory("bank", "web", {"rules": [{"host": "pay.example.com"}]})
}

test_denies_an_update_to_a_taken_host if {
	count(unique_host.deny) == 1 with input as object.union(ingress([{"host": "pay.example.com"}]), {"request": {"operation": "UPDATE", "oldObject": {"spec": {"rules": [{"host": "shop.example.com"}]}}}})
		with data.inventory as inventory("bank", "web", {"rules": [{"host": "pay.example.com"}]})
}

test_allows_other_groups if {
	unique_host.deny == set() with input as ingress([{"host": "shop.example.com"}])
		with data.inventory as {"namespace": {"bank": {"example.org/v1": {"Ingress": {"web": {"spec": {"rules": [{"host": "shop.example.com"}]}}}}}}}
}

test_allows_a_deletion if {
	unique_host.deny == set() with input as {"request": {"operation": "DELETE", "namespace": "shop", "name": "web", "object": null}}
}
