package controller

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/elsewhere"
	"github.com/gitward/gitward/gitindex/object"
	"github.com/gitward/gitward/gitindex/render"
)

// Fetching is how charts and bases from elsewhere are fetched for an Origin.
type Fetching struct {
	Command []string // of the child that fetches: see elsewhere.Fetcher
	Hosts   elsewhere.Hosts
	Cache   *elsewhere.Cache
	Git     elsewhere.Git
	// FirstUse, if not nil, pins what Git does not.
	FirstUse *FirstUse
}

// outside gives content from outside the repository, at the pins of one version
// of its lock file.
type outside interface {
	Chart(render.ChartRef) (fs.FS, render.Pin, error)
	Base(url string) (fs.FS, render.Pin, error)
	// ChartPin and BasePin tell a pin without fetching: see elsewhere.Store.
	ChartPin(render.ChartRef) string
	BasePin(url string) string
}

// nothing is outside where nothing may be fetched, or the lock cannot be read.
type nothing struct{ why error }

func (n nothing) Chart(ref render.ChartRef) (fs.FS, render.Pin, error) {
	if n.why != nil {
		return nil, render.Pin{}, n.why
	}
	return nil, render.Pin{}, &render.NeedsError{What: "the chart " + ref.String(), Why: "the Origin allows no host to fetch it from", Do: "list the host in spec.elsewhere.hosts"}
}

func (n nothing) Base(url string) (fs.FS, render.Pin, error) {
	if n.why != nil {
		return nil, render.Pin{}, n.why
	}
	return nil, render.Pin{}, &render.NeedsError{What: "the base " + gitindex.CleanURL(url, 200), Why: "the Origin allows no host to fetch it from", Do: "list the host in spec.elsewhere.hosts"}
}

func (nothing) ChartPin(render.ChartRef) string { return "" }
func (nothing) BasePin(string) string           { return "" }

// outsides gives what is outside, by the lock file's blob.
type outsides struct {
	always   outside // whatever the version, if set
	fetching *Fetching
	blobs    blobs
	byLock   map[object.ID]outside
	bygone   bool // what is looked at is history
}

func newOutsides(f *Fetching, b blobs) *outsides {
	return &outsides{fetching: f, blobs: b, byLock: map[object.ID]outside{}}
}

// at is what is outside for a version of the tree.
func (o *outsides) at(v *version) outside {
	if o.bygone {
		return bygone{o.of(v)}
	}
	return o.of(v)
}

// past is for versions that are history. To look at them is no use: what is not
// pinned stays so.
func (o *outsides) past() *outsides {
	c := *o
	c.bygone = true
	return &c
}

type bygone struct{ outside }

var errBygone = errors.New("nothing pinned it while it was in use")

func (b bygone) Chart(ref render.ChartRef) (fs.FS, render.Pin, error) {
	if b.ChartPin(ref) == elsewhere.Toward {
		return nil, render.Pin{}, errBygone
	}
	return b.outside.Chart(ref)
}

func (b bygone) Base(url string) (fs.FS, render.Pin, error) {
	if b.BasePin(url) == elsewhere.Toward {
		return nil, render.Pin{}, errBygone
	}
	return b.outside.Base(url)
}

func (o *outsides) of(v *version) outside {
	switch {
	case o.always != nil:
		return o.always
	case o.fetching == nil:
		return nothing{}
	}
	t, ok := v.touch(elsewhere.LockPath)
	if !ok {
		t.Blob = object.ID{}
	}
	if known := o.byLock[t.Blob]; known != nil {
		return known
	}
	made := o.locked(t.Blob)
	o.byLock[t.Blob] = made
	return made
}

func (o *outsides) locked(lock object.ID) outside {
	f := o.fetching
	s := &elsewhere.Store{Fetcher: elsewhere.Fetcher{Command: f.Command, Hosts: f.Hosts}, Cache: f.Cache, Git: f.Git}
	if f.FirstUse != nil {
		s.FirstUse = f.FirstUse
	}
	if lock.IsZero() {
		return s
	}
	text, err := o.blobs.Blob(lock)
	if err != nil {
		return nothing{err}
	}
	if s.Lock, err = elsewhere.ParseLock(text); err != nil {
		return nothing{err}
	}
	return s
}

// FirstUse remembers what references were when they were first used. The
// Origin's status keeps it: what stands there goes before what is found here.
type FirstUse struct {
	mu   sync.Mutex
	pins map[string]render.Pin
	kept map[string]bool // those that the status has been seen to hold
}

var errPinned = errors.New("it has been pinned to something else meanwhile")

// Pinned is the pin of a reference.
func (f *FirstUse) Pinned(key string) (render.Pin, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	pin, ok := f.pins[key]
	return pin, ok
}

// mostPins bounds what a status has to hold.
const mostPins = 500

// Record pins a reference for good.
func (f *FirstUse) Record(key string, pin render.Pin) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, ok := f.pins[key]
	switch {
	case ok && old != pin:
		return errPinned
	case !ok && len(f.pins) >= mostPins:
		return fmt.Errorf("more than %d references are pinned by their first use: write a lock file", mostPins)
	case f.pins == nil:
		f.pins = map[string]render.Pin{}
	}
	f.pins[key] = pin
	return nil
}

// Load takes in what the status remembers. A pin that somebody took away there
// is forgotten: the next use is the first again.
func (f *FirstUse) Load(pins []v1alpha1.Pin) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, kept := map[string]render.Pin{}, map[string]bool{}
	for key, pin := range f.pins {
		if !f.kept[key] {
			now[key] = pin
		}
	}
	for _, p := range pins {
		now[p.Reference], kept[p.Reference] = render.Pin{Digest: p.Digest, Version: p.Version}, true
	}
	f.pins, f.kept = now, kept
}

// Status is what the status is to remember, by reference.
func (f *FirstUse) Status() []v1alpha1.Pin {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []v1alpha1.Pin
	for _, key := range slices.Sorted(maps.Keys(f.pins)) {
		out = append(out, v1alpha1.Pin{Reference: key, Digest: f.pins[key].Digest, Version: f.pins[key].Version})
	}
	return out
}

func (f *FirstUse) print() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all strings.Builder
	for _, key := range slices.Sorted(maps.Keys(f.pins)) {
		all.WriteString(key + " " + f.pins[key].Digest + "\n")
	}
	return printOf([]byte(all.String()))
}

// unfetched reports whether the unit lacks something that is pinned and could
// not be fetched.
func (r *rendering) unfetched() bool {
	for _, print := range r.Inputs {
		if print == unfetched {
			return true
		}
	}
	return false
}

// HostsOf makes the hosts that an Origin allows. A Secret is asked for by name,
// and its data used for that one host: username and password, ca.crt; the keys
// that signatures are checked by.
func HostsOf(e *v1alpha1.Elsewhere, secret func(name string) (map[string][]byte, error)) (elsewhere.Hosts, error) {
	var hosts elsewhere.Hosts
	for i, h := range e.Hosts {
		host := elsewhere.Host{Name: h.Host, Private: h.Private, InsecureHTTP: h.InsecureHTTP}
		if h.SecretRef != nil {
			data, err := secret(h.SecretRef.Name)
			if err != nil {
				return nil, fmt.Errorf("spec.elsewhere.hosts[%d].secretRef: %w", i, err)
			}
			host.Credentials = elsewhere.Credentials{Username: string(data["username"]), Password: string(data["password"])}
			host.CA = data["ca.crt"]
		}
		if h.Verify != nil {
			data, err := secret(h.Verify.SecretRef.Name)
			if err == nil {
				host.Keys, err = elsewhere.SecretKeys(or(h.Verify.Provider, "cosign"), data)
			}
			if err != nil {
				return nil, fmt.Errorf("spec.elsewhere.hosts[%d].verify: %w", i, err)
			}
		}
		hosts = append(hosts, host)
	}
	if err := hosts.Check(); err != nil {
		return nil, fmt.Errorf("spec.elsewhere.hosts: %w", err)
	}
	return hosts, nil
}
