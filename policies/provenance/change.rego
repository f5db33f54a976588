# Who stands behind a request, and where it goes.
package gitward.provenance.change

# judged are the requests that somebody has to answer for with a commit. What has no
# provenance is judged too, and found wanting.
judged if not spared

# spared: an emergency, on an object that Git declares.
spared if input.provenance.level == "exempt"

# What nobody can commit: the deletion of what Git does not declare, what a controller
# or an autoscaler sets of an object that it does not declare, what the Gate's rules let
# somebody do, an emergency.
spared if {
	not input.provenance
	input.reason in {"BreakGlass", "Controller", "Live", "NotDeclared", "Rule", "Server", "Stamp"}
}

# voices are the signatures that vouch for what the commit brings in: its own, and of a
# merge those of the merged commits that have the very same.
voices := array.concat(own, merged)

own := [signer | some signer in input.provenance.signers]

merged := [signer | some commit in input.provenance.merged; some signer in commit.signers]

# signers are people: two keys of one name are one.
signers := {person(signer) | some signer in voices}

person(signer) := lower(signer.name) if signer.name != ""

person(signer) := signer.id if object.get(signer, "name", "") == ""

# shown is a signer in a message: with the name, for a key id is hard to tell.
shown(signer) := sprintf("%s (%s)", [object.get(signer, "name", ""), object.get(signer, "id", "")])

# listed: by key id, or by the name that the key is trusted as.
listed(signer, list) if signer.id in list

listed(signer, list) if signer.name in list

default commit := "of nobody"

commit := substring(input.provenance.commit, 0, 7)

# namespace is where it goes; a Namespace goes into itself.
namespace := input.request.name if namespaced_by_itself

namespace := object.get(input.request, "namespace", "") if not namespaced_by_itself

namespaced_by_itself if {
	input.request.kind.kind == "Namespace"
	input.request.kind.group == ""
}

# labelled has the labels of the namespace: of a Namespace itself those that it had
# and those that it gets, so that taking one off is judged by it.
labelled(key, value) if input.namespace.labels[key] == value

labelled(key, value) if {
	namespaced_by_itself
	some field in ["object", "oldObject"]
	input.request[field].metadata.labels[key] == value
}
