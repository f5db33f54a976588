package gate

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/policy"
)

// eachGates keeps what each Gate's policies are asked.
type eachGates map[string]*policy.Input

func (p eachGates) Ask(_ context.Context, gate string, _ policy.Point, input []byte) ([]policy.Finding, error) {
	in := &policy.Input{}
	err := json.Unmarshal(input, in)
	p[gate] = in
	return nil, err
}

func storyOf(t *testing.T, text string) (*story, eachGates, func() Decision) {
	t.Helper()
	s := readStory(t, txtar.Parse([]byte(text+"-- policies --\n{}\n")))
	p := eachGates{}
	s.view.Policies = p
	g := &Gate{View: func() *View { return s.view }, Now: func() time.Time { return storyNow }, Ledger: s.ledger}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return s, p, func() Decision { return g.Decide(ctx, s.req) }
}

// The approval of a certificate request is a change of status: policies are not asked.
func TestPolicyAttackApproval(t *testing.T) {
	_, p, decide := storyOf(t, `
-- gate --
{AllowVerbs: [{Resources: [certificatesigningrequests.certificates.k8s.io/approval], Users: [eve]}]}
-- old --
{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: {name: a}, spec: {request: eA==, signerName: kubernetes.io/kube-apiserver-client, usages: [client auth], groups: ["system:masters"]}}
-- object --
{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: {name: a}, spec: {request: eA==, signerName: kubernetes.io/kube-apiserver-client, usages: [client auth], groups: ["system:masters"]}, status: {conditions: [{type: Approved, status: "True"}]}}
-- request --
{Operation: UPDATE, SubResource: approval, Resource: certificatesigningrequests, ResourceGroup: certificates.k8s.io, Group: certificates.k8s.io, Version: v1, Kind: CertificateSigningRequest, AsIs: true, User: eve, Name: a}
`)
	d := decide()
	t.Logf("%v %s; %v", d.Allowed, d.Reason, d.Refusal)
	if d.Allowed && p["default"] == nil {
		t.Error("a CertificateSigningRequest is approved, and no policy was asked")
	}
}

// Breaking the glass by its annotation alone opens the object, unasked.
func TestPolicyAttackBreakGlassAlone(t *testing.T) {
	_, p, decide := storyOf(t, `
-- gate --
{BreakGlass: {Groups: [oncall], Max: 1h, Reason: ".*"}}
-- commit 8b1d44e --
{apiVersion: v1, kind: ConfigMap, metadata: {name: prices, namespace: shop}, data: {apple: "1"}}
-- old --
{apiVersion: v1, kind: ConfigMap, metadata: {name: prices, namespace: shop}, data: {apple: "1"}}
-- object --
{apiVersion: v1, kind: ConfigMap, metadata: {name: prices, namespace: shop, annotations: {gitward.dev/break-glass: "INC-1"}}, data: {apple: "1"}}
-- request --
{Operation: UPDATE, User: eve, Groups: [oncall]}
`)
	d := decide()
	t.Logf("%v %s %v; %v", d.Allowed, d.Reason, d.BreakGlass, d.Refusal)
	if d.Allowed && d.Reason == BrokenGlass && p["default"] == nil {
		t.Error("the glass is broken, and no policy was asked (docs: policies are asked, and may spare it)")
	}
}

// A kind whose status is content.
func TestPolicyAttackStatusIsContent(t *testing.T) {
	_, p, decide := storyOf(t, `
-- crd --
{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: widgets.acme.io}, spec: {group: acme.io, names: {kind: Widget, plural: widgets}, scope: Namespaced, versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]}}
-- commit 8b1d44e --
{apiVersion: acme.io/v1, kind: Widget, metadata: {name: a, namespace: shop}, status: {image: evil}}
-- old --
{apiVersion: acme.io/v1, kind: Widget, metadata: {name: a, namespace: shop}, status: {image: good}}
-- object --
{apiVersion: acme.io/v1, kind: Widget, metadata: {name: a, namespace: shop}, status: {image: evil}}
-- request --
{Operation: UPDATE, User: eve}
`)
	d := decide()
	t.Logf("%v %s; %v", d.Allowed, d.Reason, d.Refusal)
	if d.Allowed && p["default"] == nil {
		t.Error("the content of a Widget is another one, and no policy was asked")
	}
}

// What one Gate's policies are told is another Gate's provenance.
func twoGates(t *testing.T) (*story, eachGates, func() Decision) {
	s, p, decide := storyOf(t, `
-- commit 8b1d44e --
{apiVersion: v1, kind: ConfigMap, metadata: {name: prices, namespace: shop}, data: {apple: "1"}}
-- object --
{apiVersion: v1, kind: ConfigMap, metadata: {name: prices, namespace: shop}, data: {apple: "1"}}
-- request --
{Operation: CREATE, User: eve, Groups: [oncall]}
`)
	return s, p, decide
}

func TestPolicyAttackOtherGatesProvenance(t *testing.T) {
	s, p, decide := twoGates(t)
	other := *s.view.Index["platform"]
	other.Origin = "team"
	other.Objects = map[gitindex.Ref]*gitindex.Entry{}
	for ref, e := range s.view.Index["platform"].Objects {
		m := *e.Current[0]
		m.Origin = "team"
		c := *m.Commit
		c.ID = strings.Repeat("e", 40)
		c.Verdict.Signer.Principal = "eve@acme.dev"
		c.Merged = []gitindex.Merged{{ID: strings.Repeat("f", 40), Signer: gitindex.Signer{Kind: "ssh", Fingerprint: "SHA256:eve2", Principal: "evestwin@acme.dev"}}}
		m.Commit = &c
		other.Objects[ref] = &gitindex.Entry{Current: []*gitindex.Manifest{&m}}
	}
	s.view.Index["team"] = other.Seal()
	first := s.view.Rules[0]
	first.Name, first.Policed, first.Origins = "a-team", false, []Source{{Origin: "team"}}
	s.view.Rules = []Rule{first, s.view.Rules[0]}
	d := decide()
	t.Logf("%v %s %v", d.Allowed, d.Reason, d.Refusal)
	in := p["default"]
	if in == nil || in.Provenance == nil {
		t.Fatalf("%+v", in)
	}
	if in.Provenance.Origin != "platform" {
		t.Errorf("Gate default accepts Origin platform alone, and its policies judge %s's commit, signed by %v and %v", in.Provenance.Origin, in.Provenance.Signers, in.Provenance.Merged)
	}
}

// A Warn Gate that comes first takes the provenance from the policies of the Gate that denies.
func TestPolicyAttackWarnGateHides(t *testing.T) {
	s, p, decide := twoGates(t)
	first := s.view.Rules[0]
	first.Name, first.Policed, first.Origins, first.Action = "a-trial", false, []Source{{Origin: "platform", Namespaces: []string{"elsewhere"}}}, Warn
	s.view.Rules = []Rule{first, s.view.Rules[0]}
	d := decide()
	t.Logf("%v %s %v", d.Allowed, d.Reason, d.Refusal)
	if in := p["default"]; in == nil || in.Provenance == nil || in.Reason != "Git" {
		t.Errorf("Gate default admits it from Git; its policies are told of provenance %v, reason %q", in.Provenance, in.Reason)
	}
}

// Break-glass of one Gate spares the policies of another that has none, and that admits it from Git.
func TestPolicyAttackOtherGatesGlass(t *testing.T) {
	s, p, decide := storyOf(t, `
-- commit 8b1d44e --
{apiVersion: v1, kind: ConfigMap, metadata: {name: prices, namespace: shop}, data: {apple: "1"}}
-- object --
{apiVersion: v1, kind: ConfigMap, metadata: {name: prices, namespace: shop, annotations: {gitward.dev/break-glass: "INC-1"}}, data: {apple: "1"}}
-- gate --
{BreakGlass: {Groups: [oncall], Max: 1h, Reason: ".*"}}
-- request --
{Operation: CREATE, User: eve, Groups: [oncall]}
`)
	second := s.view.Rules[0]
	second.Name, second.Policed, second.Origins = "z-other", false, []Source{{Origin: "platform", Namespaces: []string{"elsewhere"}}}
	s.view.Rules[0].BreakGlass = nil
	s.view.Rules = []Rule{s.view.Rules[0], second}
	d := decide()
	t.Logf("%v %s %v", d.Allowed, d.Reason, d.Refusal)
	if in := p["default"]; in != nil && in.Reason == "BreakGlass" {
		t.Errorf("Gate default has no break-glass and admits it from Git; its policies are told reason %q, provenance %v: the shipped ones spare that", in.Reason, in.Provenance)
	}
}

// Annotations of a Secret in clear.
func TestPolicyAttackSecretAnnotation(t *testing.T) {
	for _, a := range []string{
		`"kapp.k14s.io/original":"{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"stringData\":{\"p\":\"hunter2\"}}"`,
		`"replicator.v1.mittwald.de/replicated-keys":"x","note":"hunter2"`,
	} {
		req := &Request{Kind: "Secret", Version: "v1"}
		out := hidden(req, []byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a","annotations":{`+a+`}},"stringData":{"p":"hunter2"}}`))
		if strings.Contains(string(out), "hunter2") {
			t.Errorf("in clear: %s", out)
		}
	}
}

// Base64 and plain of one value, across namespaces and keys.
func TestPolicyAttackHashOracle(t *testing.T) {
	hash := func(ns, key, v string) string {
		var o struct{ Data map[string]string }
		_ = json.Unmarshal(hidden(&Request{Kind: "Secret"}, []byte(fmt.Sprintf(`{"metadata":{"namespace":%q,"name":"x"},"data":{%q:%q}}`, ns, key, v))), &o)
		return o.Data[key]
	}
	if hash("prod", "password", "MTIzNA==") == hash("eve", "guess1234", "MTIzNA==") {
		t.Error("the hash of prod's value equals that of eve's guess in her own Secret: 50,000 guesses a request, and dry runs count")
	}
}

// Labels of a Namespace by an Origin that may not declare it.
func TestPolicyAttackForeignNamespace(t *testing.T) {
	s, p, decide := storyOf(t, `
-- gate --
{}
-- commit 8b1d44e --
{apiVersion: v1, kind: ConfigMap, metadata: {name: prices, namespace: shop}, data: {apple: "1"}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {environment: production}}}
-- object --
{apiVersion: v1, kind: ConfigMap, metadata: {name: prices, namespace: shop}, data: {apple: "1"}}
-- request --
{Operation: CREATE, User: eve}
`)
	ns := gitindex.Ref{Kind: "Namespace", Name: "shop"}
	foreign := &gitindex.Snapshot{Origin: "aliens", Objects: map[gitindex.Ref]*gitindex.Entry{ns: {Current: []*gitindex.Manifest{{Ref: ns, APIVersion: "v1", Origin: "aliens",
		Raw: []byte(`{"metadata":{"labels":{"environment":"dev","kubernetes.io/metadata.name":"sandbox"}}}`), Commit: &gitindex.Commit{}}}}}}
	s.view.Index["aliens"] = foreign.Seal()
	seen := map[string]int{}
	for range 50 {
		d := decide()
		if p["default"] == nil {
			t.Fatalf("%v %v", d.Reason, d.Refusal)
		}
		seen[fmt.Sprint(p["default"].Namespace.Labels)]++
	}
	t.Log(seen)
	for l := range seen {
		if strings.Contains(l, "dev") || strings.Contains(l, "sandbox") {
			t.Errorf("an Origin that no Gate accepts says what namespace shop's labels are: %v", seen)
			break
		}
	}
}

// Who opened the unit is not told.
func TestPolicyAttackVia(t *testing.T) {
	m := &gitindex.Manifest{Origin: "tenant", Via: "opener", Commit: &gitindex.Commit{ID: "1"}}
	out, _ := json.Marshal(provenanceOf(m, &Decision{Manifest: m, Reason: ByGit}))
	if !strings.Contains(string(out), "opener") {
		t.Errorf("the Origin whose object opened the unit, and can change all that it renders, is nowhere: %s", out)
	}
}

// Ten thousand findings in one decision.
func TestPolicyAttackManyFacts(t *testing.T) {
	d := Decision{Reason: ByGit, governed: nil}
	req := &Request{Kind: "ConfigMap", Name: "a"}
	for i := range 10000 {
		d.found(req, &Rule{Name: "x"}, policy.Finding{Policy: "p", Message: strings.Repeat("m", 500) + fmt.Sprint(i), Kind: policy.Violation})
	}
	d.ID = "d"
	if n := len(d.Refusal.Facts); n > 100 {
		t.Errorf("%d facts, %d MiB of text in one refusal; message of %d runes", n, len(d.Message())>>20, len([]rune(d.Message())))
	}
}
