# METADATA
# title: Production needs two signers
# description: |
#   What goes into production is signed by two people: no one person, and no one stolen key,
#   brings anything in. It counts the names that the Origin trusts the keys as, so two keys
#   of one person count once.
#
#   It proves that keys which are trusted under that many names signed; who holds them the
#   Origin's list of signers says. A git commit has room for one signature: the second is
#   that of a merged commit which has all that the merge changes just as the merge has it.
#   So the author signs the branch, and who merges it, without fast-forward, signs the merge.
#
#   Parameters provenance.production.namespaces (names; default none; an empty one stands
#   for what is in no namespace) and provenance.production.labels (of the namespace; default
#   environment: production) say what production is; provenance.signers how many (default 2).
#
#   What breaks: every commit with one signature, those of bots too, and merges that mend
#   something on the way.
# custom:
#   severity: high
#   gitward:
#     action: deny
#     match:
#       kinds:
#         - {apiGroups: ["*"], kinds: ["*"]}
package gitward.provenance.two_signers

import data.gitward.provenance.change

deny contains {"msg": msg, "fix": fix} if {
	production
	change.judged
	count(change.signers) < needed
	msg := sprintf("commit %s is signed by %d of the %d people that production needs", [change.commit, count(change.signers), needed])
	fix := sprintf("have %d more sign it: its author the branch, and the reviewer the merge commit (git merge --no-ff -S)", [needed - count(change.signers)])
}

production if change.namespace in data.parameters.provenance.production.namespaces

production if {
	some key, value in labels
	change.labelled(key, value)
}

default labels := {"environment": "production"}

labels := data.parameters.provenance.production.labels

default needed := 2

needed := data.parameters.provenance.signers
