// Package gate answers one question: may this request change the cluster? It
// is one engine for the webhook, the command line and later the scan. It knows
// no HTTP, no client and no clock of its own; a refusal is a value, and the
// zero Decision refuses.
package gate

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/policy"
)

// Refresher brings the index up to date on demand, for requests that come
// seconds after the push they stem from. A call is bounded by ctx and coalesced
// with others. A nil error means that the Origins were read after the call
// began; any other, that Git may hold something newer.
type Refresher interface {
	Refresh(ctx context.Context, origins []string) error
}

// Recorder keeps what was decided. A decision that cannot be recorded is
// refused.
type Recorder interface {
	Record(req *Request, d *Decision) error
}

// Gate decides requests. View is required; it is read once per request and must
// return an immutable value. Refresher and Recorder may be nil.
type Gate struct {
	View      func() *View
	Refresher Refresher
	Recorder  Recorder
	// Ledger keeps the uses of break-glass; nil means that there are none.
	Ledger Ledger
	// Point is where policies are asked; the zero value is policy.Admission.
	Point policy.Point
	Now   func() time.Time

	looks looks
}

// Decision is the answer to one request. The zero value refuses.
type Decision struct {
	ID      string // "d-7Q2MXK4W", for people to quote
	Allowed bool
	// Reason says why it is allowed on its merits; empty when it is not.
	Reason Reason
	// Refusal says why it is not; nil when it is allowed on its merits. A Gate
	// that only audits or warns lets it pass all the same: then Allowed is true.
	Refusal *Refusal
	Gate    string // the Gate that decided; empty when none matches
	Action  Action
	// Manifest is what the object was traced to; nil when it was not.
	Manifest *gitindex.Manifest
	// Traced reports that the whole object is what Manifest declares.
	Traced bool
	Drift  []Difference
	// Findings are the policies'.
	Findings []Finding
	// Reasons are the paths that had another reason than Git.
	Reasons map[Reason][]string
	// Root is the declared object that a derived one stems from; Manifest is then
	// the root's.
	Root gitindex.Ref
	// BreakGlass is the use that this is, or that the root of a derived object
	// rests on; nil when there is none.
	BreakGlass *Use
	// Revisions are the accepted ones of each Origin that was asked.
	Revisions map[string]string
	ObjectUID string
	At        time.Time

	uses    []*Use // of break-glass, by every Gate that let it pass for that alone
	subject *subject
	stamps  *expected
	author  bool
	via     *LiveObject // the owner that a derived object has
	past    []*gitindex.Manifest
	awaits  bool // what is live may not have been seen yet
	// governed are the Gates whose policies are to be asked.
	governed []governed
}

// Decide takes one request through the gate. Every way out passes through
// finish, so nothing is answered unrecorded.
func (g *Gate) Decide(ctx context.Context, req *Request) Decision {
	d := g.judgeLive(ctx, req)
	if d.mayHeal() && !g.looks.recent(req, g.Now()) {
		d = g.judgeAfterLook(ctx, req, d)
	}
	return g.finish(req, g.govern(ctx, g.View(), req, d))
}

// judgeLive judges, and once more whenever something live has changed, for as
// long as that can turn a refusal round: a controller can act on an object
// before the watch here has shown it.
func (g *Gate) judgeLive(ctx context.Context, req *Request) Decision {
	view := g.View()
	var changed <-chan struct{}
	if view.Live != nil {
		changed = view.Live.Changed()
	}
	d := g.judge(view, req)
	if !d.awaits || d.Refusal == nil || d.Action == Audit || changed == nil {
		return d
	}
	limit := time.NewTimer(catchUp)
	defer limit.Stop()
	for d.awaits && d.Refusal != nil {
		select {
		case <-ctx.Done():
			return d
		case <-limit.C:
			return d
		case <-changed:
		}
		changed = g.View().Live.Changed()
		d = g.judge(g.View(), req)
	}
	return d
}

// judgeAfterLook looks once more at Git before a refusal stands that newer
// commits could turn round: CI applies seconds after it pushes.
func (g *Gate) judgeAfterLook(ctx context.Context, req *Request, d Decision) Decision {
	if g.Refresher == nil {
		return d
	}
	if err := g.Refresher.Refresh(ctx, sortedKeys(d.Revisions)); err != nil {
		d.Refusal.Kind, d.Refusal.Was = OriginNotReady, d.Refusal.Kind
		d.Refusal.Facts = append(d.Refusal.Facts, "Git may hold something newer: "+gitindex.Clean(err.Error(), 160))
		return d
	}
	g.looks.note(req, g.Now())
	return g.judge(g.View(), req)
}

// Annotate computes the stamp for a request in the mutating phase. It decides
// nothing and is not recorded: the judge sees the final object. Nil means that
// nothing is to be written.
func (g *Gate) Annotate(ctx context.Context, req *Request) map[string]string {
	if req.Operation != Create && req.Operation != Update || req.SubResource != "" {
		return nil
	}
	d := g.judgeLive(ctx, req)
	if d.mayHeal() {
		d = g.judgeAfterLook(ctx, req, d)
	}
	if d.subject == nil || d.Gate == "" {
		return nil
	}
	return d.subject.restamp(d.stamps)
}

// judge finds the decision of the first matching Gate that refuses, or else of
// the first that matches.
func (g *Gate) judge(view *View, req *Request) Decision {
	if view.NotReady != "" {
		return Decision{Refusal: &Refusal{Kind: OriginNotReady, Head: "Gitward is not ready: " + view.NotReady,
			Do: "try again in a moment; an administrator finds more in `gitward doctor`"}}
	}
	var all []Decision
	var policed []governed
	for i := range view.Rules {
		if rule := &view.Rules[i]; rule.matches(req) {
			d := g.judgeBy(view, rule, req)
			d.Gate, d.Action, d.author = rule.Name, rule.Action, rule.Author
			all = append(all, d)
			if rule.Policed && d.governable() {
				policed = append(policed, governed{rule, d})
			}
		}
	}
	if len(all) == 0 {
		return Decision{Reason: NotGated}
	}
	d := combine(req, all)
	d.governed = policed
	return d
}

// governable reports whether policies have a say: they have none in what
// Kubernetes keeps for itself and in what the Gate leaves out.
func (d *Decision) governable() bool {
	switch d.Reason {
	case Platform, Excluded, NoChange:
		return false
	}
	return true
}

// combine makes one decision of several Gates'. The stamp is judged here, once
// for all of them.
func combine(req *Request, all []Decision) Decision {
	decided := all[0]
	var uses []*Use
	for _, d := range all {
		if d.Refusal == nil && d.Reason == BrokenGlass {
			uses = append(uses, d.BreakGlass)
		}
	}
	for _, d := range all[1:] {
		if decided.Refusal != nil && decided.Action == Deny {
			break
		}
		// Of those that admit, the one that broke the glass for it speaks: without
		// it there would be no admission.
		if d.Refusal != nil && (decided.Refusal == nil || d.Action == Deny) ||
			d.Refusal == nil && decided.Refusal == nil && d.Reason == BrokenGlass && decided.Reason != BrokenGlass {
			decided = d
		}
	}
	decided.uses = uses
	if decided.BreakGlass == nil && len(uses) > 0 && (decided.Refusal == nil || decided.Action != Deny) {
		decided.BreakGlass = uses[0]
	}
	decided.stamps = stampsFor(all)
	if decided.Refusal != nil && decided.Action == Deny || decided.subject == nil {
		return decided
	}
	key, why := decided.subject.stampFault(decided.stamps)
	if why == "" {
		return decided
	}
	strictest := decided
	for _, d := range all {
		if d.Action < strictest.Action {
			strictest = d
		}
	}
	strictest.Reason, strictest.Refusal, strictest.stamps, strictest.uses = "", badStamp(req, key, why), decided.stamps, uses
	return strictest
}

// stampsFor are the stamps that an object may carry by these decisions.
func stampsFor(all []Decision) *expected {
	e := &expected{}
	for _, d := range all {
		if d.Refusal != nil {
			continue
		}
		if d.BreakGlass != nil && d.Reason == BrokenGlass {
			e.reason = d.BreakGlass.Reason
		}
		if d.via != nil {
			e.inherit(&d)
			continue
		}
		if d.Manifest == nil || !d.Traced {
			continue
		}
		stamps := stampsOf(d.Manifest, d.author)
		if len(d.Reasons[ByHole]) > 0 {
			stamps[StampLevel] = string(gitindex.Templated)
		}
		e.want = append(e.want, stamps)
		if e.declared == nil && bytes.Contains(d.Manifest.Raw, []byte(StampPrefix)) { // rare: exported YAML
			if raw, err := decodeObject(d.Manifest.Raw); err == nil {
				e.declared = strip(raw, false)
			}
		}
	}
	return e
}

// judgeBy puts one request to one Gate.
func (g *Gate) judgeBy(view *View, rule *Rule, req *Request) Decision {
	t := tracing{view: view, rule: rule, now: g.Now(), req: req, ledger: g.Ledger}
	d := t.decide()
	d.Revisions = t.revisions()
	return d
}

// finish gives the decision its id, its verdict and its place in the record.
func (g *Gate) finish(req *Request, d Decision) Decision {
	d.At = g.Now()
	d.ID = decisionID(req.UID)
	if d.subject != nil {
		d.ObjectUID = d.subject.uid
	}
	d.Allowed = d.Refusal == nil && d.Reason != "" || d.Refusal != nil && d.Gate != "" && d.Action != Deny
	for _, u := range d.uses {
		u.Decision = d.ID
	}
	if req.DryRun {
		return d
	}
	if g.Recorder != nil {
		if err := g.Recorder.Record(req, &d); err != nil {
			d.Allowed = false
			d.Refusal = &Refusal{Kind: NotRecorded, Head: req.What() + " was not decided: the record could not be written",
				Do: "try again; an administrator finds more in Gitward's log"}
		}
	}
	if d.Allowed {
		for _, u := range d.uses {
			g.Ledger.Note(*u)
		}
	}
	return d
}

// mayHeal reports whether newer commits could turn this refusal round. Where
// nothing is refused (Audit), nobody is made to wait for Git.
func (d *Decision) mayHeal() bool {
	if d.Refusal == nil || d.Gate == "" || d.Action == Audit {
		return false
	}
	switch d.Refusal.Kind {
	case NotInGit, Differs, StillInGit, Unsigned, UnknownSigner, SignerExpired, SignerNotValid, BadSignature, Malformed, NotChecked, Outdated:
		return true
	}
	return false
}

// Unreadable is the decision for a request that could not be read.
func (g *Gate) Unreadable(req *Request, err error) Decision {
	return g.finish(req, Decision{Refusal: unreadable(req, err)})
}

func unreadable(req *Request, err error) *Refusal {
	return &Refusal{Kind: Unreadable, Head: req.What() + " cannot be read by Gitward: " + gitindex.Clean(fmt.Sprint(err), 120),
		Do: "send the object again; if it happens again, report it with the decision id"}
}
