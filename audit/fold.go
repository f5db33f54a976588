package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
)

// A flood of denials must not fill the disk that records are on. Each user may
// have so many denials recorded one by one, and all users together; what goes
// beyond is counted, and the counts are recorded every few seconds. What was
// admitted is always recorded by itself.
const (
	userBurst, userRate   = 200, 10.0 // denials at once, and a second
	totalBurst, totalRate = 2000, 100.0
	mostUsers             = 4096 // that have an allowance of their own
	mostFolds             = 500  // counts that are kept apart
	foldEvery             = 10 * time.Second
)

// FoldRecord counts denials that were not recorded one by one. Like Record it
// holds names and no values.
type FoldRecord struct {
	Time      time.Time `json:"time"`
	Seq       uint64    `json:"seq"`
	Replica   string    `json:"replica,omitempty"`
	Cluster   string    `json:"cluster,omitempty"`
	Operation string    `json:"operation"` // always FOLDED

	User      string `json:"user"` // * for all others, when there are too many
	Gate      string `json:"gate,omitempty"`
	Reason    string `json:"reason"`
	Verb      string `json:"verb"`
	Resource  string `json:"resource"`
	Namespace string `json:"namespace,omitempty"`

	Count int64     `json:"count"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	// Example is the decision that the user last saw.
	Example string `json:"example"`
}

// Folder records decisions as Lines does, and folds floods of denials into
// counts. Call Run beside it. It is safe for concurrent use.
type Folder struct {
	Lines *Lines
	Log   *slog.Logger
	Now   func() time.Time // for tests; nil is time.Now

	mu    sync.Mutex
	users map[string]*allowance
	total allowance
	folds map[foldKey]*FoldRecord
}

type foldKey struct{ user, gate, reason, verb, resource, namespace string }

// allowance is a bucket that fills with time. Its zero value is full.
type allowance struct {
	used float64
	at   time.Time
}

func (a *allowance) level(now time.Time, rate float64) float64 {
	a.used, a.at = max(0, a.used-now.Sub(a.at).Seconds()*rate), now
	return a.used
}

func (f *Folder) now() time.Time {
	if f.Now != nil {
		return f.Now()
	}
	return time.Now()
}

// Record appends one decision, or counts one denial of many.
func (f *Folder) Record(req *gate.Request, d *gate.Decision) error {
	if d.Allowed || f.take(req.User.Name) {
		return f.Lines.Record(req, d)
	}
	f.fold(req, d)
	return nil
}

// take reports whether a denial of the user may have a record of its own.
func (f *Folder) take(user string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if f.users == nil {
		f.users = map[string]*allowance{}
	}
	a := f.users[user]
	if a == nil {
		if len(f.users) >= mostUsers {
			f.forget(now)
		}
		if len(f.users) >= mostUsers {
			return false // thousands of users are being denied at once
		}
		a = &allowance{at: now}
		f.users[user] = a
	}
	if a.level(now, userRate) >= userBurst || f.total.level(now, totalRate) >= totalBurst {
		return false
	}
	a.used++
	f.total.used++
	return true
}

// forget drops the users whose allowance is whole again.
func (f *Folder) forget(now time.Time) {
	for name, a := range f.users {
		if a.level(now, userRate) == 0 {
			delete(f.users, name)
		}
	}
}

func (f *Folder) fold(req *gate.Request, d *gate.Decision) {
	resource := req.Resource
	if req.ResourceGroup != "" {
		resource += "." + req.ResourceGroup
	}
	if req.SubResource != "" {
		resource += "/" + req.SubResource
	}
	reason := string(d.Reason)
	if d.Refusal != nil {
		reason = string(d.Refusal.Kind)
	}
	k := foldKey{gitindex.Clean(req.User.Name, 300), d.Gate, reason, string(req.Operation), gitindex.Clean(resource, 300), gitindex.Clean(req.Namespace, 63)}
	now := f.now().UTC()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.folds == nil {
		f.folds = map[foldKey]*FoldRecord{}
	}
	if f.folds[k] == nil && len(f.folds) >= mostFolds {
		k = foldKey{user: "*", reason: "*", verb: "*", resource: "*"}
	}
	r := f.folds[k]
	if r == nil {
		r = &FoldRecord{User: k.user, Gate: k.gate, Reason: k.reason, Verb: k.verb, Resource: k.resource, Namespace: k.namespace, First: now}
		f.folds[k] = r
	}
	r.Count++
	r.Last, r.Example = now, d.ID
}

// Run records the counts every few seconds, and once more at the end.
func (f *Folder) Run(ctx context.Context) {
	ticker := time.NewTicker(foldEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
		if err := f.Flush(); err != nil {
			f.Log.Error("counts of denials could not be recorded; they are kept and tried again", "error", err)
		}
	}
}

// Flush records the counts that there are. What cannot be recorded is kept.
func (f *Folder) Flush() error {
	f.mu.Lock()
	folds := f.folds
	f.folds = nil
	f.mu.Unlock()
	for k, r := range folds {
		if err := f.Lines.recordFold(*r); err != nil {
			f.giveBack(folds)
			return err
		}
		delete(folds, k)
	}
	return nil
}

func (f *Folder) giveBack(folds map[foldKey]*FoldRecord) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.folds == nil {
		f.folds = map[foldKey]*FoldRecord{}
	}
	for k, r := range folds {
		if later := f.folds[k]; later != nil {
			r.Count, r.Last, r.Example = r.Count+later.Count, later.Last, later.Example
		}
		f.folds[k] = r
	}
}

func (l *Lines) recordFold(r FoldRecord) error {
	r.Time, r.Replica, r.Cluster, r.Operation = time.Now().UTC(), l.replica, l.cluster, "FOLDED"
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	r.Seq = l.seq
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("writing counts of denials: %w", err)
	}
	if _, err := l.w.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("writing counts of denials: %w", err)
	}
	return nil
}
