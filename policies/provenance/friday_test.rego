package gitward.provenance.friday_test

import data.gitward.provenance.fixture_test as fixture
import data.gitward.provenance.friday

late := object.union(fixture.update, {"time": "2026-09-11T16:00:00Z"})

test_denies_at_four if {
	friday.deny == {{
		"msg": "commit 4f2a91c comes on Friday at 16 o'clock (UTC), when nothing is changed",
		"fix": "wait until Friday at 24 o'clock, or change parameter provenance.freeze in Git",
	}} with input as late
}

test_denies_in_another_time_zone if {
	friday.deny == {{
		"msg": "commit 4f2a91c comes on Friday at 17 o'clock (Europe/Berlin), when nothing is changed",
		"fix": "wait until Friday at 24 o'clock, or change parameter provenance.freeze in Git",
	}} with input as fixture.update with data.parameters.provenance.timezone as "Europe/Berlin"
}

test_denies_at_other_times if {
	count(friday.deny) == 1 with input as object.union(fixture.update, {"time": "2026-09-13T03:00:00Z"})
		with data.parameters.provenance.freeze as [{"day": "Saturday"}, {"day": "sunday"}]
}

test_denies_creations_and_what_nothing_in_git_stands_behind if {
	count(friday.deny) == 1 with input as object.union(late, {"request": {"operation": "CREATE"}, "changes": []})
	count(friday.deny) == 1 with input as object.remove(late, ["provenance"])
}

test_denies_without_a_clock if {
	friday.deny == {{
		"msg": "the time of the request is not known",
		"fix": "ask with input.time, in RFC 3339",
	}} with input as object.remove(late, ["time"])
}

test_denies_appliers_that_leave_stamps if {
	count(friday.deny) == 1 with input as object.union(late, {"changes": [{"path": "metadata.annotations", "reason": "Stamp"}]})
}

test_allows_before_four_and_on_other_days if {
	every moment in ["2026-09-11T15:59:59Z", "2026-09-10T20:00:00Z", "2026-09-12T00:00:00Z"] {
		friday.deny == set() with input as object.union(fixture.update, {"time": moment})
	}
}

test_allows_what_goes_on_by_itself if {
	friday.deny == set() with input as object.union(late, {"derived": {"kind": "Deployment", "namespace": "shop", "name": "web", "group": "apps"}})
	friday.deny == set() with input as object.union(late, {"request": {"object": {"metadata": {"labels": {"a": "b"}}, "spec": {"replicas": 1}, "status": {"replicas": 1}}}})
	friday.deny == set() with input as object.union(late, {
		"request": {"userInfo": {"username": "system:serviceaccount:kube-system:persistent-volume-binder"}},
		"changes": [{"path": "spec.volumeName", "reason": "Controller"}],
	})
	friday.deny == set() with input as object.union(fixture.exempt, {"time": late.time})
}
