package interop

import (
	"testing"
)

// TestFluxAlone is the control: the same repository without Gitward. What Flux
// writes here it writes of itself.
func TestFluxAlone(t *testing.T) {
	need(t, "flux")
	s := plainStory()
	l := newLab(t)
	f, files := s.bootstrap(l)
	tip := l.commit(files)
	begin := l.mark()
	f.run()
	all := s.kustomizations()
	await(t, "the first reconciliation", patience, func() error { return f.reconciled(tip, all...) })
	table(t, "the first reconciliation", l.tallies(begin.requests, kustomizer))
	f.second(t, all)
	tallies := f.again(l.mark(), all, 4)
	for object, c := range tallies {
		if c.writes > 0 {
			t.Errorf("%s: %d writes without Gitward\n%v", object, c.writes, c.written)
		}
	}
	table(t, "settled", tallies)
}
