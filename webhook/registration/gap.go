package registration

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// gap is a Gap that is open, or closed so lately that it may go on.
type gap struct {
	Gap
	closed time.Time // zero: it is open
	aside  bool      // an installation was under way
	tried  time.Time // to restore it
	writes *collector
	wrote  string // version of the restoration
}

// wrong says what is not as wanted; empty when all is.
func (r *run) wrong(s sight) string {
	wanted := r.kept.Wanted[s.name]
	if wanted == nil {
		return ""
	}
	if s.object == nil {
		return "deleted"
	}
	if d := differences(wanted, s.object); len(d) > 0 {
		return "changed: " + strings.Join(d, ", ")
	}
	return ""
}

// broken opens a gap, unless the change has been asked for in the meantime.
func (r *run) broken(ctx context.Context, s sight, what string) {
	if g := r.gaps[s.name]; g == nil || !g.closed.IsZero() {
		r.refresh(ctx)
		if what = r.wrong(s); r.kept.Wanted == nil || what == "" {
			return // what it is now is weighed at the next tick
		}
	}
	start := r.good[s.name]
	if s.exact {
		start = s.version
	}
	r.restore(ctx, r.open(ctx, s, what, start))
}

// open begins a gap, or goes on with one.
func (r *run) open(ctx context.Context, s sight, what, start string) *gap {
	by := []string(nil)
	if s.object != nil {
		by = managers(s.object)
	}
	if g := r.gaps[s.name]; g != nil && (g.closed.IsZero() || time.Since(g.Start) < longestQuarrel) {
		g.closed, g.Restored = time.Time{}, false
		if !strings.Contains(g.What, what) {
			g.What += "; " + what
			g.By = slices.Compact(append(g.By, by...))
		}
		return g
	}
	r.hurry(ctx, s.name)
	g := &gap{Gap: Gap{Configuration: s.name, What: what, Start: time.Now(), StartVersion: start, By: by}}
	if start == "" {
		// Nobody watched, and this replica never saw it as wanted.
		if g.StartVersion = r.kept.version; g.StartVersion == "" {
			g.StartVersion = s.version
		}
		g.Incomplete = "nobody watched when it began: writes may be missing, or have been before it"
	}
	r.gaps[s.name] = g
	r.Log.Error("the API server does not ask Gitward as it should", "configuration", s.name, "what", what, "by", by)
	return g
}

// restore puts a configuration back, unless break-glass is open for it.
func (r *run) restore(ctx context.Context, g *gap) {
	if g.writes == nil {
		defer func() { g.writes = r.collect(ctx, g.StartVersion) }() // the restoration comes first
	}
	if r.StandDown != nil {
		if reason, ok := r.StandDown(); ok {
			if g.StandDown == "" {
				r.Log.Warn("the webhook configuration is left as it is: break-glass is open", "configuration", g.Configuration, "reason", reason)
			}
			g.StandDown = reason
			return
		}
	}
	wanted := r.kept.Wanted[g.Configuration]
	if wanted == nil || r.wrong(r.now[g.Configuration]) == "" || time.Since(g.tried) < restoreGap {
		return
	}
	g.tried = time.Now()
	if why, ok := r.announced(ctx); ok {
		if g.StandDown != why {
			r.Log.Warn("the webhook configuration is left as it is", "configuration", g.Configuration, "reason", why)
		}
		g.StandDown, g.aside = why, true
		return
	}
	if g.aside && r.leave(ctx) {
		return
	}
	live, err := r.put(ctx, wanted, r.now[g.Configuration].object)
	if overtaken(err) {
		r.lookAgain(ctx, g.Configuration)
		return
	}
	r.trouble.tell("restoring "+g.Configuration, err)
	if err != nil {
		g.tried = g.tried.Add(time.Second)
		return
	}
	g.Restored, g.wrote = true, live.GetResourceVersion()
	s := sight{name: g.Configuration, object: live, version: live.GetResourceVersion(), exact: true}
	r.now[s.name] = s
	if r.wrong(s) != "" {
		// The API server fills in fields that it did not have when the form was
		// adopted. What it makes of the wanted form is the wanted form.
		f := maps.Clone(r.kept.Wanted)
		f[s.name] = formOf(live)
		r.want(ctx, f)
	}
	r.fine(ctx, s)
}

// put writes the wanted form over what is live, if anything is.
func (r *run) put(ctx context.Context, wanted, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, pollEvery)
	defer cancel()
	client := r.dynamic.Resource(configurations[wanted.GetName()])
	u := wanted.DeepCopy()
	if live == nil {
		return client.Create(ctx, u, metav1.CreateOptions{FieldManager: manager})
	}
	u.Object["metadata"] = live.DeepCopy().Object["metadata"]
	return client.Update(ctx, u, metav1.UpdateOptions{FieldManager: manager})
}

// overtaken says whether a write met something newer: another replica's, as a
// rule.
func overtaken(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err)
}

func (r *run) lookAgain(ctx context.Context, name string) {
	s, err := look(ctx, r.dynamic, name)
	if err == nil && number(s.version) > number(r.now[name].version) {
		r.now[name] = s
		if r.wrong(s) == "" {
			r.fine(ctx, s)
		}
	}
}

func (r *run) close(g *gap, version string) {
	g.closed, g.aside = time.Now(), false
	g.End, g.EndVersion = g.closed, version
	r.Log.Warn("the API server asks Gitward again", "configuration", g.Configuration, "after", g.End.Sub(g.Start), "restored", g.Restored)
}

// hurry finishes a closed gap before another begins.
func (r *run) hurry(ctx context.Context, name string) {
	if g := r.gaps[name]; g != nil {
		delete(r.gaps, name)
		r.finishing.Go(func() { r.finish(ctx, g) })
	}
}

// finish names the writes of a gap and records it.
func (r *run) finish(ctx context.Context, g *gap) {
	if s, err := look(ctx, r.dynamic, g.Configuration); err == nil {
		g.EndVersion = s.version
	}
	if g.writes == nil {
		g.writes = r.collect(ctx, g.StartVersion)
	}
	var lacks string
	g.Writes, g.More, lacks = g.writes.finish(ctx, g.EndVersion, g.wrote)
	if lacks != "" {
		g.Incomplete = strings.TrimPrefix(g.Incomplete+"; "+lacks, "; ")
	}
	if err := r.Recorder.RecordGap(g.Gap); err != nil {
		r.Log.Error("recording a gap", "configuration", g.Configuration, "error", err)
	}
}

// abandon records the gaps that are left when Gitward stops. One without an end
// is still open.
func (r *run) abandon() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for name := range r.gaps {
		r.hurry(ctx, name)
	}
}
