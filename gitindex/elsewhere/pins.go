package elsewhere

import (
	"github.com/gitward/gitward/gitindex/render"
)

// Toward is what ChartPin and BasePin say of a reference that its first use
// will pin.
const Toward = "by its first use"

// ChartPin is the digest that a chart is pinned to, Toward, or "" where nothing
// pins it. Nothing is fetched.
func (s *Store) ChartPin(ref render.ChartRef) string {
	locked, _ := s.Lock.Chart(ref)
	pin, first, err := s.pin(chartKey(ref), "", render.Pin{Digest: ref.Digest}, locked)
	return stated(pin, first, err)
}

// BasePin does the same for a base.
func (s *Store) BasePin(text string) string {
	b, err := parseBase(text)
	if err != nil {
		return ""
	}
	locked, _ := s.Lock.Base(text)
	pin, first, err := s.pin(baseKey(text), "", b.ownPin(), locked)
	return stated(pin, first, err)
}

func stated(pin render.Pin, first bool, err error) string {
	switch {
	case err != nil:
		return ""
	case first:
		return Toward
	}
	return pin.Digest
}
