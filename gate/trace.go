package gate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/canonical"
)

// tracing is one request before one Gate.
type tracing struct {
	view   *View
	rule   *Rule
	req    *Request
	now    time.Time
	ledger Ledger // nil when nobody keeps one
}

// candidate is a manifest that a request might stem from.
type candidate struct {
	manifest *gitindex.Manifest
	past     *gitindex.Past // set when a newer commit superseded it
	// why it may not count; empty when it may
	refused Refused
	// beside says that it declares something beside what is there, and nothing of
	// the rest: what of that goes away, it does not explain
	beside bool
}

// decide picks the rule for the request's verb. What has none is refused by
// name: nothing passes because nobody thought of it.
func (t *tracing) decide() Decision {
	if e := t.excludes(); e != nil {
		return Decision{Reason: Excluded, Reasons: map[Reason][]string{Excluded: {gitindex.Clean(e.Reason, 300)}}}
	}
	rule := RuleFor(t.req)
	if rule == nil {
		if t.req.SubResource != "" && t.allowsVerb() {
			return Decision{Reason: ByRule}
		}
		return Decision{Refusal: noRule(t.req)}
	}
	return rule.decide(t)
}

// notReady refuses while an Origin of the Gate has nothing accepted yet, or is
// out of reach for too long where the Gate minds.
func (t *tracing) notReady() *Refusal {
	if len(t.rule.Origins) == 0 && t.rule.Action == Deny {
		return &Refusal{Kind: OriginNotReady, Head: fmt.Sprintf("%s cannot be decided: Gate %s accepts no Origin", t.req.What(), t.rule.Name),
			Do: "have an administrator give the Gate its origins"}
	}
	for _, source := range t.rule.Origins {
		s := t.view.Index[source.Origin]
		if s == nil || s.Accepted == nil {
			return originNotReady(t.req, source.Origin, s)
		}
		if age := t.now.Sub(s.FetchedAt); t.rule.DenyStale && age > t.rule.StaleAfter {
			return originStale(t.req, s, age)
		}
	}
	return nil
}

func (t *tracing) revisions() map[string]string {
	m := make(map[string]string, len(t.rule.Origins))
	for _, source := range t.rule.Origins {
		m[source.Origin] = ""
		if s := t.view.Index[source.Origin]; s != nil && s.Accepted != nil {
			m[source.Origin] = s.Accepted.ID
		}
	}
	return m
}

// candidates lists every manifest of the Gate's Origins for ref, those that
// count first.
func (t *tracing) candidates(ref gitindex.Ref) []candidate {
	var counts, others []candidate
	for i := range t.rule.Origins {
		source := &t.rule.Origins[i]
		entry := t.view.Index[source.Origin].Lookup(ref)
		if entry == nil {
			continue
		}
		fills := source.Fills(ref)
		for _, m := range entry.Current {
			if t.claimed(m, ref) {
				continue
			}
			if fills && t.vouched(m, ref) {
				counts = append(counts, candidate{manifest: m})
			} else {
				others = append(others, candidate{manifest: m, refused: WrongNamespace})
			}
		}
		if !fills {
			continue
		}
		for j := range entry.Past {
			p := &entry.Past[j]
			if t.claimed(p.Manifest, ref) {
				continue
			}
			c := candidate{manifest: p.Manifest, past: p}
			if !t.vouched(p.Manifest, ref) {
				c.refused = WrongNamespace
			}
			if age := t.now.Sub(p.At); age > t.rule.Lag || -age > t.rule.Lag { // a clock that went back proves nothing
				c.refused = Outdated
			}
			others = append(others, c)
		}
		for _, m := range entry.Held {
			others = append(others, candidate{manifest: m, refused: heldBecause(m.Commit.Verdict.Outcome)})
		}
	}
	if len(counts) == 0 {
		others = append(t.made(ref), others...)
	}
	return append(counts, others...)
}

// vouched reports whether the Origin whose object opened a manifest's unit may
// declare the object as well: the opener can change all that it renders.
func (t *tracing) vouched(m *gitindex.Manifest, ref gitindex.Ref) bool {
	return m.Via == "" || t.fills(m.Via, ref)
}

// claimed reports whether another Origin that may declare the object opens a
// unit over the manifest's file: that unit says what becomes of it, and not the
// file as it stands.
func (t *tracing) claimed(m *gitindex.Manifest, ref gitindex.Ref) bool {
	return slices.ContainsFunc(m.Claimed, func(origin string) bool { return t.fills(origin, ref) })
}

// heldBecause maps the outcome of a signature to the refusal that names it.
func heldBecause(o gitindex.Outcome) Refused {
	switch o {
	case gitindex.Unsigned:
		return Unsigned
	case gitindex.UnknownSigner:
		return UnknownSigner
	case gitindex.SignerExpired:
		return SignerExpired
	case gitindex.SignerRevoked:
		return SignerRevoked
	case gitindex.SignerNotValid:
		return SignerNotValid
	case gitindex.BadSignature:
		return BadSignature
	case gitindex.Malformed:
		return Malformed
	}
	return NotChecked
}

// finding is a candidate held against the object.
type finding struct {
	candidate
	comparison *comparison
	err        error
}

// explains reports whether every change of the request has a reason in this
// candidate.
func (f *finding) explains() bool { return f.err == nil && len(f.comparison.violations) == 0 }

// traced reports whether the whole object is what the candidate declares.
func (f *finding) traced() bool { return f.explains() && len(f.comparison.drift) == 0 }

// hold compares the subject with one candidate.
func (t *tracing) hold(s *subject, c candidate) finding {
	f := finding{candidate: c}
	want, err := t.canonical(s, c.manifest)
	if err != nil {
		f.err = err
		return f
	}
	var declared any
	f.comparison = t.compare(s, c.manifest, want, func() any {
		if declared == nil {
			declared = t.declared(s, c.manifest)
		}
		return declared
	})
	if c.beside {
		f.comparison.keepsRest()
	}
	return f
}

// canonical is the manifest's canonical form in the request's API version,
// without stamps.
func (t *tracing) canonical(s *subject, m *gitindex.Manifest) (map[string]any, error) {
	data := m.Canonical
	if m.APIVersion != s.apiVersion || data == nil {
		var err error
		if data, err = t.view.Schemas.Canonical(m.Raw, t.req.Version); err != nil {
			return nil, err
		}
	}
	want, err := decodeObject(data)
	if err != nil {
		return nil, fmt.Errorf("decoding the canonical form: %w", err)
	}
	strip(want, s.hasStatus)
	return want, nil
}

// declared is what Git itself says. Where that cannot be computed, everything
// in the canonical form counts as declared: that refuses more, never less.
func (t *tracing) declared(s *subject, m *gitindex.Manifest) any {
	if data, err := t.view.Schemas.Declared(m.Raw, t.req.Version); err == nil {
		if v, err := decodeObject(data); err == nil {
			strip(v, s.hasStatus)
			return v
		}
	}
	v, _ := t.canonical(s, m)
	return v
}

// write decides CREATE and UPDATE of an object: every change needs a reason.
func write(t *tracing) Decision {
	o, err := t.req.decode()
	if err != nil || o.new == nil || t.req.Operation == Update && o.old == nil {
		return Decision{Refusal: unreadable(t.req, orNoObject(err))}
	}
	s := newSubject(t.view.Schemas, t.req, o)
	d := t.reasonFor(s, o)
	d.subject = s
	return d
}

// reasonFor looks for a reason where one may be: Kubernetes' own objects need no
// Git, what Git declares needs nothing else, and what it does not may be made by
// a controller or in an emergency.
func (t *tracing) reasonFor(s *subject, o objects) Decision {
	if isPlatform(t.req, s.ref, o) && (s.old == nil || t.counted(s.ref) == nil) {
		return Decision{Reason: Platform}
	}
	if r := t.notReady(); r != nil {
		return Decision{Refusal: r}
	}
	d := t.weigh(s)
	if d.Refusal != nil && t.counted(s.ref) == nil {
		if release, ok := t.released(s); ok {
			return t.emergency(s, release)
		}
		// What does not count, such as an unsigned commit, must not stand in the way
		// of what would be admitted without it.
		if other := t.untraced(s, d); other.Refusal == nil || d.Refusal.Kind == NotInGit {
			d = other
		}
	}
	return t.emergency(s, d)
}

// untraced decides about an object that no Origin declares: made by its
// controller, or changed by one.
func (t *tracing) untraced(s *subject, refused Decision) Decision {
	if s.old == nil {
		if d, ok := t.derived(s); ok {
			return d
		}
		return refused
	}
	c := t.changes(s)
	if len(c.violations) == 0 {
		d := Decision{Reason: ByController, Reasons: c.reasons}
		if owner, ok := controllerOf(s.old); ok && t.view.Live != nil {
			if d.via = t.view.Live.Object(owner.UID); d.via != nil {
				d.past = t.everDeclared(d.via.Ref)
			}
		}
		return d
	}
	if d, ok := t.operated(s); ok {
		return d
	}
	if owner, ok := controllerOf(s.old); ok {
		return Decision{Refusal: derivedOnly(t.req, owner, sortedDiffs(c.violations))}
	}
	return refused
}

// operated decides about an operator that changes what a derive rule lets it
// make: a certificate is renewed, a replica set scaled. Whose the object is must
// stay as it was.
func (t *tracing) operated(s *subject) (Decision, bool) {
	if t.view.Live == nil || !equal(dig(s.old, "metadata", "ownerReferences"), dig(s.new, "metadata", "ownerReferences")) {
		return Decision{}, false
	}
	owner, ok := controllerOf(s.old)
	if !ok {
		return Decision{}, false
	}
	m := t.operator(gitindex.Ref{Group: groupOf(owner.APIVersion), Kind: owner.Kind}.GroupKind())
	live := t.view.Live.Object(owner.UID)
	if m == nil || !t.req.User.isOneOf(m.by) || live == nil || !isOwner(live, owner, s.ref) {
		return Decision{}, false
	}
	return t.derivedOf(live), true
}

// weigh holds the subject against the candidates, best first, and takes the
// first that explains every change.
func (t *tracing) weigh(s *subject) Decision {
	candidates := t.candidates(s.ref)
	var best, closest *finding
	for _, c := range candidates {
		if c.refused != "" {
			continue
		}
		f := t.hold(s, c)
		if f.traced() {
			return allowed(&f)
		}
		// A superseded manifest counts as a whole or not at all: an applier
		// that lags behind applies all of it, and a mixture of two states of
		// Git is in neither.
		if f.explains() && c.past == nil && best == nil {
			best = &f
		}
		if closest == nil || c.past == nil && closer(&f, closest) {
			closest = &f
		}
	}
	if best != nil && !t.mixes(s, best, candidates) {
		return allowed(best)
	}
	if closest != nil && errors.Is(closest.err, canonical.ErrLossy) {
		// Also what seems to change nothing takes fields away that this version
		// does not show.
		return Decision{Refusal: t.refuseDifferent(s, closest), Manifest: closest.manifest}
	}
	if s.unchanged() {
		return Decision{Reason: NoChange}
	}
	// Nothing explains it. If something that may not count would have, the
	// refusal says that instead of listing differences.
	for _, c := range candidates {
		if c.refused == "" {
			continue
		}
		if f := t.hold(s, c); f.explains() {
			return Decision{Refusal: t.refuseCandidate(&c), Manifest: c.manifest}
		}
	}
	if closest != nil {
		return Decision{Refusal: t.refuseDifferent(s, closest), Manifest: closest.manifest}
	}
	for _, c := range candidates {
		if c.refused != Outdated {
			return Decision{Refusal: t.refuseCandidate(&c), Manifest: c.manifest}
		}
	}
	return Decision{Refusal: t.refuseUnknown(s.ref)}
}

// mixes reports whether the request would take an object that was wholly what one
// of several current manifests says part of the way to another: what comes of
// that is in neither.
func (t *tracing) mixes(s *subject, f *finding, candidates []candidate) bool {
	if s.old == nil || s.unchanged() {
		return false
	}
	before := *s
	before.new = s.old
	for _, c := range candidates {
		if c.refused == "" && c.past == nil && c.manifest != f.manifest {
			if was := t.hold(&before, c); was.traced() {
				return true
			}
		}
	}
	return false
}

func closer(a, b *finding) bool {
	if a.err != nil || b.err != nil {
		return a.err == nil
	}
	return len(a.comparison.violations) < len(b.comparison.violations)
}

func allowed(f *finding) Decision {
	return Decision{Reason: ByGit, Manifest: f.manifest, Traced: f.traced(), Drift: f.comparison.drift, Reasons: f.comparison.reasons}
}

// originNames lists the Origins of the Gate that may declare ref; empty if none
// may.
func (t *tracing) originNames(ref gitindex.Ref) string {
	var names []string
	for i := range t.rule.Origins {
		if s := &t.rule.Origins[i]; s.Fills(ref) {
			names = append(names, s.Origin)
		}
	}
	return strings.Join(names, ", ")
}
