package gate

import (
	"fmt"
	"time"

	"github.com/gitward/gitward/gitindex"
)

// Break-glass: in an emergency somebody of a named group changes an object
// beside Git, by giving a reason in an annotation on it. Each use is bounded in
// time, recorded, and open debt until Git declares what was done.

// StampBreakGlass carries the reason. It is the one annotation of Gitward's that
// a person writes.
const StampBreakGlass = StampPrefix + "break-glass"

// maxReason is how long a reason may be, in characters: what the record and the
// Gate's status keep whole, so that one reason stays one.
const maxReason = 300

// emergency lets a refused change of an object through where its annotation
// breaks the glass; otherwise the refusal stands, and says why the annotation
// did not help. The annotation may be all that changes: then it opens what has
// none of its own, such as a shell in a Pod.
func (t *tracing) emergency(s *subject, d Decision) Decision {
	reason, asked := s.newStamps[StampBreakGlass]
	was, had := s.oldStamps[StampBreakGlass]
	isNew := asked && !(had && was == reason)
	if !asked || !isNew && (s.unchanged() || d.Refusal == nil) {
		return d
	}
	refused := d
	use, why := t.use(s.ref, reason)
	if why != "" && refused.Refusal == nil {
		return d // whether the annotation may stand there is judged with the stamps
	}
	if why != "" {
		// What refused the change is what has to be mended; that the glass did not
		// break comes second.
		r := *refused.Refusal
		r.Facts = append([]string{"break-glass does not help: " + why}, r.Facts...)
		refused.Refusal = &r
		return refused
	}
	return Decision{Reason: BrokenGlass, BreakGlass: use, Manifest: refused.Manifest}
}

// use is what breaking the glass now comes to, or why it may not be.
func (t *tracing) use(ref gitindex.Ref, reason string) (*Use, string) {
	b := t.rule.BreakGlass
	switch {
	case b == nil:
		return nil, fmt.Sprintf("Gate %s has no breakGlass in force", t.rule.Name)
	case t.ledger == nil:
		return nil, "nothing here keeps a record of it"
	case !t.req.User.inAny(b.Groups):
		return nil, "you are in none of its groups"
	case reason != gitindex.Clean(reason, maxReason):
		return nil, fmt.Sprintf("the reason must be one line of at most %d characters, without control characters", maxReason)
	case b.Reason == nil || !b.Reason.MatchString(reason):
		return nil, "the reason is not of the form that the Gate asks for"
	}
	use := &Use{Gate: t.rule.Name, Ref: ref, Version: t.req.Version, Resource: t.req.Resource, Operation: t.req.Operation,
		User: t.req.User.Name, Reason: reason, Since: t.now, At: t.now, Until: t.now.Add(b.Max), Count: 1}
	if open, ok := t.ledger.Open(t.rule.Name, ref); ok && open.Reason == reason {
		if !t.now.Before(open.Until) {
			return nil, fmt.Sprintf("it ended at %s; bring Git up to date, or give a new reason", open.Until.UTC().Format(time.RFC3339))
		}
		use.Until = open.Until // one reason, one span of time
	}
	return use, ""
}

// openUse is the use of break-glass that is open for an object; nil when there
// is none. What was made beside Git may go on living from its parts: its
// controllers keep it until it is brought to Git or taken away.
func (t *tracing) openUse(ref gitindex.Ref) *Use {
	if t.ledger == nil {
		return nil
	}
	if use, ok := t.ledger.Open(t.rule.Name, ref); ok && t.now.Before(use.Until) {
		return &use
	}
	return nil
}

// brokenFor lets somebody of the groups do to an object what has no annotation
// of its own, while break-glass is open for it: delete it, scale it, exec into
// it.
func (t *tracing) brokenFor(ref gitindex.Ref, refused Decision) Decision {
	use := t.openUse(ref)
	if refused.Refusal == nil || use == nil || t.rule.BreakGlass == nil || !t.req.User.inAny(t.rule.BreakGlass.Groups) {
		return refused
	}
	again := *use
	again.User, again.At, again.Count, again.Operation = t.req.User.Name, t.now, 1, t.req.Operation
	return Decision{Reason: BrokenGlass, BreakGlass: &again, Manifest: refused.Manifest}
}
