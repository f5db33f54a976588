package attack

import (
	"strings"
	"testing"
	"time"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
)

// Ways round by another version, a name to be made up, and a clock that went
// back.

const twoVersions = `
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
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {image: {type: string}, readOnly: {type: boolean}}}}}}
  - name: v1alpha1
    served: true
    storage: false
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {image: {type: string}}}}}}
`

func TestOlderVersionHidesNothing(t *testing.T) {
	c := git(t, foo("{image: a, readOnly: true}"), twoVersions)
	evil := strings.Replace(foo("{image: a}"), "example.com/v1", "example.com/v1alpha1", 1)
	refused(t, c.decide(write(t, "", evil)), gate.NotComparable)
	refused(t, c.decide(write(t, evil, evil)), gate.NotComparable)
}

func TestNamespaceWithAGeneratedName(t *testing.T) {
	c := git(t, cm("1"))
	c.rules[0].Namespaces, c.rules[0].ClusterScoped = []string{"prod-*"}, false
	r := write(t, "", "apiVersion: v1\nkind: Namespace\nmetadata: {name: prod-x7k2p, generateName: prod-}\n")
	r.Namespace, r.Name = "", "" // as the API server sends it
	refused(t, c.decide(r), gate.NotInGit)
}

func TestSupersededInTheFuture(t *testing.T) {
	c := git(t, cm("2"))
	c.rules[0].Lag = 0
	e := c.index["platform"].Lookup(gitindex.Ref{Kind: "ConfigMap", Namespace: "shop", Name: "web"})
	e.Past = []gitindex.Past{{Manifest: c.manifests("platform", cm("1"), trusted("platform", 9))[0], By: e.Current[0].Commit, At: noon.Add(time.Hour)}}
	refused(t, c.decide(write(t, "", cm("1"))), gate.Outdated)
}
