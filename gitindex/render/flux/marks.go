package flux

import (
	"fmt"
	"strings"
)

// marks stand in an object for values that Git does not hold. A mark is text
// that every place takes as it is: it needs no quotes in YAML, and it is base64
// that decodes and encodes to itself, for the data of a Secret.
type marks struct {
	prefix string
	why    []string
}

const markDigits = 5

// newMarks makes marks that the text does not hold already.
func newMarks(text []byte) *marks {
	m := &marks{prefix: "gitwardHole"} // with the digits a multiple of four
	for strings.Contains(string(text), m.prefix) {
		m.prefix += "Hole"
	}
	return m
}

func (m *marks) mark(why string) string {
	for i, w := range m.why {
		if w == why {
			return m.text(i)
		}
	}
	m.why = append(m.why, why)
	return m.text(len(m.why) - 1)
}

func (m *marks) text(i int) string { return fmt.Sprintf("%s%0*d", m.prefix, markDigits, i) }

// in reports whether a text holds a mark.
func (m *marks) in(s string) bool { return strings.Contains(s, m.prefix) }

// split divides a text at its marks, and says what they stand for.
func (m *marks) split(s string) (literals, why []string) {
	for {
		at := strings.Index(s, m.prefix)
		if at < 0 || len(s) < at+len(m.prefix)+markDigits {
			return append(literals, s), why
		}
		n := 0
		for _, c := range s[at+len(m.prefix):][:markDigits] {
			n = 10*n + int(c-'0')
		}
		if n >= 0 && n < len(m.why) {
			why = append(why, m.why[n])
		}
		literals, s = append(literals, s[:at]), s[at+len(m.prefix)+markDigits:]
	}
}
