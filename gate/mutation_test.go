package gate

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/canonical"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/test/corpus"
)

// TestEveryEditIsRefused takes the corpus' objects as Git has them and the
// cluster holds them, and makes every single edit there is: each value changed,
// removed, each map and list given something more or something empty, each list
// turned round. It puts each to the gate as UPDATE and as CREATE. What is
// admitted must be no change at all, or a default that this request leaves out.
func TestEveryEditIsRefused(t *testing.T) {
	schemas, objects := corpusObjects(t)
	var n struct{ edits, refused, empty, defaults, wrong int }
	for _, m := range objects {
		g := gateFor(schemas, m)
		original, err := decodeObject(m.Canonical)
		if err != nil {
			t.Fatal(err)
		}
		declaredJSON, err := schemas.Declared(m.Raw, version(m))
		if err != nil {
			t.Fatalf("%v: %v", m.Ref, err)
		}
		declared, _ := decodeObject(declaredJSON)
		shape := schemas.Shape(m.Ref.Group, version(m), m.Ref.Kind)
		if d := g.Decide(context.Background(), requestFor(m, m.Canonical, nil)); !d.Allowed {
			t.Errorf("%v itself is refused: %s", m.Ref, d.Message())
			continue
		}
		edits(original, func(e edit) {
			if len(e.path) == 1 && (e.path[0].name == "apiVersion" || e.path[0].name == "kind") {
				return // another object
			}
			if len(e.path) == 2 && e.path[0].name == "metadata" && (e.path[1].name == "name" || e.path[1].name == "namespace") {
				return
			}
			edited, err := json.Marshal(original)
			if err != nil {
				t.Fatal(err)
			}
			for _, old := range [][]byte{nil, m.Canonical} {
				n.edits++
				d := g.Decide(context.Background(), requestFor(m, edited, old))
				switch {
				case !d.Allowed:
					n.refused++
				case saysNothing(shape, e):
					n.empty++
				case (e.kind == "remove" || isEmpty(e.now)) && lookup(declared, e.path) == absent:
					n.defaults++
				default:
					n.wrong++
					if n.wrong < 30 {
						t.Errorf("%v (%s): %s of %s admitted: %s", m.Ref, m.Path, e.kind, pathText(e.path), d.Reason)
					}
				}
			}
		})
	}
	t.Logf("edits: %d objects, %d sent, %d refused, %d that say nothing, %d defaults left out, %d wrong admissions",
		len(objects), n.edits, n.refused, n.empty, n.defaults, n.wrong)
	if n.edits < 1000 || n.wrong > 0 {
		t.Errorf("%d wrong admissions of %d edits", n.wrong, n.edits)
	}
}

type edit struct {
	kind string
	path []segment
	was  any
	now  any
}

// edits makes one edit after the other in place, and undoes each.
func edits(v any, try func(edit)) { editsAt(v, nil, try) }

func editsAt(v any, path []segment, try func(edit)) {
	switch x := v.(type) {
	case map[string]any:
		for _, k := range sortedKeys(x) {
			p := append(path[:len(path):len(path)], segment{name: k})
			was := x[k]
			for _, other := range others(was) {
				x[k] = other
				try(edit{"change", p, was, other})
			}
			delete(x, k)
			try(edit{"remove", p, was, absent})
			x[k] = was
			editsAt(was, p, try)
		}
		for _, more := range []any{"x", map[string]any{}, []any{}, map[string]any{"a": "b"}} {
			x["gitwardTest"] = more
			try(edit{"add", append(path[:len(path):len(path)], segment{name: "gitwardTest"}), absent, more})
			delete(x, "gitwardTest")
		}
	case []any:
		for i := range x {
			p := append(path[:len(path):len(path)], segment{name: strconv.Itoa(i), item: true, position: true})
			was := x[i]
			for _, other := range others(was) {
				x[i] = other
				try(edit{"change", p, was, other})
			}
			x[i] = was
			editsAt(was, p, try)
			if i > 0 && !equal(x[i-1], x[i]) {
				x[i-1], x[i] = x[i], x[i-1]
				try(edit{"move", p, nil, nil})
				x[i-1], x[i] = x[i], x[i-1]
			}
		}
	}
}

// others are values to put in place of one.
func others(v any) []any {
	switch x := v.(type) {
	case string:
		return []any{x + "x", "", nil, map[string]any{}}
	case int64:
		return []any{x + 1, nil}
	case bool:
		return []any{!x, nil}
	case map[string]any:
		return []any{map[string]any{}, nil, []any{}}
	case []any:
		longer := append(x[:len(x):len(x)], map[string]any{})
		longerText := append(x[:len(x):len(x)], "x")
		out := []any{longer, longerText, []any{}, nil}
		if len(x) > 0 {
			out = append(out, x[:len(x)-1], append(x[:len(x):len(x)], x[0]))
		}
		return out
	}
	return []any{"x"}
}

// saysNothing: the edit puts one way to say nothing in place of another.
func saysNothing(shape canonical.Shape, e edit) bool {
	s := shape
	for _, seg := range e.path {
		if seg.item {
			s = s.Item()
		} else {
			s = s.Field(seg.name)
		}
	}
	return e.kind != "move" && blank(s, e.was) && blank(s, e.now) || e.kind != "move" && e.kind != "remove" && equal(e.was, e.now)
}

// lookup finds what the declared form has at a path of the canonical one. List
// items are by position, which is good enough where both have the same items.
func lookup(v any, path []segment) any {
	for _, seg := range path {
		if seg.item {
			i, _ := strconv.Atoi(seg.name)
			list := asList(v)
			if i >= len(list) {
				return absent
			}
			v = list[i]
			continue
		}
		v = at(v, seg.name)
	}
	if m, ok := v.(map[string]any); ok && len(m) == 0 {
		return absent
	}
	return v
}

func isEmpty(v any) bool {
	m, ok := v.(map[string]any)
	return ok && len(m) == 0 || v == nil
}

func version(m *gitindex.Manifest) string {
	for i := len(m.APIVersion) - 1; i >= 0; i-- {
		if m.APIVersion[i] == '/' {
			return m.APIVersion[i+1:]
		}
	}
	return m.APIVersion
}

func requestFor(m *gitindex.Manifest, object, old []byte) *Request {
	op := Create
	if old != nil {
		op = Update
	}
	return &Request{UID: "u", Operation: op, Group: m.Ref.Group, Version: version(m), Kind: m.Ref.Kind, Namespace: m.Ref.Namespace, Name: m.Ref.Name,
		Object: object, OldObject: old}
}

func gateFor(schemas *canonical.Schemas, m *gitindex.Manifest) *Gate {
	snap := &gitindex.Snapshot{Origin: "platform", Accepted: m.Commit, FetchedAt: storyNow, Objects: map[gitindex.Ref]*gitindex.Entry{m.Ref: {Current: []*gitindex.Manifest{m}}}}
	view := &View{Index: gitindex.Index{"platform": snap.Seal()}, Schemas: schemas,
		Rules: []Rule{{Name: "default", ClusterScoped: true, Origins: []Source{{Origin: "platform"}}, Lag: time.Minute}}}
	return &Gate{View: func() *View { return view }, Now: func() time.Time { return storyNow }}
}

// corpusObjects are manifests of real projects.
func corpusObjects(t *testing.T) (*canonical.Schemas, []*gitindex.Manifest) {
	t.Helper()
	root := corpus.Dir(t, "manifests")
	var rendered []render.Object
	var paths []string
	var crds [][]byte
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !render.Eligible(path) {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		objects, _ := render.File(path, data, render.Limits{})
		for _, o := range objects {
			if o.Kind == "CustomResourceDefinition" {
				crds = append(crds, o.JSON)
				if testing.Short() || len(o.JSON) > 40_000 {
					continue // a thousand edits of each are enough
				}
			}
			if len(o.JSON) > 40_000 {
				continue
			}
			rendered, paths = append(rendered, o), append(paths, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	schemas, errs := canonical.New(crds...)
	for _, err := range errs {
		t.Error(err)
	}
	var out []*gitindex.Manifest
	for i, o := range rendered {
		if testing.Short() && i%8 != 0 {
			continue
		}
		c, err := schemas.Canonical(o.JSON, o.Version)
		if err != nil {
			continue // counted in gitindex/canonical
		}
		out = append(out, &gitindex.Manifest{Ref: gitindex.Ref{Group: o.Group, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name},
			APIVersion: apiVersion(o.Group, o.Version), Origin: "platform", Path: paths[i], Line: o.Line, Raw: o.JSON, Canonical: c,
			Commit: &gitindex.Commit{ID: "1", Verdict: gitindex.Verdict{Outcome: gitindex.Good}}})
	}
	return schemas, out
}
