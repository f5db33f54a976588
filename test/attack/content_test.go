package attack

import (
	"strings"
	"testing"

	"github.com/gitward/gitward/gate"
)

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: registry.example/web:1
        args: [--a, --b]
        env: [{name: A, value: "1"}, {name: B, value: $(A)}]
        ports: [{containerPort: 80}, {containerPort: 81}]
`

const foos = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: foos.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Foo, plural: foos}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            x-kubernetes-preserve-unknown-fields: true
            properties:
              rules:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [a, b]
                items:
                  type: object
                  required: [a, b]
                  properties: {a: {type: string}, b: {type: string}, allow: {type: boolean}}
              tls:
                type: object
                properties: {mode: {type: string, default: strict}}
              note: {type: string, nullable: true}
`

// edits change one thing that Git does not say. lax tells that the naive check
// lets it pass; where it does not, the attack is here for another reason.
var edits = []struct {
	name, git, object string
	lax               bool
}{
	{"a container more", deployment, strings.Replace(deployment, "      - name: web\n", "      - {name: miner, image: evil}\n      - name: web\n", 1), true},
	{"containers twice", deployment, deployment + "      - {name: web, image: evil}\n", true},
	{"a variable twice, the last counts", deployment, strings.Replace(deployment, "value: $(A)}]", "value: $(A)}, {name: A, value: evil}]", 1), true},
	{"variables in another order", deployment, strings.Replace(deployment, `{name: A, value: "1"}, {name: B, value: $(A)}`, `{name: B, value: $(A)}, {name: A, value: "1"}`, 1), true},
	{"arguments in another order", deployment, strings.Replace(deployment, "[--a, --b]", "[--b, --a]", 1), true},
	{"a host port", deployment, strings.Replace(deployment, "{containerPort: 80}", "{containerPort: 80, hostPort: 80}", 1), true},
	{"a port under another protocol", deployment, strings.Replace(deployment, "{containerPort: 81}", "{containerPort: 81}, {containerPort: 81, protocol: UDP}", 1), true},
	{"host network", deployment, deployment + "      hostNetwork: true\n", true},
	{"a label that looks like a path", deployment, strings.Replace(deployment, "labels: {app: web}}\nspec", "labels: {app: web, spec.replicas: \"1\"}}\nspec", 1), true},
	{"deny all turned into allow all",
		"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: web, namespace: shop}\nspec: {podSelector: {}, policyTypes: [Ingress]}\n",
		"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: web, namespace: shop}\nspec: {podSelector: {}, policyTypes: [Ingress], ingress: [{}]}\n", true},
	{"a verb moved to another resource", role("[{apiGroups: [''], resources: [configmaps], verbs: [get, delete]}, {apiGroups: [''], resources: [secrets], verbs: [list]}]"),
		role("[{apiGroups: [''], resources: [configmaps], verbs: [list]}, {apiGroups: [''], resources: [secrets], verbs: [get, delete]}]"), true},
	{"text for a number", foo("{n: 1}"), foo(`{n: "1"}`), true},
	{"text for a truth", foo("{n: true}"), foo(`{n: "true"}`), true},
	{"a number past exactness", foo("{n: 9007199254740993}"), foo("{n: 9007199254740992}"), true},
	{"nothing for null", foo("{note: null, n: 1}"), foo("{n: 1}"), false},
	{"an empty list for none", foo("{n: 1}"), foo("{n: 1, deny: []}"), true},
	{"an empty map for none", foo("{n: 1}"), foo("{n: 1, allow: {}}"), true},
	{"null for none", foo("{n: 1}"), foo("{n: 1, other: null}"), true},
	{"a list for a map", foo("{n: {a: 1}}"), foo("{n: [{a: 1}]}"), true},
	{"keys that join to one text", foo(`{rules: [{a: "x,y", b: z, allow: true}]}`), foo(`{rules: [{a: x, b: "y,z", allow: true}]}`), false},
	{"an item twice", foo("{rules: [{a: x, b: y, allow: false}]}"), foo("{rules: [{a: x, b: y, allow: false}, {a: x, b: y, allow: true}]}"), true},
	{"a null item", foo("{rules: [{a: x, b: y}]}"), foo("{rules: [{a: x, b: y}, null]}"), true},
	{"an item without its keys", foo("{rules: [{a: x, b: y}]}"), foo("{rules: [{a: x, b: y}, {allow: true}]}"), true},
	{"a field without a name", foo("{n: 1}"), foo("{n: 1, '': evil}"), true},
	{"a name that hides in another", foo("{a: {b: 1}}"), foo("{a: {b: 1}, a.b: 2}"), true},
	{"status where it is content", foo("{n: 1}"), foo("{n: 1}") + "status: {approved: true}\n", true},
	{"an owner", cm("1"), strings.Replace(cm("1"), "namespace: shop}", "namespace: shop, ownerReferences: [{apiVersion: v1, kind: Pod, name: x, uid: u-1}]}", 1), true},
	{"a finalizer", cm("1"), strings.Replace(cm("1"), "namespace: shop}", "namespace: shop, finalizers: [evil.example/stay]}", 1), true},
	{"a finalizer of another kind", cm("1"), strings.Replace(cm("1"), "namespace: shop}", "namespace: shop, finalizers: [kubernetes.io/pvc-protection]}", 1), true},
	{"a Flux label without Flux", cm("1"), strings.Replace(cm("1"), "namespace: shop}", "namespace: shop, labels: {kustomize.toolkit.fluxcd.io/name: x}}", 1), true},
	{"a tracking id without Argo CD", cm("1"), strings.Replace(cm("1"), "namespace: shop}", "namespace: shop, annotations: {argocd.argoproj.io/tracking-id: 'x:/ConfigMap:shop/web'}}", 1), true},
	{"last-applied of another object", cm("1"), strings.Replace(cm("1"), "namespace: shop}",
		`namespace: shop, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"web","namespace":"shop"},"data":{"value":"1","gone":"1"}}'}}`, 1), true},
	{"last-applied that is no JSON", cm("1"), strings.Replace(cm("1"), "namespace: shop}",
		`namespace: shop, annotations: {kubectl.kubernetes.io/last-applied-configuration: 'x'}}`, 1), true},
	{"immutable", cm("1"), cm("1") + "immutable: true\n", true},
	{"binary data", cm("1"), cm("1") + "binaryData: {x: aGk=}\n", true},
	{"a default inside a CRD", foos, strings.Replace(foos, "default: strict", "default: none", 1), false},
	{"a revision's raw data", "apiVersion: apps/v1\nkind: ControllerRevision\nmetadata: {name: r, namespace: shop}\nrevision: 1\ndata: {a: 1}\n",
		"apiVersion: apps/v1\nkind: ControllerRevision\nmetadata: {name: r, namespace: shop}\nrevision: 1\ndata: {a: 1, b: []}\n", true},
}

func role(rules string) string {
	return "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: r}\nrules: " + rules + "\n"
}

func foo(spec string) string {
	return "apiVersion: example.com/v1\nkind: Foo\nmetadata: {name: web, namespace: shop}\nspec: " + spec + "\n"
}

func TestContentThatGitDoesNotHold(t *testing.T) {
	for _, e := range edits {
		t.Run(e.name, func(t *testing.T) {
			if got := naive(t, e.git, e.object); got != e.lax {
				t.Fatalf("the naive check lets it pass: %v", got)
			}
			c := git(t, e.git, foos)
			good, evil := c.served(e.git), e.object
			if !strings.Contains(e.name, "twice") && !strings.Contains(e.name, "null item") && !strings.Contains(evil, "kind: Foo\n") {
				evil = c.served(evil)
			}
			admitted(t, c.decide(write(t, "", good)))
			refused(t, c.decide(write(t, "", evil)), gate.Differs)
			refused(t, c.decide(write(t, good, evil)), gate.Differs)
			// Once it is there by other means, it is drift, and mended freely.
			d := c.decide(write(t, evil, evil))
			if d.Traced && !strings.Contains(e.name, "last-applied") { // an applier's old note says nothing of the object
				t.Error("what differs from Git counts as traced")
			}
			admitted(t, c.decide(write(t, evil, good)))
		})
	}
}

// What an old difference excuses is that difference, not a change of it.
func TestDriftExcusesNoOtherDrift(t *testing.T) {
	c := git(t, deployment)
	with := func(image string, more string) string {
		return c.served(strings.Replace(deployment, "registry.example/web:1", image, 1) + more)
	}
	admitted(t, c.decide(write(t, with("evil:1", ""), with("evil:1", ""))))
	refused(t, c.decide(write(t, with("evil:1", ""), with("evil:2", ""))), gate.Differs)
	refused(t, c.decide(write(t, with("evil:1", ""), with("evil:1", "      hostPID: true\n"))), gate.Differs)
	// The old state's difference stands under one key, the new one under another.
	two := strings.Replace(deployment, "name: web\n        image", "name: web2\n        image", 1)
	refused(t, c.decide(write(t, c.served(two), c.served(strings.Replace(two, "name: web2", "name: web3", 1)))), gate.Differs)
}

// What the request says of itself and what its object says must agree.
func TestNamesThatDisagree(t *testing.T) {
	c := git(t, cm("1"))
	for name, change := range map[string]func(*gate.Request){
		"name":      func(r *gate.Request) { r.Object = toJSON(t, strings.Replace(cm("1"), "name: web,", "name: evil,", 1)) },
		"namespace": func(r *gate.Request) { r.Object = toJSON(t, strings.Replace(cm("1"), "shop", "kube-system", 1)) },
		"kind":      func(r *gate.Request) { r.Object = toJSON(t, strings.Replace(cm("1"), "ConfigMap", "Secret", 1)) },
		"version":   func(r *gate.Request) { r.Object = toJSON(t, strings.Replace(cm("1"), "v1", "v2", 1)) },
		"generateName": func(r *gate.Request) {
			r.Name, r.Object = "", toJSON(t, strings.Replace(cm("1"), "name: web,", "generateName: we,", 1))
		},
	} {
		r := write(t, "", cm("1"))
		change(r)
		if d := c.decide(r); d.Allowed {
			t.Errorf("%s: admitted", name)
		}
	}
}

// Another group's kind of the same name is another kind.
func TestKindsOfTheSameName(t *testing.T) {
	crd := strings.NewReplacer("foos.example.com", "deployments.evil.example", "group: example.com", "group: evil.example",
		"kind: Foo", "kind: Deployment", "plural: foos", "plural: deployments").Replace(foos)
	c := git(t, deployment, crd)
	other := strings.Replace(deployment, "apps/v1", "evil.example/v1", 1)
	refused(t, c.decide(write(t, "", other)), gate.NotInGit)
	refused(t, c.decide(removal(t, deployment)), gate.StillInGit)
}
