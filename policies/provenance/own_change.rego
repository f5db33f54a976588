# METADATA
# title: Nobody approves their own change
# description: |
#   Somebody other than the author signs a commit: the reviewer who squashes, rebases or
#   applies it, or who merges a signed commit as it is. A merge of what nobody trusted has
#   signed, or one that mends something on the way, does not say whose work it brings in;
#   only those listed may sign one.
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
	not blind
	count(others) == 0
	msg := sprintf("commit %s is signed by nobody but its author", [change.commit])
	fix := "have the reviewer merge, squash or rebase it, and sign that with their own key"
}

deny contains {"msg": msg, "fix": fix} if {
	change.judged
	blind
	count([signer | some signer in input.provenance.signers; change.listed(signer, mergers)]) == 0
	msg := sprintf("commit %s is a merge: it does not say whose changes its signer approves", [change.commit])
	fix := "sign the commits of the branch and merge them as they are, or list the forge's key in parameter provenance.mergers"
}

# blind is a merge that does not tell whose work it brings in.
blind if {
	input.provenance.parents[1]
	count(change.merged) == 0
}

# work is whose it is: who is claimed to have written it, and who signed the branch.
work contains lower(input.provenance.author.email) if count(change.merged) == 0

work contains lower(commit.author.email) if some commit in input.provenance.merged

signed_branch := {change.person(signer) | some signer in change.merged}

others := [signer |
	some signer in input.provenance.signers
	contains(signer.name, "@")
	not change.person(signer) in signed_branch
	count({author | some author in work; contains(lower(signer.name), author)}) == 0
]

default mergers := []

mergers := data.parameters.provenance.mergers
