package gate

import (
	"errors"
	"regexp"
	"slices"
	"strings"
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
	v = c.asKept(v)
	for i := range t.rule.AllowFields {
		r := &t.rule.AllowFields[i]
		if !expired(r.Expires, t.now) && slices.Contains(r.Resources, c.subject.resource) &&
			(slices.Contains(r.Paths, path) || slices.Contains(r.Paths, place)) && matchAny(r.Namespaces, c.subject.ref.Namespace) {
			kept := v.old != absent && equal(v.old, v.new)
			if kept || t.req.User.isOneOf(r.Users) {
				return true
			}
		}
	}
	return false
}

// asKept are the values where what is compared is live already: it was there
// before, whoever asks now.
func (c *comparison) asKept(v values) values {
	if c.live {
		v.old = v.new
	}
	return v
}

// claimed stands in a HoleRule's pattern for the value of its claim.
const claimed = "${claim}"

// gateHole reports whether the Gate lets this user fill the value in, or somebody
// whom it lets did before: text where Git has text, that the whole pattern
// matches.
func (c *comparison) gateHole(v values) bool {
	if c.tracing == nil || len(c.tracing.rule.Holes) == 0 || kindOf(v.want) != "text" {
		return false
	}
	for i := range c.tracing.rule.Holes {
		if h := &c.tracing.rule.Holes[i]; c.tracing.opens(h, c) && h.filledBy(&c.tracing.req.User, c.asKept(v), c.isSecretValue()) {
			return true
		}
	}
	return false
}

// Check says what is wrong with a hole, for those who read one from a Gate; such a
// hole opens nothing.
func (h *HoleRule) Check() error {
	if len(h.Users)+len(h.Groups) == 0 {
		return errors.New("a hole needs users or groups")
	}
	_, err := h.patternWith("x")
	return err
}

// patternWith is the hole's pattern with another in the place of its claim. That
// must be a place for one: within a class of characters, or quoted, the claim would
// be read as something else.
func (h *HoleRule) patternWith(part string) (string, error) {
	n := strings.Count(h.Pattern, claimed)
	switch {
	case h.Pattern == "":
		return "", errors.New("a hole needs a pattern")
	case (h.Claim != "") != (n > 0):
		return "", errors.New("a claim stands in the pattern as " + claimed + ", and only then")
	}
	bare, err := wholePattern(strings.ReplaceAll(h.Pattern, claimed, "x"))
	if err != nil {
		return "", err
	}
	with, err := wholePattern(strings.ReplaceAll(h.Pattern, claimed, "(x)"))
	if err != nil || with.NumSubexp() != bare.NumSubexp()+n {
		return "", errors.New(claimed + " stands in the pattern where it is no part by itself")
	}
	return strings.ReplaceAll(h.Pattern, claimed, "(?:"+part+")"), nil
}

// opens reports whether a hole of the Gate is at the comparison's place.
func (t *tracing) opens(h *HoleRule, c *comparison) bool {
	return !expired(h.Expires, t.now) && slices.Contains(h.Resources, c.subject.resource) && matchAny(h.Namespaces, c.subject.ref.Namespace) &&
		slices.ContainsFunc(h.Paths, c.standsAt)
}

// aClaim is what a claim may have been that filled a value in earlier.
const aClaim = `[0-9A-Za-z._-]+`

// filledBy reports whether the user may put the value there. What stands there
// already may stay, whatever the claim of who sends it along; it must still be of
// the pattern.
func (h *HoleRule) filledBy(u *User, v values, encoded bool) bool {
	part := aClaim
	if v.old == absent || !equal(v.old, v.new) {
		claim := u.Extra[h.Claim]
		if !u.isOneOf(h.Users) && !u.inAny(h.Groups) || h.Claim != "" && (len(claim) != 1 || claim[0] == "") {
			return false
		}
		if h.Claim != "" {
			part = regexp.QuoteMeta(claim[0])
		}
	}
	pattern, err := h.patternWith(part)
	return err == nil && fills(pattern, v, encoded)
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
