package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiversion "k8s.io/apimachinery/pkg/version"
)

// results writes what was found as "ok warn fail".
func (r *doctorResult) results() string {
	var out []string
	for _, d := range r.Items {
		out = append(out, d.Result)
	}
	return strings.Join(out, " ")
}

func TestServerVersion(t *testing.T) {
	for minor, want := range map[string]string{"29": checkFail, "30": checkOK, "33+": checkOK, "37": checkOK, "38": checkWarn, "": checkWarn} {
		r := &doctorResult{}
		r.serverVersion("host", &apiversion.Info{Major: "1", Minor: minor, GitVersion: "v1." + minor})
		if r.results() != want {
			t.Errorf("1.%s: %s", minor, r.results())
		}
	}
}

func TestClock(t *testing.T) {
	now := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		now, built time.Time
		want       string
	}{
		{now, time.Time{}, checkOK},
		{now, now.Add(-time.Hour), checkOK},
		{now, now.Add(24 * time.Hour), checkFail},
		{time.Unix(0, 0), time.Time{}, checkFail},
	} {
		r := &doctorResult{}
		if r.clock(c.now, c.built); r.results() != c.want {
			t.Errorf("now %v, built %v: %s", c.now, c.built, r.results())
		}
	}
}

func certificateUntil(t *testing.T, end time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.Add(-90 * 24 * time.Hour), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestCertificates(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		bundle []byte
		want   string
	}{
		"none":    {nil, checkWarn},
		"garbage": {[]byte("x"), checkFail},
		"good":    {certificateUntil(t, now.Add(60*24*time.Hour)), ""},
		"soon":    {certificateUntil(t, now.Add(24*time.Hour)), checkWarn},
		"expired": {certificateUntil(t, now.Add(-time.Hour)), checkFail},
		"later":   {certificateUntil(t, now.Add(100*24*time.Hour)), checkFail},
	} {
		r := &doctorResult{}
		if r.certificates("webhook", c.bundle, now); r.results() != c.want {
			t.Errorf("%s: %q %+v", name, r.results(), r.Items)
		}
	}
}

// TestJudge: whatever lets a request past the judge unasked is wrong.
func TestJudge(t *testing.T) {
	now := time.Now()
	chart, err := chartLike([]admissionregistrationv1.MatchCondition{{Name: "recovery-of-kube-system"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	whole := func() hook {
		policy, match, effects := admissionregistrationv1.Fail, admissionregistrationv1.Equivalent, admissionregistrationv1.SideEffectClassNoneOnDryRun
		return hook{configuration: "gitward", name: judgeWebhook, failurePolicy: &policy, matchPolicy: &match, sideEffects: &effects,
			client: admissionregistrationv1.WebhookClientConfig{CABundle: certificateUntil(t, now.Add(60*24*time.Hour))},
			rules: []admissionregistrationv1.RuleWithOperations{{Operations: []admissionregistrationv1.OperationType{"*"},
				Rule: admissionregistrationv1.Rule{APIGroups: []string{"*"}, APIVersions: []string{"*"}, Resources: []string{"*/*"}}}},
			conditions: chart.judge.MatchConditions}
	}
	for name, c := range map[string]struct {
		change func(*hook)
		want   string
	}{
		"whole":           {func(*hook) {}, checkOK},
		"no rule":         {func(h *hook) { h.rules = nil }, checkFail},
		"one group":       {func(h *hook) { h.rules[0].APIGroups = []string{"apps"} }, checkFail},
		"one version":     {func(h *hook) { h.rules[0].APIVersions = []string{"v1"} }, checkFail},
		"fails open":      {func(h *hook) { *h.failurePolicy = admissionregistrationv1.Ignore }, checkFail},
		"exact":           {func(h *hook) { *h.matchPolicy = admissionregistrationv1.Exact }, checkWarn},
		"no side effects": {func(h *hook) { *h.sideEffects = admissionregistrationv1.SideEffectClassNone }, checkWarn},
		"selector":        {func(h *hook) { h.selectors = []string{"objectSelector"} }, checkFail},
		"subresources":    {func(h *hook) { h.rules[0].Resources = []string{"*"} }, checkFail},
		"Namespaced":      {func(h *hook) { h.rules[0].Scope = new(admissionregistrationv1.NamespacedScope) }, checkFail},
		"no CONNECT": {func(h *hook) {
			h.rules[0].Operations = []admissionregistrationv1.OperationType{"CREATE", "UPDATE", "DELETE"}
		}, checkFail},
		"never": {func(h *hook) {
			h.conditions = append(slices.Clone(h.conditions), admissionregistrationv1.MatchCondition{Name: "never", Expression: "false"})
		}, checkFail},
		"another": {func(h *hook) {
			h.conditions = slices.Clone(h.conditions)
			h.conditions[0].Expression = "false"
		}, checkFail},
		"fewer": {func(h *hook) { h.conditions = h.conditions[1:] }, checkWarn},
	} {
		h, r := whole(), &doctorResult{}
		c.change(&h)
		if r.judge([]hook{h}, true, now); r.results() != c.want {
			t.Errorf("%s: %q %+v", name, r.results(), r.Items)
		}
	}
	r := &doctorResult{}
	if r.judge(nil, true, now); r.results() != checkFail {
		t.Errorf("without a webhook: %s", r.results())
	}
}
