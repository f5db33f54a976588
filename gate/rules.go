package gate

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/canonical"
)

// Action is what happens to a request without a reason. The zero value denies.
type Action int

// The actions.
const (
	Deny Action = iota
	Warn
	Audit
)

// String is the action's name in the Gate resource.
func (a Action) String() string { return [...]string{"Deny", "Warn", "Audit"}[a] }

// Rule is one Gate, as the decision reads it.
type Rule struct {
	Name          string
	Action        Action
	Namespaces    []string // patterns; empty means all
	ClusterScoped bool
	Origins       []Source
	Lag           time.Duration
	StaleAfter    time.Duration
	DenyStale     bool
	Author        bool // whether the stamp names the author
	Exclude       []Exclusion
	AllowFields   []FieldRule
	Holes         []HoleRule
	Derive        []DeriveRule
	AllowVerbs    []VerbRule
	BreakGlass    *BreakGlass // nil when nobody may
	Policed       bool        // whether the Gate names policies
}

// Exclusion takes requests out of a Gate. An empty list fits everything.
type Exclusion struct {
	Namespaces, Resources, Users []string // namespaces are patterns; resources "deployments.apps"
	Reason                       string
	Expires                      time.Time // zero: never
}

// FieldRule lets fields of declared objects be live.
type FieldRule struct {
	Resources  []string
	Paths      []string // "spec.replicas", "spec.template.spec.containers[].image"; stand for all below
	Users      []string
	Namespaces []string
	Reason     string
	Expires    time.Time
}

// HoleRule lets a value of declared objects be what a job sets, within a pattern.
type HoleRule struct {
	Resources []string
	Paths     []string // of one value each, as FieldRule has them
	// Pattern is RE2, for the whole value; ${claim} in it stands for the one value
	// of that key of the requester's userInfo.extra.
	Pattern, Claim string
	Users, Groups  []string
	Namespaces     []string
	Reason         string
	Expires        time.Time
}

// DeriveRule says what an operator may make of a declared object.
type DeriveRule struct {
	Group, Kind string   // of the owner
	Makes       []string // resources
	Users       []string
	Expires     time.Time
}

// VerbRule lets people or accounts use subresources.
type VerbRule struct {
	Resources     []string // "pods/exec"
	Users, Groups []string
	Namespaces    []string
	Reason        string
	Expires       time.Time
}

// BreakGlass says who may change objects beside Git in an emergency.
type BreakGlass struct {
	Groups []string
	Max    time.Duration
	Reason *regexp.Regexp // matches a whole reason
}

// Source is one Origin that a Gate accepts.
type Source struct {
	Origin     string
	Namespaces []string // patterns; empty means all, and cluster-scoped objects
}

// View is all that a decision reads. It is immutable and stands behind one
// atomic pointer, so that a decision never sees half a change.
type View struct {
	Index   gitindex.Index
	Schemas *canonical.Schemas
	Rules   []Rule
	// Live is nil where no cluster is watched; then nothing is derived.
	Live Live
	// Policies answers for the Gates that name some.
	Policies Policies
	// NotReady says why nothing can be decided yet: the configuration could not
	// be read. Empty when it could.
	NotReady string
}

// matches reports whether the rule is about the request. A Namespace object
// belongs to the namespace it names; while the API server has yet to make its
// name up, it may be any.
func (r *Rule) matches(req *Request) bool {
	namespace := req.Namespace
	if namespace == "" && req.Group == "" && req.Kind == "Namespace" {
		object, err := decodeObject(req.Object)
		if namespace = text(dig(object, "metadata", "name")); err != nil || namespace == "" {
			return true
		}
	}
	if namespace == "" {
		return r.ClusterScoped
	}
	return matchAny(r.Namespaces, namespace)
}

// Fills reports whether the Origin may declare ref.
func (s *Source) Fills(ref gitindex.Ref) bool {
	if len(s.Namespaces) == 0 || slices.Contains(s.Namespaces, "*") {
		return true
	}
	return ref.Namespace != "" && matchAny(s.Namespaces, ref.Namespace)
}

func matchAny(patterns []string, name string) bool {
	if len(patterns) == 0 {
		return true
	}
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, name) })
}

// match is a glob with * for any run of characters, anchored at both ends.
func match(pattern, name string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == name
	}
	if !strings.HasPrefix(name, head) {
		return false
	}
	name = name[len(head):]
	for {
		part, next, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(name, part)
		}
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name, rest = name[i+len(part):], next
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
