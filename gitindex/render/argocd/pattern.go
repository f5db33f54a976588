package argocd

import (
	"regexp"
	"strings"

	"github.com/gobwas/glob"
)

// matcher is a compiled pattern.
type matcher interface{ Match(string) bool }

type nothing struct{}

func (nothing) Match(string) bool { return false }

// compiled is a pattern; one that does not compile matches nothing.
func compiled(pattern string) matcher {
	if g, err := glob.Compile(pattern); err == nil {
		return g
	}
	return nothing{}
}

var (
	braces   = regexp.MustCompile(`\{[^}]*\}`)
	wildcard = regexp.MustCompile(`[*?\[]`)
)

// doubtful reports a pattern in which Argo CD's matcher, gobwas/glob v0.2.3, errs
// and ours, v1.0.0, does not: an alternative with a wildcard, or an empty one,
// with anything beside it. v0.2.3 does not go back to another way through.
func doubtful(pattern string) bool {
	for _, group := range braces.FindAllString(pattern, -1) {
		if group == pattern {
			continue
		}
		for _, way := range strings.Split(group[1:len(group)-1], ",") {
			if way == "" || wildcard.MatchString(way) {
				return true
			}
		}
	}
	return false
}
