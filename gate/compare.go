package gate

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/canonical"
)

// Every change needs a reason.
//
// The object of a request is compared with what Git makes of it, field by
// field and typed. Where both agree the reason is Git (or Default, which Git's
// canonical form already holds). A field on which they differ needs another
// reason: Server, Applier. A field on which they differ without one is this
// request's fault only if the request changed it; otherwise it is drift, which
// is reported and never added to.

// Difference is one place at which an object is not what Git says.
type Difference struct {
	Path           string // spec.template.spec.containers[web].image
	Old, New, Want any    // JSON values; absent is Absent
	Note           string // in place of values, where these would not say it: "order"
}

// Absent reports whether a Difference's value is not there at all.
func Absent(v any) bool { return v == absent }

// comparison walks one object against one canonical form.
type comparison struct {
	tracing  *tracing // nil only where a test compares by itself
	subject  *subject
	manifest *gitindex.Manifest // nil where the object is compared with what it was
	maker    *maker             // set where it is compared with what its owner makes
	want     map[string]any
	declared func() any // what Git declares, without defaults; computed on demand
	path     []segment
	live     bool // what is compared is live already, and nobody's request
	// only, if not nil, is the one reason beside Git that counts.
	only func(values) bool

	violations []Difference        // changed by this request, without a reason
	drift      []Difference        // different from Git, untouched by this request
	reasons    map[Reason][]string // of the differences that have one, by path
}

// compare finds what of the subject's new state Git does not explain.
func (t *tracing) compare(s *subject, m *gitindex.Manifest, want map[string]any, declared func() any) *comparison {
	c := &comparison{tracing: t, subject: s, manifest: m, want: want, declared: declared}
	c.run(want)
	c.grants()
	return c
}

// changes compares an object that no Origin declares with what it was: each
// change needs somebody whose it is.
func (t *tracing) changes(s *subject) *comparison {
	c := &comparison{tracing: t, subject: s, want: s.old, declared: func() any { return s.old }}
	c.run(s.old)
	return c
}

// undeclared reports whether the object is compared with what it was.
func (c *comparison) undeclared() bool { return c.manifest == nil && c.maker == nil }

func (c *comparison) user() *User {
	if c.tracing == nil {
		return &User{}
	}
	return &c.tracing.req.User
}

func (c *comparison) run(want map[string]any) {
	s := c.subject
	var old any = absent
	if s.old != nil {
		old = s.old
	}
	c.fields(s.shape, old, s.new, c.seal(want))
	if c.manifest != nil && len(c.manifest.Holes) > 0 {
		c.hide(c.violations)
		c.hide(c.drift)
	}
}

// fields compares two maps key by key.
func (c *comparison) fields(s canonical.Shape, old, new, want any) {
	n, _ := new.(map[string]any)
	w, _ := want.(map[string]any)
	for k, nv := range n {
		c.enter(segment{name: k}, s.Field(k), at(old, k), nv, at(w, k))
	}
	for k, wv := range w {
		if _, ok := n[k]; !ok {
			c.enter(segment{name: k}, s.Field(k), at(old, k), absent, wv)
		}
	}
}

func (c *comparison) enter(seg segment, s canonical.Shape, old, new, want any) {
	if alike(s, new, want) {
		return
	}
	c.path = append(c.path, seg)
	c.node(s, old, new, want)
	c.path = c.path[:len(c.path)-1]
}

// node compares two values that are known to differ. It goes as deep as both
// sides allow, so that each difference is judged where it is.
func (c *comparison) node(s canonical.Shape, old, new, want any) {
	n, nIsMap := new.(map[string]any)
	_, wIsMap := want.(map[string]any)
	nl, nIsList := new.([]any)
	_, wIsList := want.([]any)
	switch {
	case c.explained(values{old, new, want}):
	case c.adds(values{old, new, want}):
		c.drift = append(c.drift, Difference{Path: pathText(c.path), Old: old, New: new, Want: want})
	case nIsMap && wIsMap, nIsMap && want == absent && len(n) > 0:
		c.fields(s, old, new, want)
	case c.undeclared() && new == absent && wIsMap && len(c.path) > 0:
		c.fields(s, old, map[string]any{}, want)
	case c.undeclared() && new == absent && wIsList:
		c.list(s, old, new, want)
	case nIsList && wIsList, nIsList && want == absent && len(nl) > 0:
		c.list(s, old, new, want)
	default:
		c.differ(s, old, new, want, "")
	}
}

// list compares two lists, each of which may be absent.
func (c *comparison) list(s canonical.Shape, old, new, want any) {
	n, ok1 := keyed(s, new)
	w, ok2 := keyed(s, want)
	if !ok1 || !ok2 {
		c.positions(s, old, new, want)
		return
	}
	o, _ := keyed(s, old)
	item := s.Item()
	for i, k := range n.keys {
		before, explained := len(c.violations), len(c.reasons)
		c.enter(segment{name: k, item: true}, item, o.pick(k), n.items[i], w.pick(k))
		if added := len(c.violations) - before; added > 1 && o.pick(k) == absent && w.pick(k) == absent && len(c.reasons) == explained {
			// A whole item is new: say so once, not field by field.
			path := pathText(append(c.path, segment{name: k, item: true}))
			c.violations = append(c.violations[:before], Difference{Path: path, Old: absent, New: n.items[i], Want: absent})
		}
	}
	for i, k := range w.keys {
		if _, ok := n.at[k]; !ok {
			c.enter(segment{name: k, item: true}, item, o.pick(k), absent, w.items[i])
		}
	}
	// The order of what both sides hold is content: containers start in it,
	// variables expand in it, rules match in it.
	if !sameOrder(n, w) || sameOrder(o, w) && !sameOrder(n, o) && moved(n, o, w) {
		d := Difference{Path: pathText(c.path), Old: old, New: new, Want: want, Note: "order"}
		if len(o.keys) > 0 && sameOrder(n, o) {
			c.drift = append(c.drift, d)
		} else {
			c.violations = append(c.violations, d)
		}
	}
}

// positions compares lists that have no keys. Lists of one length are compared
// position by position; otherwise the list as a whole differs.
func (c *comparison) positions(s canonical.Shape, old, new, want any) {
	n, nok := new.([]any)
	w, wok := want.([]any)
	if !nok || !wok || len(n) != len(w) {
		c.differ(s, old, new, want, "")
		return
	}
	o := asList(old)
	if len(o) != len(n) {
		o = nil
	}
	item := s.Item()
	for i := range n {
		var oi any = absent
		if o != nil {
			oi = o[i]
		}
		c.enter(segment{name: strconv.Itoa(i), item: true, position: true}, item, oi, n[i], w[i])
	}
}

// differ settles one difference at its leaf.
func (c *comparison) differ(s canonical.Shape, old, new, want any, note string) {
	if new == absent && !c.isDeclared() {
		return // only a default, and this API server does not set it
	}
	d := Difference{Path: pathText(c.path), Old: old, New: new, Want: want, Note: note}
	if c.subject.old != nil && alike(s, old, new) {
		c.drift = append(c.drift, d)
		return
	}
	c.violations = append(c.violations, d)
}

// values are the three states of one place.
type values struct{ old, new, want any }

// explained looks for a reason beside Git for the difference at this path.
func (c *comparison) explained(v values) bool {
	switch {
	case c.only != nil:
		return c.only(v)
	case v.new != absent && serverReason(c, v):
		c.note(ByServer)
	case v.new != absent && c.manifest != nil && applierReason(c, v):
		c.note(ByApplier)
	case v.new != absent && c.manifest != nil && c.holeReason(v):
		c.note(ByHole)
	case c.manifest != nil && c.liveReason(v):
		c.note(ByLive)
	case c.maker != nil && c.maker.reason(c, v), controllerReason(c, v):
		c.note(ByController)
	case ruleReason(c, v):
		c.note(ByRule)
	default:
		return false
	}
	return true
}

func (c *comparison) note(r Reason) {
	if c.reasons == nil {
		c.reasons = map[Reason][]string{}
	}
	c.reasons[r] = append(c.reasons[r], pathText(c.path))
}

// isDeclared reports whether Git itself says something at this path, or whether
// it is only in the canonical form, as a default. Where that cannot be told, Git
// is taken to say it. Defaults add fields, never items to a list that is
// declared.
func (c *comparison) isDeclared() bool {
	v := c.declared()
	s := c.subject.shape
	for _, seg := range c.path {
		if !seg.item {
			v, s = at(v, seg.name), s.Field(seg.name)
		} else if v, s = declaredItem(s, v, seg), s.Item(); v == absent {
			return true
		}
		if v == absent {
			return false
		}
	}
	return !blank(s, v)
}

// declaredItem finds an item of a declared list; absent if it is not there
// under this key or position.
func declaredItem(s canonical.Shape, v any, seg segment) any {
	if seg.position {
		if i, err := strconv.Atoi(seg.name); err == nil && i < len(asList(v)) {
			return asList(v)[i]
		}
		return absent
	}
	list, _ := keyed(s, v)
	return list.pick(seg.name)
}

func asList(v any) []any {
	l, _ := v.([]any)
	return l
}

// keyedList is an associative list with its items' keys.
type keyedList struct {
	items []any
	keys  []string
	at    map[string]int
}

func (l keyedList) pick(key string) any {
	if i, ok := l.at[key]; ok {
		return l.items[i]
	}
	return absent
}

// keyed names each item of an associative list; an absent list is an empty one.
// It is not ok when the list is atomic, an item has no key, or two share one:
// such a list is compared by position.
func keyed(s canonical.Shape, v any) (keyedList, bool) {
	kind, keys := s.List()
	l := keyedList{items: asList(v)}
	if kind == canonical.Atomic {
		return keyedList{}, false
	}
	l.keys = make([]string, len(l.items))
	l.at = make(map[string]int, len(l.items))
	for i, item := range l.items {
		name, ok := itemKey(s, kind, keys, item)
		if _, twice := l.at[name]; !ok || twice {
			return keyedList{}, false
		}
		l.keys[i], l.at[name] = name, i
	}
	return l, true
}

func itemKey(s canonical.Shape, kind canonical.ListKind, keys []string, item any) (string, bool) {
	if kind == canonical.Set {
		return scalar(item)
	}
	parts := make([]string, len(keys))
	for i, k := range keys {
		v, ok := keyValue(s, item, k)
		if !ok {
			return "", false
		}
		parts[i] = v
	}
	return strings.Join(parts, ","), true
}

func keyValue(s canonical.Shape, item any, key string) (string, bool) {
	v := at(item, key)
	if v == absent || v == nil {
		if d, ok := s.KeyDefault(key); ok {
			return scalar(d)
		}
		// A key that is left out is a value of its own, as the API server has it.
		_, isMap := item.(map[string]any)
		return "", isMap
	}
	return scalar(v)
}

func scalar(v any) (string, bool) {
	switch v.(type) {
	case string, bool, int, int32, int64, float64:
		return fmt.Sprint(v), true
	}
	return "", false
}

// moved reports whether something stands in the new list and stood in the old
// one that Git does not have at all.
func moved(n, o, w keyedList) bool {
	for _, k := range n.keys {
		_, was := o.at[k]
		if _, declared := w.at[k]; was && !declared {
			return true
		}
	}
	return false
}

// sameOrder reports whether the items that both lists hold come in one order.
func sameOrder(a, b keyedList) bool {
	last := -1
	for _, k := range a.keys {
		i, ok := b.at[k]
		if !ok {
			continue
		}
		if i < last {
			return false
		}
		last = i
	}
	return true
}
