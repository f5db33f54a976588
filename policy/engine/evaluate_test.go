package engine

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitward/gitward/policy"
)

const someMap = "object: {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}"

const runaway = `package runaway

deny contains "never" if {
	some i in numbers.range(1, 3000)
	some j in numbers.range(1, 3000)
	some k in numbers.range(1, 3000)
	i * j * k == -1
}
`

// TestBudget: what asks whether to go on is ended, and that is a finding of its
// own kind; the same evaluation goes on with others.
func TestBudget(t *testing.T) {
	e := engineOf(t, map[string]string{"runaway.rego": runaway, "z.rego": "package z\n\ndeny contains \"z\" if true\n"})
	v := posed(t, []byte(someMap))
	began := time.Now()
	v.Budget, v.Clock = 50*time.Millisecond, func() time.Duration { return time.Since(began) }
	found := v.Evaluate(e.Policies()[0])
	if len(found) != 1 || found[0].Kind != policy.Overrun || found[0].Action != policy.Deny || found[0].Rule != "deny" || found[0].Message != "it took longer than 50ms" {
		t.Errorf("%+v", found)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if found := v.Evaluate(e.Policies()[1]); len(found) != 1 || found[0].Message != "z" {
		t.Errorf("%+v", found)
	}
}

// TestClock: the budget is of the clock that is given, not of the wall's. Here it
// stands still for the first ten looks.
func TestClock(t *testing.T) {
	e := engineOf(t, map[string]string{"runaway.rego": runaway})
	v := posed(t, []byte(someMap))
	looks := 0
	var mu sync.Mutex
	v.Budget, v.Clock = 10*time.Millisecond, func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		if looks++; looks <= 10 {
			return 0
		}
		return time.Second
	}
	began := time.Now()
	found := v.Evaluate(e.Policies()[0])
	if len(found) != 1 || found[0].Kind != policy.Overrun {
		t.Errorf("%+v", found)
	}
	if took := time.Since(began); took < 90*time.Millisecond {
		t.Errorf("it was ended after %v, before its time was up by its own clock", took)
	}
}

// TestOverrunStands: no exception is for a rule that ran away.
func TestOverrunStands(t *testing.T) {
	e := engineOf(t, map[string]string{"runaway.rego": strings.Replace(runaway, "deny contains", "deny_much contains", 1) + "\nexception contains [\"much\"] if true\n"})
	v := posed(t, []byte(someMap))
	began := time.Now()
	v.Budget, v.Clock = 20*time.Millisecond, func() time.Duration { return time.Since(began) }
	if found := v.Evaluate(e.Policies()[0]); len(found) != 1 || found[0].Kind != policy.Overrun {
		t.Errorf("%+v", found)
	}
}

func TestQuarantinedAndBroken(t *testing.T) {
	e := engineOf(t, map[string]string{"a.rego": "# METADATA\n# custom:\n#   gitward: {action: warn, points: [admission], match: {kinds: [{apiGroups: [''], kinds: [ConfigMap]}]}}\npackage a\n\ndeny contains \"a\" if true\n"})
	p := e.Policies()[0]
	found := posed(t, []byte(someMap)).Unasked(p, "it ran away")
	if len(found) != 1 || found[0].Kind != policy.Overrun || found[0].Action != policy.Warn || found[0].File != "a.rego" {
		t.Errorf("%+v", found)
	}
	for _, other := range []string{"point: scan\n" + someMap, strings.ReplaceAll(someMap, "ConfigMap", "Secret")} {
		if found := posed(t, []byte(other)).Unasked(p, "it ran away"); len(found) != 0 {
			t.Errorf("what it would not be asked about: %+v", found)
		}
	}
	if found := posed(t, []byte(someMap)).Broken(p, "a panic"); len(found) != 1 || found[0].Kind != policy.Erred || found[0].Action != policy.Warn {
		t.Errorf("%+v", found)
	}
}

func TestPoints(t *testing.T) {
	e := engineOf(t, map[string]string{
		"a.rego": "package a\n\ndeny contains \"a\" if true\n",
		"b.rego": "package b\n\n# METADATA\n# custom:\n#   gitward: {action: warn, points: [admission, scan]}\ndeny contains \"b\" if true\n\n# METADATA\n# custom:\n#   gitward: {action: deny, points: [scan]}\nviolation contains \"b\" if true\n",
	})
	if got := e.Policies()[0].Points(); got != nil {
		t.Errorf("a: %v", got)
	}
	if got := fmt.Sprint(e.Policies()[1].Points()); got != "map[admission:warn scan:deny]" {
		t.Errorf("b: %v", got)
	}
}

func TestNewEvaluation(t *testing.T) {
	for _, text := range []string{"", "[]", "1", `{"request":`, `{"request":{},"request":{}}`} {
		if _, err := NewEvaluation([]byte(text), policy.Admission); err == nil {
			t.Errorf("%q is no error", text)
		}
	}
	// Without a request there is nothing to say, and nothing to panic about.
	e := engineOf(t, map[string]string{
		"a.rego": "package a\n\ndeny contains \"a\" if input.request.object.a\n",
		"b.rego": "package b\n\ndeny contains \"b\" if input.metadata\n",
		"c.rego": "package c\n\nviolation contains {\"msg\": \"c\"} if input.review\n",
	})
	for _, text := range []string{"{}", `{"request":null}`, `{"request":{"operation":"CREATE","object":[]}}`, `{"request":{"operation":7,"object":"a"},"namespace":"a"}`} {
		v, err := NewEvaluation([]byte(text), policy.Admission)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range e.Policies() {
			v.Evaluate(p)
		}
	}
}

// TestConcurrent: an engine may be asked by several goroutines.
func TestConcurrent(t *testing.T) {
	e := engineOf(t, map[string]string{"t.yaml": always, "c.yaml": "apiVersion: constraints.gatekeeper.sh/v1beta1\nkind: Always\nmetadata: {name: a}\n",
		"a.rego": "package a\n\ndeny contains msg if msg := input.metadata.name\n\nexception contains [\"b\"] if input.kind\n"})
	var wg sync.WaitGroup
	for range 8 {
		v := posed(t, []byte(someMap))
		wg.Go(func() {
			for range 50 {
				n := 0
				for _, p := range e.Policies() {
					n += len(v.Evaluate(p))
				}
				if n != 2 {
					t.Errorf("%d findings", n)
				}
			}
		})
	}
	wg.Wait()
}
