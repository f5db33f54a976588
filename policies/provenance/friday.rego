# METADATA
# title: No change on Friday after four
# description: |
#   What is changed before a free evening breaks in it. The clock of the request counts, for
#   a commit may claim any time. Only what people bring in waits: Pods that a controller
#   makes, an autoscaler's replicas, what Kubernetes' own controllers write, and updates of
#   nothing but metadata and status go on, and so does an emergency (break-glass) on an
#   object that Git declares.
#
#   It also holds back an applier that puts back, on Friday night, what somebody deleted: a
#   creation looks the same as the first one.
#
#   Parameter provenance.freeze lists when: [{day: Friday, from: 16, to: 24}], in whole hours;
#   without from and to it is the whole day. Parameter provenance.timezone is of the IANA
#   list (default UTC). A time zone that does not exist makes the policy fail, and that
#   denies.
#
#   What breaks: releases on Friday evening.
# custom:
#   severity: low
#   gitward:
#     action: deny
#     match:
#       kinds:
#         - {apiGroups: ["*"], kinds: ["*"]}
package gitward.provenance.friday

import data.gitward.provenance.change

deny contains {"msg": msg, "fix": fix} if {
	change.judged
	some window in windows
	lower(now.day) == lower(window.day)
	now.hour >= object.get(window, "from", 0)
	now.hour < object.get(window, "to", 24)
	not by_itself
	msg := sprintf("commit %s comes on %s at %d o'clock (%s), when nothing is changed", [change.commit, now.day, now.hour, zone])
	fix := sprintf("wait until %s at %d o'clock, or change parameter provenance.freeze in Git", [window.day, object.get(window, "to", 24)])
}

deny contains {"msg": msg, "fix": fix} if {
	change.judged
	not by_itself
	not now
	msg := "the time of the request is not known"
	fix := "ask with input.time, in RFC 3339"
}

now := {"day": time.weekday([at, zone]), "hour": time.clock([at, zone])[0]} if at := time.parse_rfc3339_ns(input.time)

# by_itself are requests that nobody brought in just now.
by_itself if input.derived

by_itself if {
	input.request.operation == "UPDATE"
	is_object(input.request.oldObject)
	content(input.request.object) == content(input.request.oldObject)
}

# What has Git for a reason is not listed in input.changes, so the list alone does not
# say that nothing came from there: it has to be a controller who asks, too.
by_itself if {
	input.request.operation == "UPDATE"
	strings.any_prefix_match(input.request.userInfo.username, ["system:serviceaccount:kube-system:", "system:kube-", "system:node:"])
	count(input.changes) > 0
	every field in input.changes {
		field.reason in {"Controller", "Live", "Platform", "Rule", "Server", "Stamp"}
	}
}

content(state) := {field: value | some field, value in state; not field in {"metadata", "status"}}

default windows := [{"day": "Friday", "from": 16, "to": 24}]

windows := data.parameters.provenance.freeze

default zone := "UTC"

zone := data.parameters.provenance.timezone
