package artifact

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/gitward/gitward/gitindex"
)

// excludes are the patterns of what a copy leaves out (builder.go,
// shouldExcludePath). One without a separator also holds for the last element
// of a path.
type excludes struct {
	patterns []pattern
	// base is the directory that patterns may also be relative to.
	base   string
	budget *budget
}

type pattern struct {
	text         string
	alternatives int
}

func newExcludes(texts []string, budget *budget) (excludes, error) {
	e := excludes{base: ".", budget: budget}
	if len(texts) > maxExcludes {
		return e, fmt.Errorf("more than %d exclude patterns", maxExcludes)
	}
	for _, text := range texts {
		p, err := newPattern(text)
		if err != nil {
			return e, fmt.Errorf("exclude: %w", err)
		}
		if _, err := doublestar.Match(text, "."); err != nil {
			return e, fmt.Errorf("exclude: %q is no pattern", gitindex.Clean(text, 200))
		}
		e.patterns = append(e.patterns, p)
	}
	return e, nil
}

var errAlternatives = errors.New("too many alternatives")

// newPattern refuses a pattern that is dear to match: each pair of braces
// multiplies the ways to match it.
func newPattern(text string) (pattern, error) {
	p := pattern{text, 1}
	if len(text) > maxPattern {
		return p, fmt.Errorf("a pattern is longer than %d bytes", maxPattern)
	}
	each := 1 + strings.Count(text, ",")
	for range strings.Count(text, "{") {
		if p.alternatives *= each; p.alternatives > maxAlternative {
			return p, fmt.Errorf("%q: %w", gitindex.Clean(text, 200), errAlternatives)
		}
	}
	return p, nil
}

// cost is that of matching a name, roughly.
func (p pattern) cost(name string) int {
	return (1 + len(p.text)*len(name)/256) * p.alternatives
}

// from is the same for a copy whose files are taken from below a directory.
func (e excludes) from(base string) excludes {
	e.base = base
	return e
}

// match reports whether a file or directory of the source is left out.
func (e excludes) match(name string) (bool, error) {
	if out, err := e.matchAs(name); out || err != nil {
		return out, err
	}
	if below, ok := strings.CutPrefix(name, e.base+"/"); ok {
		return e.matchAs(below)
	}
	return false, nil
}

func (e excludes) matchAs(name string) (bool, error) {
	for _, p := range e.patterns {
		if err := e.budget.look(p.cost(name)); err != nil {
			return false, err
		}
		if doublestar.MatchUnvalidated(p.text, name) ||
			!strings.Contains(p.text, "/") && doublestar.MatchUnvalidated(p.text, path.Base(name)) {
			return true, nil
		}
	}
	return false, nil
}
