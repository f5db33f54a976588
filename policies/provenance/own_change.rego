# METADATA
# title: Nobody approves their own change
# description: |
#   Somebody other than the author signs a commit: the reviewer who squashes, rebases or
#   applies it. A merge commit is its merger's own, and does not say whose work it brings
#   in, so that it proves nothing here; only those listed may sign one.
#
#   It proves that a key signed that is not trusted as the author whom the commit claims. The
#   claim is free text: a signer who puts another name there is not found out by this. Where
#   that matters ask for two signers, which are keys and not claims. A signer counts as
#   somebody only with an address in the name that the Origin trusts the key as.
#
#   Parameter provenance.mergers lists the signers, by name or key id, whose merge commits
#   count: the key of a forge that merges only what somebody else approved. Default: none.
#
#   What breaks: authors who sign and push, merge commits, bots.
# custom:
#   severity: high
#   gitward:
#     action: deny
#     match:
#       kinds:
#         - {apiGroups: ["*"], kinds: ["*"]}
package gitward.provenance.own_change

import data.gitward.provenance.change

deny contains {"msg": msg, "fix": fix} if {
	change.judged
	not merge
	count(others) == 0
	msg := sprintf("commit %s is signed by nobody but its author", [change.commit])
	fix := "have the reviewer squash or rebase it, and sign that with their own key"
}

deny contains {"msg": msg, "fix": fix} if {
	change.judged
	merge
	count([signer | some signer in input.provenance.signers; change.listed(signer, mergers)]) == 0
	msg := sprintf("commit %s is a merge: it does not say whose changes its signer approves", [change.commit])
	fix := "squash or rebase instead of merging, or list the forge's key in parameter provenance.mergers"
}

merge if input.provenance.parents[1]

others := [signer |
	some signer in input.provenance.signers
	contains(signer.name, "@")
	author := lower(input.provenance.author.email)
	not contains(lower(signer.name), author)
]

default mergers := []

mergers := data.parameters.provenance.mergers
