package gate

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/gitward/gitward/gitindex"
)

// book is a ledger in memory.
type book map[string]Use

func (b book) Note(u Use) { b[u.Gate+" "+u.Ref.String()] = u }

func (b book) Open(gate string, ref gitindex.Ref) (Use, bool) {
	u, ok := b[gate+" "+ref.String()]
	return u, ok
}

func toldIn(t *testing.T, name string) *story {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name + ".txtar")
	if err != nil {
		t.Fatal(err)
	}
	return readStory(t, txtar.Parse(data))
}

// TestBreakGlassOfSeveralGates: a use that one of several Gates rests on is noted
// and ends, whatever the others say.
func TestBreakGlassOfSeveralGates(t *testing.T) {
	s := toldIn(t, "rules/break-glass")
	glass := s.view.Rules[0]
	audit := Rule{Name: "audit", Action: Audit, ClusterScoped: true, Origins: glass.Origins, Lag: glass.Lag}
	excluded := Rule{Name: "excluded", ClusterScoped: true, Origins: glass.Origins,
		Exclude: []Exclusion{{Resources: []string{"configmaps"}, Reason: "not in Git yet"}}}
	second := glass
	second.Name = "second"
	for name, test := range map[string]struct {
		rules []Rule
		uses  int
	}{
		"alone":          {[]Rule{glass}, 1},
		"after an audit": {[]Rule{audit, glass}, 1},
		"before one":     {[]Rule{glass, audit}, 1},
		"excluded first": {[]Rule{excluded, glass}, 1},
		"excluded last":  {[]Rule{glass, excluded}, 1},
		"by both":        {[]Rule{glass, second}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			view := *s.view
			view.Rules = test.rules
			ledger, now := book{}, storyNow
			g := &Gate{View: func() *View { return &view }, Now: func() time.Time { return now }, Ledger: ledger}
			d := g.Decide(context.Background(), s.req)
			if !d.Allowed || d.BreakGlass == nil || len(ledger) != test.uses {
				t.Fatalf("allowed %v, break-glass %v, %d uses noted, want %d: %s", d.Allowed, d.BreakGlass, len(ledger), test.uses, d.Message())
			}
			for key, u := range ledger {
				if u.Decision != d.ID {
					t.Errorf("the use %s names decision %q, want %q", key, u.Decision, d.ID)
				}
			}
			now = storyNow.Add(100 * time.Hour)
			if d := g.Decide(context.Background(), s.req); d.Allowed {
				t.Errorf("100 hours later the same reason still helps, by Gate %s", d.Gate)
			}
		})
	}
}

// TestBreakGlassReasons: a reason that would be kept in another form is none,
// or it would be new each time it is read back.
func TestBreakGlassReasons(t *testing.T) {
	s := toldIn(t, "rules/break-glass")
	for _, reason := range []string{"INC-1 a\u200bb", "INC-1 a\tb", "INC-1 a\nb"} {
		tracing := tracing{view: s.view, rule: &s.view.Rules[0], now: storyNow, req: s.req, ledger: book{}}
		if use, why := tracing.use(s.req.Ref(), reason); use != nil || why == "" {
			t.Errorf("%q breaks the glass", reason)
		}
	}
}
