package registration

import (
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// load begins with what the ConfigMap says, or else the file.
func (r *run) load(ctx context.Context) {
	file, err := r.store.remember()
	r.trouble.tell("reading what is kept", err)
	r.refresh(ctx)
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
		r.trouble.tell("forgetting what was kept", r.store.forget())
	}
	r.kept = k
	if k.adopt {
		return
	}
	k.Seen = maps.Clone(r.good)
	r.trouble.tell("keeping what is wanted", r.store.note(k))
}

// learn adopts the form of both once it is complete and has stood still.
func (r *run) learn(ctx context.Context) {
	if !r.kept.adopt {
		return
	}
	now := forms{}
	for name := range configurations {
		if s := r.now[name]; s.object != nil {
			now[name] = formOf(s.object)
		}
		if g := r.gaps[name]; g != nil && g.closed.IsZero() {
			r.close(g, r.now[name].version)
		}
	}
	err := now.complete()
	r.trouble.tell("adopting the webhook configurations", err)
	if err != nil || !reflect.DeepEqual(now, r.candidate) {
		r.candidate, r.since = now, time.Now()
		return
	}
	if time.Since(r.since) < r.settle() {
		return
	}
	// Others may have been asked for since; then the write conflicts.
	if !r.want(ctx, now) {
		return
	}
	r.Log.Info("adopted the webhook configurations as they are")
	for name := range configurations {
		r.good[name] = r.now[name].version
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
