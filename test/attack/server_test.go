package attack

import (
	"strings"
	"testing"
	"time"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
)

const service = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {selector: {app: web}, type: NodePort, ports: [{port: 80}, {port: 443}]}\n"

const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\nspec: {containers: [{name: web, image: 'web:1'}]}\n"

// owned gives an object managed fields, as an API server would.
func owned(object, fields string) string {
	return strings.Replace(object, `"metadata":{`, `"metadata":{"managedFields":[{"manager":"kubectl","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":`+fields+`}],`, 1)
}

// patch replaces text that must be there.
func patch(t *testing.T, object string, oldnew ...string) string {
	t.Helper()
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(object, oldnew[i]) {
			t.Fatalf("%s is not in %s", oldnew[i], object)
		}
		object = strings.Replace(object, oldnew[i], oldnew[i+1], 1)
	}
	return object
}

// Fields that the server allocates are the server's only where nobody sent
// them.
func TestAllocatedFields(t *testing.T) {
	c := git(t, service)
	full := patch(t, c.served(service), `"port":443`, `"nodePort":30443,"port":443`)
	const silent = `{"f:spec":{"f:selector":{},"f:type":{},"f:ports":{".":{},"k:{\"port\":80,\"protocol\":\"TCP\"}":{"f:port":{}},"k:{\"port\":443,\"protocol\":\"TCP\"}":{".":{},"f:port":{}}}}}`
	admitted(t, c.decide(write(t, "", owned(full, silent))))
	for name, fields := range map[string]string{
		"none":       `{}`,
		"by key":     strings.Replace(silent, `{".":{},"f:port":{}}}`, `{".":{},"f:nodePort":{}}}`, 1),
		"key order":  strings.Replace(silent, `k:{\"port\":443,\"protocol\":\"TCP\"}":{".":{},"f:port":{}}`, `k:{\"protocol\":\"TCP\",\"port\":443}":{"f:nodePort":{}}`, 1),
		"as a list":  `{"f:spec":{"f:ports":{}}}`,
		"as a spec":  `{"f:spec":{}}`,
		"no set":     `{"f:spec":{"f:ports":[]}}`,
		"unreadable": `"x"`,
	} {
		if name == "none" {
			continue // below
		}
		if d := c.decide(write(t, "", owned(full, fields))); d.Allowed {
			t.Errorf("%s: a node port of the requester's choice is admitted", name)
		}
	}
	// Managed fields that were wiped prove nothing.
	refused(t, c.decide(write(t, "", full)), gate.Differs)
	refused(t, c.decide(write(t, "", patch(t, full, `"metadata":{`, `"metadata":{"managedFields":[],`))), gate.Differs)
	refused(t, c.decide(write(t, "", patch(t, full, `"metadata":{`, `"metadata":{"managedFields":null,`))), gate.Differs)
	// What was allocated once is kept.
	moved := patch(t, full, "30443", "30444")
	refused(t, c.decide(write(t, owned(full, silent), owned(moved, silent))), gate.Differs)
}

// A key that only looks like the path of an allocated field is no such field.
func TestPathsThatLookAlike(t *testing.T) {
	c := git(t, cm("1")+"---\n"+service)
	const silent = `{"f:data":{"f:value":{}}}`
	for _, key := range []string{"spec.clusterIP", "metadata.labels", "]", "[]", "a[]", ""} {
		evil := patch(t, c.served(cm("1")), `"data":{`, `"data":{"`+key+`":"evil",`)
		refused(t, c.decide(write(t, "", owned(evil, silent))), gate.Differs)
	}
	full := c.served(service)
	for _, key := range []string{"spec.clusterIP", "clusterIP", "kubernetes.io/metadata.name", "job-name"} {
		evil := patch(t, full, `"metadata":{`, `"metadata":{"labels":{"`+key+`":"web"},`)
		refused(t, c.decide(write(t, "", owned(evil, `{"f:spec":{"f:type":{}}}`))), gate.Differs)
	}
}

// The ServiceAccount of a Pod, the priority and all else that an admission
// plugin may fill in.
func TestPodFields(t *testing.T) {
	c := git(t, pod)
	full := c.served(pod)
	const silent = `{"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:image":{},"f:name":{}}}}}`
	admitted(t, c.decide(write(t, "", owned(patch(t, full, `"spec":{`, `"spec":{"serviceAccountName":"default","serviceAccount":"default",`), silent))))
	for name, change := range map[string][2]string{
		"service account": {`"serviceAccountName":"admin","serviceAccount":"admin",`, `"f:spec":{"f:serviceAccountName":{},`},
		"two accounts":    {`"serviceAccountName":"default","serviceAccount":"admin",`, `"f:spec":{`},
		"priority":        {`"priorityClassName":"system-node-critical","priority":2000001000,`, `"f:spec":{"f:priorityClassName":{},`},
		"pull secrets":    {`"imagePullSecrets":[{"name":"x"}],`, `"f:spec":{"f:imagePullSecrets":{".":{},"k:{\"name\":\"x\"}":{}},`},
		"a toleration":    {`"tolerations":[{"operator":"Exists"}],`, `"f:spec":{`},
		"host volume":     {`"volumes":[{"name":"kube-api-access-abcde","hostPath":{"path":"/","type":""}}],`, `"f:spec":{`},
		"a longer token": {`"volumes":[{"name":"kube-api-access-abcde","projected":{"defaultMode":420,"sources":[{"serviceAccountToken":{"expirationSeconds":31536000,"path":"token"}},` +
			`{"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}},{"downwardAPI":{"items":[{"path":"namespace","fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"}}]}}]}}],`, `"f:spec":{`},
		"ephemeral": {`"ephemeralContainers":[{"name":"d","image":"evil"}],`, `"f:spec":{`},
		"a node":    {`"nodeName":"n1",`, `"f:spec":{`},
	} {
		evil := owned(patch(t, full, `"spec":{`, `"spec":{`+change[0]), strings.Replace(silent, `"f:spec":{`, change[1], 1))
		if d := c.decide(write(t, "", evil)); d.Allowed {
			t.Errorf("%s: admitted", name)
		}
	}
	// Resources: a limit that its sender owns is not LimitRanger's.
	evil := owned(patch(t, full, `"resources":{}`, `"resources":{"limits":{"cpu":"64"}}`),
		patch(t, silent, `"f:name":{}`, `"f:name":{},"f:resources":{".":{},"f:limits":{".":{},"f:cpu":{}}}`))
	refused(t, c.decide(write(t, "", evil)), gate.Differs)
}

// Lag lets an older state of Git in as a whole, for a while, and never parts of
// it.
func TestStatesOfThePast(t *testing.T) {
	old := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, namespace: shop}\ndata: {a: '1', b: '1'}\n"
	c := git(t, strings.ReplaceAll(old, "'1'", "'2'"))
	ref := gitindex.Ref{Kind: "ConfigMap", Namespace: "shop", Name: "web"}
	e := c.index["platform"].Lookup(ref)
	past := gitindex.Past{Manifest: c.manifests("platform", old, trusted("platform", 9))[0], By: e.Current[0].Commit, At: noon.Add(-10 * time.Minute)}
	e.Past = []gitindex.Past{past}
	mixed := strings.Replace(old, "a: '1'", "a: '2'", 1)
	admitted(t, c.decide(write(t, "", old)))
	refused(t, c.decide(write(t, "", mixed)), gate.Differs)
	refused(t, c.decide(write(t, strings.ReplaceAll(old, "'1'", "'2'"), mixed)), gate.Differs)
	e.Past[0].At = noon.Add(-16 * time.Minute)
	refused(t, c.decide(write(t, "", old)), gate.Outdated)
	// An object that Git gave up some time ago stays given up.
	e.Current = nil
	refused(t, c.decide(write(t, "", old)), gate.Outdated)
	refused(t, c.decide(write(t, "", mixed)), gate.NotInGit)
}

// Two manifests of one object are two answers, not a menu.
func TestTwoManifestsAreNoMenu(t *testing.T) {
	one := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, namespace: shop}\ndata: {a: '1', b: '1'}\n"
	two := strings.ReplaceAll(one, "'1'", "'2'")
	mixed := strings.Replace(one, "a: '1'", "a: '2'", 1)
	for name, c := range map[string]*cluster{"one Origin": git(t, one+"---\n"+two), "two Origins": git(t, one).origin("team", two)} {
		admitted(t, c.decide(write(t, "", one)))
		admitted(t, c.decide(write(t, "", two)))
		if d := c.decide(write(t, "", mixed)); d.Allowed {
			t.Errorf("%s: a mixture of two manifests is admitted", name)
		}
	}
}

// An Origin that may fill one namespace says nothing about another, nor about
// what has no namespace.
func TestOriginsKeepToTheirNamespaces(t *testing.T) {
	outside := role("[{apiGroups: ['*'], resources: ['*'], verbs: ['*']}]")
	c := git(t, "").origin("team", outside+"---\n"+cm("1")+"---\napiVersion: v1\nkind: Namespace\nmetadata: {name: team-b}\n")
	c.rules[0].Origins[1].Namespaces = []string{"team-*"}
	refused(t, c.decide(write(t, "", outside)), gate.WrongNamespace)
	refused(t, c.decide(write(t, "", cm("1"))), gate.WrongNamespace)
	refused(t, c.decide(write(t, "", c.served("apiVersion: v1\nkind: Namespace\nmetadata: {name: team-b}\n"))), gate.WrongNamespace)
}

// A Gate that audits does not open one that denies, whatever their order.
func TestTwoGates(t *testing.T) {
	for _, names := range [][2]string{{"a", "b"}, {"b", "a"}} {
		c := git(t, cm("1"))
		audit := c.rules[0]
		audit.Name, audit.Action = names[0], gate.Audit
		c.rules[0].Name = names[1]
		c.rules = append(c.rules, audit)
		if names[0] == "a" {
			c.rules[0], c.rules[1] = c.rules[1], c.rules[0]
		}
		refused(t, c.decide(write(t, "", cm("2"))), gate.Differs)
		refused(t, c.decide(removal(t, cm("1"))), gate.StillInGit)
	}
}

// Nothing passes for want of an answer.
func TestNothingToDecideFrom(t *testing.T) {
	c := git(t, cm("1"))
	v := &gate.View{NotReady: "the Gates have not been read yet"}
	g := &gate.Gate{View: func() *gate.View { return v }, Now: func() time.Time { return noon }}
	refused(t, g.Decide(t.Context(), write(t, "", cm("1"))), gate.OriginNotReady)
	c.rules[0].Origins = append(c.rules[0].Origins, gate.Source{Origin: "gone"})
	refused(t, c.decide(write(t, "", cm("1"))), gate.OriginNotReady)
	refused(t, c.decide(removal(t, cm("1"))), gate.OriginNotReady)
	c.rules[0].Origins = c.rules[0].Origins[:1]
	for _, r := range []*gate.Request{
		{UID: "u"},
		{UID: "u", Operation: "create", Kind: "ConfigMap", Version: "v1"},
		{UID: "u", Operation: gate.Connect, Kind: "Pod", SubResource: "exec", Resource: "pods"},
		{UID: "u", Operation: gate.Create, Kind: "ConfigMap", Version: "v1"},
		{UID: "u", Operation: gate.Create, Kind: "ConfigMap", Version: "v1", Object: []byte("null")},
		{UID: "u", Operation: gate.Create, Kind: "ConfigMap", Version: "v1", Object: []byte("[]")},
		{UID: "u", Operation: gate.Update, Kind: "ConfigMap", Version: "v1", Object: []byte("{}")},
		{UID: "u", Operation: gate.Update, Kind: "ConfigMap", Version: "v1", Object: []byte("{}"), OldObject: []byte("{")},
		{UID: "u", Operation: gate.Delete, Kind: "ConfigMap", Version: "v1"},
		{UID: "u", Operation: gate.Update, Kind: "Pod", Version: "v1", SubResource: "ephemeralcontainers", Resource: "pods", Object: []byte("{}"), OldObject: []byte("{}")},
		{UID: "u", Operation: gate.Create, Kind: "Eviction", Group: "policy", Version: "v1", SubResource: "eviction", Resource: "pods", Object: []byte("{}")},
	} {
		if d := c.decide(r); d.Allowed {
			t.Errorf("%s %s/%s: admitted", r.Operation, r.Resource, r.SubResource)
		}
	}
}
