package registration

import (
	"context"
	"fmt"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
)

// sight is how a configuration was at a version of the cluster.
type sight struct {
	name    string
	object  *unstructured.Unstructured // nil: it does not exist
	version string
	// exact: the version is that of the change itself. Otherwise the change may
	// be as old as the sight before.
	exact bool
	// same: nothing changed up to version; object says nothing.
	same bool
}

// look asks for a configuration as it is now. A list is asked for, not the
// object: an answer without an object has a version too.
func look(ctx context.Context, client dynamic.Interface, name string) (sight, error) {
	list, err := client.Resource(configurations[name]).List(ctx, selecting(name))
	if err != nil {
		return sight{}, fmt.Errorf("reading %s: %w", name, err)
	}
	s := sight{name: name, version: list.GetResourceVersion()}
	if len(list.Items) > 0 {
		s.object = &list.Items[0]
	}
	return s, nil
}

func selecting(name string) metav1.ListOptions {
	return metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()}
}

// follow reports each change of a configuration until ctx ends. What it misses
// the poll finds, so an error ends only one attempt.
func (r *run) follow(ctx context.Context, name string) {
	for ctx.Err() == nil {
		s, err := look(ctx, r.dynamic, name)
		if err == nil {
			r.report(ctx, s)
			err = r.followFrom(ctx, name, s.version)
		}
		if ctx.Err() == nil {
			r.trouble.tell("following "+name, err)
		}
		wait(ctx, time.Second)
	}
}

func (r *run) followFrom(ctx context.Context, name, version string) error {
	options := selecting(name)
	options.ResourceVersion, options.AllowWatchBookmarks = version, true
	w, err := r.dynamic.Resource(configurations[name]).Watch(ctx, options)
	if err != nil {
		return fmt.Errorf("watching %s: %w", name, err)
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		s, err := sightOf(name, event)
		if err != nil {
			return fmt.Errorf("watching %s: %w", name, err)
		}
		r.report(ctx, s)
	}
	return nil
}

func sightOf(name string, event watch.Event) (sight, error) {
	if event.Type == watch.Error {
		return sight{}, apierrors.FromObject(event.Object)
	}
	m, err := meta.Accessor(event.Object)
	if err != nil {
		return sight{}, err
	}
	s := sight{name: name, version: m.GetResourceVersion(), exact: true, same: event.Type == watch.Bookmark}
	if event.Type == watch.Added || event.Type == watch.Modified {
		s.object, _ = event.Object.(*unstructured.Unstructured)
	}
	return s, nil
}

// poll looks at both every few seconds: a watch can be dead without saying so.
func (r *run) poll(ctx context.Context) {
	for wait(ctx, pollEvery) {
		for name := range configurations {
			r.pollOne(ctx, name)
		}
	}
}

func (r *run) pollOne(ctx context.Context, name string) {
	limited, cancel := context.WithTimeout(ctx, pollEvery)
	defer cancel()
	s, err := look(limited, r.dynamic, name)
	if err == nil {
		r.report(ctx, s)
	}
	if ctx.Err() == nil {
		r.trouble.tell("polling "+name, err)
	}
}

func (r *run) report(ctx context.Context, s sight) {
	select {
	case r.sights <- s:
	case <-ctx.Done():
	}
}

// wait sleeps; false once ctx has ended.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// number compares versions: Kubernetes promises since 1.35 that they are
// integers that grow, and they have been all along. What is none counts as old.
func number(version string) uint64 {
	n, _ := strconv.ParseUint(version, 10, 64)
	return n
}
