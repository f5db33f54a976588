package webhook

import (
	"encoding/json"
	"strings"
)

// Most of a review is its two objects, and encoding/json would read over each of
// them twice only to find its end. So they are cut out by their brackets first,
// and only the small rest is decoded here; whether what was cut out is JSON at
// all is found out when the gate decodes it. A review that is not written as
// the API server writes it is left to encoding/json as a whole.

// decodeEnvelope decodes a review with its objects raw.
func decodeEnvelope(body []byte, r *review) error {
	if rest, object, old, ok := cutObjects(body); ok && json.Unmarshal(rest, r) == nil && r.Request != nil {
		r.Request.Object, r.Request.OldObject = object, old
		return nil
	}
	*r = review{}
	return json.Unmarshal(body, r)
}

// cutObjects takes request.object and request.oldObject out of a review. It
// gives up on one that has a name twice, in whatever case, for encoding/json
// would then mix the two.
func cutObjects(body []byte) (rest, object, old []byte, ok bool) {
	c := cutter{body: body}
	rest, from, requests := make([]byte, 0, 1024), 0, 0
	cut := func(key string, start int) bool {
		into := &object
		switch {
		case strings.EqualFold(key, "oldObject"):
			into = &old
		case !strings.EqualFold(key, "object"):
			return c.skip()
		}
		if *into != nil || !c.skip() {
			return false
		}
		*into = body[start:c.at:c.at]
		rest = append(append(rest, body[from:start]...), "null"...)
		from = c.at
		return true
	}
	ok = c.fields(func(key string, _ int) bool {
		if !strings.EqualFold(key, "request") {
			return c.skip()
		}
		requests++
		return c.fields(cut)
	})
	return append(rest, body[from:]...), object, old, ok && requests == 1
}

// plainDepth is how deep an object may be and still be cut out.
const plainDepth = 64

// cutter walks over JSON by its brackets and strings.
type cutter struct {
	body []byte
	at   int
}

// peek gives the next byte that is not space; 0 at the end.
func (c *cutter) peek() byte {
	for c.at < len(c.body) {
		switch b := c.body[c.at]; b {
		case ' ', '\t', '\n', '\r':
			c.at++
		default:
			return b
		}
	}
	return 0
}

func (c *cutter) take(b byte) bool {
	if c.peek() != b {
		return false
	}
	c.at++
	return true
}

// fields walks over an object. visit is called at each value, and has to pass
// it.
func (c *cutter) fields(visit func(key string, start int) bool) bool {
	if !c.take('{') {
		return false
	}
	if c.take('}') {
		return true
	}
	for {
		key, ok := c.key()
		if !ok || !visit(key, c.at) {
			return false
		}
		if !c.take(',') {
			return c.take('}')
		}
	}
}

// key reads a field's name, and stops at its value. Names are plain letters.
func (c *cutter) key() (string, bool) {
	if !c.take('"') {
		return "", false
	}
	start := c.at
	for c.at < len(c.body) && (c.body[c.at]|0x20 >= 'a' && c.body[c.at]|0x20 <= 'z') {
		c.at++
	}
	name := string(c.body[start:c.at])
	ok := c.take('"') && c.take(':')
	c.peek()
	return name, ok
}

// skip passes over one value.
func (c *cutter) skip() bool {
	open := 0
	for ; c.at < len(c.body); c.at++ {
		switch c.body[c.at] {
		case '{', '[':
			if open++; open > plainDepth {
				return false
			}
		case '}', ']':
			if open == 0 {
				return true // of the object around a number or a word
			}
			if open--; open == 0 {
				c.at++
				return true
			}
		case ',':
			if open == 0 {
				return true
			}
		case '"':
			if !c.text() {
				return false
			}
			if open == 0 {
				c.at++
				return true
			}
		}
	}
	return false
}

// text passes over a string, up to its closing quote.
func (c *cutter) text() bool {
	for c.at++; c.at < len(c.body); c.at++ {
		switch c.body[c.at] {
		case '"':
			return true
		case '\\':
			c.at++
		}
	}
	return false
}
