package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 123456789, time.UTC)

func use(name string, at time.Duration) gate.Use {
	return gate.Use{Gate: "default", Ref: gitindex.Ref{Kind: "ConfigMap", Namespace: "shop", Name: name}, Resource: "configmaps", Version: "v1",
		Operation: gate.Update, User: "ada", Reason: "INC-1", Since: now.Add(at), At: now.Add(at), Until: now.Add(at + time.Hour), Count: 1}
}

// cluster keeps one Gate's status, which replicas write to.
type cluster struct {
	gate  v1alpha1.Gate
	fails error
}

func newCluster() *cluster {
	return &cluster{gate: v1alpha1.Gate{ObjectMeta: metav1.ObjectMeta{Name: "default"}}}
}

// replica is one process with its keeper.
func (c *cluster) replica() *Keeper {
	return &Keeper{Ledger: &Ledger{}, Learner: &Learner{}, Log: slog.New(slog.DiscardHandler),
		Update: func(_ string, change func(*v1alpha1.GateStatus)) error {
			if c.fails == nil {
				change(&c.gate.Status)
			}
			return c.fails
		}}
}

func (c *cluster) owed() []string {
	var out []string
	for _, u := range c.gate.Status.BreakGlass {
		out = append(out, fmt.Sprintf("%s x%d", u.Name, u.Count))
	}
	return out
}

func (c *cluster) heard(k *Keeper) { k.Ledger.Load([]v1alpha1.Gate{*c.gate.DeepCopy()}) }

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestUseIsOwed(t *testing.T) {
	c := newCluster()
	k := c.replica()
	k.Ledger.Note(use("a", 0))
	k.Ledger.Note(use("a", time.Second))
	if u, ok := k.Ledger.Open("default", use("a", 0).Ref); !ok || u.Count != 2 || !u.Since.Equal(now.Truncate(time.Second)) || !u.Until.Equal(now.Add(time.Hour+time.Second).Truncate(time.Second)) {
		t.Errorf("before it is written: %+v %v", u, ok)
	}
	if _, ok := k.Ledger.Open("other", use("a", 0).Ref); ok {
		t.Error("open under another Gate")
	}
	k.write()
	expect(t, "written", c.owed(), "a x2")

	// A restart, and another replica, read it from the status.
	other := c.replica()
	c.heard(other)
	if u, ok := other.Ledger.Open("default", use("a", 0).Ref); !ok || u.Count != 2 {
		t.Errorf("after a restart: %+v %v", u, ok)
	}
}

// TestTwoReplicas: what one of them noted is never lost because the other writes.
func TestTwoReplicas(t *testing.T) {
	c := newCluster()
	one, two := c.replica(), c.replica()
	one.Ledger.Note(use("a", 0))
	two.Ledger.Note(use("b", time.Second))
	one.write()
	two.write() // has not heard of a
	expect(t, "both wrote", c.owed(), "a x1", "b x1")
	c.heard(one)
	c.heard(two)
	for _, k := range []*Keeper{one, two} {
		if n := len(k.Ledger.All()); n != 2 {
			t.Errorf("%d are known", n)
		}
	}

	// One strikes out a, while the other notes another and has not heard.
	if !one.Ledger.Settle(one.Ledger.All()[0]) {
		t.Error("not settled")
	}
	c.heard(one) // what the status says is older than the settling
	expect(t, "settled here", names(one.Ledger), "b")
	one.write()
	expect(t, "struck out", c.owed(), "b x1")
	c.heard(one)
	c.heard(two)
	expect(t, "struck out there", names(two.Ledger), "b")

	// Used again, elsewhere: owed again, everywhere.
	two.Ledger.Note(use("a", time.Minute))
	two.write()
	c.heard(one)
	expect(t, "used again", names(one.Ledger), "b", "a")
}

func names(l *Ledger) []string {
	var out []string
	for _, u := range l.All() {
		out = append(out, u.Ref.Name)
	}
	return out
}

func TestSettleOfAnOlderUse(t *testing.T) {
	l := &Ledger{}
	l.Note(use("a", 0))
	looked := l.All()[0]
	l.Note(use("a", 0)) // in the very same moment
	if l.Settle(looked) {
		t.Error("a use was struck out that nobody looked at")
	}
	if !l.Settle(l.All()[0]) || len(l.All()) != 0 {
		t.Error("not struck out")
	}
}

func TestWriteFails(t *testing.T) {
	c := newCluster()
	k := c.replica()
	c.fails = errors.New("no connection")
	k.Ledger.Note(use("a", 0))
	k.write()
	if _, ok := k.Ledger.Open("default", use("a", 0).Ref); !ok {
		t.Error("forgotten")
	}
	c.fails = nil
	k.write()
	expect(t, "written later", c.owed(), "a x1")
}

func TestMoreThanAStatusHolds(t *testing.T) {
	c := newCluster()
	k := c.replica()
	for i := range maxUses + 7 {
		k.Ledger.Note(use(fmt.Sprint(i), time.Duration(i)*time.Second))
	}
	k.write()
	if n := len(c.owed()); n != maxUses {
		t.Errorf("%d in the status", n)
	}
	c.heard(k)
	if n := len(k.Ledger.All()); n != maxUses+7 {
		t.Errorf("%d are known", n)
	}
}

func TestSettles(t *testing.T) {
	c := newCluster()
	k := c.replica()
	k.Ledger.Note(use("a", 0))
	k.Ledger.Note(use("b", time.Second))
	k.Ledger.Note(use("c", 2*time.Second))
	k.Settled = func(u gate.Use) (bool, error) {
		if u.Ref.Name == "b" {
			return false, errors.New("it cannot be read")
		}
		return u.Ref.Name == "a", nil
	}
	k.settle()
	k.write()
	expect(t, "owed", c.owed(), "b x1", "c x1")
}

func TestLearned(t *testing.T) {
	c := newCluster()
	k := c.replica()
	req := &gate.Request{Operation: gate.Update, Group: "apps", Version: "v1", Kind: "Deployment", Resource: "deployments", ResourceGroup: "apps",
		Namespace: "shop", Name: "web", User: gate.User{Name: "ada"}, Object: []byte(`{"metadata":{"ownerReferences":[{"apiVersion":"example.org/v1","kind":"Shop","name":"s","controller":true}]}}`)}
	would := func(at time.Duration, paths ...string) *gate.Decision {
		d := &gate.Decision{Allowed: true, Gate: "default", Refusal: &gate.Refusal{Kind: gate.Differs, Head: "it differs"}, At: now.Add(at)}
		for _, p := range paths {
			d.Refusal.Diffs = append(d.Refusal.Diffs, gate.Difference{Path: p})
		}
		return d
	}
	record := func(d *gate.Decision) {
		t.Helper()
		if err := k.Learner.Record(req, d); err != nil {
			t.Fatal(err)
		}
	}
	record(would(0, "spec.template.spec.containers[web].image", "spec.template.spec.containers[side].image", "metadata.labels[a.b/c]"))
	record(would(time.Second, "metadata.labels[a.b/c]", "spec.template.spec.containers[other].image"))
	record(would(2*time.Second, "spec.replicas"))
	record(&gate.Decision{Allowed: true, Gate: "default"})
	denied := would(0, "spec.replicas")
	denied.Allowed = false
	record(denied) // refused in earnest: nothing to learn

	c.fails = errors.New("no connection")
	k.learn()
	c.fails = nil
	k.learn()
	got := c.gate.Status.Learned
	if len(got) != 2 || got[0].Count != 2 || got[1].Count != 1 || got[0].Resource != "deployments.apps" || got[0].Owner != "Shop.example.org" || got[0].Example != "web" ||
		!slices.Equal(got[0].Paths, []string{"metadata.labels[a.b/c]", "spec.template.spec.containers[].image"}) || got[0].Reason != "Differs" {
		t.Errorf("%+v", got)
	}

	// No more groups than a status holds, whatever is thrown at it.
	for i := range 3 * maxGroups {
		req.User.Name = fmt.Sprint("user-", i)
		record(would(0, "spec.replicas"))
	}
	k.learn()
	var total int64
	for _, g := range c.gate.Status.Learned {
		total += g.Count
	}
	if n := len(c.gate.Status.Learned); n > maxGroups || total != 3+3*maxGroups {
		t.Errorf("%d groups of %d requests", n, total)
	}
}

// TestWhatIsLearnedFitsAStatus: however long and however many the names are, a
// status stays small, and no request is lost from the counts.
func TestWhatIsLearnedFitsAStatus(t *testing.T) {
	for name, c := range map[string]struct {
		groups, paths, length int
		text                  string
		kept                  int // at least
	}{
		"ordinary":        {150, 3, 40, "a", 150},
		"many":            {5 * maxGroups, 2, 20, "b", maxGroups - 1},
		"escaped":         {maxGroups, maxPaths, 200, "<", 8},
		"of three bytes":  {maxGroups, maxPaths, 200, "界", 8},
		"beyond all that": {maxGroups, 10 * maxPaths, 4000, "&", 8},
	} {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			var have []v1alpha1.Learned
			var total, most int64
			for range 3 { // as several replicas write, one after the other
				l := &Learner{}
				for i := range c.groups {
					req := &gate.Request{Operation: gate.Update, Resource: strings.Repeat(c.text, c.length), Namespace: strings.Repeat(c.text, c.length), Name: strings.Repeat(c.text, c.length),
						User: gate.User{Name: fmt.Sprint(i, strings.Repeat(c.text, c.length))}}
					d := &gate.Decision{Allowed: true, Gate: "default", At: now, Refusal: &gate.Refusal{Kind: gate.Differs, Head: strings.Repeat(c.text, c.length)}}
					for j := range c.paths {
						d.Refusal.Diffs = append(d.Refusal.Diffs, gate.Difference{Path: fmt.Sprint("spec.", j, strings.Repeat(c.text, c.length))})
					}
					times := 1 + random.Int64N(3)
					if i == 7 {
						times = 50
						most += times
					}
					for range times {
						if err := l.Record(req, d); err != nil {
							t.Fatal(err)
						}
					}
					total += times
				}
				have = merge(have, l.take()["default"])
				data, err := json.Marshal(have)
				if err != nil || len(data) > maxLearned || len(have) > maxGroups {
					t.Fatalf("%d groups in %d bytes, %v", len(have), len(data), err)
				}
			}
			var counted int64
			others := 0
			for _, g := range have {
				counted += g.Count
				if g.Reason == "Other" {
					others++
				} else if g.Last.Time != now {
					t.Errorf("last at %v", g.Last)
				}
				if len(g.Paths) > maxPaths {
					t.Errorf("%d paths", len(g.Paths))
				}
			}
			if counted != total || len(have) < c.kept || others > 1 {
				t.Errorf("%d groups, %d of %d requests, %d times the rest", len(have), counted, total, others)
			}
			if !slices.ContainsFunc(have, func(g v1alpha1.Learned) bool { return strings.HasPrefix(g.User, "7") && g.Count == most }) {
				t.Error("the most frequent is not kept apart")
			}
		})
	}
}

func TestPatterns(t *testing.T) {
	long := strings.Repeat("x", 300)
	for path, want := range map[string]string{
		"spec.replicas": "spec.replicas",
		"spec.template.spec.containers[web].ports[80,TCP]":             "spec.template.spec.containers[].ports[]",
		"spec.template.spec.containers[web].volumeMounts[/etc/x].path": "spec.template.spec.containers[].volumeMounts[].path",
		"spec.containers[web].resources.limits[nvidia.com/gpu]":        "spec.containers[].resources.limits[nvidia.com/gpu]",
		"metadata.labels[a.b/c]":                                       "metadata.labels[a.b/c]",
		"spec.selector[app.kubernetes.io/name]":                        "spec.selector[app.kubernetes.io/name]",
		"data[tls.crt]":                                                "data[tls.crt]",
		"metadata.finalizers[kubernetes.io/pvc-protection]":            "metadata.finalizers[]",
		"spec.template.spec.containers[data].env[annotations.x]":       "spec.template.spec.containers[].env[]",
		"rules[0].verbs[2]":                                            "rules[].verbs[]",
		"spec." + long:                                                 "spec." + long[:195] + "…",
		"and 3 more":                                                   anyMore,
	} {
		if got := patterns([]string{path}); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	var many []string
	for i := range maxPaths + 1 {
		many = append(many, fmt.Sprint("spec.f", i))
	}
	if got := patterns(many); len(got) != maxPaths || got[maxPaths-1] != anyMore {
		t.Errorf("%q", got)
	}
	if got := patterns(many[:maxPaths]); len(got) != maxPaths || slices.Contains(got, anyMore) {
		t.Errorf("%q", got)
	}
}

// TestOldDebtsStay: however many uses are noted after it, an old one is neither
// written out of the status nor forgotten here.
func TestOldDebtsStay(t *testing.T) {
	l, now := &Ledger{}, time.Now()
	use := func(i int) gate.Use {
		at := now.Add(time.Duration(i) * time.Second)
		return gate.Use{Gate: "g", Ref: gitindex.Ref{Kind: "ConfigMap", Namespace: "n", Name: fmt.Sprintf("o%03d", i)}, Since: at, At: at, Until: now.Add(time.Hour), Count: 1}
	}
	g := v1alpha1.Gate{}
	g.Name = "g"
	keep := func() {
		g.Status.BreakGlass, _ = l.statusOf("g", g.Status.BreakGlass)
		l.Load([]v1alpha1.Gate{g})
	}
	l.Note(use(0))
	keep()
	for i := 1; i <= 2*maxUses; i++ {
		l.Note(use(i))
	}
	keep()
	keep()
	if _, ok := l.Open("g", use(0).Ref); !ok {
		t.Error("the first use is forgotten")
	}
	if len(l.All()) != 2*maxUses+1 || len(g.Status.BreakGlass) != maxUses || g.Status.BreakGlass[0].Name != "o000" {
		t.Errorf("%d uses here, %d in the status, the first of them %s", len(l.All()), len(g.Status.BreakGlass), g.Status.BreakGlass[0].Name)
	}
}
