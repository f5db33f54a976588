package gitward.provenance.change_test

import data.gitward.provenance.change
import data.gitward.provenance.fixture_test as fixture

test_judges_what_git_is_to_answer_for if {
	change.judged with input as fixture.update
	change.judged with input as fixture.unknown
	change.judged with input as object.union(fixture.update, {"request": {"operation": "DELETE"}})
}

test_spares_what_git_cannot_answer_for if {
	not change.judged with input as fixture.exempt
	not change.judged with input as fixture.deletion
}

test_spares_autoscalers_controllers_and_emergencies if {
	every reason in ["BreakGlass", "Controller", "Rule"] {
		not change.judged with input as object.union(fixture.unknown, {"reason": reason})
	}
}

test_judges_others_without_provenance if {
	every reason in ["", "Git", "Derived", "Hole"] {
		change.judged with input as object.union(fixture.unknown, {"reason": reason})
	}
	change.judged with input as object.union(fixture.unknown, {"request": {"operation": "CONNECT", "subResource": "exec"}})
}

test_counts_people if {
	change.signers == {"ada@example.org", "bob <bob@example.org>", "SHA256:x"} with input as fixture.signed([
		fixture.ada,
		object.union(fixture.ada, {"id": "SHA256:ada2", "name": "Ada@Example.org"}),
		fixture.bob,
		{"kind": "ssh", "id": "SHA256:x", "name": ""},
		{"kind": "ssh", "id": "SHA256:x"},
	])
	change.signers == set() with input as fixture.unknown
}

test_shows_and_finds_signers if {
	change.shown(fixture.ada) == "ada@example.org (SHA256:ada)"
	change.shown({"id": "SHA256:x"}) == " (SHA256:x)"
	change.listed(fixture.ada, ["ada@example.org"])
	change.listed(fixture.ada, ["SHA256:ada"])
	not change.listed({"id": "SHA256:x"}, ["SHA256:ada"])
}

test_shortens_the_commit if {
	change.commit == "4f2a91c" with input as fixture.update
	change.commit == "of nobody" with input as fixture.unknown
}

test_knows_the_namespace if {
	change.namespace == "shop" with input as fixture.update
	change.namespace == "bank" with input as {"request": {"kind": {"group": "", "kind": "Namespace"}, "name": "bank"}}
	change.namespace == "" with input as {"request": {"kind": {"group": "rbac.authorization.k8s.io", "kind": "ClusterRole"}, "name": "bank"}}
}

test_knows_labels if {
	change.labelled("environment", "production") with input as fixture.update
	not change.labelled("environment", "test") with input as fixture.update
	change.labelled("environment", "production") with input as {"request": {
		"kind": {"group": "", "kind": "Namespace"},
		"name": "shop",
		"object": {"metadata": {}},
		"oldObject": {"metadata": {"labels": {"environment": "production"}}},
	}}
}
