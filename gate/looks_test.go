package gate

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/canonical"
)

// forge is a Refresher whose next look brings a commit in, or fails.
type forge struct {
	looks int
	bring func()
	err   error
}

func (f *forge) Refresh(context.Context, []string) error {
	f.looks++
	if f.err == nil && f.bring != nil {
		f.bring()
	}
	return f.err
}

func pushed(t *testing.T) (*Gate, *forge, *Request) {
	t.Helper()
	schemas, _ := canonical.New()
	raw := []byte(`{"apiVersion":"v1","data":{"a":"1"},"kind":"ConfigMap","metadata":{"name":"a","namespace":"shop"}}`)
	canon, err := schemas.Canonical(raw, "v1")
	if err != nil {
		t.Fatal(err)
	}
	m := &gitindex.Manifest{Ref: gitindex.Ref{Kind: "ConfigMap", Namespace: "shop", Name: "a"}, APIVersion: "v1", Origin: "platform", Path: "a.yaml", Line: 1,
		Raw: raw, Canonical: canon, Commit: &gitindex.Commit{ID: "1", Verdict: gitindex.Verdict{Outcome: gitindex.Good}}}
	g := gateFor(schemas, m)
	full := g.View()
	empty := *full
	empty.Index = gitindex.Index{"platform": (&gitindex.Snapshot{Origin: "platform", Accepted: m.Commit, FetchedAt: storyNow}).Seal()}
	view := &empty
	g.View = func() *View { return view }
	f := &forge{bring: func() { view = full }}
	g.Refresher = f
	return g, f, requestFor(m, canon, nil)
}

func TestPushThenApply(t *testing.T) {
	g, f, req := pushed(t)
	if d := g.Decide(context.Background(), req); !d.Allowed || f.looks != 1 {
		t.Errorf("%d looks: %s", f.looks, d.Message())
	}
	g, f, req = pushed(t)
	if stamps := g.Annotate(context.Background(), req); stamps[StampCommit] != "1" {
		t.Errorf("no stamp on an apply right after the push: %v", stamps)
	}
	if d := g.Decide(context.Background(), req); !d.Allowed || f.looks != 1 {
		t.Errorf("%d looks for both phases: %s", f.looks, d.Message())
	}
}

// One look serves both phases of one request, and no other request.
func TestLooksAreNotShared(t *testing.T) {
	g, f, req := pushed(t)
	f.bring = nil
	ctx := context.Background()
	g.Annotate(ctx, req)
	g.Decide(ctx, req)
	if f.looks != 1 {
		t.Errorf("%d looks for one refused request", f.looks)
	}
	g.Decide(ctx, req) // the mutating phase was not asked
	if f.looks != 2 {
		t.Errorf("%d looks: a refusal without any", f.looks)
	}
	g.Annotate(ctx, req)
	other := *req
	other.User.Name = "somebody else"
	g.Decide(ctx, &other)
	if f.looks != 4 {
		t.Errorf("%d looks: one user's look served another", f.looks)
	}
	now := storyNow
	g.Now = func() time.Time { return now }
	g.Annotate(ctx, req)
	now = now.Add(freshLook)
	g.Decide(ctx, req)
	if f.looks != 6 {
		t.Errorf("%d looks: an old look counts", f.looks)
	}
}

func TestGitOutOfReachIsTransient(t *testing.T) {
	g, f, req := pushed(t)
	f.err = errors.New("no route to host")
	d := g.Decide(context.Background(), req)
	if d.Allowed || !d.Refusal.Kind.Transient() || d.Refusal.Was != NotInGit {
		t.Errorf("%+v", d.Refusal)
	}
	lintMessage(t, d.Message(), d.ID)
}

func TestAuditMakesNobodyWait(t *testing.T) {
	g, f, req := pushed(t)
	g.View().Rules[0].Action = Audit
	if d := g.Decide(context.Background(), req); !d.Allowed || f.looks != 0 {
		t.Errorf("allowed %v after %d looks", d.Allowed, f.looks)
	}
}
