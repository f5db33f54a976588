package main

import (
	"testing"
	"time"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
)

// uses is a Ledger with one use, of Gate "all" for an object.
type uses gate.Use

func (uses) Note(gate.Use) {}

func (u uses) Open(name string, ref gitindex.Ref) (gate.Use, bool) {
	return gate.Use(u), name == u.Gate && ref == u.Ref
}

func TestBrokenGate(t *testing.T) {
	now := time.Now()
	rules := []gate.Rule{{Name: "shop"}, {Name: "all"}}
	use := uses{Gate: "all", Ref: gitindex.Ref{Group: "gitward.dev", Kind: "Gate", Name: "shop"}, Reason: "INC-1", Until: now.Add(time.Minute)}
	if reason, open := brokenGate(use, rules, now); !open || reason == "" {
		t.Errorf("open use of a Gate: %q, %v", reason, open)
	}
	if _, open := brokenGate(use, rules, now.Add(time.Hour)); open {
		t.Error("open after its end")
	}
	use.Ref = gitindex.Ref{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "web"}
	if _, open := brokenGate(use, rules, now); open {
		t.Error("a use for another object counts")
	}
	if _, open := brokenGate(nil, rules, now); open {
		t.Error("open without a ledger")
	}
}
