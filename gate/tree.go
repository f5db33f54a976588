package gate

import (
	"bytes"
	"strings"

	"github.com/gitward/gitward/gitindex/canonical"
)

// absent stands where a JSON tree has nothing, which is not the same as null.
type missing struct{}

var absent any = missing{}

func decodeObject(data []byte) (map[string]any, error) {
	if len(data) == 0 || bytes.Equal(data, []byte("null")) {
		return nil, nil
	}
	return decodeJSON(data)
}

// at returns a map's field, or absent.
func at(v any, key string) any {
	if m, ok := v.(map[string]any); ok {
		if f, ok := m[key]; ok {
			return f
		}
	}
	return absent
}

// dig follows field names from v.
func dig(v any, names ...string) any {
	for _, n := range names {
		v = at(v, n)
	}
	return v
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// equal compares two JSON trees by type and value. Integers and floats of the
// same value are equal, nothing else of different type is: absent, null, {} and
// [] are four different things.
func equal(a, b any) bool {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for k, v := range x {
			w, ok := y[k]
			if !ok || !equal(v, w) {
				return false
			}
		}
		return true
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for i := range x {
			if !equal(x[i], y[i]) {
				return false
			}
		}
		return true
	case int64:
		if y, ok := b.(float64); ok {
			return y >= -1<<63 && y < 1<<63 && float64(x) == y && int64(y) == x
		}
	case float64:
		if y, ok := b.(int64); ok {
			return equal(y, x)
		}
	}
	return a == b
}

// blank reports whether v is one of the ways to say nothing that the kind's
// schema does not tell apart at this place.
func blank(s canonical.Shape, v any) bool {
	switch x := v.(type) {
	case missing:
		return true
	case nil:
		return s.NullIsAbsent() || s.EmptyIsAbsent()
	case map[string]any:
		return len(x) == 0 && s.EmptyIsAbsent()
	case []any:
		return len(x) == 0 && s.EmptyIsAbsent()
	}
	return false
}

// alike is equal, with the schema's say on what emptiness means.
func alike(s canonical.Shape, a, b any) bool {
	return blank(s, a) && blank(s, b) || equal(a, b)
}

// segment is one step of a path: a field, or an item of a list, named by its
// key or, in a list without keys, by its position.
type segment struct {
	name     string
	item     bool
	position bool
}

// pathText writes a path as people read it:
// spec.template.spec.containers[web].image.
func pathText(path []segment) string {
	var b strings.Builder
	for _, s := range path {
		switch {
		case s.item:
			b.WriteString("[" + s.name + "]")
		case strings.ContainsAny(s.name, "./[]"):
			b.WriteString("[" + s.name + "]")
		default:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s.name)
		}
	}
	return b.String()
}

// pathPattern writes a path for the tables of rules: items become [], and so
// do the free keys of labels and annotations.
func pathPattern(path []segment) string {
	var b strings.Builder
	for _, s := range path {
		switch {
		case s.item:
			b.WriteString("[]")
		case strings.ContainsAny(s.name, "./[]"):
			b.WriteString("[" + s.name + "]")
		default:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s.name)
		}
	}
	return b.String()
}
