# The requests that the tests beside this file ask about.
package gitward.provenance.fixture_test

ada := {"kind": "ssh", "id": "SHA256:ada", "name": "ada@example.org"}

bob := {"kind": "openpgp", "id": "B0B", "name": "Bob <bob@example.org>"}

# update of a Deployment in namespace shop, from a commit of Ada's.
update := {
	"request": {
		"operation": "UPDATE",
		"kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
		"namespace": "shop",
		"name": "web",
		"userInfo": {"username": "system:serviceaccount:flux-system:flux"},
		"oldObject": {"metadata": {"generation": 1}, "spec": {"replicas": 1}},
		"object": {"metadata": {"generation": 2}, "spec": {"replicas": 2}},
	},
	"namespace": {"name": "shop", "labels": {"environment": "production"}},
	"time": "2026-09-11T15:30:00Z",
	"provenance": {
		"origin": "team-shop",
		"commit": "4f2a91c8e07a4f2a91c8e07a4f2a91c8e07a4f2a",
		"parents": ["77ce01a8e07a4f2a91c8e07a4f2a91c8e07a4f2a"],
		"author": {"name": "Ada", "email": "ada@example.org"},
		"level": "exact",
		"signers": [ada],
	},
}

unknown := object.remove(update, ["provenance"])

signed(signers) := object.union(unknown, {"provenance": object.union(update.provenance, {"signers": signers})})

exempt := object.union(unknown, {"provenance": {"level": "exempt"}})

deletion := object.union(unknown, {"request": {"operation": "DELETE"}, "reason": "NotDeclared"})
