// Package ledger keeps what is owed to Git: the uses of break-glass that it has
// yet to catch up with; and what Gates that only audit have learned. Both are in
// the Gates' status, so that every replica, a restart and kubectl see them.
package ledger

import (
	"cmp"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
)

// Ledger implements gate.Ledger. A use counts at once here, and is written to its
// Gate's status a moment later by Keeper, never in a request. The zero value is
// empty and ready.
type Ledger struct {
	mu      sync.Mutex
	uses    map[key]gate.Use
	written map[key]time.Time // At of what the status was last seen to hold
	struck  map[key]time.Time // At of what was settled here, until the status lacks it
	dirty   map[string]bool   // Gates whose status is behind
	wake    chan struct{}
}

type key struct {
	gate string
	ref  gitindex.Ref
}

var _ gate.Ledger = (*Ledger)(nil)

// Note takes in one use. Uses of one object are one, the latest.
func (l *Ledger) Note(u gate.Use) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.init()
	k := key{u.Gate, u.Ref}
	// As a status keeps them, so that both compare equal.
	u.Since, u.At, u.Until = u.Since.Truncate(time.Second), u.At.Truncate(time.Microsecond), u.Until.Truncate(time.Second)
	if before, ok := l.uses[k]; ok {
		u.Since, u.Count = before.Since, before.Count+u.Count
	}
	l.uses[k] = u
	l.dirtyLocked(u.Gate)
}

// Open finds the use that is owed for an object; false when none is.
func (l *Ledger) Open(gateName string, ref gitindex.Ref) (gate.Use, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u, ok := l.uses[key{gateName, ref}]
	return u, ok
}

// All lists what is owed, oldest first.
func (l *Ledger) All() []gate.Use {
	l.mu.Lock()
	defer l.mu.Unlock()
	return sorted(l.uses)
}

func sorted(uses map[key]gate.Use) []gate.Use {
	return slices.SortedFunc(maps.Values(uses), func(a, b gate.Use) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Ref.String(), b.Ref.String()))
	})
}

// Settle strikes out a use, unless it was used again since.
func (l *Ledger) Settle(u gate.Use) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := key{u.Gate, u.Ref}
	if now, ok := l.uses[k]; !ok || !now.At.Equal(u.At) || now.Count != u.Count {
		return false
	}
	delete(l.uses, k)
	l.struck[k] = u.At
	l.dirtyLocked(u.Gate)
	return true
}

// Load takes in what the Gates' statuses say: after a start, and what other
// replicas noted or struck out.
func (l *Ledger) Load(gates []v1alpha1.Gate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.init()
	seen := map[key]bool{}
	for i := range gates {
		for _, s := range gates[i].Status.BreakGlass {
			u := useOf(gates[i].Name, s)
			k := key{u.Gate, u.Ref}
			seen[k] = true
			l.written[k] = u.At
			if here, ok := l.uses[k]; !ok && !l.struckOut(u) || ok && here.At.Before(u.At) {
				l.uses[k] = u
			}
		}
	}
	for k, at := range l.written {
		if here, ok := l.uses[k]; !seen[k] && ok && !here.At.After(at) {
			delete(l.uses, k) // another replica struck it out
		}
		if !seen[k] {
			delete(l.written, k)
		}
	}
	for k := range l.struck {
		if !seen[k] {
			delete(l.struck, k)
		}
	}
}

// struckOut reports a use that was settled here and not noted anew since.
func (l *Ledger) struckOut(u gate.Use) bool {
	at, ok := l.struck[key{u.Gate, u.Ref}]
	return ok && !u.At.After(at)
}

func (l *Ledger) init() {
	if l.uses == nil {
		l.uses, l.written, l.struck, l.dirty = map[key]gate.Use{}, map[key]time.Time{}, map[key]time.Time{}, map[string]bool{}
	}
}

func (l *Ledger) dirtyLocked(gateName string) {
	l.dirty[gateName] = true
	if l.wake != nil {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// maxUses is how many stand in one Gate's status, which etcd must take; the rest
// is kept in memory, and in the record. The oldest stand there: what is owed for
// long must not be pushed out by what is new.
const maxUses = 300

// statusOf is what a Gate's status should say, given what it says, and how many
// uses found no room. What another replica wrote and this one has not heard of
// yet stays.
func (l *Ledger) statusOf(gateName string, have []v1alpha1.BreakGlassUse) (uses []v1alpha1.BreakGlassUse, left int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[key]gate.Use{}
	for k, u := range l.uses {
		if k.gate == gateName {
			all[k] = u
		}
	}
	for _, s := range have {
		u := useOf(gateName, s)
		k := key{gateName, u.Ref}
		here, ok := all[k]
		if !ok && !l.struckOut(u) || ok && here.At.Before(u.At) {
			all[k] = u
		}
	}
	for _, u := range sorted(all) {
		uses = append(uses, statusUse(u))
	}
	if len(uses) > maxUses {
		left = len(uses) - maxUses
		uses = uses[:maxUses]
	}
	return uses, left
}

func statusUse(u gate.Use) v1alpha1.BreakGlassUse {
	return v1alpha1.BreakGlassUse{Group: u.Ref.Group, Kind: u.Ref.Kind, Namespace: u.Ref.Namespace, Name: u.Ref.Name, Resource: u.Resource,
		Version: u.Version, Operation: string(u.Operation), User: gitindex.Clean(u.User, 300), Reason: gitindex.Clean(u.Reason, 300), Decision: u.Decision,
		Since: metav1.NewTime(u.Since), At: metav1.NewMicroTime(u.At), Until: metav1.NewTime(u.Until), Count: int32(u.Count)}
}

func useOf(gateName string, s v1alpha1.BreakGlassUse) gate.Use {
	return gate.Use{Gate: gateName, Ref: gitindex.Ref{Group: s.Group, Kind: s.Kind, Namespace: s.Namespace, Name: s.Name}, Resource: s.Resource,
		Version: s.Version, Operation: gate.Operation(s.Operation), User: s.User, Reason: s.Reason, Decision: s.Decision,
		Since: s.Since.Time, At: s.At.Time, Until: s.Until.Time, Count: int(s.Count)}
}

// Keeper writes the ledger and what was learned to the Gates, and strikes out
// what Git has caught up with.
type Keeper struct {
	Ledger  *Ledger
	Learner *Learner // may be nil
	// Update changes one Gate's status, and tries again when somebody else did
	// meanwhile.
	Update func(gateName string, change func(*v1alpha1.GateStatus)) error
	// Settled reports whether Git has caught up with a use.
	Settled  func(gate.Use) (bool, error)
	Log      *slog.Logger
	Interval time.Duration // between two looks at what is owed; default 30 seconds
}

// Run keeps until done is closed.
func (k *Keeper) Run(done <-chan struct{}) {
	interval := cmp.Or(k.Interval, 30*time.Second)
	wake := make(chan struct{}, 1)
	k.Ledger.mu.Lock()
	k.Ledger.init()
	k.Ledger.wake = wake
	k.Ledger.mu.Unlock()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		k.write()
		select {
		case <-done:
			return
		case <-wake:
		case <-ticker.C:
			k.settle()
			k.learn()
		}
	}
}

// write brings the statuses that are behind up to date.
func (k *Keeper) write() {
	k.Ledger.mu.Lock()
	behind := k.Ledger.dirty
	k.Ledger.dirty = map[string]bool{}
	k.Ledger.mu.Unlock()
	for name := range behind {
		left := 0
		err := k.Update(name, func(s *v1alpha1.GateStatus) { s.BreakGlass, left = k.Ledger.statusOf(name, s.BreakGlass) })
		if left > 0 {
			k.Log.Error("more break-glass is owed than a Gate's status can list", "gate", name, "unlisted", left)
		}
		if err != nil {
			k.Log.Error("break-glass could not be noted on its Gate", "gate", name, "error", err)
			k.Ledger.mu.Lock()
			k.Ledger.dirty[name] = true // at the next turn
			k.Ledger.mu.Unlock()
		}
	}
}

func (k *Keeper) settle() {
	if k.Settled == nil {
		return
	}
	for _, u := range k.Ledger.All() {
		ok, err := k.Settled(u)
		switch {
		case err != nil:
			k.Log.Warn("whether Git has caught up with break-glass cannot be told", "object", u.Ref.String(), "error", err)
		case ok && k.Ledger.Settle(u):
			k.Log.Info("Git has caught up with break-glass", "gate", u.Gate, "object", u.Ref.String(), "reason", gitindex.Clean(u.Reason, 300))
		}
	}
}

func (k *Keeper) learn() {
	if k.Learner == nil {
		return
	}
	for name, groups := range k.Learner.take() {
		err := k.Update(name, func(s *v1alpha1.GateStatus) { s.Learned = merge(s.Learned, groups) })
		if err != nil {
			k.Log.Warn("what was learned could not be noted on its Gate", "gate", name, "error", err)
			k.Learner.giveBack(name, groups)
		}
	}
}
