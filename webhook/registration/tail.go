package registration

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

// tail reads the changes of one kind.
type tail struct {
	*collector
	gvr     schema.GroupVersionResource
	gvk     schema.GroupVersionKind
	version string // up to which it has read
}

// run reads until the end is known and reached, or cannot be.
func (t *tail) run(ctx context.Context) {
	for ctx.Err() == nil {
		done, err := t.read(ctx)
		switch {
		case done:
			return
		case apierrors.IsResourceExpired(err), apierrors.IsGone(err):
			t.lack("changes no longer to be had, so that of these the objects are named that have changed, without deleted ones", t.gvr)
			if err = t.list(ctx); err == nil {
				continue
			}
		}
		if apierrors.IsForbidden(err) {
			t.lack("no right to watch", t.gvr)
			return
		}
		if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
			t.lack("not to be watched", t.gvr)
			return
		}
		wait(ctx, 200*time.Millisecond)
	}
}

// read watches once. It is done when it has read beyond the end, or nothing has
// come for a while after the end was known.
func (t *tail) read(ctx context.Context) (done bool, err error) {
	w, err := t.open(ctx)
	if err != nil {
		return false, err
	}
	defer w.Stop()
	ended, quiet := t.ended, (<-chan time.Time)(nil)
	for {
		select {
		case <-ctx.Done():
			return true, nil
		case <-ended:
			ended, quiet = nil, time.After(silence)
			if number(t.version) > t.end {
				return true, nil
			}
		case <-quiet:
			return true, nil
		case event, ok := <-w.ResultChan():
			if !ok {
				return false, nil
			}
			if err := t.take(event); err != nil {
				return false, err
			}
			if ended == nil {
				if number(t.version) > t.end {
					return true, nil
				}
				quiet = time.After(silence)
			}
		}
	}
}

func (t *tail) open(ctx context.Context) (watch.Interface, error) {
	select {
	case t.opening <- struct{}{}:
		defer func() { <-t.opening }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return t.metadata.Resource(t.gvr).Watch(ctx, metav1.ListOptions{ResourceVersion: t.version, AllowWatchBookmarks: true})
}

func (t *tail) take(event watch.Event) error {
	if event.Type == watch.Error {
		return apierrors.FromObject(event.Object)
	}
	m, ok := event.Object.(metav1.Object)
	if !ok {
		return fmt.Errorf("the watch of %v brought a %T", t.gvr, event.Object)
	}
	t.version = m.GetResourceVersion()
	if event.Type != watch.Bookmark {
		t.add(t.writeOf(string(event.Type), m))
	}
	return nil
}

func (t *tail) writeOf(kind string, m metav1.Object) Write {
	return Write{Type: kind, APIVersion: t.gvk.GroupVersion().String(), Kind: t.gvk.Kind, Namespace: m.GetNamespace(), Name: m.GetName(),
		UID: string(m.GetUID()), ResourceVersion: m.GetResourceVersion(), Managers: managers(m)}
}

// list stands in for changes that are no longer to be had: of what exists, it
// takes what has a version after that read last.
func (t *tail) list(ctx context.Context) error {
	after, next := number(t.version), ""
	for {
		list, err := t.metadata.Resource(t.gvr).List(ctx, metav1.ListOptions{Limit: 500, Continue: next})
		if err != nil {
			return err
		}
		for i := range list.Items {
			if m := &list.Items[i]; number(m.ResourceVersion) > after {
				t.add(t.writeOf(string(watch.Modified), m))
			}
		}
		if next = list.Continue; next == "" {
			t.version = list.ResourceVersion
			return nil
		}
	}
}
