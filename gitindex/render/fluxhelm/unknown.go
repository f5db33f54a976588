package fluxhelm

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	kjson "sigs.k8s.io/json"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// unknown is one text that Git leaves open. Two texts stand for it, one in each
// rendering: short, of letters and digits, so that they pass where a name or a
// version does. A chart that has one of them itself is refused where it matters.
type unknown struct {
	stands, otherwise string
	why, pattern      string
}

func newUnknown(kind string, i int, why, pattern string) unknown {
	n := kind + strconv.Itoa(i) + "z"
	return unknown{stands: "gwa" + n, otherwise: "gwb" + n, why: why, pattern: pattern}
}

// maxPattern is the longest that a hole's pattern may be: a Gate refuses others.
const maxPattern = 1000

// open compares two renderings that differ in what stands for unknowns, and
// makes holes of it. Any other difference is refused.
func open(one, other []render.Object, unknowns []unknown) ([]render.Object, error) {
	if len(one) != len(other) {
		return nil, fmt.Errorf("%w: how many objects there are depends on %s", render.ErrUnstable, reasons(unknowns))
	}
	for i := range one {
		if key(&one[i]) != key(&other[i]) {
			return nil, fmt.Errorf("%w: the name of %v depends on %s", render.ErrUnstable, ref(&one[i]), reasons(unknowns))
		}
		o := opening{unknowns: unknowns, secret: one[i].Kind == "Secret" && one[i].Group == ""}
		var a, b any
		if err := decode(one[i].JSON, &a); err != nil {
			return nil, err
		}
		if err := decode(other[i].JSON, &b); err != nil {
			return nil, err
		}
		if err := o.compare(nil, a, b); err != nil {
			return nil, fmt.Errorf("%w: %v at %s, in %s", render.ErrUnstable, ref(&one[i]), err, gitindex.Clean(one[i].Path, 200))
		}
		one[i].Holes = o.holes
	}
	return one, nil
}

func decode(raw json.RawMessage, into *any) error {
	return kjson.UnmarshalCaseSensitivePreserveInts(raw, into)
}

func reasons(unknowns []unknown) string {
	var all []string
	for _, u := range unknowns {
		all = append(all, u.why)
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
}

// opening walks two forms of one object.
type opening struct {
	unknowns []unknown
	secret   bool
	holes    []gitindex.Hole
}

// place is the way to a value; each step as a Gate writes it.
type place []string

func (p place) String() string {
	var b strings.Builder
	for _, s := range p {
		if b.Len() > 0 && s[0] != '[' {
			b.WriteByte('.')
		}
		b.WriteString(s)
	}
	return b.String()
}

func field(name string) string {
	if name == "" || strings.ContainsAny(name, "./[]") {
		return "[" + name + "]"
	}
	return name
}

// refusal says where two forms differ otherwise than in what is open.
type refusal struct{ place, why string }

func (r *refusal) Error() string { return r.place + " depends on " + r.why }

func (o *opening) refuse(p place) error {
	return &refusal{gitindex.Clean(p.String(), 200), reasons(o.unknowns) + " otherwise than as text in it"}
}

func (o *opening) compare(p place, a, b any) error {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return o.refuse(p)
		}
		for _, k := range sortedKeys(x) {
			if _, ok := y[k]; !ok {
				return o.refuse(p)
			}
			if err := o.compare(append(p[:len(p):len(p)], field(k)), x[k], y[k]); err != nil {
				return err
			}
		}
		return nil
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return o.refuse(p)
		}
		for i := range x {
			if err := o.compare(append(p[:len(p):len(p)], item(x, i)), x[i], y[i]); err != nil {
				return err
			}
		}
		return nil
	case string:
		y, ok := b.(string)
		if !ok {
			return o.refuse(p)
		}
		if x != y {
			return o.hole(p, x, y)
		}
		return nil
	}
	if a != b {
		return o.refuse(p)
	}
	return nil
}

func sortedKeys(m map[string]any) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

// item names an item of a list by its name, where no other has the same, and by
// its position otherwise.
func item(list []any, i int) string {
	name := nameOf(list[i])
	for j := range list {
		if j != i && nameOf(list[j]) == name {
			name = ""
		}
	}
	if name == "" {
		return "[" + strconv.Itoa(i) + "]"
	}
	return "[name=" + name + "]"
}

func nameOf(v any) string {
	m, _ := v.(map[string]any)
	name, _ := m["name"].(string)
	return name
}

// identity are the fields that say which object it is: nothing may be open there.
var identity = []string{"apiVersion", "kind", "metadata.name", "metadata.namespace", "metadata.generateName"}

var checksum = regexp.MustCompile(`^[0-9a-f]{64}$`)

// hole notes that what stands at a place is open: the text that stands for an
// unknown, with what is around it. What a Secret has under data is compared as
// what it encodes, as a Gate does. An annotation may hold the SHA-256 of what has
// an unknown in it, which says nothing else.
func (o *opening) hole(p place, a, b string) error {
	at := p.String()
	if slices.Contains(identity, at) {
		return o.refuse(p)
	}
	if o.secret && len(p) == 2 && p[0] == "data" {
		x, errX := base64.StdEncoding.DecodeString(a)
		y, errY := base64.StdEncoding.DecodeString(b)
		if errX != nil || errY != nil {
			return o.refuse(p)
		}
		a, b = string(x), string(y)
	}
	pattern, why := o.pattern(a, b)
	if pattern == "" && len(p) > 1 && p[len(p)-2] == "annotations" && checksum.MatchString(a) && checksum.MatchString(b) {
		pattern, why = `[0-9a-f]{64}`, reasons(o.unknowns)
	}
	if pattern == "" {
		return o.refuse(p)
	}
	if len(pattern) > maxPattern {
		return &refusal{gitindex.Clean(at, 200), why + ", and the text around it is too long to compare"}
	}
	o.holes = append(o.holes, gitindex.Hole{Path: at, Pattern: pattern, Why: why})
	return nil
}

// pattern is what both texts are an example of; "" if they differ in more than
// what stands for unknowns.
func (o *opening) pattern(a, b string) (pattern, why string) {
	var whys []unknown
	swapped, quoted := a, regexp.QuoteMeta(a)
	for _, u := range o.unknowns {
		if strings.Contains(a, u.stands) {
			whys = append(whys, u)
			swapped = strings.ReplaceAll(swapped, u.stands, u.otherwise)
			quoted = strings.ReplaceAll(quoted, u.stands, "(?:"+u.pattern+")")
		}
	}
	if len(whys) == 0 || swapped != b {
		return "", ""
	}
	return quoted, reasons(whys)
}
