package gitward.provenance.own_change_test

import data.gitward.provenance.fixture_test as fixture
import data.gitward.provenance.own_change

merge(signers) := object.union(fixture.signed(signers), {"provenance": {"parents": ["77ce01a", "8c1e002"]}})

test_denies_the_authors_own_signature if {
	own_change.deny == {{
		"msg": "commit 4f2a91c is signed by nobody but its author",
		"fix": "have the reviewer merge, squash or rebase it, and sign that with their own key",
	}} with input as fixture.update
}

test_denies_signers_who_are_nobody if {
	every signers in [[], [object.union(fixture.bob, {"name": "build key"})], [object.union(fixture.ada, {"name": "Ada <ADA@example.org>"})]] {
		count(own_change.deny) == 1 with input as fixture.signed(signers)
	}
}

test_denies_an_author_without_an_address if {
	count(own_change.deny) == 1 with input as object.union(fixture.signed([fixture.bob]), {"provenance": {"author": {"email": ""}}})
}

test_denies_what_nothing_in_git_stands_behind if {
	count(own_change.deny) == 1 with input as fixture.unknown
}

test_denies_a_merge if {
	own_change.deny == {{
		"msg": "commit 4f2a91c is a merge: it does not say whose changes its signer approves",
		"fix": "sign the commits of the branch and merge them as they are, or list the forge's key in parameter provenance.mergers",
	}} with input as merge([fixture.bob])
}

test_allows_a_reviewers_signature if {
	own_change.deny == set() with input as fixture.signed([fixture.bob])
	own_change.deny == set() with input as fixture.signed([fixture.ada, fixture.bob])
}

test_allows_a_merge_by_those_listed if {
	own_change.deny == set() with input as merge([fixture.bob]) with data.parameters.provenance.mergers as ["B0B"]
	own_change.deny == set() with input as merge([fixture.ada]) with data.parameters.provenance.mergers as ["ada@example.org"]
}

test_allows_what_git_cannot_answer_for if {
	own_change.deny == set() with input as fixture.exempt
}

# merging brings in a commit that its author has signed.
merging(signers, author, branch) := object.union(merge(signers), {"provenance": {"author": {"email": "ada@example.org"}, "merged": [{
	"commit": "8c1e002",
	"author": {"name": "somebody", "email": author},
	"signers": branch,
}]}})

test_allows_a_merge_of_what_somebody_else_signed if {
	own_change.deny == set() with input as merging([fixture.bob], "ada@example.org", [fixture.ada])
	own_change.deny == set() with input as merging([fixture.ada], "bob@example.org", [fixture.bob])
}

test_denies_a_merge_of_ones_own if {
	count(own_change.deny) == 1 with input as merging([fixture.ada], "ada@example.org", [fixture.ada])
	count(own_change.deny) == 1 with input as merging([fixture.ada], "ada@example.org", [fixture.bob])
	count(own_change.deny) == 1 with input as merging([fixture.bob], "ada@example.org", [fixture.bob])
}
