package attacks

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/gitward/gitward/gate"
)

// attack is a deed and the words in which it is refused.
type attack struct {
	name string
	// calls are its steps. Before Gitward each is refused by itself.
	calls []call
	// want is the reason of the refusal, for all steps; says a fragment of its
	// text. In says, $NS is the namespace.
	want gate.Refused
	says string
	// orElse are reasons that are as good, from some of the people.
	orElse []gate.Refused
	// past is what the API server answers where the attack gets past the webhook
	// and there is nothing behind it; empty when it succeeds.
	past string
	// by is who gets past the naive webhook; the namespace's editor unless given.
	by string
	// people who play it before Gitward; everybody unless given.
	people []person
}

// play does each attack first in the naive namespace, where it must succeed,
// and then in the gated one by everybody who has the right to, where it must be
// refused for the right reason, and nothing must have changed.
func (w *world) play(n *naive, attacks ...attack) {
	w.t.Helper()
	w.register(n)
	for _, a := range attacks {
		w.succeeds(n, a)
	}
	w.unregister()
	before := w.settle()
	w.meet(n.mistake, attacks...)
	w.unchanged(before)
}

// meet has everybody try the attacks before Gitward, several at once: they are
// all refused, so that none is in another's way.
func (w *world) meet(mistake string, attacks ...attack) {
	w.t.Helper()
	var wg sync.WaitGroup
	lines, turn := make([]string, len(attacks)), make(chan struct{}, 8)
	for i, a := range attacks {
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			tries, reasons := w.refused(a)
			lines[i] = fmt.Sprintf("%-55s | naive: gets through (%s) | Gitward: %s | %d tries", a.name, mistake, strings.Join(reasons, ", "), tries)
		})
	}
	wg.Wait()
	for _, line := range lines {
		w.t.Log(line)
	}
}

// succeeds shows that the attack is one.
func (w *world) succeeds(n *naive, a attack) {
	w.t.Helper()
	by := a.by
	if by == "" {
		by = "namespace editor"
	}
	for i, c := range a.calls {
		err := c.do(w.lab.client(whoIs(by)), w.naive)
		if a.past == "" && err != nil || a.past != "" && (err == nil || !strings.Contains(err.Error(), a.past)) {
			w.t.Errorf("%s, step %d, before a webhook where %s: %v, want %q: this attack shows nothing", a.name, i+1, n.mistake, err, a.past)
		}
	}
}

// refused tries the attack as everybody before Gitward, all at once, and counts
// the tries that reached it.
func (w *world) refused(a attack) (tries int, reasons []string) {
	w.t.Helper()
	people := a.people
	if people == nil {
		people = everybody
	}
	var wg sync.WaitGroup
	answers := make([][]error, len(people))
	for i, who := range people {
		wg.Go(func() {
			for _, c := range a.calls {
				answers[i] = append(answers[i], c.do(w.lab.client(who), w.ns))
			}
		})
	}
	wg.Wait()
	for i, who := range people {
		for step, err := range answers[i] {
			if forbiddenByRBAC(err) {
				continue
			}
			tries++
			reason, problem := w.judge(a, err)
			if problem != nil {
				w.t.Errorf("%s, step %d (%s): %v", a.name, step+1, who.name, problem)
			}
			if reason != "" && !slices.Contains(reasons, string(reason)) {
				reasons = append(reasons, string(reason))
			}
		}
	}
	if tries == 0 {
		w.t.Errorf("%s: nobody had the right to try", a.name)
	}
	return tries, reasons
}

// judge holds an answer against what the attack is to meet with.
func (w *world) judge(a attack, err error) (gate.Refused, error) {
	if !refusedByGate(err) {
		return "", fmt.Errorf("not refused by Gitward: %w", orAdmitted(err))
	}
	record, problem := w.lab.gitward.recordOf(err)
	if problem != nil {
		return "", problem
	}
	reason := gate.Refused(record.Reason)
	if reason != a.want && !slices.Contains(a.orElse, reason) || record.Allowed {
		return reason, fmt.Errorf("the reason is %s, want %s: %w", reason, a.want, err)
	}
	if says := strings.ReplaceAll(a.says, "$NS", w.ns); reason == a.want && !strings.Contains(err.Error(), says) {
		return reason, fmt.Errorf("want %q in: %w", says, err)
	}
	return reason, wellPut(err)
}

// wellPut holds a denial to the form of all of them: what to do, the decision's
// id, and no more text than a terminal takes.
func wellPut(err error) error {
	text := err.Error()
	if !strings.Contains(text, "\n  do    ") || !strings.Contains(text, "\n  decision d-") || len([]rune(text)) > 1100 {
		return fmt.Errorf("a denial without advice or id, or too long: %s", text)
	}
	return nil
}

func orAdmitted(err error) error {
	if err == nil {
		return fmt.Errorf("ADMITTED")
	}
	return err
}

// forbiddenByRBAC reports that the API server did not get as far as to ask
// anybody.
func forbiddenByRBAC(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), " cannot ") && !strings.Contains(err.Error(), "admission webhook")
}
