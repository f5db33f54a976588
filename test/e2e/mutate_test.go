package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// edit changes one thing in one object.
type edit struct {
	op    string // what kind of change it is
	path  []any  // field names and positions
	apply func(parent container)
}

func (e *edit) String() string { return e.op + " " + pathText(e.path) }

func pathText(path []any) string {
	parts := make([]string, len(path))
	for i, p := range path {
		parts[i] = fmt.Sprint(p)
	}
	return strings.Join(parts, ".")
}

// container is the map or list in which something is changed. Lists grow and
// shrink, so they are replaced in what holds them.
type container struct {
	fields map[string]any
	list   []any
	set    func([]any) // puts a changed list back
}

// on applies the edit to an object.
func (e *edit) on(object map[string]any) { e.apply(find(object, e.path)) }

// find is the container that the last step of path is in.
func find(object map[string]any, path []any) container {
	here := container{fields: object}
	for _, step := range path[:len(path)-1] {
		var next any
		put := func([]any) {}
		switch s := step.(type) {
		case string:
			holder := here.fields
			next, put = holder[s], func(l []any) { holder[s] = l }
		case int:
			holder := here.list
			next, put = holder[s], func(l []any) { holder[s] = l }
		}
		switch v := next.(type) {
		case map[string]any:
			here = container{fields: v}
		case []any:
			here = container{list: v, set: put}
		}
	}
	return here
}

// editor collects the edits that an object offers.
type editor struct{ edits []edit }

func (e *editor) add(op string, path []any, apply func(container)) {
	e.edits = append(e.edits, edit{op, slices.Clone(path), apply})
}

// editsOf are all single edits of an object that the generator knows.
func editsOf(object map[string]any) []edit {
	e := &editor{}
	e.fields(nil, object)
	e.metadata(object)
	return e.edits
}

// sample picks up to n edits, the same ones for the same seed, so that each
// kind of edit comes before one comes twice.
func sample(edits []edit, n int, seed uint64) []edit {
	dice := rand.New(rand.NewPCG(seed, 2))
	byOp := map[string][]edit{}
	for _, e := range edits {
		byOp[e.op] = append(byOp[e.op], e)
	}
	ops := slices.Sorted(maps.Keys(byOp))
	for _, op := range ops {
		list := byOp[op]
		dice.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	var out []edit
	for len(out) < n && len(ops) > 0 {
		dice.Shuffle(len(ops), func(i, j int) { ops[i], ops[j] = ops[j], ops[i] })
		var left []string
		for _, op := range ops {
			if len(out) < n {
				out = append(out, byOp[op][0])
			}
			if byOp[op] = byOp[op][1:]; len(byOp[op]) > 0 {
				left = append(left, op)
			}
		}
		slices.Sort(left)
		ops = left
	}
	return out
}

// untouched are fields that no edit is about: they name the object, or the
// server alone sets them.
var untouched = map[string]bool{"apiVersion": true, "kind": true, "status": true, "metadata.name": true, "metadata.namespace": true,
	"metadata.uid": true, "metadata.resourceVersion": true, "metadata.generation": true, "metadata.creationTimestamp": true,
	"metadata.managedFields": true}

func isUntouched(path []any) bool {
	name, _ := path[len(path)-1].(string)
	return untouched[pathText(path)] || strings.HasPrefix(name, "gitward.dev/")
}

func (e *editor) fields(path []any, m map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		at := append(slices.Clone(path), key)
		if isUntouched(at) {
			continue
		}
		if key != "metadata" || len(path) > 0 {
			e.add("remove a field", at, func(c container) { delete(c.fields, key) })
			e.add("set to null", at, func(c container) { c.fields[key] = nil })
		}
		e.value(at, m[key])
	}
	e.optional(path, m)
}

func (e *editor) value(path []any, v any) {
	last := path[len(path)-1]
	put := func(value any) func(container) {
		return func(c container) {
			switch s := last.(type) {
			case string:
				c.fields[s] = value
			case int:
				c.list[s] = value
			}
		}
	}
	switch v := v.(type) {
	case map[string]any:
		if len(v) > 0 && !(len(path) == 1 && last == "metadata") {
			e.add("empty a map", path, put(map[string]any{}))
		}
		e.fields(path, v)
	case []any:
		e.items(path, v, put)
	default:
		for _, other := range others(path, v) {
			e.add("change a value", path, put(other))
		}
	}
}

// items edits a list: its order, its length, its items.
func (e *editor) items(path []any, list []any, put func(any) func(container)) {
	if len(list) > 0 {
		e.add("empty a list", path, put([]any{}))
		e.add("remove an item", append(slices.Clone(path), 0), func(c container) { c.set(slices.Clone(c.list[1:])) })
		e.add("remove an item", append(slices.Clone(path), len(list)-1), func(c container) { c.set(slices.Clone(c.list[:len(c.list)-1])) })
		e.add("repeat an item", append(slices.Clone(path), 0), func(c container) { c.set(append(slices.Clone(c.list), deepCopy(c.list[0]))) })
		e.add("add an item", append(slices.Clone(path), 0), func(c container) { c.set(append(slices.Clone(c.list), another(c.list[0]))) })
		if _, ok := list[0].(map[string]any); ok {
			e.add("add an empty item", append(slices.Clone(path), 0), func(c container) { c.set(append(slices.Clone(c.list), map[string]any{})) })
		}
	}
	for i := range list {
		if i > 0 {
			e.add("swap two items", append(slices.Clone(path), i), func(c container) {
				swapped := slices.Clone(c.list)
				swapped[i-1], swapped[i] = swapped[i], swapped[i-1]
				c.set(swapped)
			})
		}
		e.value(append(slices.Clone(path), i), list[i])
	}
}

// another is an item like the given one, under another name.
func another(item any) any {
	m, ok := deepCopy(item).(map[string]any)
	if !ok {
		if values := others(nil, item); len(values) > 0 {
			return values[0]
		}
		return item
	}
	for _, key := range []string{"name", "mountPath", "containerPort", "port", "key", "ip", "host", "path"} {
		if v, ok := m[key]; ok {
			if values := others([]any{key}, v); len(values) > 0 {
				m[key] = values[0]
			}
		}
	}
	return m
}

func deepCopy(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, f := range v {
			out[k] = deepCopy(f)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = deepCopy(v[i])
		}
		return out
	}
	return v
}

// opposite values of words that a schema lists: to change one to anything else
// would be Kubernetes' own to refuse.
var opposite = map[string]string{"TCP": "UDP", "UDP": "TCP", "Always": "IfNotPresent", "IfNotPresent": "Always", "ClusterIP": "NodePort",
	"NodePort": "ClusterIP", "LoadBalancer": "NodePort", "RollingUpdate": "OnDelete", "Recreate": "RollingUpdate", "ClusterFirst": "Default",
	"Role": "ClusterRole", "ClusterRole": "Role", "ServiceAccount": "User", "Group": "User", "Ingress": "Egress", "Egress": "Ingress", "HTTP": "HTTPS",
	"HTTPS": "HTTP", "In": "NotIn", "NotIn": "In", "Exists": "DoesNotExist", "Namespaced": "Cluster", "None": "ClientIP", "Retain": "Delete",
	"Delete": "Retain", "ReadWriteOnce": "ReadWriteMany", "NoSchedule": "NoExecute", "File": "FallbackToLogsOnError", "Cluster": "Local",
	"true": "false", "false": "true", "get": "delete", "list": "deletecollection", "Utilization": "AverageValue", "OrderedReady": "Parallel",
	"Immediate": "WaitForFirstConsumer", "SingleStack": "PreferDualStack", "Guaranteed": "Burstable", "Opaque": "evil/type"}

var quantity = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?([mkMGTP]|[KMGTP]i)?$`)

// others are values that could stand in place of v.
func others(path []any, v any) []any {
	name := ""
	if len(path) > 0 {
		name, _ = path[len(path)-1].(string)
	}
	switch v := v.(type) {
	case bool:
		return []any{!v}
	case int64:
		return []any{v + 1}
	case float64:
		return []any{v + 1}
	case string:
		return othersText(name, v)
	}
	return nil
}

func othersText(name, v string) []any {
	switch {
	case opposite[v] != "":
		return []any{opposite[v]}
	case quantity.MatchString(v):
		if n, err := strconv.Atoi(v); err == nil {
			return []any{strconv.Itoa(n + 1)}
		}
		return []any{"1" + v}
	case name == "image":
		return []any{v + "-evil", "registry.example.org/evil:1"}
	case strings.HasPrefix(v, "/"):
		return []any{v + "evil"}
	case strings.HasSuffix(v, "="): // base64
		return []any{"ZXZpbA=="}
	}
	return []any{v + "x"}
}
