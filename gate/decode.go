package gate

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"sigs.k8s.io/json"
)

// decodeJSON makes a tree of an object's JSON, exactly as the API server's own
// decoder does. What the API server sends is plain, so it is read here in one
// pass, with all strings sharing the input; whatever is not plain (a surrogate,
// a huge number, bytes that are no UTF-8, an error) is left to that decoder as
// a whole, so that there are no two opinions on it.
func decodeJSON(data []byte) (map[string]any, error) { return decodeWith(data, false) }

// decodeLive is decodeJSON, but leaves metadata.managedFields unread: it is
// half of most live objects, and few decisions ask for it.
func decodeLive(data []byte) (map[string]any, error) { return decodeWith(data, true) }

// unread is JSON that was skipped.
type unread string

func (u unread) read() any {
	var v any
	if json.UnmarshalCaseSensitivePreserveInts([]byte(u), &v) != nil {
		return absent
	}
	return v
}

func decodeWith(data []byte, live bool) (map[string]any, error) {
	d := decoder{s: string(data), live: live}
	if m, ok := d.document(); ok {
		return m, nil
	}
	var m map[string]any
	if err := json.UnmarshalCaseSensitivePreserveInts(data, &m); err != nil {
		return nil, err
	}
	return m, nil
}

// plainDepth is how deep an object may be and still count as plain.
const plainDepth = 64

// decoder reads plain JSON. Its methods return false where it is not plain.
type decoder struct {
	s     string
	at    int
	depth int
	live  bool
	top   string // the field of the whole object that is being read
}

func (d *decoder) document() (map[string]any, bool) {
	if d.peek() != '{' {
		return nil, false
	}
	m, ok := d.object()
	return m, ok && d.peek() == 0 && d.at == len(d.s)
}

// peek gives the next byte that is not space; 0 at the end.
func (d *decoder) peek() byte {
	for d.at < len(d.s) {
		switch c := d.s[d.at]; c {
		case ' ', '\t', '\n', '\r':
			d.at++
		default:
			return c
		}
	}
	return 0
}

// take consumes c if it comes next.
func (d *decoder) take(c byte) bool {
	if d.peek() != c {
		return false
	}
	d.at++
	return true
}

func (d *decoder) value() (any, bool) {
	switch c := d.peek(); c {
	case '{':
		return d.object()
	case '[':
		return d.array()
	case '"':
		return d.text()
	case 't':
		return true, d.word("true")
	case 'f':
		return false, d.word("false")
	case 'n':
		return nil, d.word("null")
	default:
		return d.number()
	}
}

func (d *decoder) word(w string) bool {
	ok := strings.HasPrefix(d.s[d.at:], w)
	d.at += len(w)
	return ok
}

func (d *decoder) object() (map[string]any, bool) {
	d.at++
	if d.depth++; d.depth > plainDepth {
		return nil, false
	}
	m := map[string]any{}
	if !d.take('}') {
		for more := true; more; more = d.take(',') {
			if !d.field(m) {
				return nil, false
			}
		}
		if !d.take('}') {
			return nil, false
		}
	}
	d.depth--
	return m, true
}

func (d *decoder) field(m map[string]any) bool {
	if d.peek() != '"' {
		return false
	}
	key, ok := d.text()
	if !ok || !d.take(':') {
		return false
	}
	if d.depth == 1 {
		d.top = key
	}
	if d.live && d.depth == 2 && d.top == "metadata" && key == "managedFields" {
		m[key], ok = d.skip()
		return ok
	}
	m[key], ok = d.value()
	return ok
}

func (d *decoder) array() ([]any, bool) {
	d.at++
	if d.depth++; d.depth > plainDepth {
		return nil, false
	}
	list := []any{}
	if !d.take(']') {
		for more := true; more; more = d.take(',') {
			v, ok := d.value()
			if !ok {
				return nil, false
			}
			list = append(list, v)
		}
		if !d.take(']') {
			return nil, false
		}
	}
	d.depth--
	return list, true
}

// text reads a string. Without escapes it is a part of the input.
func (d *decoder) text() (string, bool) {
	d.at++
	start, ascii := d.at, true
	for ; d.at < len(d.s); d.at++ {
		switch c := d.s[d.at]; {
		case c == '"':
			s := d.s[start:d.at]
			d.at++
			return s, ascii || utf8.ValidString(s)
		case c == '\\':
			return d.escaped(start)
		case c < ' ':
			return "", false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return "", false
}

// escaped reads a string from its first escape on.
func (d *decoder) escaped(start int) (string, bool) {
	out := make([]byte, 0, 2*(d.at-start)+64)
	for from := start; d.at < len(d.s); {
		switch c := d.s[d.at]; {
		case c == '"':
			out = append(out, d.s[from:d.at]...)
			d.at++
			return string(out), utf8.Valid(out)
		case c == '\\':
			out = append(out, d.s[from:d.at]...)
			r, ok := d.escape()
			if !ok {
				return "", false
			}
			out = utf8.AppendRune(out, r)
			from = d.at
		case c < ' ':
			return "", false
		default:
			d.at++
		}
	}
	return "", false
}

func (d *decoder) escape() (rune, bool) {
	if d.at+1 >= len(d.s) {
		return 0, false
	}
	c := d.s[d.at+1]
	d.at += 2
	switch c {
	case '"', '\\', '/':
		return rune(c), true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	case 'u':
		if d.at+4 > len(d.s) {
			return 0, false
		}
		n, err := strconv.ParseUint(d.s[d.at:d.at+4], 16, 16)
		d.at += 4
		return rune(n), err == nil && utf8.ValidRune(rune(n))
	}
	return 0, false
}

// number reads a whole number of up to 18 digits; others are not plain.
func (d *decoder) number() (any, bool) {
	start := d.at
	if d.at < len(d.s) && d.s[d.at] == '-' {
		d.at++
	}
	first := d.at
	var n int64
	for ; d.at < len(d.s) && d.s[d.at] >= '0' && d.s[d.at] <= '9'; d.at++ {
		if d.at-first == 18 {
			return nil, false
		}
		n = 10*n + int64(d.s[d.at]-'0')
	}
	digits := d.at - first
	leading := digits > 1 && d.s[first] == '0'
	fraction := d.at < len(d.s) && strings.IndexByte(".eE", d.s[d.at]) >= 0
	if digits == 0 || leading || fraction {
		return nil, false
	}
	if first > start {
		n = -n
	}
	return n, true
}

// skip passes over an object or array without reading it. What is inside is
// only found out when it is read.
func (d *decoder) skip() (any, bool) {
	if c := d.peek(); c != '{' && c != '[' {
		return d.value()
	}
	start, open := d.at, 0
	for ; d.at < len(d.s); d.at++ {
		switch d.s[d.at] {
		case '{', '[':
			open++
		case '}', ']':
			if open--; open == 0 {
				d.at++
				return unread(d.s[start:d.at]), true
			}
		case '"':
			if d.at = closingQuote(d.s, d.at); d.at < 0 {
				return nil, false
			}
		}
	}
	return nil, false
}

// closingQuote finds the end of the string that begins at i; -1 if there is
// none.
func closingQuote(s string, i int) int {
	for i++; i < len(s); i++ {
		switch s[i] {
		case '"':
			return i
		case '\\':
			i++
		}
	}
	return -1
}
