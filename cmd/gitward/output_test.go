package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

func plainConsole() (*console, *bytes.Buffer) {
	var b bytes.Buffer
	return &console{out: &b, err: &b}, &b
}

func TestTable(t *testing.T) {
	con, b := plainConsole()
	rows := func() [][]cell {
		return [][]cell{
			{plain("ConfigMap shop/ü"), con.marked(markGood, "admitted"), plain("")},
			{plain("Pod x"), con.marked(markBad, "refused"), plain("file")},
		}
	}
	con.table("OBJECT VERDICT FILE", rows())
	want := `OBJECT             VERDICT      FILE
ConfigMap shop/ü   ✓ admitted   -
Pod x              ✗ refused    file
`
	if b.String() != want {
		t.Errorf("plain:\n%s", b)
	}
	b.Reset()
	con.colour = true
	con.table("OBJECT VERDICT FILE", rows())
	if got := b.String(); !strings.Contains(got, "\x1b[31m✗ refused\x1b[0m    file") {
		t.Errorf("colours must take no room:\n%q", got)
	}
	b.Reset()
	con.colour, con.ascii = false, true
	con.table("OBJECT VERDICT FILE", rows())
	if got := b.String(); strings.ContainsAny(got, "✓✗") || !strings.Contains(got, "x refused") {
		t.Errorf("in ASCII:\n%s", got)
	}
}

func TestTree(t *testing.T) {
	con, b := plainConsole()
	leaf := func(texts ...string) branch {
		var row []cell
		for _, text := range texts {
			row = append(row, cell{text: text})
		}
		return branch{cells: row}
	}
	top := leaf("commit", "4f2a91c", "Ada")
	top.under = []branch{leaf("signed", "a long fingerprint that moves nothing")}
	con.tree([]branch{leaf("origin", "platform", "url"), top, leaf("gate", "default")})
	want := `├─ origin     platform  url
├─ commit     4f2a91c   Ada
│  └─ signed  a long fingerprint that moves nothing
└─ gate       default
`
	if b.String() != want {
		t.Errorf("got:\n%s", b)
	}
	b.Reset()
	con.ascii = true
	con.tree([]branch{top})
	if want := "`- commit     4f2a91c  Ada\n   `- signed  a long fingerprint that moves nothing\n"; b.String() != want {
		t.Errorf("in ASCII:\n%s", b)
	}
}

func TestUTF8Locale(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want bool
	}{
		{nil, true},
		{map[string]string{"LANG": "de_DE.UTF-8"}, true},
		{map[string]string{"LANG": "C.utf8"}, true},
		{map[string]string{"LANG": "C"}, false},
		{map[string]string{"LANG": "de_DE.UTF-8", "LC_ALL": "C"}, false},
	} {
		if got := utf8Locale(func(name string) string { return c.env[name] }); got != c.want {
			t.Errorf("%v: %v", c.env, got)
		}
	}
}

// What is quick says nothing, and what is no terminal gets no escape codes.
func TestProgressIsQuiet(t *testing.T) {
	con, b := plainConsole()
	con.progress(func() string { return "reading" })()
	if b.Len() > 0 {
		t.Errorf("said %q", b)
	}
}

func TestStructured(t *testing.T) {
	con, b := plainConsole()
	v := checkResult{document: documentOf("CheckResult"), Items: []checkItem{}}
	if err := con.structured("json", v); err != nil {
		t.Fatal(err)
	}
	if want := "{\n  \"apiVersion\": \"cli.gitward.dev/v1\",\n  \"kind\": \"CheckResult\",\n  \"items\": []\n}\n"; b.String() != want {
		t.Errorf("json: %q", b)
	}
	b.Reset()
	if err := con.structured("yaml", v); err != nil {
		t.Fatal(err)
	}
	if want := "apiVersion: cli.gitward.dev/v1\nitems: []\nkind: CheckResult\n"; b.String() != want {
		t.Errorf("yaml: %q", b)
	}
}

func TestTarget(t *testing.T) {
	deployment := schema.GroupKind{Group: "apps", Kind: "Deployment"}
	certificate := schema.GroupKind{Group: "cert-manager.io", Kind: "Certificate"}
	custom := map[schema.GroupKind][]string{certificate: {"certificates", "certificate", "cert"}}
	for _, c := range []struct {
		arg  string
		gk   schema.GroupKind
		want bool
	}{
		{"deploy/web", deployment, true},
		{"DEPLOYMENTS/web", deployment, true},
		{"Deployment.apps/web", deployment, true},
		{"deployments.v1.apps/web", deployment, true},
		{"deploy.extensions/web", deployment, false},
		{"cert/web", certificate, true},
		{"certificates.cert-manager.io/web", certificate, true},
		{"certificate.v1.cert-manager.io/web", certificate, true},
		{"cm/web", certificate, false},
		{"netpol/web", schema.GroupKind{Group: "networking.k8s.io", Kind: "NetworkPolicy"}, true},
		{"networkpolicies/web", schema.GroupKind{Group: "networking.k8s.io", Kind: "NetworkPolicy"}, true},
		{"ingresses/web", schema.GroupKind{Group: "networking.k8s.io", Kind: "Ingress"}, true},
	} {
		target, err := parseTarget(c.arg)
		if err != nil {
			t.Errorf("%s: %v", c.arg, err)
		} else if got := target.names(c.gk, custom); got != c.want {
			t.Errorf("%s names %v: %v", c.arg, c.gk, got)
		}
	}
	for _, arg := range []string{"web", "deploy/", "/web", "a/b/c", ""} {
		if _, err := parseTarget(arg); err == nil {
			t.Errorf("%q is taken", arg)
		}
	}
}

func TestMinute(t *testing.T) {
	if got := minute(time.Date(2026, 11, 20, 10, 41, 7, 0, time.FixedZone("CET", 3600))); got != "2026-11-20 09:41Z" {
		t.Error(got)
	}
}
