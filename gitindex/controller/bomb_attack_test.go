package controller

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gitward/gitward/gitindex/render"
)

// TestBombInKustomization: a stranger's few hundred kilobytes of aliases do not
// become gigabytes in the process that decides.
func TestBombInKustomization(t *testing.T) {
	for _, who := range []string{"a stranger", "ada"} {
		w, _ := renderScene(t)
		w.settings.Renderer = noRenderer{}
		w.commit(w.ada, overlay)
		w.sync()
		bomb := "x: &a " + strings.Repeat("y", 300<<10) + "\nlist:\n" + strings.Repeat("- *a\n", 2_000) + "resources: [../base]\n"
		signer := w.alien
		if who == "ada" {
			signer = w.ada
		}
		w.commit(signer, map[string]string{"dev/kustomization.yaml": bomb})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		w.sync()
		runtime.ReadMemStats(&after)
		if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 100 {
			t.Errorf("%s makes it take %d MiB and %v", who, mb, time.Since(start))
		}
	}
}

// slow takes its time over what it renders.
type slow struct{ of time.Duration }

func (s slow) Render(render.Sources, render.Unit) (render.Output, error) {
	time.Sleep(s.of)
	return render.Output{}, nil
}

// TestPendingIsBounded: however many units a stranger pushes, what is trusted
// waits for a few seconds at most.
func TestPendingIsBounded(t *testing.T) {
	w, _ := renderScene(t)
	w.commit(w.ada, overlay)
	w.sync()
	w.tracker.settings.Renderer = slow{time.Second}
	files := map[string]string{}
	for i := range 60 {
		files[fmt.Sprintf("evil/%d/kustomization.yaml", i)] = "resources: []\n"
	}
	w.commit(w.alien, files)
	start := time.Now()
	w.sync()
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("a stranger's push holds the index up for %v", took)
	}
}
