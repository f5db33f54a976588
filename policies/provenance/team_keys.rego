# METADATA
# title: Only the team's keys touch its namespaces
# description: |
#   A namespace belongs to a team, and only commits signed by that team go into it, whatever
#   repository they are in: all signers are of the team, and there is at least one.
#
#   Parameter provenance.teams lists who: [{namespaces: [shop, shop-*], signers:
#   ["SHA256:9uKx…", ada@example.org]}]. Signers are key ids or the names that the Origin
#   trusts the keys as; a name is only as good as the Origin's list. A namespace that several
#   entries have may be touched by the signers of each. Default: none, and then the policy
#   says nothing.
#
#   What breaks: changes of a platform team to all namespaces. List its keys too.
# custom:
#   severity: high
#   gitward:
#     action: deny
#     match:
#       kinds:
#         - {apiGroups: ["*"], kinds: ["*"]}
package gitward.provenance.team_keys

import data.gitward.provenance.change

deny contains {"msg": msg, "fix": fix} if {
	change.judged
	teams != []
	some signer in change.voices
	not change.listed(signer, members)
	msg := sprintf("commit %s is signed by %s, who may not touch namespace %q", [change.commit, change.shown(signer), change.namespace])
	fix := "have it signed by the team that the namespace belongs to"
}

deny contains {"msg": msg, "fix": fix} if {
	change.judged
	teams != []
	count(change.own) == 0
	msg := sprintf("commit %s is signed by nobody, and namespace %q belongs to a team", [change.commit, change.namespace])
	fix := "have it signed by the team that the namespace belongs to"
}

teams := [team |
	some team in data.parameters.provenance.teams
	some pattern in team.namespaces
	glob.match(pattern, [], change.namespace)
]

members := {signer | some team in teams; some signer in team.signers}
