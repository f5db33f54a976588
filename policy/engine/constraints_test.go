package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gitward/gitward/policy"
)

const always = `
apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: always}
spec:
  crd: {spec: {names: {kind: Always}}}
  targets:
    - target: admission.k8s.gatekeeper.sh
      rego: |
        package always

        violation[{"msg": "always"}] { true }
`

// engineOf compiles files that are good.
func engineOf(t testing.TB, files map[string]string) *Engine {
	t.Helper()
	f := policy.Files{}
	for name, text := range files {
		f[name] = []byte(text)
	}
	e, problems := Read(f).Engine()
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return e
}

// TestMatch has a constraint that finds fault with everything it is asked about.
// The same match above a package must do the same.
func TestMatch(t *testing.T) {
	const (
		deployment = "object: {apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop, labels: {app: web}}}\nnamespace: {name: shop, labels: {tier: one}}"
		cluster    = "object: {apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: web}}"
		namespace  = "object: {apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {tier: one}}}"
		generated  = "object: {apiVersion: v1, kind: Pod, metadata: {generateName: web-, namespace: shop}}\nnamespace: {name: shop}"
		relabelled = "operation: UPDATE\nobject: {apiVersion: v1, kind: Secret, metadata: {name: a, namespace: shop}}\noldObject: {apiVersion: v1, kind: Secret, metadata: {name: a, namespace: shop, labels: {app: web}}}\nnamespace: {name: shop}"
		homeless   = "object: {apiVersion: v1, kind: Pod, metadata: {name: a, namespace: shop}}"
	)
	for _, test := range []struct {
		match, request string
		want           int
	}{
		{"{}", deployment, 1},
		{"{kinds: [{apiGroups: [apps], kinds: [Deployment]}]}", deployment, 1},
		{"{kinds: [{apiGroups: ['*'], kinds: [Deployment]}]}", deployment, 1},
		{"{kinds: [{apiGroups: [''], kinds: [Deployment]}]}", deployment, 0},
		{"{kinds: [{apiGroups: [apps], kinds: [StatefulSet]}]}", deployment, 0},
		{"{kinds: [{apiGroups: [''], kinds: [Pod]}, {apiGroups: [apps], kinds: ['*']}]}", deployment, 1},
		{"{namespaces: [shop]}", deployment, 1},
		{"{namespaces: ['sh*']}", deployment, 1},
		{"{namespaces: ['*op']}", deployment, 1},
		{"{namespaces: [other]}", deployment, 0},
		{"{excludedNamespaces: [shop]}", deployment, 0},
		{"{excludedNamespaces: ['kube-*']}", deployment, 1},
		{"{namespaces: [shop]}", namespace, 1},
		{"{excludedNamespaces: [shop]}", namespace, 0},
		{"{namespaces: [shop]}", cluster, 1}, // Gatekeeper: what is in no namespace is not held to them
		{"{scope: Namespaced}", deployment, 1},
		{"{scope: Cluster}", deployment, 0},
		{"{scope: Cluster}", cluster, 1},
		{"{scope: Namespaced}", cluster, 0},
		{"{labelSelector: {matchLabels: {app: web}}}", deployment, 1},
		{"{labelSelector: {matchLabels: {app: db}}}", deployment, 0},
		{"{labelSelector: {matchExpressions: [{key: app, operator: DoesNotExist}]}}", deployment, 0},
		{"{labelSelector: {matchLabels: {app: web}}}", relabelled, 1}, // the old object counts too
		{"{namespaceSelector: {matchLabels: {tier: one}}}", deployment, 1},
		{"{namespaceSelector: {matchLabels: {tier: two}}}", deployment, 0},
		{"{namespaceSelector: {matchLabels: {tier: one}}}", namespace, 1},
		{"{namespaceSelector: {matchLabels: {tier: one}}}", cluster, 1},
		{"{namespaceSelector: {matchLabels: {tier: one}}}", homeless, 1}, // nobody knows: an error, which counts
		{"{name: web}", deployment, 1},
		{"{name: 'w*'}", deployment, 1},
		{"{name: db}", deployment, 0},
		{"{name: 'web-*'}", generated, 1},
		{"{source: Original}", deployment, 1},
		{"{source: Generated}", deployment, 0},
		{"{kinds: [{apiGroups: [apps], kinds: [Deployment]}], namespaces: [other]}", deployment, 0},
	} {
		constraint := engineOf(t, map[string]string{"t.yaml": always,
			"c.yaml": "apiVersion: constraints.gatekeeper.sh/v1beta1\nkind: Always\nmetadata: {name: a}\nspec: {match: " + test.match + "}\n"})
		packaged := engineOf(t, map[string]string{"a.rego": "# METADATA\n# custom:\n#   gitward:\n#     match: " + test.match + "\npackage a\n\ndeny contains \"always\" if true\n"})
		ruled := engineOf(t, map[string]string{"a.rego": "package a\n\n# METADATA\n# custom:\n#   gitward:\n#     match: " + test.match + "\ndeny contains \"always\" if true\n"})
		for what, e := range map[string]*Engine{"a constraint": constraint, "a package": packaged, "a rule": ruled} {
			found := posed(t, []byte(test.request)).Evaluate(e.Policies()[0])
			if len(found) != test.want {
				t.Errorf("%s with %s, of %s: %v, want %d", what, test.match, test.request, found, test.want)
			}
		}
	}
}

// TestSchemaDefaults: a list of objects has its items' defaults.
func TestSchemaDefaults(t *testing.T) {
	template := strings.NewReplacer("crd: {spec: {names: {kind: Always}}}", `crd:
    spec:
      names: {kind: Always}
      validation:
        openAPIV3Schema:
          type: object
          properties:
            ports:
              type: array
              items: {type: object, properties: {port: {type: integer}, protocol: {type: string, default: TCP}}}
            big: {type: integer}`,
		`violation[{"msg": "always"}] { true }`, `violation[{"msg": msg}] { msg := json.marshal(input.parameters) }`).Replace(always)
	e := engineOf(t, map[string]string{"t.yaml": template,
		"c.yaml": "apiVersion: constraints.gatekeeper.sh/v1beta1\nkind: Always\nmetadata: {name: a}\nspec: {parameters: {ports: [{port: 80}], big: 4503599627370497}}\n"})
	found := posed(t, []byte("object: {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}")).Evaluate(e.Policies()[0])
	const want = `{"big":4503599627370497,"ports":[{"port":80,"protocol":"TCP"}]}`
	if len(found) != 1 || found[0].Message != want {
		t.Errorf("%v, want %s", found, want)
	}
}

// TestTemplatesApart: two templates may have the same packages, whose rules differ.
func TestTemplatesApart(t *testing.T) {
	one := strings.ReplaceAll(always, `{"msg": "always"}`, `{"msg": "one"}`)
	two := strings.NewReplacer(`{"msg": "always"}`, `{"msg": "two"}`, "name: always", "name: twice", "kind: Always", "kind: Twice").Replace(always)
	constraint := "apiVersion: constraints.gatekeeper.sh/v1beta1\nkind: %s\nmetadata: {name: a}\n"
	e := engineOf(t, map[string]string{"1.yaml": one, "2.yaml": two, "a.rego": "package always\n\nviolation contains \"three\" if true\n",
		"c.yaml": fmt.Sprintf(constraint, "Always"), "d.yaml": fmt.Sprintf(constraint, "Twice")})
	got := map[string]string{}
	v := posed(t, []byte("object: {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}"))
	for _, p := range e.Policies() {
		for _, f := range v.Evaluate(p) {
			got[f.Policy] += f.Message
		}
	}
	if got["Always/a"] != "one" || got["Twice/a"] != "two" || got["always"] != "three" {
		t.Error(got)
	}
}
