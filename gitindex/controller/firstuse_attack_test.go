package controller

import (
	"strings"
	"testing"
)

// TestFirstUseOfThePast: looking through history for provenance is no use of
// what stood there: it pins nothing, and takes no room from what does.
func TestFirstUseOfThePast(t *testing.T) {
	w, _ := renderScene(t)
	c := newChartServer(t)
	w.settings.Fetching = c.fetching(t)
	w.settings.Fetching.FirstUse = &FirstUse{}
	var last string
	for _, version := range []string{"1", ">=1.0.0", "~1.0.0", "1.x"} {
		last = w.commit(w.ada, map[string]string{"release.yaml": strings.ReplaceAll(c.release(), "version: 1.x", "version: \""+version+"\"")})
	}
	w.want(w.sync(), "cache-cm", last)
	if pins := w.settings.Fetching.FirstUse.Status(); len(pins) != 1 || !strings.Contains(pins[0].Reference, "1.x") {
		t.Errorf("pins: %v", pins)
	}
}
