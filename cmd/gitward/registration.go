package main

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/audit"
	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/webhook/registration"
)

// registrationGuard keeps the webhook configurations as they should be; none
// where the cluster does not configure this process. Every replica runs one: the
// one that leads can be the one that is cut off.
func registrationGuard(o *serveOptions, p *process, lines *audit.Lines, g *gate.Gate) []clusterTask {
	if o.config != "" || !o.guardRegistration {
		return nil
	}
	return []clusterTask{func(config *rest.Config) manager.Runnable {
		guard := &registration.Guard{Config: config, Namespace: o.namespace, StateDir: o.stateDir, Recorder: gapLines{lines}, Log: p.log,
			StandDown: func() (string, bool) { return brokenGate(g.Ledger, p.view.Load().Rules, time.Now()) }}
		return everywhere(guard.Run)
	}}
}

// brokenGate finds a use of break-glass that is open for a Gate. Whoever may
// change a Gate in an emergency may take the webhooks away as well: they may be
// what is at fault.
func brokenGate(ledger gate.Ledger, rules []gate.Rule, now time.Time) (reason string, open bool) {
	if ledger == nil {
		return "", false
	}
	for i := range rules {
		for j := range rules {
			use, ok := ledger.Open(rules[i].Name, gitindex.Ref{Group: v1alpha1.GroupVersion.Group, Kind: "Gate", Name: rules[j].Name})
			if ok && now.Before(use.Until) {
				return fmt.Sprintf("%s (%s, until %s)", use.Reason, use.User, use.Until.UTC().Format(time.RFC3339)), true
			}
		}
	}
	return "", false
}

// everywhere is a manager's task that runs whoever leads.
type everywhere func(context.Context) error

func (e everywhere) Start(ctx context.Context) error { return e(ctx) }

func (everywhere) NeedLeaderElection() bool { return false }

// gapLines writes gaps among the decisions.
type gapLines struct{ lines *audit.Lines }

func (l gapLines) RecordGap(g registration.Gap) error {
	r := audit.GapRecord{Configuration: g.Configuration, What: g.What, Start: g.Start.UTC(), End: g.End,
		StartVersion: g.StartVersion, EndVersion: g.EndVersion, By: g.By, Restored: g.Restored, StandDown: g.StandDown,
		More: g.More, Incomplete: g.Incomplete}
	if !r.End.IsZero() {
		r.End = r.End.UTC()
	}
	for _, w := range g.Writes {
		r.Writes = append(r.Writes, audit.GapWrite(w))
	}
	return l.lines.RecordGap(r)
}
