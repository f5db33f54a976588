package live

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/gitward/gitward/gate"
)

// kind is one kind that is watched.
type kind struct {
	gvk schema.GroupVersionKind
	gvr schema.GroupVersionResource
	// templates are what is kept of the object beside metadata, by the name that
	// it is kept under. Nil: only metadata is asked for.
	templates map[string][]string
}

func (k *kind) String() string {
	if k.gvk.Group == "" {
		return k.gvk.Kind
	}
	return k.gvk.Kind + "." + k.gvk.Group
}

var (
	podTemplate      = map[string][]string{"template": {"spec", "template"}}
	statefulTemplate = map[string][]string{"template": {"spec", "template"}, "volumeClaimTemplates": {"spec", "volumeClaimTemplates"}}
	jobTemplate      = map[string][]string{"jobTemplate": {"spec", "jobTemplate"}}
	// A ControllerRevision holds an earlier template of its owner.
	revisedTemplate = map[string][]string{"template": {"data", "spec", "template"}}
)

// builtIn are the kinds of Kubernetes that others are made of.
func builtIn() []*kind {
	k := func(group, version, name, resource string, templates map[string][]string) *kind {
		gv := schema.GroupVersion{Group: group, Version: version}
		return &kind{gv.WithKind(name), gv.WithResource(resource), templates}
	}
	return []*kind{
		k("apps", "v1", "Deployment", "deployments", podTemplate),
		k("apps", "v1", "ReplicaSet", "replicasets", podTemplate),
		k("apps", "v1", "StatefulSet", "statefulsets", statefulTemplate),
		k("apps", "v1", "DaemonSet", "daemonsets", podTemplate),
		k("apps", "v1", "ControllerRevision", "controllerrevisions", revisedTemplate),
		k("batch", "v1", "Job", "jobs", podTemplate),
		k("batch", "v1", "CronJob", "cronjobs", jobTemplate),
		k("", "v1", "ReplicationController", "replicationcontrollers", podTemplate),
		k("", "v1", "Service", "services", nil),
		k("", "v1", "Endpoints", "endpoints", nil),
		k("", "v1", "Pod", "pods", nil),
		k("", "v1", "Namespace", "namespaces", nil),
	}
}

// Watcher fills a Cache from a cluster.
type Watcher struct {
	Cache *Cache
	Log   *slog.Logger

	dynamic   dynamic.Interface
	metadata  metadata.Interface
	discovery discovery.DiscoveryInterface

	poke chan struct{}

	mu     sync.Mutex
	wanted map[schema.GroupKind]bool
}

// NewWatcher makes a Watcher for the cluster that config names.
func NewWatcher(config *rest.Config, cache *Cache, log *slog.Logger) (*Watcher, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = 50, 100 // some twenty lists at the start
	w := &Watcher{Cache: cache, Log: log, poke: make(chan struct{}, 1)}
	var err error
	if w.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("reaching the cluster: %w", err)
	}
	if w.metadata, err = metadata.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("reaching the cluster: %w", err)
	}
	if w.discovery, err = discovery.NewDiscoveryClientForConfig(config); err != nil {
		return nil, fmt.Errorf("reaching the cluster: %w", err)
	}
	for _, k := range builtIn() {
		cache.expect(k.String())
	}
	return w, nil
}

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, k := range builtIn() {
		wg.Go(func() { w.watch(ctx, k) })
	}
	wg.Go(func() { w.follow(ctx) })
	wg.Wait()
}

// Want names the kinds of owners that the Gates speak of, beside those of
// Kubernetes. It may be called at any time.
func (w *Watcher) Want(kinds []schema.GroupKind) {
	wanted := map[schema.GroupKind]bool{}
	for _, k := range kinds {
		wanted[k] = true
	}
	for _, k := range builtIn() {
		delete(wanted, k.gvk.GroupKind())
	}
	w.mu.Lock()
	w.wanted = wanted
	w.mu.Unlock()
	select {
	case w.poke <- struct{}{}:
	default:
	}
}

// follow starts watching wanted kinds once the API server serves them, and ends
// what is no longer wanted.
func (w *Watcher) follow(ctx context.Context) {
	running := map[schema.GroupKind]context.CancelFunc{}
	for {
		w.mu.Lock()
		wanted := w.wanted
		w.mu.Unlock()
		w.adjust(ctx, wanted, running)
		select {
		case <-ctx.Done():
			return
		case <-w.poke:
		case <-time.After(5 * time.Second): // a definition may have come
		}
	}
}

func (w *Watcher) adjust(ctx context.Context, wanted map[schema.GroupKind]bool, running map[schema.GroupKind]context.CancelFunc) {
	for gk, cancel := range running {
		if !wanted[gk] {
			cancel()
			delete(running, gk)
			w.Cache.forget((&kind{gvk: gk.WithVersion("")}).String())
		}
	}
	for gk := range wanted {
		if running[gk] != nil {
			continue
		}
		k, err := w.resolve(gk)
		if err != nil {
			continue // its definition may be still to come
		}
		ctx, cancel := context.WithCancel(ctx)
		running[gk] = cancel
		go w.watch(ctx, k)
	}
}

func (w *Watcher) resolve(gk schema.GroupKind) (*kind, error) {
	groups, err := restmapper.GetAPIGroupResources(w.discovery)
	if err != nil {
		return nil, err
	}
	mapping, err := restmapper.NewDiscoveryRESTMapper(groups).RESTMapping(gk)
	if err != nil {
		return nil, err
	}
	return &kind{gvk: mapping.GroupVersionKind, gvr: mapping.Resource}, nil
}

func (w *Watcher) watch(ctx context.Context, k *kind) {
	r := toolscache.NewReflectorWithOptions(w.source(k), nil, &store{watcher: w, kind: k},
		toolscache.ReflectorOptions{Name: "gitward " + k.String(), TypeDescription: k.String()})
	r.RunWithContext(ctx)
}

// source asks for metadata alone where nothing else is kept.
func (w *Watcher) source(k *kind) toolscache.ListerWatcher {
	if k.templates != nil {
		client := w.dynamic.Resource(k.gvr)
		return toolscache.ToListWatcherWithWatchListSemantics(&toolscache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return client.List(ctx, o) },
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				return client.Watch(ctx, o)
			},
		}, w.dynamic)
	}
	client := w.metadata.Resource(k.gvr)
	return toolscache.ToListWatcherWithWatchListSemantics(&toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return client.List(ctx, o) },
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return client.Watch(ctx, o)
		},
	}, w.metadata)
}

// store hands what a reflector brings to the cache.
type store struct {
	watcher *Watcher
	kind    *kind
}

// Add takes in a new object.
func (s *store) Add(obj any) error { return s.Update(obj) }

// Update takes in an object as it is now.
func (s *store) Update(obj any) error {
	o, err := s.kind.objectOf(obj)
	if err != nil {
		s.watcher.Log.Error("a live object was not understood", "kind", s.kind.String(), "error", err)
		return nil
	}
	s.watcher.Cache.put(o)
	return nil
}

// Delete forgets an object.
func (s *store) Delete(obj any) error {
	if m, err := meta.Accessor(obj); err == nil {
		s.watcher.Cache.drop(string(m.GetUID()))
	}
	return nil
}

// Replace takes in all that there is.
func (s *store) Replace(list []any, _ string) error {
	objects := make([]*gate.LiveObject, 0, len(list))
	for _, obj := range list {
		o, err := s.kind.objectOf(obj)
		if err != nil {
			s.watcher.Log.Error("a live object was not understood", "kind", s.kind.String(), "error", err)
			continue
		}
		objects = append(objects, o)
	}
	s.watcher.Cache.replace(s.kind.String(), objects)
	return nil
}

// Resync does nothing: what is kept here is looked up, not worked off.
func (s *store) Resync() error { return nil }
