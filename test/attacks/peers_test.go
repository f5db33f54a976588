package attacks

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// flatten is how a peer compares: every value by its path, as text.
func flatten(prefix string, v any, out map[string]bool) {
	switch x := v.(type) {
	case map[string]any:
		for k, f := range x {
			flatten(prefix+"."+k, f, out)
		}
	case []any:
		for _, f := range x {
			flatten(prefix+"[]", f, out)
		}
	default:
		out[prefix+"="+fmt.Sprint(v)] = true
	}
}

// flattened compares spec and rules value by value, without order or grouping.
func flattened(git, object map[string]any) bool {
	want, have := map[string]bool{}, map[string]bool{}
	for _, field := range []string{"spec", "rules", "data"} {
		flatten(field, git[field], want)
		flatten(field, object[field], have)
	}
	keys := func(m map[string]bool) []string {
		var all []string
		for k := range m {
			all = append(all, k)
		}
		slices.Sort(all)
		return all
	}
	return slices.Equal(keys(want), keys(have))
}

var flattens = &naive{mistake: "flattened values are compared", same: flattened}

const denyAll = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, namespace: $NS}\nspec: {podSelector: {}, policyTypes: [Ingress]}\n"

// TestPeerNetworkPolicy: an empty rule is no value at all where values are
// flattened, and lets everything in.
func TestPeerNetworkPolicy(t *testing.T) {
	path := "/apis/networking.k8s.io/v1/namespaces/$NS/networkpolicies/deny"
	w := newWorld(t, map[string]string{"deny.yaml": denyAll})
	w.play(flattens, attack{name: "deny-all gains ingress: [{}]", calls: []call{merge(path, `{"spec":{"ingress":[{}]}}`)},
		want: "Differs", says: "NetworkPolicy $NS/deny differs from Git: spec.ingress"})
}

const role = `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: $NS}
rules:
- {apiGroups: [""], resources: [configmaps], verbs: [get, delete]}
- {apiGroups: [""], resources: [secrets], verbs: [list]}
`

// TestPeerRoleVerb: each value is there as before, only elsewhere.
func TestPeerRoleVerb(t *testing.T) {
	path := "/apis/rbac.authorization.k8s.io/v1/namespaces/$NS/roles/reader"
	moved := strings.NewReplacer("[get, delete]", "[list]", "[list]", "[get, delete]").Replace(role)
	w := newWorld(t, map[string]string{"role.yaml": role})
	w.play(flattens, attack{name: "an RBAC verb moves from configmaps to secrets", calls: []call{put(path, moved)},
		by: "cluster-admin", people: administrators, want: "Differs", says: "Role $NS/reader differs from Git: rules"})
}

// TestPeerFlattening: what flattening blurs otherwise.
func TestPeerFlattening(t *testing.T) {
	path := "/apis/apps/v1/namespaces/$NS/deployments/web"
	args := func(list string) string {
		return strings.Replace(deployment("web", "registry.example.org/web:1"), `web:1"`, `web:1", args: `+list, 1)
	}
	w := newWorld(t, map[string]string{"web.yaml": args(`["--allow", "10.0.0.0/8", "--deny", "0.0.0.0/0"]`), "prices.yaml": configMap("prices", "1")})
	same := func(git, object map[string]any) bool {
		want, have := map[string]bool{}, map[string]bool{}
		flatten("", git["spec"], want)
		flatten("", object["spec"], have)
		for k := range want {
			if !have[k] {
				return false
			}
		}
		return true
	}
	w.play(&naive{mistake: "flattened values are compared", same: same},
		attack{name: "arguments in another order", calls: []call{strategic(path,
			`{"spec":{"template":{"spec":{"containers":[{"name":"web","args":["--allow","0.0.0.0/0","--deny","10.0.0.0/8"]}]}}}}`)},
			want: "Differs", says: "Deployment $NS/web differs from Git: spec.template.spec.containers[web].args"},
		attack{name: "a container more with the same values", calls: []call{strategic(path,
			`{"spec":{"template":{"spec":{"containers":[{"name":"miner","image":"evil"}]}}}}`)},
			want: "Differs", says: "Deployment $NS/web differs from Git: spec.template.spec.containers[miner]"},
		attack{name: "host network beside all declared values", calls: []call{strategic(path, `{"spec":{"template":{"spec":{"hostNetwork":true}}}}`)},
			want: "Differs", says: "spec.template.spec.hostNetwork"})
}

// TestPeerEvidenceByTheObject: the object says what it is to be compared with.
func TestPeerEvidenceByTheObject(t *testing.T) {
	const source = "cosign.sigstore.dev/message"
	w := newWorld(t, map[string]string{"prices.yaml": configMap("prices", "1")})
	chooses := &naive{mistake: "an annotation names the evidence", excuse: func(r *review) bool {
		return r.object != nil && (r.object.GetAnnotations()[source] != "" || r.object.GetLabels()["ignore-check"] == "true")
	}}
	w.play(chooses,
		attack{name: "evidence chosen by an annotation", calls: []call{create(
			"{apiVersion: v1, kind: ConfigMap, metadata: {name: mine, namespace: $NS, annotations: {cosign.sigstore.dev/message: of-another-object}}}")},
			want: "NotInGit", says: "ConfigMap $NS/mine is not in Git"},
		attack{name: "opted out by a label", calls: []call{create(
			"{apiVersion: v1, kind: ConfigMap, metadata: {name: other, namespace: $NS, labels: {ignore-check: 'true'}}}")},
			want: "NotInGit", says: "ConfigMap $NS/other is not in Git"},
		attack{name: "an edit under an annotation that names Git", calls: []call{merge("/api/v1/namespaces/$NS/configmaps/prices",
			`{"data":{"apple":"0"},"metadata":{"annotations":{"cosign.sigstore.dev/message":"x","kustomize.toolkit.fluxcd.io/reconcile":"disabled"}}}`)},
			want: "Differs", says: "ConfigMap $NS/prices differs from Git: data.apple"})
}

// TestPeerOwnerReference: whoever writes an ownerReference is believed.
func TestPeerOwnerReference(t *testing.T) {
	w := newWorld(t, map[string]string{"web.yaml": deployment("web", "registry.example.org/web:1")})
	w.play(trustsOwners, attack{name: "a Pod under an owner of Git's", calls: []call{create(owned(pod("mine", "evil"),
		"{apiVersion: apps/v1, kind: Deployment, name: web, uid: $UID(/apis/apps/v1/namespaces/$NS/deployments/web), controller: true}"))},
		want: "NotDerived", says: "Pod $NS/mine names Deployment web as its owner"})
}
