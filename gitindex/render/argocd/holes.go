package argocd

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// openHoles finds the values that hold the commit's id: where two renderings,
// for one commit and for another, differ in nothing but that id as a whole.
// Every other difference is refused: a hash of the id, a name with it.
func openHoles(one, other []render.Object) error {
	if len(one) != len(other) {
		return dependent("the number of objects")
	}
	for i := range one {
		a, b := &one[i], &other[i]
		what := gitindex.Ref{Group: a.Group, Kind: a.Kind, Namespace: a.Namespace, Name: a.Name}.String()
		if a.Group != b.Group || a.Version != b.Version || a.Kind != b.Kind || a.Namespace != b.Namespace ||
			a.Name != b.Name || a.GenerateName != b.GenerateName {
			return dependent("the name of " + gitindex.Clean(what, 200))
		}
		if bytes.Equal(a.JSON, b.JSON) {
			continue
		}
		x, err := tree(a.JSON)
		if err != nil {
			return err
		}
		y, err := tree(b.JSON)
		if err != nil {
			return err
		}
		if err := compare(a, nil, x, y); err != nil {
			return fmt.Errorf("%s: %w", gitindex.Clean(what, 200), err)
		}
	}
	return nil
}

func tree(object []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(object))
	decoder.UseNumber()
	var v any
	return v, decoder.Decode(&v)
}

func dependent(what string) error {
	return &render.NeedsError{What: "the commit's id for " + what, Why: "it is not known before the commit is, and is not kept whole",
		Do: "use ARGOCD_APP_REVISION only where a value holds it as it is"}
}

// compare walks two values of one object. path is how a and its parents are
// reached.
func compare(object *render.Object, path []step, a, b any) error {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return dependent(anchor(path))
		}
		for key, value := range sorted(x) {
			other, there := y[key]
			if !there {
				return dependent(anchor(path))
			}
			if err := compare(object, append(path[:len(path):len(path)], step{key: key}), value, other); err != nil {
				return err
			}
		}
		return nil
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return dependent(anchor(path))
		}
		for i := range x {
			if err := compare(object, append(path[:len(path):len(path)], itemOf(x, i)), x[i], y[i]); err != nil {
				return err
			}
		}
		return nil
	case string:
		y, ok := b.(string)
		if !ok {
			return dependent(anchor(path))
		}
		return compareText(object, path, x, y)
	}
	if a != b {
		return dependent(anchor(path))
	}
	return nil
}

// compareText finds the id in one text. What a Secret holds is looked at
// decoded, and so is the hole's pattern.
func compareText(object *render.Object, path []step, one, other string) error {
	if one == other {
		return nil
	}
	if object.Group == "" && object.Kind == "Secret" && len(path) == 2 && path[0].key == "data" {
		a, err := base64.StdEncoding.DecodeString(one)
		b, bad := base64.StdEncoding.DecodeString(other)
		if err != nil || bad != nil {
			return dependent(anchor(path))
		}
		one, other = string(a), string(b)
	}
	pattern, found := open(one)
	if !found || swap(one) != other {
		return dependent(anchor(path))
	}
	object.Holes = append(object.Holes, gitindex.Hole{Path: anchor(path), Pattern: pattern, Why: "the commit that Argo CD has synced"})
	return nil
}

// forms are the three that an id has in a text.
var forms = []struct {
	one, other string
	pattern    string
}{
	{oneRevision.full, otherRevision.full, "[0-9a-f]{40}"},
	{oneRevision.short8, otherRevision.short8, "[0-9a-f]{8}"},
	{oneRevision.short, otherRevision.short, "[0-9a-f]{7}"},
}

// open is the pattern for a text that holds the id of the one revision.
func open(text string) (pattern string, found bool) {
	pattern = regexp.QuoteMeta(text)
	for _, f := range forms {
		found = found || strings.Contains(pattern, f.one)
		pattern = strings.ReplaceAll(pattern, f.one, f.pattern)
	}
	return `\A` + pattern + `\z`, found
}

// swap puts the other revision's id in the place of the one's.
func swap(text string) string {
	for _, f := range forms {
		text = strings.ReplaceAll(text, f.one, f.other)
	}
	return text
}

// step is one of a path: a key, or an item of a list by its name or position.
type step struct {
	key  string
	item bool
}

// itemOf names an item by its name where that is the only such one.
func itemOf(list []any, at int) step {
	name, ok := nameOf(list[at])
	for i := range list {
		other, _ := nameOf(list[i])
		ok = ok && (i == at || other != name)
	}
	if ok {
		return step{"name=" + name, true}
	}
	return step{strconv.Itoa(at), true}
}

func nameOf(item any) (string, bool) {
	m, _ := item.(map[string]any)
	name, ok := m["name"].(string)
	return name, ok && name != "" && !strings.ContainsAny(name, "[]")
}

// anchor writes a path as gitindex.Hole has it.
func anchor(path []step) string {
	var b strings.Builder
	for _, s := range path {
		switch {
		case s.item || strings.ContainsAny(s.key, "./[]"):
			b.WriteString("[" + s.key + "]")
		default:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s.key)
		}
	}
	return b.String()
}
