package registration

import (
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// load begins with what the ConfigMap says, or else the file.
func (r *run) load(ctx context.Context) {
	file, err := r.store.remember()
	r.trouble.tell("reading what is kept", err)
	r.refresh(ctx)
	if r.kept.adopt && r.before == nil {
		r.before = file.Wanted
	}
	if r.kept.Wanted == nil && !r.kept.adopt {
		r.kept = file
	}
	maps.Copy(r.good, file.Seen)
}

// refresh reads what is wanted again; another replica may have adopted
// something, or somebody may have asked for it. While the ConfigMap cannot be
// read, what was known goes on counting.
func (r *run) refresh(ctx context.Context) {
	r.refreshed = time.Now()
	r.announced(ctx)
	k, err := r.store.read(ctx)
	r.trouble.tell("reading what the configurations should be", err)
	switch {
	case apierrors.IsForbidden(err) && r.kept.Wanted == nil:
		// Then the file is all there is to keep it in.
		if file, err := r.store.remember(); err == nil && file.Wanted == nil {
			r.kept = kept{adopt: true}
		}
		return
	case err != nil:
		return
	case k.adopt && !r.kept.adopt:
		r.Log.Info("the next complete form of the webhook configurations will be adopted", "after", r.settle())
		r.candidate, r.since = nil, time.Time{}
		if r.before = r.kept.Wanted; k.before != nil {
			r.before = k.before
		}
		r.trouble.tell("forgetting what was kept", r.store.forget())
	}
	for name, wanted := range r.kept.Wanted {
		if d := changes(wanted, k.Wanted[name]); len(d) > 0 {
			r.Log.Warn("another webhook configuration is wanted from now on", "configuration", name, "what", strings.Join(d, ", "))
		}
	}
	r.kept = k
	if k.adopt {
		return
	}
	k.Seen = maps.Clone(r.good)
	r.trouble.tell("keeping what is wanted", r.store.note(k))
}

// learn adopts the form of both once it is complete and has stood still: when
// nothing is wanted yet, or an installation changes what is.
func (r *run) learn(ctx context.Context) {
	now := forms{}
	for name := range configurations {
		if s := r.now[name]; s.object != nil {
			now[name] = formOf(s.object)
		}
	}
	before, why, over := r.kept.Wanted, "", false
	if r.kept.adopt {
		before, why = r.before, "it was asked for"
		r.drop(ctx)
	} else if why, over = r.changing(ctx); why == "" {
		return
	}
	err := now.complete()
	r.trouble.tell("adopting the webhook configurations", err)
	if err != nil {
		r.candidate = nil
		return
	}
	if !reflect.DeepEqual(now, r.candidate) {
		r.candidate, r.since = now, time.Now()
	}
	if !over && time.Since(r.since) < r.settle() {
		return
	}
	// Others may have been asked for since; then the write conflicts.
	if !r.want(ctx, now) {
		return
	}
	r.Log.Info("adopted the webhook configurations as they are")
	for name := range configurations {
		r.good[name] = r.now[name].version
		r.admit(name, before[name], now[name], why)
	}
	r.before = nil
}

// drop ends what gaps are open once nothing is wanted. Where there is no
// configuration the gap has no end.
func (r *run) drop(ctx context.Context) {
	for name, g := range r.gaps {
		switch {
		case !g.closed.IsZero():
		case r.now[name].object != nil:
			r.close(g, r.now[name].version)
		default:
			r.hurry(ctx, name)
		}
	}
}

// changing says which installation changes what is wanted, and whether its time
// is over; empty when none does.
func (r *run) changing(ctx context.Context) (why string, over bool) {
	for _, g := range r.gaps {
		if g.closed.IsZero() && g.aside {
			_, ok := r.announced(ctx)
			return g.StandDown, !ok
		}
	}
	return "", false
}

// admit records that something else is wanted from now on. It can be less.
func (r *run) admit(name string, before, now *unstructured.Unstructured, why string) {
	if g := r.gaps[name]; g != nil && g.closed.IsZero() {
		r.close(g, r.now[name].version)
		g.What += "; adopted"
		return
	}
	d := changes(before, now)
	if len(d) == 0 {
		return
	}
	s := r.now[name]
	g := Gap{Configuration: name, What: "adopted: " + strings.Join(d, ", "), Start: r.since, End: time.Now(), StartVersion: s.version, EndVersion: s.version,
		By: managers(s.object), StandDown: why, Incomplete: "what was written while it changed is not named"}
	r.Log.Warn("the webhook configuration that is wanted is another", "configuration", name, "what", g.What, "by", g.By, "reason", why)
	if err := r.Recorder.RecordGap(g); err != nil {
		r.Log.Error("recording an adoption", "configuration", name, "error", err)
	}
}

// want keeps forms as wanted; false when others have said something else.
func (r *run) want(ctx context.Context, f forms) bool {
	k := kept{Wanted: f, version: r.kept.version}
	err := r.store.write(ctx, &k)
	if overtaken(err) {
		r.refresh(ctx)
		return false
	}
	r.trouble.tell("keeping what the configurations should be", err)
	r.kept = k
	k.Seen = maps.Clone(r.good)
	r.trouble.tell("keeping what is wanted", r.store.note(k))
	return true
}

// changes are the differences of what is wanted from what was, where both are
// known.
func changes(before, now *unstructured.Unstructured) []string {
	if before == nil || now == nil {
		return nil
	}
	return differences(before, now)
}

// fine takes in what may change of a configuration: its authorities and its
// metadata.
func (r *run) fine(ctx context.Context, s sight) {
	r.good[s.name] = s.version
	if g := r.gaps[s.name]; g != nil && g.closed.IsZero() {
		r.close(g, s.version)
	}
	form := formOf(s.object)
	if fingerprint(form) == fingerprint(r.kept.Wanted[s.name]) {
		return
	}
	r.Log.Info("adopted a change of authorities or metadata", "configuration", s.name, "by", managers(s.object))
	f := maps.Clone(r.kept.Wanted)
	f[s.name] = form
	r.want(ctx, f)
}

// fingerprint is equal for equal forms, and for equal forms alone.
func fingerprint(u *unstructured.Unstructured) string {
	data, _ := json.Marshal(formOf(u))
	return string(data)
}
