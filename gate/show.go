package gate

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/gitward/gitward/gitindex"
)

// shown writes both sides of a difference for people. The value of a Secret,
// and what commonly holds one, is never written: there only lengths and whether
// something is there.
func shown(ref gitindex.Ref, d Difference) (git, you string) {
	switch {
	case d.Note == holeNote:
		return "left open there, within limits", redacted(d.New)
	case d.Note == sealedNote:
		return "another value there, which it holds encrypted", redacted(d.New)
	case d.Note == keylessNote:
		return "a value there that it holds encrypted, and no age key of the Origin is at hand to compare with", redacted(d.New)
	case d.Note == hiddenNote:
		return redacted(d.Want), redacted(d.New)
	case d.Note == keptNote:
		return "leaves it as it is", "take it away"
	case d.Note == "order":
		return "in this order: " + order(ref, d, d.Want), "in this order: " + order(ref, d, d.New)
	case confidential(ref, d.Path):
		return redacted(d.Want), redacted(d.New)
	}
	return valueText(ref, d.Path, d.Want), valueText(ref, d.Path, d.New)
}

func order(ref gitindex.Ref, d Difference, v any) string {
	if confidential(ref, d.Path) {
		return redacted(v)
	}
	var names []string
	for _, item := range asList(v) {
		name := text(item)
		for _, key := range []string{"name", "key", "containerPort", "port", "type", "mountPath"} {
			if f := at(item, key); f != absent && name == "" {
				name, _ = scalar(f)
			}
		}
		names = append(names, name)
	}
	return gitindex.Clean(strings.Join(names, ", "), 80)
}

// confidential reports whether the values at a path are kept to ourselves:
// everything of a Secret but its metadata and type, whatever is named like
// one, literal environment values, and copies of whole objects in annotations.
func confidential(ref gitindex.Ref, path string) bool {
	lower := strings.ToLower(path)
	if strings.Contains(strings.ToLower(ref.Kind), "secret") {
		return !strings.HasPrefix(path, "metadata.") && path != "type" && path != "immutable" || strings.Contains(path, "annotations")
	}
	if strings.Contains(lower, lastApplied) || strings.HasSuffix(lower, "metadata.annotations") || strings.HasSuffix(lower, "metadata") {
		return true
	}
	if (strings.Contains(lower, ".env[") || strings.Contains(lower, ".env.")) && !strings.Contains(lower, "valuefrom") {
		return true
	}
	return slices.ContainsFunc([]string{"secret", "password", "passwd", "token", "credential", "apikey", "private", "httpheaders", "dsn", "auth"}, func(word string) bool {
		return strings.Contains(lower, word)
	})
}

func redacted(v any) string {
	switch x := v.(type) {
	case missing:
		return "(nothing)"
	case string:
		return "(a value, not shown)"
	case map[string]any:
		return "fields " + gitindex.Clean(strings.Join(sortedKeys(x), ", "), 80) + " (values not shown)"
	}
	return "(not shown)"
}

// valueText is a value as compact JSON, with confidential parts left out.
func valueText(ref gitindex.Ref, path string, v any) string {
	if v == absent {
		return "(nothing)"
	}
	if s, ok := v.(string); ok {
		if tellsSecret.MatchString(s) {
			return redacted(s)
		}
		return gitindex.Clean(s, 100)
	}
	data, err := json.Marshal(hide(ref, path, v))
	if err != nil {
		return "(not shown)"
	}
	return gitindex.Clean(string(data), 100)
}

func hide(ref gitindex.Ref, path string, v any) any {
	switch x := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(x))
		for k, f := range x {
			p := path + "." + k
			if confidential(ref, p) {
				out[k] = "…"
				continue
			}
			out[k] = hide(ref, p, f)
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i := range x {
			out[i] = hide(ref, path+"[", x[i])
		}
		return out
	case string:
		if tellsSecret.MatchString(x) {
			return "…"
		}
	}
	return v
}

// tellsSecret finds text that carries a secret wherever it stands: an assignment
// to a name that speaks of one, or credentials in a URL.
var tellsSecret = regexp.MustCompile(`(?i)(password|passwd|secret|token|api-?_?key|authorization|bearer|credential)\S*[=: ]|://[^/@\s]+:[^/@\s]+@`)

// sortedDiffs puts first what a person most likely changed: spec before
// metadata, and within that by path.
func sortedDiffs(diffs []Difference) []Difference {
	out := slices.Clone(diffs)
	slices.SortStableFunc(out, func(a, b Difference) int {
		if x, y := isMetadata(a.Path), isMetadata(b.Path); x != y {
			return x - y
		}
		return strings.Compare(a.Path, b.Path)
	})
	return out
}

func isMetadata(path string) int {
	if strings.HasPrefix(path, "metadata") {
		return 1
	}
	return 0
}

// Shown is both sides of a difference as a refusal shows them: what Git has,
// and what the object has.
func (d Difference) Shown(ref gitindex.Ref) (git, object string) { return shown(ref, d) }
