package registration

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// installation is the time in which whoever installs Gitward, brings it up to
// date or takes it out is left alone.
type installation struct {
	looked bool      // for the ConfigMap, before now
	uid    types.UID // of the ConfigMap that announced it
	until  time.Time
	why    string
}

// announced says whether an installation is under way, and which. One that was
// seen counts to its end, whatever becomes of the ConfigMap and of the right to
// read it: both go when Gitward is taken out.
func (r *run) announced(ctx context.Context) (why string, ok bool) {
	if time.Now().After(r.installing.until) {
		r.lookForInstallation(ctx)
	}
	return r.installing.why, time.Now().Before(r.installing.until)
}

func (r *run) lookForInstallation(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, pollEvery)
	defer cancel()
	cm, err := r.store.client.CoreV1().ConfigMaps(r.Namespace).Get(ctx, Installation, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		err, r.installing.looked = nil, true
	} else if err == nil && cm.UID != r.installing.uid {
		// Clocks differ: what was not there a moment ago is new, and none is from
		// days to come.
		from, now := cm.CreationTimestamp.Time, time.Now()
		if r.installing.looked || from.After(now) {
			from = now
		}
		r.installing = installation{looked: true, uid: cm.UID, until: from.Add(r.window()),
			why: fmt.Sprintf("an installation is under way: ConfigMap %s of %s", Installation, cm.CreationTimestamp.UTC().Format(time.RFC3339))}
	}
	r.trouble.tell("looking for an installation that is under way", err)
}

// leave stays away once an installation has taken both configurations away. The
// ConfigMap is marked, so that no other process puts them back; until it is,
// this is tried again.
func (r *run) leave(ctx context.Context) bool {
	for name := range configurations {
		if s, known := r.now[name]; !known || s.object != nil {
			return false
		}
	}
	k := r.kept
	err := r.store.mark(ctx, &k)
	if overtaken(err) {
		r.refresh(ctx)
		return true
	}
	r.trouble.tell("marking that nothing is wanted", err)
	if err != nil {
		return true
	}
	r.Log.Warn("both webhook configurations are gone since an installation took them away: they stay away, and the API server asks nobody, until somebody installs them again")
	r.trouble.tell("forgetting what was kept", r.store.forget())
	r.before, r.kept = r.kept.Wanted, kept{adopt: true, version: k.version}
	return true
}
