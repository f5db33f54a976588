package main

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
)

func crdJSON(name, group, kind, extra string) []byte {
	plural, _, _ := strings.Cut(name, ".")
	return fmt.Appendf(nil, `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":%q},"spec":{"group":%q,"scope":"Namespaced",`+
		`"names":{"plural":%q,"kind":%q},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","description":%q}}}]}}`,
		name, group, plural, kind, extra)
}

func declares(origin string, crds ...[]byte) *gitindex.Snapshot {
	s := &gitindex.Snapshot{Origin: origin, Objects: map[gitindex.Ref]*gitindex.Entry{}}
	for _, raw := range crds {
		name := strings.Split(strings.Split(string(raw), `"metadata":{"name":"`)[1], `"`)[0]
		ref := gitindex.Ref{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: name}
		s.Objects[ref] = &gitindex.Entry{Current: []*gitindex.Manifest{{Ref: ref, Raw: raw}}}
	}
	return s.Seal()
}

// A definition says how objects of every Origin are compared, so not everybody
// who may fill a namespace may bring one.
func TestWhoDefinesAKind(t *testing.T) {
	p := newProcess(t.TempDir(), false, slog.New(slog.DiscardHandler))
	good := crdJSON("foos.example.com", "example.com", "Foo", "platform's")
	p.index = gitindex.Index{
		"platform": declares("platform", good),
		"another":  declares("another", crdJSON("foos.example.com", "example.com", "Foo", "team's")),
		"shadow":   declares("shadow", crdJSON("other.example.com", "example.com", "Foo", "shadow's"), crdJSON("x.y", "example.com", "Foo", "misnamed")),
	}
	p.rules = []gate.Rule{{Name: "a", Origins: []gate.Source{{Origin: "platform"}, {Origin: "another", Namespaces: []string{"team-*"}}, {Origin: "shadow", Namespaces: []string{"team-b"}}}}}
	for range 20 { // maps have no order
		got := p.definitions()
		if len(got) != 1 || string(got["Foo.example.com"]) != string(good) {
			t.Fatalf("%s", got)
		}
	}
	live := crdJSON("foos.example.com", "example.com", "Foo", "the cluster's")
	p.crdsLive["foos.example.com"] = live
	if got := p.definitions(); string(got["Foo.example.com"]) != string(live) {
		t.Errorf("Git's goes before the cluster's: %s", got)
	}
}
