package flux

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// maxPattern is the longest pattern that a decision takes.
const maxPattern = 1000

// opening is a hole that is still known by its steps: names, and positions in
// lists.
type opening struct {
	steps   []any
	pattern string
	digest  string
	why     string
}

// openings finds the marks in an object: its own, and those of files. What no
// hole can say is an error.
type openings struct {
	marks []*marks
	kind  string
	found []opening
}

// marked is the marks that a text holds; nil if it holds none.
func (o *openings) marked(text string) *marks {
	for _, m := range o.marks {
		if m.in(text) {
			return m
		}
	}
	return nil
}

// identity are the places whose values say which object it is.
var identity = []string{"apiVersion", "kind", "metadata.name", "metadata.namespace", "metadata.generateName"}

func (o *openings) search(v any, steps []any) error {
	switch v := v.(type) {
	case map[string]any:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			if o.marked(name) != nil {
				return o.needs(name, "a key below "+shown(steps)+" depends on it")
			}
			if err := o.search(v[name], append(steps[:len(steps):len(steps)], name)); err != nil {
				return err
			}
		}
	case []any:
		for i, item := range v {
			if err := o.search(item, append(steps[:len(steps):len(steps)], i)); err != nil {
				return err
			}
		}
	case string:
		if o.marked(v) != nil {
			return o.open(v, steps, false)
		}
		if o.isData(steps) {
			if plain, err := base64.StdEncoding.DecodeString(v); err == nil && o.marked(string(plain)) != nil {
				return o.open(string(plain), steps, true)
			}
		}
	}
	return nil
}

// isData reports a place that holds its value as base64.
func (o *openings) isData(steps []any) bool {
	return o.kind == "Secret" && len(steps) == 2 && steps[0] == "data"
}

// open takes the text of a place, which for the data of a Secret may be decoded:
// the pattern of a hole is of the decoded text there.
func (o *openings) open(text string, steps []any, decoded bool) error {
	place := shown(steps)
	if slices.Contains(identity, place) {
		return o.needs(text, place+" depends on it")
	}
	literals, found := o.marked(text).split(text)
	hole := opening{steps: steps, why: reasons(found)}
	whole := strings.Join(literals, "") == ""
	if o.isData(steps) && !decoded && !whole {
		return o.needs(text, place+" holds it as a part of base64")
	}
	if i := slices.IndexFunc(found, func(m mark) bool { return m.digest != "" }); i >= 0 {
		if !whole || len(found) != 1 {
			return o.needs(text, place+" holds it as a part of a text")
		}
		hole.digest = found[i].digest
	}
	for i, s := range literals {
		if i > 0 && i <= len(found) {
			hole.pattern += found[i-1].pattern
		}
		hole.pattern += regexp.QuoteMeta(s)
	}
	if hole.pattern == ".*" {
		hole.pattern = "" // what SOPS encrypted may hold line breaks
	}
	if len(hole.pattern) > maxPattern {
		return o.needs(text, place+" holds it in a text too long for a pattern")
	}
	o.found = append(o.found, hole)
	return nil
}

func (o *openings) needs(text, why string) error {
	_, found := o.marked(text).split(text)
	return &render.NeedsError{What: reasons(found), Why: why, Do: "put the value into Git, or the object's part that depends on it into another"}
}

// holes are the openings that the finished object still has: what was typed
// away or written over is none.
func holes(found []opening, before, after map[string]any) (out []gitindex.Hole, err error) {
	for _, f := range found {
		value, ok := dig(before, f.steps)
		if !ok || !isScalar(value) {
			return nil, &render.NeedsError{What: f.why, Why: shown(f.steps) + " is no single value"}
		}
		now, ok := dig(after, f.steps)
		if !ok && len(f.steps) == 2 && f.steps[0] == "stringData" {
			now, ok = dig(after, []any{"data", f.steps[1]})
			if text, isText := now.(string); ok && isText {
				plain, _ := base64.StdEncoding.DecodeString(text)
				now = string(plain)
			}
		}
		if !ok || !reflect.DeepEqual(now, value) && fmt.Sprint(now) != fmt.Sprint(value) {
			continue
		}
		for _, p := range anchored(after, f.steps) {
			out = append(out, gitindex.Hole{Path: p, Pattern: f.pattern, Digest: f.digest, Why: f.why})
		}
	}
	return out, nil
}

func isScalar(v any) bool {
	switch v.(type) {
	case nil, map[string]any, []any:
		return false
	}
	return true
}

func dig(v any, steps []any) (any, bool) {
	for _, s := range steps {
		switch s := s.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok {
				return nil, false
			}
			if v, ok = m[s]; !ok {
				return nil, false
			}
		case int:
			l, ok := v.([]any)
			if !ok || s < 0 || s >= len(l) {
				return nil, false
			}
			v = l[s]
		}
	}
	return v, true
}

// shown writes steps for people.
func shown(steps []any) string {
	var b strings.Builder
	for _, s := range steps {
		switch s := s.(type) {
		case string:
			write(&b, s)
		case int:
			b.WriteString("[" + strconv.Itoa(s) + "]")
		}
	}
	return gitindex.Clean(b.String(), 300)
}

func write(b *strings.Builder, name string) {
	if strings.ContainsAny(name, "./[]") {
		b.WriteString("[" + name + "]")
		return
	}
	if b.Len() > 0 {
		b.WriteByte('.')
	}
	b.WriteString(name)
}

// keys are those by which Kubernetes' lists tell their items apart, the likely
// ones first.
var keys = [][]string{{"name"}, {"mountPath"}, {"containerPort", "protocol"}, {"port", "protocol"}, {"ip"},
	{"devicePath"}, {"topologyKey", "whenUnsatisfiable"}, {"type"}, {"key"}, {"uid"}}

// anchored are the ways to write a place. Whether a list's items go by a key,
// and which, or by position is the schema's to say, which is not known here: all
// are written, and only the right one means anything. What could be read as
// another item is left out.
func anchored(v any, steps []any) []string {
	paths := []string{""}
	for i, s := range steps {
		parent, _ := dig(v, steps[:i])
		var next []string
		for _, p := range paths {
			for _, label := range itemNames(parent, s) {
				var b strings.Builder
				b.WriteString(p)
				if _, item := s.(int); item {
					b.WriteString("[" + label + "]")
				} else {
					write(&b, label)
				}
				next = append(next, b.String())
			}
		}
		paths = next
	}
	return paths
}

func itemNames(parent, step any) []string {
	n, item := step.(int)
	if !item {
		return []string{fmt.Sprint(step)}
	}
	list, _ := parent.([]any)
	if n >= len(list) {
		return nil
	}
	var out []string
	for _, name := range append(keysOf(list[n]), strconv.Itoa(n)) {
		if unambiguous(list, n, name) {
			out = append(out, name)
		}
	}
	return out
}

// keysOf are the keys by which an item may go.
func keysOf(item any) (all []string) {
	m, _ := item.(map[string]any)
	for _, names := range keys {
		var parts []string
		for _, name := range names {
			if value, ok := m[name]; ok && isScalar(value) {
				parts = append(parts, fmt.Sprint(value))
			}
		}
		if len(parts) == len(names) {
			all = append(all, strings.Join(parts, ","))
		}
	}
	return all
}

// unambiguous reports that no other item of the list goes by the name, as a key
// of whatever kind or as a position.
func unambiguous(list []any, n int, name string) bool {
	if position, err := strconv.Atoi(name); err == nil && position != n {
		return false
	}
	for i, item := range list {
		if i == n {
			continue
		}
		if fmt.Sprint(item) == name || slices.Contains(keysOf(item), name) {
			return false
		}
		m, _ := item.(map[string]any)
		for _, value := range m {
			if isScalar(value) && fmt.Sprint(value) == name {
				return false
			}
		}
	}
	return true
}
