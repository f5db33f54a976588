package gate

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/canonical"
)

// digested is a stand-in for the keyed digest: what counts here is that only
// equal values have equal ones.
func digested(value []byte) string { return fmt.Sprintf("<%s>", value) }

// sealedGate has a Secret and a Deployment whose manifests stand for other
// values than they show.
func sealedGate(t *testing.T, more ...gitindex.Hole) (*Gate, *gitindex.Snapshot) {
	t.Helper()
	schemas, problems := canonical.New()
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	snap := &gitindex.Snapshot{Origin: "platform", Accepted: &gitindex.Commit{ID: strings.Repeat("a", 40)}, FetchedAt: storyNow, Objects: map[gitindex.Ref]*gitindex.Entry{}}
	for _, m := range []*gitindex.Manifest{
		{Ref: gitindex.Ref{Kind: "Secret", Namespace: "shop", Name: "db"}, APIVersion: "v1",
			Raw:   []byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db","namespace":"shop"},"stringData":{"a":"placeholder0000"},"data":{"b":"cGxhY2Vob2xkZXI="}}`),
			Holes: []gitindex.Hole{{Path: "stringData.a", Digest: digested([]byte("one"))}, {Path: "data.b", Digest: digested([]byte("two"))}}},
		{Ref: gitindex.Ref{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "web"}, APIVersion: "apps/v1",
			Raw: []byte(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"shop"},"spec":{"replicas":1,"paused":true,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i","env":[{"name":"T","value":"placeholder"}]}]}}}}`),
			Holes: append([]gitindex.Hole{{Path: "spec.replicas", Digest: digested([]byte("7"))}, {Path: "spec.paused", Digest: digested([]byte("false"))},
				{Path: "spec.template.spec.containers[c].env[T].value", Digest: digested([]byte("token"))}}, more...)},
	} {
		m.Origin, m.Level, m.Commit = "platform", gitindex.Templated, snap.Accepted
		data, err := schemas.Canonical(m.Raw, versionOf(m.APIVersion))
		if err != nil {
			t.Fatal(err)
		}
		m.Canonical = data
		snap.Objects[m.Ref] = &gitindex.Entry{Current: []*gitindex.Manifest{m}}
	}
	view := &View{Index: gitindex.Index{"platform": snap.Keyed(digested).Seal()}, Schemas: schemas,
		Rules: []Rule{{Name: "default", ClusterScoped: true, Origins: []Source{{Origin: "platform"}}, Lag: time.Minute}}}
	return &Gate{View: func() *View { return view }, Now: func() time.Time { return storyNow }}, snap
}

func create(g *Gate, ref gitindex.Ref, version, object string) Decision {
	return g.Decide(context.Background(), &Request{UID: "u", Operation: Create, Group: ref.Group, Version: version, Kind: ref.Kind, Namespace: ref.Namespace, Name: ref.Name, Object: []byte(object)})
}

func secretOf(a, b string) string {
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Secret","type":"Opaque","metadata":{"name":"db","namespace":"shop"},"data":{"a":%q,"b":%q}}`, encode([]byte(a)), encode([]byte(b)))
}

func deploymentOf(replicas, paused, token string) string {
	return `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"shop"},"spec":{"replicas":` + replicas + `,"paused":` + paused +
		`,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i","env":[{"name":"T","value":"` + token + `"}]}]}}}}`
}

// TestSealed: only the value with the digest fills such a hole, above all not
// what the manifest has in its place.
func TestSealed(t *testing.T) {
	open := gitindex.Hole{Path: "spec.template.spec.containers[c].env[T].value"}
	for _, g := range []func() (*Gate, *gitindex.Snapshot){
		func() (*Gate, *gitindex.Snapshot) { return sealedGate(t) },
		func() (*Gate, *gitindex.Snapshot) { return sealedGate(t, open) }, // an open one beside it opens nothing
	} {
		gate, _ := g()
		secret, web := gitindex.Ref{Kind: "Secret", Namespace: "shop", Name: "db"}, gitindex.Ref{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "web"}
		for _, c := range []struct {
			ref     gitindex.Ref
			object  string
			allowed bool
		}{
			{secret, secretOf("one", "two"), true},
			{secret, secretOf("placeholder0000", "two"), false},
			{secret, secretOf("one", "placeholder"), false},
			{secret, secretOf("two", "one"), false},
			{secret, secretOf("", "two"), false},
			{web, deploymentOf("7", "false", "token"), true},
			{web, deploymentOf("1", "false", "token"), false},
			{web, deploymentOf("7", "true", "token"), false},
			{web, deploymentOf("7", "false", "placeholder"), false},
			{web, deploymentOf("7", "false", "other"), false},
			{web, deploymentOf("8", "false", "token"), false},
		} {
			version := map[string]string{"Secret": "v1", "Deployment": "v1"}[c.ref.Kind]
			if d := create(gate, c.ref, version, c.object); d.Allowed != c.allowed {
				t.Errorf("%s: allowed %v\n%s", c.object, d.Allowed, d.Message())
			} else if !c.allowed && strings.Contains(d.Message(), "token") {
				t.Errorf("the refusal shows a value: %s", d.Message())
			}
		}
	}
}

// TestSealedKeyless: without the key nothing fills the hole, and the refusal
// says why.
func TestSealedKeyless(t *testing.T) {
	g, snap := sealedGate(t)
	snap.Keyed(nil)
	d := create(g, gitindex.Ref{Kind: "Secret", Namespace: "shop", Name: "db"}, "v1", secretOf("one", "two"))
	if d.Allowed || !strings.Contains(d.Message(), "no age key of the Origin is at hand") {
		t.Errorf("allowed %v: %s", d.Allowed, d.Message())
	}
}
