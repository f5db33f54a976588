package elsewhere

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gitward/gitward/gitindex/render"
)

// Missing are the needs that nothing fixes: neither they themselves nor the
// lock.
func (l *Lock) Missing(needs []Need) []Need {
	var out []Need
	for _, n := range needs {
		if _, locked := l.pin(n); !locked && !n.Fixed() {
			out = append(out, n)
		}
	}
	return out
}

func (l *Lock) pin(n Need) (render.Pin, bool) {
	if n.Base != "" {
		return l.Base(n.Base)
	}
	return l.Chart(n.Chart)
}

// Only is the lock without the entries that no need asks for, and those.
func (l *Lock) Only(needs []Need) (kept, gone *Lock) {
	kept, gone = &Lock{}, &Lock{}
	if l == nil {
		return kept, gone
	}
	needed := func(is func(Need) bool) *Lock {
		if slices.ContainsFunc(needs, func(n Need) bool { return !n.Fixed() && is(n) }) {
			return kept
		}
		return gone
	}
	for _, c := range l.Charts {
		to := needed(func(n Need) bool { return n.Base == "" && asks(n.Chart) == asks(c.Ref()) })
		to.Charts = append(to.Charts, c)
	}
	for _, b := range l.Bases {
		to := needed(func(n Need) bool { return n.Base == b.URL })
		to.Bases = append(to.Bases, b)
	}
	return kept, gone
}

// Add enters what a need was resolved to.
func (l *Lock) Add(n Need, pin render.Pin) {
	if n.Base == "" {
		ref := asks(n.Chart)
		l.Charts = append(l.Charts, LockedChart{Repository: ref.Repository, OCI: ref.OCI, Name: ref.Name, Version: ref.Version, Resolved: pin.Version, Digest: pin.Digest})
		return
	}
	b := LockedBase{URL: n.Base}
	if commit, ok := strings.CutPrefix(pin.Digest, commitPin); ok {
		b.Commit = commit
	} else {
		b.Digest = pin.Digest
	}
	l.Bases = append(l.Bases, b)
}

// Resolve finds out what a need is now, and that it can be had: what the first
// use of it would be pinned to. The Store's own Lock and FirstUse do not count.
func (s *Store) Resolve(ctx context.Context, n Need) (render.Pin, error) {
	fresh := &Store{Fetcher: s.Fetcher, Cache: s.Cache, Git: s.Git, FirstUse: forgetful{}}
	defer func() { s.use(fresh.HostsUsed()) }()
	var pin render.Pin
	var err error
	if n.Base != "" {
		_, pin, err = fresh.BaseAt(ctx, n.Base)
	} else {
		_, pin, err = fresh.ChartAt(ctx, n.Chart)
	}
	if err == nil && pin.Digest == "" {
		err = fmt.Errorf("%s has no digest", n.What())
	}
	return pin, err
}

// forgetful has everything be its first use.
type forgetful struct{}

func (forgetful) Pinned(string) (render.Pin, bool) { return render.Pin{}, false }
func (forgetful) Record(string, render.Pin) error  { return nil }
