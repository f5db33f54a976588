package gate

import (
	"crypto/subtle"
	"slices"
	"strconv"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/canonical"
)

// Sealed: Git holds the value encrypted, and the Origin's key was at hand when
// the commit was indexed. The manifest has something else in its place and the
// value's digest in a hole; only the value that has this digest fills it.

// sealed stands for such a value while an object is compared. Nothing in a
// request is equal to it, so that nobody passes by sending what the manifest has
// in the value's place.
type sealed struct{ kind string }

// The notes of differences at such a place.
const (
	sealedNote  = "sealed"
	keylessNote = "keyless"
)

// seal puts sealed in the place of what the manifest has there.
func (c *comparison) seal(want map[string]any) map[string]any {
	if c.manifest == nil || !slices.ContainsFunc(c.manifest.Holes, func(h gitindex.Hole) bool { return h.Digest != "" }) {
		return want
	}
	out, _ := c.sealBelow(c.subject.shape, want).(map[string]any)
	return out
}

func (c *comparison) sealBelow(s canonical.Shape, v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, value := range v {
			out[name] = c.sealIn(segment{name: name}, s.Field(name), value)
		}
		return out
	case []any:
		out, list := make([]any, len(v)), positioned(s, v)
		for i, item := range v {
			out[i] = c.sealIn(list[i], s.Item(), item)
		}
		return out
	}
	for i := range c.manifest.Holes {
		if h := &c.manifest.Holes[i]; h.Digest != "" && c.standsAt(h.Path) {
			return sealed{kindOf(v)}
		}
	}
	return v
}

func (c *comparison) sealIn(seg segment, s canonical.Shape, v any) any {
	c.path = append(c.path, seg)
	out := c.sealBelow(s, v)
	c.path = c.path[:len(c.path)-1]
	return out
}

// positioned are the steps to a list's items, by their keys where it has some.
func positioned(s canonical.Shape, list []any) []segment {
	out := make([]segment, len(list))
	l, ok := keyed(s, list)
	for i := range list {
		if out[i] = (segment{name: strconv.Itoa(i), item: true, position: true}); ok {
			out[i] = segment{name: l.keys[i], item: true}
		}
	}
	return out
}

// holds reports whether a value is the one that Git holds encrypted. Without
// the Origin's key there is no such value.
func (c *comparison) holds(digest string, v values) bool {
	value, ok := scalar(v.new)
	if !ok || len(value) > maxHoleValue || kindOf(v.new) != kindOf(v.want) {
		return false
	}
	if value, ok = decoded(value, c.isSecretValue()); !ok {
		return false
	}
	got := c.snapshot().Digest([]byte(value))
	return got != "" && subtle.ConstantTimeCompare([]byte(got), []byte(digest)) == 1
}

// snapshot is that of the manifest's Origin; nil where there is none.
func (c *comparison) snapshot() *gitindex.Snapshot {
	if c.tracing == nil || c.tracing.view == nil {
		return nil
	}
	return c.tracing.view.Index[c.manifest.Origin]
}

// hide keeps what may stand in holes out of sight.
func (c *comparison) hide(diffs []Difference) {
	hideHoles(diffs, c.manifest.Holes)
	for i := range diffs {
		if _, ok := diffs[i].Want.(sealed); !ok {
			continue
		}
		if diffs[i].Note = sealedNote; c.snapshot().Digest(nil) == "" {
			diffs[i].Note = keylessNote
		}
	}
}
