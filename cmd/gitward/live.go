package main

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gate/live"
)

// watchLive has decisions know what is live in a cluster.
func (p *process) watchLive(config *rest.Config) (*live.Watcher, error) {
	cache := &live.Cache{}
	w, err := live.NewWatcher(config, cache, p.log)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live, p.watcher = cache, w
	w.Want(p.owners)
	p.rebuild()
	return w, nil
}

// ownerKinds are the kinds that the Gates let others be made of.
func ownerKinds(gates []v1alpha1.Gate) []schema.GroupKind {
	var out []schema.GroupKind
	for i := range gates {
		for _, d := range gates[i].Spec.Derive {
			out = append(out, schema.GroupKind{Group: d.Owner.Group, Kind: d.Owner.Kind})
		}
	}
	return out
}
