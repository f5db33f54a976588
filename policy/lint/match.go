package lint

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/gitward/gitward/policy/engine"
)

// Rules unanchored-match and open-prefix: what is meant as the name of a
// registry, and matches in the middle of another name as well.

// names are words of which one stands in what is matched, where it is a name.
var names = []string{"image", "name", "host", "registry", "repo", "user", "group", "domain", "url", "digest", "tag"}

// places are those of names that have hosts in front.
var places = []string{"image", "host", "registry", "repo", "domain", "url"}

func (m *module) matches() {
	for _, r := range m.Rules {
		if isTest(r) {
			continue
		}
		calls(r, func(c call) {
			switch c.name {
			case "regex.match", "re_match":
				if pattern, ok := text(c.args, 0); ok && m.lets(r, c) && speaksOf(c.args[1], names) {
					m.pattern(c, pattern)
				}
			case "contains":
				if part, ok := text(c.args, 1); ok && m.lets(r, c) && speaksOf(c.args[0], places) && host.MatchString(part) {
					m.found(Finding{Rule: unanchored, Line: c.line, Message: fmt.Sprintf("%q may stand anywhere in the name, not only at its beginning", part),
						Fix: fmt.Sprintf("startswith(…, %q)", strings.TrimSuffix(part, "/")+"/")})
				}
			case "startswith":
				if prefix, ok := text(c.args, 1); ok && isOpen(prefix) && (speaksOf(c.args[0], places) || namesNothing(c.args[0]) && domain.MatchString(prefix)) {
					m.found(Finding{Rule: openPrefix, Line: c.line, Message: fmt.Sprintf("%q is also the beginning of names of others, such as %q", prefix, prefix+example(prefix)),
						Fix: fmt.Sprintf("end it where the part ends: %q", prefix+"/")})
				}
			case "strings.any_prefix_match":
				for _, prefix := range texts(c.args, 1) {
					if isOpen(prefix) && speaksOf(c.args[0], places) {
						m.found(Finding{Rule: openPrefix, Line: c.line, Message: fmt.Sprintf("%q is also the beginning of names of others, such as %q", prefix, prefix+example(prefix)),
							Fix: fmt.Sprintf("end it where the part ends: %q", prefix+"/")})
					}
				}
			}
		})
	}
}

func example(prefix string) string {
	if strings.Contains(prefix, "/") {
		return "-evil"
	}
	return ".evil.com"
}

// lets reports whether matching too much lets something pass: under a "not", in a
// comprehension, or in a rule that is asked so. What a rule that denies asks for
// itself only denies more.
func (m *module) lets(r *ast.Rule, c call) bool {
	if c.negated {
		return true
	}
	if engine.Speaks(r) {
		return !c.direct
	}
	return m.doubt[engine.RuleName(r)] || allowing.MatchString(engine.RuleName(r))
}

var allowing = regexp.MustCompile(`(?i)allow|permit|trust|exempt|valid|approved|known|is_ok|good`)

var (
	// host is a name with a dot in it, and perhaps what comes behind it.
	host = regexp.MustCompile(`^([a-zA-Z0-9-]+\.)+[a-zA-Z]{2,}(:[0-9]+)?(/[a-zA-Z0-9._/-]*)?$`)
	// domain is a host alone, in one of the domains that registries are in.
	domain = regexp.MustCompile(`^([a-zA-Z0-9-]+\.)+(io|com|org|net|dev|local|internal|example)(:[0-9]+)?(/[a-zA-Z0-9._-]+)*$`)
)

// isOpen reports a prefix that ends within a part of a name.
func isOpen(prefix string) bool {
	return host.MatchString(prefix) && !strings.HasSuffix(prefix, "/") && !strings.HasSuffix(prefix, ".")
}

func (m *module) pattern(c call, pattern string) {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return
	}
	begins, ends := anchored(re, true), anchored(re, false)
	if begins && !ends {
		literal := strings.NewReplacer("^", "", `\`, "").Replace(pattern)
		ends = !isOpen(literal)
	}
	if begins && ends || !begins && ends {
		return
	}
	if !begins {
		m.found(Finding{Rule: unanchored, Line: c.line, Message: fmt.Sprintf("%q matches anywhere in the name", pattern), Fix: "begin every alternative with ^, and end it with $ or where a part of the name ends"})
		return
	}
	m.found(Finding{Rule: unanchored, Line: c.line, Message: fmt.Sprintf("%q matches names of others that go on behind it", pattern), Fix: "end it with $, or where a part of the name ends: /"})
}

// anchored reports whether every match lies at the beginning, or at the end. What
// takes anything there says that this is meant.
func anchored(re *syntax.Regexp, beginning bool) bool {
	edge := func(subs []*syntax.Regexp) *syntax.Regexp {
		if beginning {
			return subs[0]
		}
		return subs[len(subs)-1]
	}
	switch re.Op {
	case syntax.OpBeginText, syntax.OpBeginLine:
		return beginning
	case syntax.OpEndText, syntax.OpEndLine:
		return !beginning
	case syntax.OpLiteral:
		// What begins with a mark that names do not have in them begins there.
		return beginning && (re.Rune[0] == '@' || re.Rune[0] == ':')
	case syntax.OpStar, syntax.OpPlus:
		return re.Sub[0].Op == syntax.OpAnyChar || re.Sub[0].Op == syntax.OpAnyCharNotNL
	case syntax.OpCapture:
		return anchored(re.Sub[0], beginning)
	case syntax.OpConcat:
		return anchored(edge(re.Sub), beginning)
	case syntax.OpAlternate:
		return !slices.ContainsFunc(re.Sub, func(sub *syntax.Regexp) bool { return !anchored(sub, beginning) })
	}
	return false
}

// text is an argument that is written out.
func text(args []*ast.Term, i int) (string, bool) {
	if i >= len(args) || len(args) < 2 {
		return "", false
	}
	s, ok := args[i].Value.(ast.String)
	return string(s), ok
}

// texts are the texts of an argument that is a list or a set.
func texts(args []*ast.Term, i int) []string {
	if i >= len(args) {
		return nil
	}
	var out []string
	add := func(t *ast.Term) {
		if s, ok := t.Value.(ast.String); ok {
			out = append(out, string(s))
		}
	}
	switch v := args[i].Value.(type) {
	case *ast.Array:
		v.Foreach(add)
	case ast.Set:
		v.Foreach(add)
	case ast.String:
		add(args[i])
	}
	return out
}

// speaksOf reports whether one of the words is in what a term is called.
func speaksOf(t *ast.Term, words []string) bool {
	return slices.ContainsFunc(called(t), func(name string) bool {
		return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(strings.ToLower(name), word) }) &&
			!strings.Contains(strings.ToLower(name), "apigroup") && !strings.Contains(strings.ToLower(name), "api_group")
	})
}

// namesNothing reports a term whose name says nothing: x, str, value.
func namesNothing(t *ast.Term) bool {
	for _, name := range called(t) {
		if len(name) > 5 || strings.Contains(strings.ToLower(name), "api") || name == "kind" || name == "group" || name == "key" {
			return false
		}
	}
	return true
}

// called are the names of a variable, of the last field of a reference, and of
// what a function is given.
func called(t *ast.Term) []string {
	switch v := t.Value.(type) {
	case ast.Var:
		return []string{string(v)}
	case ast.Ref:
		for i := len(v) - 1; i >= 0; i-- {
			switch last := v[i].Value.(type) {
			case ast.String:
				return []string{string(last)}
			case ast.Var:
				if i == 0 {
					return []string{string(last)}
				}
			}
		}
	case ast.Call:
		var out []string
		for _, arg := range v[1:] {
			out = append(out, called(arg)...)
		}
		return out
	}
	return nil
}
