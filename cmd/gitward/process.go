package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/audit/ledger"
	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gate/live"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/canonical"
	"github.com/gitward/gitward/gitindex/controller"
	policies "github.com/gitward/gitward/policy/controller"
)

// process is what every command that decides has in common: it joins the index,
// the schemas and the rules into the View that decisions read.
type process struct {
	stateDir   string
	allowLocal bool
	log        *slog.Logger
	hub        *controller.Hub
	policies   *policies.Controller
	ledger     *ledger.Ledger

	view atomic.Pointer[gate.View]

	mu       sync.Mutex
	index    gitindex.Index
	rules    []gate.Rule
	gatesSet bool
	crdsLive map[string][]byte // CRDs of the cluster, by name
	crds     map[string]string // the CRDs that schemas were made from
	schemas  *canonical.Schemas
	live     *live.Cache // nil where no cluster is watched
	watcher  *live.Watcher
	owners   []schema.GroupKind // that the Gates speak of
}

func newProcess(stateDir string, allowLocal bool, log *slog.Logger) *process {
	p := &process{stateDir: stateDir, allowLocal: allowLocal, log: log, crdsLive: map[string][]byte{}}
	p.schemas, _ = canonical.New()
	p.ledger = &ledger.Ledger{}
	p.hub = &controller.Hub{Publish: p.setIndex, Log: log, Renderer: renderers()}
	p.policies = p.policyController()
	p.rebuild()
	return p
}

func (p *process) setIndex(x gitindex.Index) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.index = x
	p.policies.Look()
	p.rebuild()
}

func (p *process) setGates(gates []v1alpha1.Gate) {
	p.ledger.Load(gates)
	p.policies.Want(policyUses(gates))
	r, owners := rules(gates), ownerKinds(gates)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.owners = owners
	if p.watcher != nil {
		p.watcher.Want(owners)
	}
	p.rules, p.gatesSet = r, true
	p.rebuild()
}

// setCRD takes in a CRD of the cluster, or its removal (nil). The cluster's own
// word on a kind goes before Git's: it is what the API server runs.
func (p *process) setCRD(name string, crd []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if crd == nil {
		delete(p.crdsLive, name)
	} else {
		p.crdsLive[name] = crd
	}
	p.rebuild()
}

// rebuild publishes a new View. The caller holds mu, but for the first time.
func (p *process) rebuild() {
	crds := p.definitions()
	if now := digests(crds); !maps.Equal(now, p.crds) {
		var list [][]byte
		for _, name := range slices.Sorted(maps.Keys(crds)) {
			list = append(list, crds[name])
		}
		schemas, errs := canonical.New(list...)
		for _, err := range errs {
			p.log.Warn("a CustomResourceDefinition cannot be used", "error", err)
		}
		p.schemas, p.crds = schemas, now
	}
	v := &gate.View{Index: p.index, Schemas: p.schemas, Rules: p.rules, Policies: p.policies}
	if p.live != nil {
		v.Live = p.live
	}
	if !p.gatesSet {
		v.NotReady = "the Gates have not been read yet"
	}
	p.view.Store(v)
}

// definitions chooses one CRD for each kind: the cluster's own, which is what
// the API server runs; else Git's, from an Origin that some Gate lets declare
// cluster-scoped objects, the first by name. A definition says how objects of
// other Origins are compared, so it takes the same right as any cluster-scoped
// object.
func (p *process) definitions() map[string][]byte {
	crds := map[string][]byte{}
	for _, name := range slices.Sorted(maps.Keys(p.crdsLive)) {
		if kind, ok := definedKind(name, p.crdsLive[name]); ok {
			crds[kind] = p.crdsLive[name]
		}
	}
	for _, origin := range slices.Sorted(maps.Keys(p.index)) {
		if !p.declaresClusterScoped(origin) {
			continue
		}
		for ref, e := range p.index[origin].Objects {
			if ref.Kind != "CustomResourceDefinition" || ref.Group != "apiextensions.k8s.io" || len(e.Current) == 0 {
				continue
			}
			m := e.Current[0]
			kind, ok := definedKind(ref.Name, m.Raw)
			if _, taken := crds[kind]; ok && !taken && (m.Via == "" || p.declaresClusterScoped(m.Via)) {
				crds[kind] = m.Raw
			}
		}
	}
	return crds
}

func (p *process) declaresClusterScoped(origin string) bool {
	for i := range p.rules {
		for j := range p.rules[i].Origins {
			if s := &p.rules[i].Origins[j]; s.Origin == origin && s.Fills(gitindex.Ref{}) {
				return true
			}
		}
	}
	return false
}

// definedKind is the kind that a CRD defines. Its name must be made of its
// plural and group, as the API server demands.
func definedKind(name string, crd []byte) (string, bool) {
	var d struct {
		Spec struct {
			Group string
			Names struct{ Plural, Kind string }
		}
	}
	if err := json.Unmarshal(crd, &d); err != nil || name != d.Spec.Names.Plural+"."+d.Spec.Group {
		return "", false
	}
	return d.Spec.Names.Kind + "." + d.Spec.Group, true
}

func digests(crds map[string][]byte) map[string]string {
	out := make(map[string]string, len(crds))
	for name, data := range crds {
		out[name] = string(data)
	}
	return out
}

// gate makes the engine that decides from this process's view.
func (p *process) gate(recorder gate.Recorder, refresh bool) *gate.Gate {
	g := &gate.Gate{View: p.view.Load, Recorder: recorder, Ledger: p.ledger, Now: time.Now}
	if refresh {
		g.Refresher = refresher{p.hub}
	}
	return g
}

// refresher bounds the one fetch that a request may wait for.
type refresher struct{ hub *controller.Hub }

const longestRefresh = 3 * time.Second

func (r refresher) Refresh(ctx context.Context, origins []string) error {
	ctx, cancel := context.WithTimeout(ctx, longestRefresh)
	defer cancel()
	return r.hub.Refresh(ctx, origins)
}

// ready says why the process cannot decide yet; nil when it can.
func (p *process) ready() error {
	v := p.view.Load()
	if v.NotReady != "" {
		return errors.New(v.NotReady)
	}
	p.mu.Lock()
	cache := p.live
	p.mu.Unlock()
	if cache != nil {
		if err := cache.Ready(); err != nil {
			return err
		}
	}
	if err := p.policies.Ready(); err != nil {
		return err
	}
	for _, r := range v.Rules {
		for _, o := range r.Origins {
			s := v.Index[o.Origin]
			if s == nil || s.Accepted == nil && s.Frozen == "" {
				if _, looked := p.hub.Err(o.Origin); !looked {
					return fmt.Errorf("Origin %s has not been read yet", o.Origin)
				}
			}
		}
	}
	return nil
}

// open starts tracking the Origins of a configuration, and waits until each has
// been looked at once, when wait is set.
func (p *process) open(ctx context.Context, c *configuration, wait bool) error {
	for i := range c.origins {
		s, err := c.settings(&c.origins[i], p)
		if err != nil {
			return err
		}
		if err := p.hub.Set(ctx, s); err != nil {
			return err
		}
	}
	p.setGates(c.gates)
	if !wait {
		return nil
	}
	for i := range c.origins {
		if err := p.hub.Sync(ctx, c.origins[i].Name); err != nil {
			return err
		}
	}
	p.policies.Sync(ctx)
	return nil
}
