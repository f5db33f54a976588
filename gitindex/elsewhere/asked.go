package elsewhere

import (
	"io/fs"
	"slices"
	"sync"

	"github.com/gitward/gitward/gitindex/render"
)

// Asked gives what another gives, and remembers what it was asked for: what a
// rendering needs, whether it got it or not. It is safe for several goroutines.
type Asked struct {
	Of interface {
		Chart(ref render.ChartRef) (fs.FS, render.Pin, error)
		Base(url string) (fs.FS, render.Pin, error)
	}

	mu    sync.Mutex
	needs []Need
}

// Chart is Of's.
func (a *Asked) Chart(ref render.ChartRef) (fs.FS, render.Pin, error) {
	a.note(Need{Chart: ref})
	return a.Of.Chart(ref)
}

// Base is Of's.
func (a *Asked) Base(url string) (fs.FS, render.Pin, error) {
	a.note(Need{Base: url})
	return a.Of.Base(url)
}

func (a *Asked) note(n Need) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Contains(a.needs, n) {
		a.needs = append(a.needs, n)
	}
}

// Needs are what was asked for so far, each once, in that order.
func (a *Asked) Needs() []Need {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.needs)
}
