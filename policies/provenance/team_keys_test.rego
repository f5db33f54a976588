package gitward.provenance.team_keys_test

import data.gitward.provenance.fixture_test as fixture
import data.gitward.provenance.team_keys

teams := [
	{"namespaces": ["shop", "shop-*"], "signers": ["SHA256:ada"]},
	{"namespaces": ["bank"], "signers": ["Bob <bob@example.org>"]},
]

test_denies_strangers if {
	team_keys.deny == {{
		"msg": `commit 4f2a91c is signed by Bob <bob@example.org> (B0B), who may not touch namespace "shop"`,
		"fix": "have it signed by the team that the namespace belongs to",
	}} with input as fixture.signed([fixture.bob]) with data.parameters.provenance.teams as teams
}

test_denies_a_stranger_beside_the_team if {
	count(team_keys.deny) == 1 with input as fixture.signed([fixture.ada, fixture.bob]) with data.parameters.provenance.teams as teams
	count(team_keys.deny) == 1 with input as fixture.signed([fixture.ada, {"kind": "ssh", "id": "SHA256:x"}]) with data.parameters.provenance.teams as teams
}

test_denies_what_nothing_in_git_stands_behind if {
	team_keys.deny == {{
		"msg": `commit of nobody is signed by nobody, and namespace "shop" belongs to a team`,
		"fix": "have it signed by the team that the namespace belongs to",
	}} with input as fixture.unknown with data.parameters.provenance.teams as teams
}

test_denies_by_pattern if {
	count(team_keys.deny) == 1 with input as object.union(fixture.signed([fixture.bob]), {"request": {"namespace": "shop-eu"}})
		with data.parameters.provenance.teams as teams
}

test_allows_the_team if {
	team_keys.deny == set() with input as fixture.update with data.parameters.provenance.teams as teams
	team_keys.deny == set() with input as fixture.signed([{"kind": "ssh", "id": "SHA256:ada"}]) with data.parameters.provenance.teams as teams
	team_keys.deny == set() with input as object.union(fixture.signed([fixture.bob]), {"request": {"namespace": "bank"}})
		with data.parameters.provenance.teams as teams
}

test_allows_everybody_where_no_team_is if {
	team_keys.deny == set() with input as object.union(fixture.signed([fixture.bob]), {"request": {"namespace": "shopping"}})
		with data.parameters.provenance.teams as teams
	team_keys.deny == set() with input as fixture.update
}

test_allows_what_git_cannot_answer_for if {
	team_keys.deny == set() with input as fixture.exempt with data.parameters.provenance.teams as teams
}
