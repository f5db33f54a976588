package gate

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/gitward/gitward/gitindex"
)

// Hole: Git leaves one value open, and says of what type and pattern it is.
// Live: the unit's applier leaves there what is live.
//
// Both are at anchored typed paths, and a hole is one whole value: nothing
// beside it, above it or below it is open.

// Bounds on what one hole may cost a request.
const (
	maxPattern   = 1000
	maxHoleValue = 1 << 20
)

// holeReason reports whether Git, or the Gate, leaves the value open to this.
func (c *comparison) holeReason(v values) bool {
	open, bound := false, false
	for i := range c.manifest.Holes {
		h := &c.manifest.Holes[i]
		switch {
		case !c.standsAt(h.Path):
		case h.Digest != "":
			if bound = true; c.holds(h.Digest, v) {
				return true
			}
		case (v.want != absent || h.Pattern != "") && fills(h.Pattern, v, c.isSecretValue()):
			open = true
		}
	}
	return open && !bound || c.gateHole(v)
}

// standsAt reports whether an anchored path is this place. What a Secret holds is
// data, also where the file has it as stringData.
func (c *comparison) standsAt(anchored string) bool {
	if standsAt(anchored, c.path) {
		return true
	}
	if c.subject.ref.GroupKind() != "Secret" || len(c.path) != 2 {
		return false
	}
	other := map[string]string{"data": "stringData", "stringData": "data"}[c.path[0].name]
	return other != "" && standsAt(anchored, []segment{{name: other}, c.path[1]})
}

// isSecretValue reports a place that holds its value as base64.
func (c *comparison) isSecretValue() bool {
	return c.subject.ref.GroupKind() == "Secret" && len(c.path) == 2 && c.path[0].name == "data"
}

// fills reports whether a value may stand where Git leaves one open: a scalar of
// the type that Git has there, text where it has none, that the whole pattern
// matches.
func fills(pattern string, v values, encoded bool) bool {
	value, ok := scalar(v.new)
	if !ok || len(value) > maxHoleValue || v.want != absent && kindOf(v.new) != kindOf(v.want) || v.want == absent && kindOf(v.new) != "text" {
		return false
	}
	value, ok = decoded(value, encoded)
	return ok && (pattern == "" || matchesWhole(pattern, value))
}

func decoded(value string, encoded bool) (string, bool) {
	if !encoded {
		return value, true
	}
	plain, err := base64.StdEncoding.DecodeString(value)
	return string(plain), err == nil
}

func matchesWhole(pattern, value string) bool {
	re, err := wholePattern(pattern)
	return err == nil && re.MatchString(value)
}

// wholePattern anchors a pattern. It must be one by itself first: what closes our
// group would take the anchors off.
func wholePattern(pattern string) (*regexp.Regexp, error) {
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("the pattern is longer than %d bytes", maxPattern)
	}
	if _, err := syntax.Parse(pattern, syntax.Perl); err != nil {
		return nil, err
	}
	return regexp.Compile(`\A(?:` + pattern + `)\z`)
}

func kindOf(v any) string {
	switch v := v.(type) {
	case sealed:
		return v.kind
	case string:
		return "text"
	case bool:
		return "truth"
	case int64, float64, int:
		return "number"
	}
	return fmt.Sprintf("%T", v)
}

// liveReason reports whether the place, or one above it, is the unit's applier's
// to leave alone, and the request does.
func (c *comparison) liveReason(v values) bool {
	if len(c.manifest.Live) == 0 || !c.live && (c.subject.old == nil || !equal(v.old, v.new)) {
		return false
	}
	for n := 1; n <= len(c.path); n++ {
		for _, anchored := range c.manifest.Live {
			if standsAt(anchored, c.path[:n]) {
				return true
			}
		}
	}
	return false
}

// standsAt reports whether an anchored path is this place: written as refusals
// show it, with any item ([]), or with the names of an item's keys
// (containers[name=web]).
func standsAt(anchored string, path []segment) bool {
	place := pathText(path)
	return anchored == place || anchored == pathPattern(path) || strings.Contains(anchored, "=") && withoutKeys(anchored) == place
}

var (
	keyName   = regexp.MustCompile(`([\[,])[A-Za-z][A-Za-z0-9]*=`)
	itemNames = regexp.MustCompile(`\[[^\]]*\]`)
)

func withoutKeys(anchored string) string { return keyName.ReplaceAllString(anchored, "$1") }

// holeNote marks a difference that shows what may stand in a hole: such a value
// is shown to nobody.
const holeNote = "hole"

// hiddenNote marks one that may show it, where the holes are another object's.
const hiddenNote = "hidden"

func hideAll(diffs []Difference) {
	for i := range diffs {
		diffs[i].Note = hiddenNote
	}
}

func hideHoles(diffs []Difference, holes []gitindex.Hole) {
	for i := range diffs {
		place := itemNames.ReplaceAllString(diffs[i].Path, "[]")
		for _, h := range holes {
			hole := itemNames.ReplaceAllString(h.Path, "[]")
			if hole == place || isBelow(hole, place) || isBelow(place, hole) {
				diffs[i].Note = holeNote
			}
		}
	}
}

func isBelow(path, parent string) bool {
	return len(path) > len(parent) && strings.HasPrefix(path, parent) && (path[len(parent)] == '.' || path[len(parent)] == '[')
}
