package helm

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// stable renders in a world where everything that w was asked for is
// different, and refuses a chart whose objects then are.
func (r Release) stable(first *rendering, w *world) error {
	second, failure := r.render(unlike())
	if failure == nil && first.difference(second) == nil {
		return nil
	}
	for _, f := range slices.Sorted(maps.Keys(w.asked)) {
		other, err := r.render(unlikeIn(f))
		if err != nil {
			return fmt.Errorf("%w: it fails or not, as %s has it (%s)", render.ErrUnstable, f, gitindex.Clean(err.Error(), 200))
		}
		if d := first.difference(other); d != nil {
			return fmt.Errorf("%w: %s depends on %s, in %s", render.ErrUnstable, d.object, f, gitindex.Clean(d.template, 200))
		}
	}
	together := strings.Join(slices.Sorted(maps.Keys(w.asked)), ", ")
	if failure != nil {
		return fmt.Errorf("%w: it fails or not, as %s have it together", render.ErrUnstable, together)
	}
	d := first.difference(second)
	return fmt.Errorf("%w: %s depends on %s together, in %s", render.ErrUnstable, d.object, together, gitindex.Clean(d.template, 200))
}

// difference is one object that two renderings do not share.
type difference struct{ template, object string }

// difference is the first of them; nil if there is none.
func (r *rendering) difference(other *rendering) *difference {
	names := maps.Clone(r.templates)
	maps.Copy(names, other.templates)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if d := differ(r.templates[name], other.templates[name]); d != "" {
			return &difference{template: name, object: d}
		}
	}
	return nil
}

// differ names an object that one list of documents has and the other has not,
// or has otherwise; "" if there is none.
func differ(a, b []Document) string {
	if slices.EqualFunc(a, b, func(x, y Document) bool { return x.Hook == y.Hook && bytes.Equal(x.Text, y.Text) }) {
		return ""
	}
	x, errX := objects(a)
	y, errY := objects(b)
	if errX != nil || errY != nil {
		return "a document"
	}
	for i, o := range x {
		if i >= len(y) || o.Hook != y[i].Hook || !bytes.Equal(o.JSON, y[i].JSON) {
			return ref(o).String()
		}
	}
	if len(y) > len(x) {
		return ref(y[len(x)]).String()
	}
	return ""
}

func ref(o render.Object) gitindex.Ref {
	return gitindex.Ref{Group: o.Group, Kind: gitindex.Clean(o.Kind, 60), Namespace: gitindex.Clean(o.Namespace, 80), Name: gitindex.Clean(o.Name, 120)}
}
