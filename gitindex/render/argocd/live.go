package argocd

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// live marks the fields that Argo CD sends as they are in the cluster: those of
// ignoreDifferences, if the sync option says so as well. Without that they are
// left out of its comparison alone, and change nothing of what it sends
// (controller/sync.go, normalizeTargetResources).
func live(app *Application, objects []render.Object) []gitindex.Problem {
	if !app.option("RespectIgnoreDifferences=true") {
		return nil
	}
	var problems []gitindex.Problem
	for i := range app.Spec.IgnoreDifferences {
		d := &app.Spec.IgnoreDifferences[i]
		if message := d.unknown(); message != "" {
			problems = append(problems, gitindex.Problem{Message: "the Application " + gitindex.Clean(app.instance(), 200) + ": " + message})
		}
		for j := range objects {
			if d.matches(app, &objects[j]) {
				d.mark(&objects[j])
			}
		}
	}
	return problems
}

// unknown says which of the fields cannot be told from Git.
func (d *IgnoreDifference) unknown() string {
	if len(d.ManagedFieldsManagers) > 0 {
		return "which fields managedFieldsManagers in ignoreDifferences means is not said in Git: name them by jsonPointers"
	}
	for _, expression := range d.JQPathExpressions {
		if _, ok := jqPath(expression); !ok {
			return fmt.Sprintf("the path %q in ignoreDifferences is more than a path: name the fields by jsonPointers", gitindex.Clean(expression, 200))
		}
	}
	return ""
}

// matches is that of util/argo/normalizers/diff_normalizer.go: group and kind
// are patterns.
func (d *IgnoreDifference) matches(app *Application, o *render.Object) bool {
	namespace := o.Namespace
	if namespace == "" {
		namespace = app.Spec.Destination.Namespace
	}
	return like(d.Group, o.Group) && like(d.Kind, o.Kind) && (d.Name == "" || d.Name == o.Name) &&
		(d.Namespace == "" || d.Namespace == namespace)
}

func like(pattern, text string) bool {
	return !doubtful(pattern) && compiled(pattern).Match(text)
}

func (d *IgnoreDifference) mark(o *render.Object) {
	object, err := tree(o.JSON)
	if err != nil {
		return
	}
	for _, pointer := range d.JSONPointers {
		if keys, ok := pointerPath(pointer); ok {
			o.Live = append(o.Live, anchor(along(object, keys)))
		}
	}
	for _, expression := range d.JQPathExpressions {
		if keys, ok := jqPath(expression); ok {
			for _, path := range spread(object, nil, keys) {
				o.Live = append(o.Live, anchor(path))
			}
		}
	}
}

// pointerPath divides a JSON pointer (RFC 6901). The root and what makes an
// object what it is are never live.
func pointerPath(pointer string) ([]string, bool) {
	rest, ok := strings.CutPrefix(pointer, "/")
	if !ok || rest == "" {
		return nil, false
	}
	keys := strings.Split(rest, "/")
	for i, key := range keys {
		keys[i] = strings.ReplaceAll(strings.ReplaceAll(key, "~1", "/"), "~0", "~")
	}
	return keys, allowed(keys)
}

func allowed(keys []string) bool {
	switch keys[0] {
	case "", "apiVersion", "kind":
		return false
	case "metadata":
		return len(keys) > 1 && keys[1] != "name" && keys[1] != "namespace"
	}
	return true
}

// each stands in a path for every item of a list or field of a map.
const each = "\x00each"

var jqStep = regexp.MustCompile(`^(?:\.([A-Za-z_][A-Za-z0-9_]*)|\.?\["((?:[^"\\]|\\.)*)"\]|\.?\[([0-9]+)\]|\.?(\[\])|\."((?:[^"\\]|\\.)*)")\??`)

// jqPath reads a jq expression that is a plain path: .spec.replicas,
// .metadata.labels["a/b"], .spec.containers[].image. Anything more is not read.
func jqPath(expression string) ([]string, bool) {
	rest := strings.TrimSpace(expression)
	var keys []string
	for rest != "" {
		m := jqStep.FindStringSubmatch(rest)
		if m == nil || len(keys) == 0 && rest[0] != '.' {
			return nil, false
		}
		rest = rest[len(m[0]):]
		switch {
		case m[1] != "":
			keys = append(keys, m[1])
		case m[3] != "":
			keys = append(keys, m[3])
		case m[4] != "":
			keys = append(keys, each)
		default:
			key, err := strconv.Unquote(`"` + m[2] + m[5] + `"`)
			if err != nil || strings.Contains(key, `\(`) {
				return nil, false
			}
			keys = append(keys, key)
		}
	}
	return keys, len(keys) > 0 && keys[0] != each && allowed(keys)
}

// along turns keys into steps. A position in a list becomes the item's name
// where the object has one there; a field that it lacks may be live all the same.
func along(object any, keys []string) []step {
	var path []step
	for _, key := range keys {
		switch x := object.(type) {
		case []any:
			at, err := strconv.Atoi(key)
			if err != nil || at < 0 || at >= len(x) {
				return append(path, step{key, true})
			}
			path, object = append(path, itemOf(x, at)), x[at]
		case map[string]any:
			path, object = append(path, step{key: key}), x[key]
		default:
			path, object = append(path, step{key: key}), nil
		}
	}
	return path
}

// spread is along for paths with each.
func spread(object any, before []step, keys []string) [][]step {
	at := -1
	for i, key := range keys {
		if key == each {
			at = i
			break
		}
	}
	if at < 0 {
		return [][]step{append(before[:len(before):len(before)], along(object, keys)...)}
	}
	head := along(object, keys[:at])
	here := dig(object, keys[:at])
	before = append(before[:len(before):len(before)], head...)
	var all [][]step
	switch x := here.(type) {
	case []any:
		for i := range x {
			all = append(all, spread(x[i], append(before[:len(before):len(before)], itemOf(x, i)), keys[at+1:])...)
		}
	case map[string]any:
		for key, value := range sorted(x) {
			all = append(all, spread(value, append(before[:len(before):len(before)], step{key: key}), keys[at+1:])...)
		}
	}
	return all
}

func dig(object any, keys []string) any {
	for _, key := range keys {
		switch x := object.(type) {
		case map[string]any:
			object = x[key]
		case []any:
			at, err := strconv.Atoi(key)
			if err != nil || at < 0 || at >= len(x) {
				return nil
			}
			object = x[at]
		default:
			return nil
		}
	}
	return object
}
