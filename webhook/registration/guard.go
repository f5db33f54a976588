package registration

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// run is one run of a Guard. One goroutine owns all below sights.
type run struct {
	*Guard
	dynamic   dynamic.Interface
	metadata  metadata.Interface
	discovery discovery.DiscoveryInterface
	store     *store
	trouble   *trouble
	sights    chan sight
	finishing sync.WaitGroup // gaps whose writes are still collected

	kept kept
	now  map[string]sight  // the latest of each
	good map[string]string // the latest version at which each was as wanted
	gaps map[string]*gap

	candidate  forms     // what may be adopted
	since      time.Time // for how long it has stood still
	before     forms     // what was wanted before that was asked for
	refreshed  time.Time
	installing installation // the latest
}

// Run guards until ctx ends. It returns an error only when it cannot begin:
// whatever fails later is told and tried again.
func (g *Guard) Run(ctx context.Context) error {
	r, err := g.newRun()
	if err != nil {
		return err
	}
	r.load(ctx)
	var wg sync.WaitGroup
	for name := range configurations {
		wg.Go(func() { r.follow(ctx, name) })
	}
	wg.Go(func() { r.poll(ctx) })
	r.loop(ctx)
	wg.Wait()
	r.abandon()
	r.finishing.Wait()
	return nil
}

func (g *Guard) newRun() (*run, error) {
	config := rest.CopyConfig(g.Config)
	config.QPS, config.Burst = 100, 400 // a gap has every kind watched at once
	r := &run{Guard: g, trouble: &trouble{log: g.Log}, sights: make(chan sight),
		now: map[string]sight{}, good: map[string]string{}, gaps: map[string]*gap{}}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("reaching the cluster: %w", err)
	}
	r.store = &store{client: client, namespace: g.Namespace, file: filepath.Join(g.StateDir, key)}
	r.discovery = client.Discovery()
	if r.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("reaching the cluster: %w", err)
	}
	if r.metadata, err = metadata.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("reaching the cluster: %w", err)
	}
	return r, nil
}

func (r *run) loop(ctx context.Context) {
	tick := time.NewTicker(restoreGap)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-r.sights:
			r.see(ctx, s)
		case <-tick.C:
			r.tick(ctx)
		}
	}
}

// tick does what is due without anything having happened.
func (r *run) tick(ctx context.Context) {
	if time.Since(r.refreshed) > pollEvery {
		r.refresh(ctx)
		for _, s := range r.now {
			r.weigh(ctx, s)
		}
	}
	r.learn(ctx)
	for name, g := range r.gaps {
		switch {
		case g.closed.IsZero():
			r.restore(ctx, g)
		case time.Since(g.closed) > lag:
			delete(r.gaps, name)
			r.finishing.Go(func() { r.finish(ctx, g) })
		}
	}
}

// see takes in what is not older than what is known.
func (r *run) see(ctx context.Context, s sight) {
	last, known := r.now[s.name]
	if known && number(s.version) <= number(last.version) {
		return
	}
	if s.same {
		if s.object = last.object; !known {
			return
		}
	}
	r.now[s.name] = s
	if known && r.passed(last, s) {
		r.open(ctx, s, "changed for a moment", r.good[s.name])
	}
	r.weigh(ctx, s)
}

// passed says whether a configuration was changed and changed back unseen.
func (r *run) passed(last, s sight) bool {
	w := r.kept.Wanted[s.name]
	if last.object == nil || s.object == nil || w == nil || r.gaps[s.name] != nil {
		return false
	}
	again := s.object.GetUID() != last.object.GetUID() ||
		s.object.GetGeneration() != last.object.GetGeneration() && fingerprint(s.object) == fingerprint(last.object)
	return again && len(differences(w, last.object)) == 0 && len(differences(w, s.object)) == 0
}

// weigh holds a sight against what is wanted.
func (r *run) weigh(ctx context.Context, s sight) {
	switch what := r.wrong(s); {
	case r.kept.Wanted == nil:
		r.learn(ctx)
	case what == "":
		r.fine(ctx, s)
	default:
		r.broken(ctx, s, what)
	}
}
