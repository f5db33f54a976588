package controller

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/object"
	"github.com/gitward/gitward/gitindex/render"
	yaml "go.yaml.in/yaml/v3"
)

// survey says what the parts of an Origin are at a version: which files are
// read as they stand, and which directories are units.
//
// In a part of type Auto a directory with a kustomization is a unit, unless
// another kustomization of the part builds on it, or it lies inside one; and
// nothing below it is read as it stands. That is what Flux makes of a directory,
// but for the bases, which Flux would apply twice. A chart that nobody installs
// is named: its release is not known.
func (e *evaluator) survey(w *world) *roots {
	r := &roots{}
	v, owned := w.version, w.owned
	for i := range e.parts {
		e.surveyPart(v, &e.parts[i], owned, r)
	}
	for _, f := range e.eligible {
		if _, ok := v.touch(f); !ok {
			continue
		}
		if p, ok := e.parts.of(f); ok && p.standsAlone(f, owned) {
			r.files = append(r.files, f)
		}
	}
	slices.SortFunc(r.units, func(a, b render.Unit) int { return strings.Compare(a.ID, b.ID) })
	return r
}

// owned lists the directories that a tool owns at a version.
func (e *evaluator) owned(v *version) map[string]render.Tool {
	owned := map[string]render.Tool{}
	for _, m := range e.markers {
		if _, ok := v.touch(m); !ok {
			continue
		}
		tool, _ := marker(m)
		if dir := directoryOf(m); owned[dir] != render.Helm { // as Argo CD looks: a chart first
			owned[dir] = tool
		}
	}
	return owned
}

// standsAlone reports whether a file of a part is read as it stands.
func (p *part) standsAlone(file string, owned map[string]render.Tool) bool {
	switch p.tool {
	case render.Plain:
		return true
	case render.Auto:
		return p.path == file || !inside(p.path, directoryOf(file), owned)
	}
	return false
}

// inside reports whether a directory, or one above it down from root, is a
// tool's.
func inside(root, dir string, owned map[string]render.Tool) bool {
	for ; ; dir = directoryOf(dir) {
		if owned[dir] != "" {
			return true
		}
		if dir == root || dir == "" {
			return false
		}
	}
}

func (e *evaluator) surveyPart(v *version, p *part, owned map[string]render.Tool, r *roots) {
	switch p.tool {
	case render.Plain:
		return
	case render.Auto:
	default:
		r.units = append(r.units, p.unit(p.tool, p.path, e.cluster))
		return
	}
	if tool := owned[p.path]; tool != "" {
		r.units = append(r.units, p.unit(tool, p.path, e.cluster))
		return
	}
	based := e.basedOn(v, owned)
	for dir, tool := range owned {
		if !within(p.path, dir) || dir == p.path || inside(p.path, directoryOf(dir), owned) {
			continue
		}
		if q, _ := e.parts.of(dir); q.path != p.path {
			continue // another entry says what it is
		}
		switch {
		case tool == render.Helm:
			r.problems = append(r.problems, gitindex.Problem{Path: dir,
				Message: "is a chart, and nothing says how it is released; nothing in it is declared (list its path in spec.render with type Helm)"})
		case !based[dir]:
			r.units = append(r.units, p.unit(tool, dir, e.cluster))
		}
	}
}

// kustomizationFile is what the survey needs of a kustomization.
type kustomizationFile struct {
	Kind                         string
	Resources, Bases, Components []string
}

// basedOn are the directories that a kustomization of the repository builds on,
// and those that are components: neither is applied by itself.
func (e *evaluator) basedOn(v *version, owned map[string]render.Tool) map[string]bool {
	based := map[string]bool{}
	for _, m := range e.markers {
		dir := directoryOf(m)
		t, ok := v.touch(m)
		if !ok || owned[dir] != render.Kustomize || path.Base(m) == "Chart.yaml" {
			continue
		}
		k := e.kustomization(t.Blob)
		if k.Kind == "Component" {
			based[dir] = true
		}
		for _, list := range [][]string{k.Resources, k.Bases, k.Components} {
			for _, ref := range list {
				if target := path.Join(dir, ref); owned[target] == render.Kustomize && target != dir {
					based[target] = true
				}
			}
		}
	}
	return based
}

func (e *evaluator) kustomization(blob object.ID) kustomizationFile {
	if k, ok := e.bases[blob]; ok {
		return k
	}
	var k kustomizationFile
	data, err := e.reader.blobs.Blob(blob)
	if err != nil {
		return k
	}
	if len(data) <= longKustomization {
		_ = yaml.Unmarshal(data, &k) // what does not parse builds on nothing; rendering it says why
	}
	e.bases[blob] = k
	return k
}

// longKustomization bounds what is parsed here, in bytes. This is no child that
// may die: so it is yaml/v3 too, which leaves unread what is not asked for, where
// sigs.k8s.io/yaml would unfold every alias into JSON.
const longKustomization = 1 << 20

// claim is a directory that an opened unit renders. What lies in it does not
// count by itself: the opener says how it is rendered. What an opener of another
// Origin claims stays, and the gate tells whether it counts: those people may
// neither silence these, nor have Git seem to have given an object up.
type claim struct {
	Dir, Root string
	By        string // the other Origin
}

func (e *evaluator) claimsOf(w *world) []claim {
	var out []claim
	for _, id := range slices.Sorted(maps.Keys(w.renderings)) {
		r := w.renderings[id]
		if r.Unit.Opener == nil || r.Error != "" && len(r.Inputs) == 0 {
			continue
		}
		o := opener{tool: r.Unit.Tool, json: r.Unit.Opener, via: r.Via}
		for _, c := range w.contents(&o) {
			if c.chart {
				continue
			}
			for _, dir := range claimed(r.Unit.Artifact, c.path) {
				out = append(out, claim{dir, r.Root, r.Via})
			}
		}
	}
	return out
}

// taken reports whether a path is claimed. An entry of spec.render that names a
// path inside the claimed directory stays, and so does what the opener itself
// was found in: a cluster's directory commonly holds the object that names it.
func (w *world) taken(at, root string) bool {
	p, _ := w.parts.of(at)
	return slices.ContainsFunc(w.claims, func(c claim) bool {
		return c.By == "" && c.Root != root && within(c.Dir, at) && within(p.path, c.Dir)
	})
}

// claimedBy are the other Origins that claim a path.
func (w *world) claimedBy(at string) []string {
	p, _ := w.parts.of(at)
	var out []string
	for _, c := range w.claims {
		if c.By != "" && within(c.Dir, at) && within(p.path, c.Dir) && !slices.Contains(out, c.By) {
			out = append(out, c.By)
		}
	}
	slices.Sort(out)
	return out
}
