package controller

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/gitward/gitward/gitindex"
)

// Hub runs the trackers of all Origins, each in a goroutine of its own, so that
// one slow repository delays no other. After every change it publishes the
// whole Index.
type Hub struct {
	// Publish is called, one call at a time, with each new Index.
	Publish func(gitindex.Index)
	// Changed is called after each look at an Origin's ref, with its name; it
	// may be nil.
	Changed func(origin string)
	Log     *slog.Logger
	// Renderer is for trackers whose settings name none.
	Renderer Renderer
	// MinGap is the shortest time between two fetches of one Origin, however
	// many requests ask for one. Default one second.
	MinGap time.Duration

	mu      sync.Mutex
	running map[string]*runner
	wg      sync.WaitGroup
	closed  bool
}

// runner is one tracker's loop.
type runner struct {
	tracker  *Tracker
	interval time.Duration
	suspend  bool
	cancel   context.CancelFunc
	done     chan struct{}
	wake     chan struct{}

	mu      sync.Mutex
	waiting []chan error
	lastErr error
	synced  bool
}

// Set starts tracking an Origin, or restarts it with new settings. The tracker
// serves from its persisted index at once.
func (h *Hub) Set(ctx context.Context, s Settings) error {
	h.Remove(s.Name)
	if s.Renderer == nil {
		s.Renderer = h.Renderer
	}
	t, err := NewTracker(s)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &runner{tracker: t, interval: s.Spec.Interval.Duration, suspend: s.Spec.Suspend, cancel: cancel,
		done: make(chan struct{}), wake: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		cancel()
		return errors.Join(errors.New("the hub is closed"), t.Close())
	}
	if h.running == nil {
		h.running = map[string]*runner{}
	}
	h.running[s.Name] = r
	h.introduceLocked()
	h.publishLocked()
	h.wg.Add(1)
	go func() {
		defer h.wg.Done()
		defer close(r.done)
		h.run(ctx, r)
	}()
	return nil
}

// Remove stops tracking an Origin.
func (h *Hub) Remove(name string) {
	h.mu.Lock()
	r := h.running[name]
	delete(h.running, name)
	if r != nil {
		h.publishLocked()
	}
	h.mu.Unlock()
	if r != nil {
		r.cancel()
		<-r.done
	}
}

// Close stops all trackers and waits for them.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	for _, r := range h.running {
		r.cancel()
	}
	h.mu.Unlock()
	h.wg.Wait()
}

func (h *Hub) run(ctx context.Context, r *runner) {
	defer func() {
		r.answer(context.Canceled)
		if err := errors.Join(r.tracker.Save(), r.tracker.Close()); err != nil {
			h.Log.Error("closing an Origin", "origin", r.tracker.settings.Name, "error", err)
		}
	}()
	timer := time.NewTimer(0)
	if r.suspend {
		timer.Stop()
	}
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-r.wake:
		}
		waiting := r.take()
		err := h.sync(ctx, r)
		r.mu.Lock()
		r.lastErr, r.synced = err, true
		r.mu.Unlock()
		for _, w := range waiting {
			w <- err
		}
		if saveErr := r.tracker.Save(); saveErr != nil {
			h.Log.Error("the index could not be kept on disk", "origin", r.tracker.settings.Name, "error", saveErr)
		}
		if h.Changed != nil {
			h.Changed(r.tracker.settings.Name)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(h.minGap()):
		}
		if !r.suspend {
			timer.Reset(r.interval)
		}
	}
}

func (h *Hub) minGap() time.Duration {
	if h.MinGap > 0 {
		return h.MinGap
	}
	return time.Second
}

func (h *Hub) sync(ctx context.Context, r *runner) error {
	before := r.tracker.Snapshot()
	after, err := r.tracker.Sync(ctx)
	name := r.tracker.settings.Name
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		h.Log.Warn("Origin not read", "origin", name, "error", err)
		return err
	case after.Frozen != "" && (before == nil || before.Frozen != after.Frozen):
		h.Log.Warn("Origin frozen", "origin", name, "why", after.Frozen)
	case after.Accepted != nil && (before == nil || before.Accepted == nil || before.Accepted.ID != after.Accepted.ID):
		h.Log.Info("Origin accepted", "origin", name, "commit", after.Accepted.ID, "objects", after.Count(),
			"held", len(after.Held), "problems", len(after.Problems))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running[name] == r {
		h.introduceLocked()
		h.publishLocked()
	}
	return nil
}

// introduceLocked lets the Origins know of each other, and has those look again
// for whom something is new.
func (h *Hub) introduceLocked() {
	trackers := map[string]*Tracker{}
	for name, r := range h.running {
		trackers[name] = r.tracker
	}
	for _, name := range meet(trackers) {
		select {
		case h.running[name].wake <- struct{}{}:
		default:
		}
	}
}

func (h *Hub) publishLocked() {
	index := gitindex.Index{}
	for name, r := range h.running {
		if s := r.tracker.Snapshot(); s != nil {
			index[name] = s
		}
	}
	h.Publish(index)
}

// Refresh has the named Origins looked at once more, and waits for looks that
// began after the call. Requests that come together share one look.
func (h *Hub) Refresh(ctx context.Context, origins []string) error {
	var waits []chan error
	h.mu.Lock()
	running := maps.Clone(h.running)
	h.mu.Unlock()
	for _, name := range origins {
		if r := running[name]; r != nil && !r.suspend {
			waits = append(waits, r.ask())
		}
	}
	for _, w := range waits {
		select {
		case err := <-w:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return errors.New("the fetch did not end in time")
		}
	}
	return nil
}

// Sync is Refresh for one Origin, for a command line that waits as long as it
// takes.
func (h *Hub) Sync(ctx context.Context, origin string) error {
	h.mu.Lock()
	r := h.running[origin]
	h.mu.Unlock()
	if r == nil {
		return fmt.Errorf("there is no Origin %s", origin)
	}
	select {
	case err := <-r.ask():
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Revision is an Origin's accepted one; empty if there is none.
func (h *Hub) Revision(origin string) string {
	if s := h.Snapshot(origin); s != nil && s.Accepted != nil {
		return s.Accepted.ID
	}
	return ""
}

// Read gives do an Origin's trusted tree, as Tracker.Read does.
func (h *Hub) Read(origin string, do func(tree fs.FS, revision string) error) error {
	h.mu.Lock()
	r := h.running[origin]
	h.mu.Unlock()
	if r == nil {
		return fmt.Errorf("there is no Origin %s", origin)
	}
	return r.tracker.Read(do)
}

// Err is what the last look at an Origin ended with; nil before the first.
func (h *Hub) Err(origin string) (err error, looked bool) {
	h.mu.Lock()
	r := h.running[origin]
	h.mu.Unlock()
	if r == nil {
		return nil, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lastErr, r.synced
}

// Snapshot is an Origin's latest; nil if there is none.
func (h *Hub) Snapshot(origin string) *gitindex.Snapshot {
	h.mu.Lock()
	r := h.running[origin]
	h.mu.Unlock()
	if r == nil {
		return nil
	}
	return r.tracker.Snapshot()
}

func (r *runner) ask() chan error {
	w := make(chan error, 1)
	r.mu.Lock()
	r.waiting = append(r.waiting, w)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
	return w
}

func (r *runner) take() []chan error {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.waiting
	r.waiting = nil
	return w
}

func (r *runner) answer(err error) {
	for _, w := range r.take() {
		w <- err
	}
}
