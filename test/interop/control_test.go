package interop

import (
	"testing"

	"github.com/gitward/gitward/test/server"
)

// TestFluxAlone is the control: the same repository without Gitward. What Flux
// writes here it writes of itself.
func TestFluxAlone(t *testing.T) {
	need(t, "flux")
	s, tip := fluxStage(t, plainStory())
	s.run(t)
	server.Await(t, "the first reconciliation", patience, func() error { return s.reconciled(tip) })
	s.second(t)
	tallies := s.again(s.lab.mark(), 4)
	for object, c := range tallies {
		if c.writes > 0 {
			t.Errorf("%s: %d writes without Gitward\n%v", object, c.writes, c.written)
		}
	}
	table(t, "4 more reconciliations", tallies)
}
