package gate

import (
	"slices"
	"time"
)

// Rule: the Gate lets a field be live.

// ruleReason reports whether the Gate's allowFields lets this user write the
// value, or somebody wrote it before whom it lets.
func ruleReason(c *comparison, v values) bool {
	if c.tracing == nil || len(c.tracing.rule.AllowFields) == 0 {
		return false
	}
	t, path, place := c.tracing, pathPattern(c.path), pathText(c.path)
	for i := range t.rule.AllowFields {
		r := &t.rule.AllowFields[i]
		if !expired(r.Expires, t.now) && slices.Contains(r.Resources, t.req.resource()) &&
			(slices.Contains(r.Paths, path) || slices.Contains(r.Paths, place)) && matchAny(r.Namespaces, c.subject.ref.Namespace) {
			kept := v.old != absent && equal(v.old, v.new)
			if kept || t.req.User.isOneOf(r.Users) {
				return true
			}
		}
	}
	return false
}

// expired reports whether something with an end has come to it.
func expired(end, now time.Time) bool { return !end.IsZero() && !now.Before(end) }

// excludes finds the exclusion that takes the request out of the Gate; nil if
// none does.
func (t *tracing) excludes() *Exclusion {
	namespace := t.req.Namespace // for a Namespace object, its own name
	for i := range t.rule.Exclude {
		e := &t.rule.Exclude[i]
		if expired(e.Expires, t.now) || len(e.Namespaces)+len(e.Resources)+len(e.Users) == 0 {
			continue
		}
		if len(e.Namespaces) > 0 && (namespace == "" || !matchAny(e.Namespaces, namespace)) {
			continue
		}
		if len(e.Resources) > 0 && !(slices.Contains(e.Resources, t.req.resource()) && partOfObject[t.req.SubResource]) {
			continue
		}
		if len(e.Users) > 0 && !t.req.User.isOneOf(e.Users) {
			continue
		}
		return e
	}
	return nil
}

// partOfObject are the subresources that an exclusion of the resource covers.
// The others hand out something else than the object: a shell, an identity.
var partOfObject = map[string]bool{"": true, "status": true, "scale": true, "finalize": true}

// allowsVerb reports whether the Gate lets this user use the subresource.
func (t *tracing) allowsVerb() bool {
	name := t.req.resource() + "/" + t.req.SubResource
	return slices.ContainsFunc(t.rule.AllowVerbs, func(r VerbRule) bool {
		return !expired(r.Expires, t.now) && slices.Contains(r.Resources, name) && matchAny(r.Namespaces, t.req.Namespace) &&
			(t.req.User.isOneOf(r.Users) || t.req.User.inAny(r.Groups))
	})
}
