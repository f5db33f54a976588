package main

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/audit/ledger"
	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
)

// keepLedger writes the ledger to the Gates of a cluster. Where Gates come from a
// directory there is nowhere to write to: then it lasts as long as the process.
func keepLedger(o *serveOptions, p *process, learner *ledger.Learner) []clusterTask {
	if o.config != "" {
		p.log.Info("break-glass is remembered until this process ends, since the Gates are read from a directory")
		return nil
	}
	return []clusterTask{func(config *rest.Config) manager.Runnable {
		return everywhere(func(ctx context.Context) error {
			c, err := client.New(config, client.Options{Scheme: scheme})
			if err != nil {
				return fmt.Errorf("reaching the cluster: %w", err)
			}
			k := &ledger.Keeper{Ledger: p.ledger, Learner: learner, Log: p.log,
				Update:  func(name string, change func(*v1alpha1.GateStatus)) error { return updateGate(ctx, c, name, change) },
				Settled: func(u gate.Use) (bool, error) { return p.settled(ctx, c, u) }}
			k.Run(ctx.Done())
			return nil
		})
	}}
}

// updateGate changes one Gate's status, and tries again where somebody else did
// meanwhile. A Gate that is gone owes nothing.
func updateGate(ctx context.Context, c client.Client, name string, change func(*v1alpha1.GateStatus)) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		var g v1alpha1.Gate
		if err := c.Get(ctx, client.ObjectKey{Name: name}, &g); err != nil {
			return client.IgnoreNotFound(err)
		}
		before := g.Status.DeepCopy()
		change(&g.Status)
		if reflect.DeepEqual(before, &g.Status) {
			return nil
		}
		return client.IgnoreNotFound(c.Status().Update(ctx, &g))
	})
}

// settled reports whether Git has caught up with a use of break-glass: the object
// is what Git declares, or it is gone and Git does not declare it.
func (p *process) settled(ctx context.Context, c client.Client, u gate.Use) (bool, error) {
	live := &unstructured.Unstructured{}
	gvk := schema.GroupVersionKind{Group: u.Ref.Group, Version: u.Version, Kind: u.Ref.Kind}
	live.SetGroupVersionKind(gvk)
	err := c.Get(ctx, client.ObjectKey{Namespace: u.Ref.Namespace, Name: u.Ref.Name}, live)
	switch {
	case errors.IsNotFound(err):
		return !p.declares(u), nil
	case err != nil:
		return false, fmt.Errorf("reading %v: %w", u.Ref, err)
	}
	standing, _, err := standingOf(p, nil, live, u.Resource)
	return standing == gate.Traced, err
}

// declares reports whether an Origin declares the object of a use.
func (p *process) declares(u gate.Use) bool {
	for _, s := range p.view.Load().Index {
		if e := s.Lookup(u.Ref); e != nil && len(e.Current) > 0 {
			return true
		}
	}
	return false
}

// standingOf asks the engine about a live object, with regard to what is owed, or
// without where owed is nil.
func standingOf(p *process, owed gate.Ledger, live *unstructured.Unstructured, resource string) (gate.Standing, gate.Decision, error) {
	data, err := json.Marshal(live.Object)
	if err != nil {
		return "", gate.Decision{}, fmt.Errorf("reading %s %s: %w", live.GetKind(), live.GetName(), err)
	}
	gvk := live.GroupVersionKind()
	req := requestTo(gate.Update, gvk, refOf(live))
	req.Resource, req.ResourceGroup, req.Object, req.OldObject = resource, gvk.Group, data, data
	engine := &gate.Gate{View: p.view.Load, Now: time.Now, Ledger: owed}
	standing, d := engine.Stand(req)
	return standing, d, nil
}

func refOf(o *unstructured.Unstructured) gitindex.Ref {
	gvk := o.GroupVersionKind()
	return gitindex.Ref{Group: gvk.Group, Kind: gvk.Kind, Namespace: o.GetNamespace(), Name: o.GetName()}
}
