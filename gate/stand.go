package gate

import "github.com/gitward/gitward/gitindex"

// Standing is how a live object stands to Git.
type Standing string

// The standings.
const (
	Traced         Standing = "traced"   // it is what Git declares
	Drifted        Standing = "drifted"  // Git declares it, and says something else
	StandsDerived  Standing = "derived"  // it stems from what Git declares
	StandsBroken   Standing = "broken"   // break-glass is open for it, or for what it stems from
	StandsPlatform Standing = "platform" // Kubernetes itself keeps it
	StandsExcluded Standing = "excluded" // a Gate leaves it out
	NotMatched     Standing = "ungated"  // no Gate is about it
	Untraced       Standing = "untraced" // nothing says why it is there
)

// Stand tells how a live object stands, by the engine that requests are decided
// with. Req is one that changes nothing: both of its states are the object. What
// cannot be told is untraced.
func (g *Gate) Stand(req *Request) (Standing, Decision) {
	view := g.View()
	for i := range view.Rules {
		if rule := &view.Rules[i]; rule.matches(req) {
			t := tracing{view: view, rule: rule, now: g.Now(), req: req, ledger: g.Ledger}
			standing, d := t.stand()
			d.Gate, d.Action = rule.Name, rule.Action
			return standing, d
		}
	}
	return NotMatched, Decision{}
}

func (t *tracing) stand() (Standing, Decision) {
	if e := t.excludes(); e != nil {
		return StandsExcluded, Decision{Reasons: map[Reason][]string{Excluded: {e.Reason}}}
	}
	o, err := t.req.decode()
	if err != nil || o.new == nil {
		return Untraced, Decision{Refusal: unreadable(t.req, orNoObject(err))}
	}
	s := newSubject(t.view.Schemas, t.req, o)
	var drifted *Decision
	for _, c := range t.candidates(s.ref) {
		if c.refused != "" {
			continue
		}
		f := t.hold(s, c)
		if f.traced() {
			return Traced, allowed(&f)
		}
		if f.err == nil && drifted == nil && c.past == nil {
			d := allowed(&f)
			drifted = &d
		}
	}
	switch use := t.openUse(s.ref); {
	case use != nil:
		return StandsBroken, Decision{BreakGlass: use}
	case drifted != nil:
		return Drifted, *drifted
	case keptByKubernetes(s.ref, o):
		return StandsPlatform, Decision{}
	}
	if t.standsReleased(s) {
		return StandsDerived, Decision{}
	}
	return t.standsOn(s)
}

// standsReleased reports a version of a declared Helm release, an old one too:
// Helm keeps some.
func (t *tracing) standsReleased(s *subject) bool {
	name, _, ok := releaseNamed(s.ref)
	if !ok {
		return false
	}
	declared := t.releaseIn(s.ref.Namespace, name)
	if declared == nil {
		return false
	}
	defer takeTurn()()
	r, err := readRelease(s.ref, s.new)
	if err != nil || r.namespace != declared.namespace {
		return false
	}
	kind, _ := t.releaseFault(declared, r)
	return kind == "" || kind == Outdated
}

// standsOn follows the owners of an object that Git does not declare.
func (t *tracing) standsOn(s *subject) (Standing, Decision) {
	if t.view.Live == nil {
		return Untraced, Decision{}
	}
	owner, m, claimed := t.claimedOwner(s)
	if !claimed || m == nil {
		return Untraced, Decision{}
	}
	live := t.view.Live.Object(owner.UID)
	if live == nil || !isOwner(live, owner, s.ref) {
		return Untraced, Decision{}
	}
	root, why := t.root(live)
	switch {
	case why != "":
		return Untraced, Decision{}
	case root.use != nil:
		return StandsBroken, Decision{BreakGlass: root.use, Root: root.ref}
	case root.manifest == nil && t.counted(root.ref) != nil:
		return Drifted, Decision{Root: root.ref}
	case root.manifest == nil:
		return StandsPlatform, Decision{Root: root.ref}
	}
	return StandsDerived, Decision{Manifest: root.manifest, Root: root.ref}
}

// keptByKubernetes reports an object that Kubernetes itself keeps, by its kind
// and name.
func keptByKubernetes(ref gitindex.Ref, o objects) bool {
	if isPlatformObject(ref) || ref.Namespace == "" && ref.Kind == "Node" && ref.Group == "" {
		return true
	}
	for _, r := range platformRules[ref.GroupKind()] {
		if !r.names(ref) || r.kind == "Pod" {
			continue
		}
		if r.holds == nil || r.holds(&Request{Operation: Create, Object: nil}, o) {
			return true
		}
	}
	return false
}
