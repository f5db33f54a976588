package signature

import "strings"

// matchList is ssh's match of a text with a comma-separated pattern list: one
// pattern must match, and none that is negated with '!'.
func matchList(text, list string) bool {
	found := false
	for pattern := range strings.SplitSeq(list, ",") {
		pattern, negated := strings.CutPrefix(pattern, "!")
		if !matchPattern(text, pattern) {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}

// matchPattern knows '*' for any text and '?' for one byte. It takes time
// proportional to the product of the lengths, whatever the pattern.
func matchPattern(text, pattern string) bool {
	star, mark := -1, 0 // the last '*' and how far it reached
	t, p := 0, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			t++
			p++
		case star >= 0:
			mark++
			t, p = mark, star+1
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
