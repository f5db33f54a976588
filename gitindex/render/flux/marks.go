package flux

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// marks stand in an object for values that Git does not hold. A mark is text
// that every place takes as it is: it needs no quotes in YAML, and it is base64
// that decodes and encodes to itself, for the data of a Secret.
type marks struct {
	prefix string
	made   []mark
}

// mark is what one stands for, and the pattern of the values that may be there,
// or the digest of the only one.
type mark struct{ why, pattern, digest string }

const markDigits = 5

// newMarks makes marks that the text does not hold already.
func newMarks(text []byte) *marks {
	m := &marks{prefix: "gitwardHole"} // with the digits a multiple of four
	for strings.Contains(string(text), m.prefix) {
		m.prefix += "Hole"
	}
	return m
}

func (m *marks) mark(why string) string { return m.like(why, ".*") }

// like makes a mark for values that fit a pattern.
func (m *marks) like(why, pattern string) string { return m.standing(mark{why: why, pattern: pattern}) }

// only makes a mark for the one value of a digest.
func (m *marks) only(why, digest string) string {
	return m.standing(mark{why: why, pattern: ".*", digest: digest})
}

func (m *marks) standing(wanted mark) string {
	for i, made := range m.made {
		if made == wanted {
			return m.text(i)
		}
	}
	m.made = append(m.made, wanted)
	return m.text(len(m.made) - 1)
}

// text ends in the digest, if there is one: an object whose value has changed is
// another object.
func (m *marks) text(i int) string {
	return fmt.Sprintf("%s%0*d%s", m.prefix, markDigits, i, m.made[i].suffix())
}

func (m mark) suffix() string { return m.digest[:min(len(m.digest), 32)] }

// in reports whether a text holds a mark.
func (m *marks) in(s string) bool { return strings.Contains(s, m.prefix) }

// split divides a text at its marks.
func (m *marks) split(s string) (literals []string, found []mark) {
	for {
		at := strings.Index(s, m.prefix)
		if at < 0 || len(s) < at+len(m.prefix)+markDigits {
			return append(literals, s), found
		}
		n, err := strconv.Atoi(s[at+len(m.prefix):][:markDigits])
		if err != nil || n >= len(m.made) {
			return append(literals, s), found
		}
		found = append(found, m.made[n])
		literals, s = append(literals, s[:at]), strings.TrimPrefix(s[at+len(m.prefix)+markDigits:], m.made[n].suffix())
	}
}

// reasons are what marks stand for, each once.
func reasons(found []mark) string {
	var all []string
	for _, f := range found {
		all = append(all, f.why)
	}
	sort.Strings(all)
	return strings.Join(slices.Compact(all), ", ")
}
