package gate

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/gitward/gitward/gitindex"
)

// TestHolesOpenNothingElse opens one value of each of the corpus' objects and
// makes every edit there is. What is admitted beyond what would be without the
// hole is that value, as text, and nothing else.
func TestHolesOpenNothingElse(t *testing.T) {
	schemas, objects := corpusObjects(t)
	var n struct{ objects, edits, filled, wrong int }
	for i, m := range objects {
		if i%12 != 0 {
			continue
		}
		original, err := decodeObject(m.Canonical)
		if err != nil {
			t.Fatal(err)
		}
		hole := textLeaf(original, nil)
		if hole == nil {
			continue
		}
		open := *m
		open.Holes = []gitindex.Hole{{Path: pathText(hole), Pattern: "(?s).*"}}
		n.objects++
		closed, opened := gateFor(schemas, m), gateFor(schemas, &open)
		edits(original, func(e edit) {
			edited, err := json.Marshal(original)
			if err != nil {
				t.Fatal(err)
			}
			for _, old := range [][]byte{nil, m.Canonical} {
				n.edits++
				with := opened.Decide(context.Background(), requestFor(m, edited, old))
				if !with.Allowed || closed.Decide(context.Background(), requestFor(m, edited, old)).Allowed {
					continue
				}
				if _, isText := e.now.(string); isText && pathText(e.path) == pathText(hole) {
					n.filled++
					continue
				}
				n.wrong++
				t.Errorf("%v with a hole at %s: %s of %s admitted", m.Ref, pathText(hole), e.kind, pathText(e.path))
			}
		})
	}
	t.Logf("holes: %d objects, %d edits, %d values filled in, %d wrong admissions", n.objects, n.edits, n.filled, n.wrong)
	if n.filled < n.objects || n.objects < 5 {
		t.Errorf("only %d values filled in of %d objects", n.filled, n.objects)
	}
}

// textLeaf finds the path of some text that is in no list, below spec or data
// where there is one.
func textLeaf(v any, path []segment) []segment {
	m, ok := v.(map[string]any)
	if _, isText := v.(string); isText && len(path) > 1 {
		return path
	}
	if !ok {
		return nil
	}
	keys := sortedKeys(m)
	for i := range keys {
		k := keys[len(keys)-1-i]
		if len(path) == 1 && path[0].name == "metadata" && (k == "name" || k == "namespace") {
			continue
		}
		if found := textLeaf(m[k], append(path[:len(path):len(path)], segment{name: k})); found != nil {
			return found
		}
	}
	return nil
}

// TestWholePattern: a pattern is for the whole value, whatever is in it.
func TestWholePattern(t *testing.T) {
	for _, c := range []struct {
		pattern, value string
		want           bool
	}{
		{"a|b", "a", true}, {"a|b", "ab", false}, {"a|b", "xb", false}, {"a)|(?:.*", "anything", false}, {"a\\", "a", false},
		{"(?m)^a$", "a\nb", false}, {"a$", "a\n", false}, {"(?i)A", "a", true}, {"[", "[", false}, {strings.Repeat("a", 1001), strings.Repeat("a", 1001), false},
	} {
		if got := matchesWhole(c.pattern, c.value); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.value, got)
		}
	}
	for _, h := range []HoleRule{{}, {Pattern: "a", Users: []string{}}, {Pattern: "a)|(b", Users: []string{"x"}}, {Pattern: "a", Claim: "c", Users: []string{"x"}},
		{Pattern: "${claim}", Users: []string{"x"}}, {Pattern: "[${claim}]+", Claim: "c", Users: []string{"x"}}, {Pattern: `\${claim}`, Claim: "c", Users: []string{"x"}},
		{Pattern: `\Q${claim}\E`, Claim: "c", Users: []string{"x"}}, {Pattern: "${claim}[${claim}]", Claim: "c", Users: []string{"x"}},
		{Pattern: "(?P<${claim}>a)", Claim: "c", Users: []string{"x"}}} {
		if h.Check() == nil {
			t.Errorf("%+v is no hole", h)
		}
	}
	anything := values{absent, "Zz:9", "a"}
	for _, h := range []HoleRule{{Pattern: "[${claim}]+", Claim: "c", Groups: []string{"g"}}, {Pattern: `\Q${claim}\E`, Claim: "c", Groups: []string{"g"}}, {Pattern: `(?:\${claim})+`, Claim: "c", Groups: []string{"g"}}} {
		for _, claim := range []string{"!-~", "\\E.*\\Q", "S", ".*"} {
			if h.filledBy(&User{Groups: []string{"g"}, Extra: map[string][]string{"c": {claim}}}, anything, false) {
				t.Errorf("%s opens %s to %s", claim, h.Pattern, anything.new)
			}
		}
	}
	if h := (HoleRule{Pattern: "a:${claim}", Claim: "c", Groups: []string{"g"}}); h.Check() != nil {
		t.Error(h.Check())
	}
}
