package gitward.provenance.two_signers_test

import data.gitward.provenance.fixture_test as fixture
import data.gitward.provenance.two_signers

test_denies_one if {
	two_signers.deny == {{
		"msg": "commit 4f2a91c is signed by 1 of the 2 people that production needs",
		"fix": "have 1 more sign it: its author the branch, and the reviewer the merge commit (git merge --no-ff -S)",
	}} with input as fixture.update
}

test_denies_two_keys_of_one if {
	count(two_signers.deny) == 1 with input as fixture.signed([fixture.ada, {"kind": "ssh", "id": "SHA256:ada2", "name": "ada@example.org"}])
}

test_denies_what_nothing_in_git_stands_behind if {
	two_signers.deny == {{
		"msg": "commit of nobody is signed by 0 of the 2 people that production needs",
		"fix": "have 2 more sign it: its author the branch, and the reviewer the merge commit (git merge --no-ff -S)",
	}} with input as fixture.unknown
}

test_denies_by_name_and_number if {
	two_signers.deny == {{
		"msg": "commit 4f2a91c is signed by 2 of the 3 people that production needs",
		"fix": "have 1 more sign it: its author the branch, and the reviewer the merge commit (git merge --no-ff -S)",
	}} with input as fixture.signed([fixture.ada, fixture.bob])
		with data.parameters.provenance as {"production": {"namespaces": ["shop"], "labels": {}}, "signers": 3}
}

test_denies_what_is_in_no_namespace if {
	cluster_role := object.union(object.remove(fixture.update, ["namespace"]), {"request": {"kind": {"group": "rbac.authorization.k8s.io", "kind": "ClusterRole"}, "namespace": ""}})
	count(two_signers.deny) == 1 with input as cluster_role with data.parameters.provenance.production.namespaces as [""]
	two_signers.deny == set() with input as cluster_role
}

test_denies_taking_the_label_off if {
	count(two_signers.deny) == 1 with input as object.union(object.remove(fixture.update, ["namespace"]), {"request": {
		"kind": {"group": "", "version": "v1", "kind": "Namespace"},
		"namespace": "shop",
		"name": "shop",
		"object": {"metadata": {"labels": {}}},
		"oldObject": {"metadata": {"labels": {"environment": "production"}}},
	}})
}

test_allows_two if {
	two_signers.deny == set() with input as fixture.signed([fixture.ada, fixture.bob])
}

test_allows_one_elsewhere if {
	two_signers.deny == set() with input as object.union(fixture.update, {"namespace": {"labels": {"environment": "test"}}})
	two_signers.deny == set() with input as fixture.update
		with data.parameters.provenance.production as {"namespaces": ["bank"], "labels": {"stage": "live"}}
}

test_allows_what_git_cannot_answer_for if {
	two_signers.deny == set() with input as fixture.exempt
	two_signers.deny == set() with input as fixture.deletion
}

test_allows_a_merge_that_both_signed if {
	merged := object.union(fixture.signed([fixture.bob]), {"provenance": {"merged": [{"commit": "8c1e002", "signers": [fixture.ada]}]}})
	two_signers.deny == set() with input as merged
}

test_denies_a_merge_that_one_signed_twice if {
	merged := object.union(fixture.signed([fixture.ada]), {"provenance": {"merged": [{"commit": "8c1e002", "signers": [fixture.ada]}]}})
	count(two_signers.deny) == 1 with input as merged
}
