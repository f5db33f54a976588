package attacks

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/test/server"
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
	// aside: it is about something outside of the namespaces. A naive webhook is
	// not asked about that; to show it, the deed is done by dry run in a moment
	// without Gitward.
	aside bool
	// unshown says why there is no naive half.
	unshown string
}

// play does each attack first in the naive namespace, where it must succeed,
// and then in the gated one by everybody who has the right to, where it must be
// refused for the right reason, and nothing must have changed.
func (w *world) play(n *naive, attacks ...attack) {
	w.t.Helper()
	w.show(n, attacks...)
	before := w.settle()
	w.meet(attacks...)
	w.unchanged(before)
}

// show is the naive half.
func (w *world) show(n *naive, attacks ...attack) {
	w.t.Helper()
	w.register(n)
	var aside []attack
	for _, a := range attacks {
		if a.aside {
			aside = append(aside, a)
		} else {
			w.succeeds(n, a)
		}
	}
	if len(aside) > 0 {
		w.lab.ungated(w.t, func() {
			for _, a := range aside {
				w.succeeds(n, a)
			}
		})
	}
	w.unregister()
}

// meet has everybody try the attacks before Gitward, several at once: they are
// all refused, so that none is in another's way.
func (w *world) meet(attacks ...attack) {
	w.t.Helper()
	var wg sync.WaitGroup
	lines, turn := make([]string, len(attacks)), make(chan struct{}, 8)
	for i, a := range attacks {
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			tries, reasons := w.refused(a)
			lines[i] = fmt.Sprintf("%-55s | naive: %s | Gitward: %s | %d tries", a.name, w.naively(a), strings.Join(reasons, ", "), tries)
		})
	}
	wg.Wait()
	for _, line := range lines {
		w.t.Log(line)
	}
}

// naively says what became of an attack before a naive webhook. Without that it
// is not known to be an attack.
func (w *world) naively(a attack) string {
	mistake := w.shown[a.name]
	switch {
	case mistake != "" && a.unshown == "":
		return "gets through (" + mistake + ")"
	case mistake == "" && a.unshown != "":
		return "not shown (" + a.unshown + ")"
	}
	w.t.Errorf("%s: the naive half was played (%q), and it was not (%q)", a.name, mistake, a.unshown)
	return "?"
}

// succeeds shows that the attack is one.
func (w *world) succeeds(n *naive, a attack) {
	w.t.Helper()
	by := a.by
	if by == "" {
		by = "namespace editor"
	}
	for i, c := range a.calls {
		if a.aside && a.past == "" { // otherwise there is nothing behind it to harm
			c = c.dry()
		}
		err := c.do(w.lab.client(whoIs(by)), w.naive)
		if a.past == "" && err != nil || a.past != "" && (err == nil || !strings.Contains(err.Error(), a.past)) {
			w.t.Errorf("%s, step %d, before a webhook where %s: %v, want %q: this attack shows nothing", a.name, i+1, n.mistake, err, a.past)
			return
		}
	}
	w.shown[a.name] = n.mistake
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
		w.expect(who)
		for step, err := range answers[i] {
			if forbiddenByRBAC(err) {
				continue
			}
			tries++
			w.reached(who)
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

// five are the identities that the attacks are about; all that is taken by
// impersonation is one.
var five = []string{"namespace editor", "cluster-admin", "system:masters", "stolen applier token", "an impersonator"}

func (p person) identity() string {
	if p.as.UserName != "" {
		return five[4]
	}
	return p.name
}

// expect notes that somebody is to try something in this test, reached that a
// try of theirs came as far as Gitward: RBAC may have kept it.
func (w *world) expect(p person) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tries[p.identity()] += 0
}

func (w *world) reached(p person) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tries[p.identity()]++
}

// allReached holds, at the end of a test, that none of the five who were to try
// was kept away by RBAC from every attack.
func (w *world) allReached() {
	var said []string
	for _, who := range five {
		n, expected := w.tries[who]
		if expected && n == 0 {
			w.t.Errorf("no try of the %s reached Gitward", who)
		}
		if expected {
			said = append(said, fmt.Sprintf("%s %d", who, n))
		}
	}
	if len(said) > 0 {
		w.t.Logf("tries: %s", strings.Join(said, ", "))
	}
}

// judge holds an answer against what the attack is to meet with.
func (w *world) judge(a attack, err error) (gate.Refused, error) {
	if !server.Refused(err) {
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
