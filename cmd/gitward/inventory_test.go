package main

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
)

// An Origin that may not declare an object stands for it in the inventory, if its name comes first.
func TestInventoryOfThoseWhoMay(t *testing.T) {
	p := newProcess(t.TempDir(), true, slog.New(slog.DiscardHandler))
	ref := gitindex.Ref{Group: "networking.k8s.io", Kind: "Ingress", Namespace: "victim", Name: "web"}
	of := func(origin, host string) *gitindex.Snapshot {
		return (&gitindex.Snapshot{Origin: origin, Objects: map[gitindex.Ref]*gitindex.Entry{ref: {Current: []*gitindex.Manifest{{Ref: ref, APIVersion: "networking.k8s.io/v1", Origin: origin,
			Raw: []byte(`{"kind":"Ingress","spec":{"rules":[{"host":"` + host + `"}]}}`), Commit: &gitindex.Commit{}}}}}}).Seal()
	}
	p.index = gitindex.Index{"platform": of("platform", "bank.example.org"), "attacker": of("attacker", "nothing.example.org")}
	p.rules = []gate.Rule{{Name: "default", Policed: true, Origins: []gate.Source{{Origin: "platform"}, {Origin: "attacker", Namespaces: []string{"attacker"}}}}}
	text := string(p.inventory([]string{"Ingress"}))
	if !strings.Contains(text, "bank.example.org") {
		t.Errorf("attacker may declare in namespace attacker alone, and has taken bank.example.org out of the inventory: %s", text)
	}
}
