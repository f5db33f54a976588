// Package helm answers: what does Helm make of this chart?
//
// It reads the chart through an fs.FS and runs Helm's own engine over it, with
// no cluster, network, environment, clock or random source behind the
// templates. A chart whose objects would depend on one of these is refused: see
// render.ErrUnstable.
package helm

import (
	"bytes"
	"fmt"
	"io/fs"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// Release is one rendering of a chart.
type Release struct {
	Sources render.Sources
	// Chart holds the chart's directory Dir: Sources.Tree() for a chart of the
	// tree, or what Sources.Chart gave for one from elsewhere.
	Chart   fs.FS
	Dir     string
	Options render.HelmOptions
	Cluster render.Cluster
	// Set changes the values after the files and the inline ones, as --set does.
	// It is called once for each rendering and must do the same each time.
	Set func(values map[string]any) error
	// Version gives the chart's version in place of the one in Chart.yaml.
	Version func(version string) (string, error)
	// Defaults are values in place of those in the chart's values.yaml.
	Defaults map[string]any
	// InCluster says that Helm asks the cluster what it serves, as it does when it
	// installs: templates then see that and what is declared, and not the versions
	// that Helm knows by itself.
	InCluster bool
	// SkipSchema takes values as they are, whatever values.schema.json says.
	SkipSchema bool
	// Printed says that hooks are read from what "helm template" prints, as Argo
	// CD does, and not handed over one by one, as Helm does when it installs: a
	// block of text that ends a document then ends with a line break.
	Printed bool
}

// Document is one YAML document that Helm would hand to its client.
type Document struct {
	Template string // as Helm names it: "shop/charts/redis/templates/a.yaml"
	Path     string // the nearest source in the tree
	Text     []byte // as the template has it: see Sent
	Hook     bool
	printed  bool
	Bare     bool // of a crds directory
}

// Sent is the text as Helm's client reads it: the documents of a manifest are
// joined, each with a line break after it, and a hook stands alone.
func (d Document) Sent() []byte {
	if d.Hook && !d.printed || d.Bare {
		return d.Text
	}
	return append(bytes.Clone(d.Text), '\n')
}

// Build renders one chart. The objects of its crds directories come first, then
// those of its templates by the template's name.
func Build(src render.Sources, chart fs.FS, dir string, o render.HelmOptions, c render.Cluster) ([]render.Object, error) {
	return Release{Sources: src, Chart: chart, Dir: dir, Options: o, Cluster: c}.Objects()
}

// Objects are those of all documents.
func (r Release) Objects() ([]render.Object, error) {
	documents, err := r.Documents()
	if err != nil {
		return nil, err
	}
	return objects(documents)
}

// Documents renders the chart, and again in another world if a template asked
// for something that is not in Git: what differs then is refused.
func (r Release) Documents() ([]Document, error) {
	w := newWorld()
	first, err := r.render(w)
	if err != nil {
		return nil, fmt.Errorf("rendering the chart %s: %w", r.name(), err)
	}
	if len(w.asked) > 0 {
		if err := r.stable(first, w); err != nil {
			return nil, fmt.Errorf("rendering the chart %s: %w", r.name(), err)
		}
	}
	all := append(first.crds, first.documents()...)
	for i := range all {
		all[i].printed = r.Printed
	}
	return all, nil
}

// name is what people call the chart.
func (r Release) name() string {
	if r.Dir == "" || r.Dir == "." {
		return "at the root"
	}
	return gitindex.Clean(r.Dir, 200)
}

// render renders once. Helm's own code must not take a process down over a chart.
func (r Release) render(w *world) (out *rendering, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, fmt.Errorf("the engine stopped: %s", gitindex.Clean(fmt.Sprint(p), 200))
		}
	}()
	c, err := r.load()
	if err != nil {
		return nil, err
	}
	values, err := r.values(c.chart, w)
	if err != nil {
		return nil, err
	}
	w.lookAt(c.chart, values)
	return c.execute(values, w, r.Options)
}
