package helm

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"strings"

	chart "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// depend adds what Chart.yaml names and the charts directory lacks, as "helm
// dependency build" would: only for the chart itself, not for those below it. A
// dependency that the values switch off is not asked for, for nothing of it
// reaches the output.
func (r Release) depend(l *loaded, read files) error {
	missing := missingOf(l.chart)
	if len(missing) == 0 {
		return nil
	}
	wanted, err := r.enabled(read, missing)
	if err != nil {
		return err
	}
	for _, d := range missing {
		if !wanted[alias(d)] {
			continue
		}
		if err := r.add(l, d); err != nil {
			return fmt.Errorf("the dependency %s: %w", gitindex.Clean(d.Name, 100), err)
		}
	}
	return ambiguous(l.chart)
}

// missingOf goes by the name alone, as Helm's own check does.
func missingOf(c *chart.Chart) []*chart.Dependency {
	have := map[string]bool{}
	for _, d := range c.Dependencies() {
		have[d.Name()] = true
	}
	var missing []*chart.Dependency
	for _, d := range c.Metadata.Dependencies {
		if d != nil && !have[d.Name] {
			missing = append(missing, d)
		}
	}
	return missing
}

func alias(d *chart.Dependency) string {
	if d.Alias != "" {
		return d.Alias
	}
	return d.Name
}

// enabled asks Helm which of the missing would take part, with an empty chart in
// each one's place. A chart's own values can only switch it on or off where its
// parent leaves that open, and then it is asked for.
func (r Release) enabled(read files, missing []*chart.Dependency) (map[string]bool, error) {
	probe, err := assemble(read) // of its own: Helm changes what it looks at
	if err != nil {
		return nil, err
	}
	placed := map[string]bool{}
	for _, m := range missing {
		for _, d := range probe.Metadata.Dependencies {
			if d.Name == m.Name {
				d.Version, d.ImportValues = "0.0.0", nil
			}
		}
		if !placed[m.Name] {
			placed[m.Name] = true
			probe.AddDependency(&chart.Chart{Metadata: &chart.Metadata{Name: m.Name, Version: "0.0.0"}})
		}
	}
	values, err := r.given()
	if err != nil {
		return nil, err
	}
	if err := chartutil.ProcessDependencies(probe, values); err != nil {
		return nil, fmt.Errorf("looking at the chart's dependencies: %w", err)
	}
	on := map[string]bool{}
	for _, d := range probe.Dependencies() {
		on[d.Name()] = true
	}
	return on, nil
}

// add loads one dependency and hangs it into the chart.
func (r Release) add(l *loaded, d *chart.Dependency) error {
	for _, have := range l.chart.Dependencies() {
		if have.Name() == d.Name {
			return nil // the same chart under another alias
		}
	}
	fsys, dir, err := r.find(l.chart, d)
	if err != nil {
		return err
	}
	read, err := readChart(fsys, dir, dir != "." && r.inTree())
	if err != nil {
		return err
	}
	sub, err := assemble(read)
	if err != nil {
		return err
	}
	if sub.Name() != d.Name {
		return fmt.Errorf("the chart there is called %s", gitindex.Clean(sub.Name(), 100))
	}
	if d.Version != "" && !chartutil.IsCompatibleRange(d.Version, sub.Metadata.Version) {
		return fmt.Errorf("version %s of it is not in the range %s that Chart.yaml asks for",
			gitindex.Clean(sub.Metadata.Version, 60), gitindex.Clean(d.Version, 60))
	}
	l.chart.AddDependency(sub)
	name := l.chart.Name() + "/charts/" + d.Name
	l.places[name] = l.chart.Name() + "/charts/" + d.Name
	if dir != "." && r.inTree() {
		l.place(name, dir, read)
	}
	l.call(l.chart.Name(), d)
	return nil
}

// find says where a dependency's chart is.
func (r Release) find(c *chart.Chart, d *chart.Dependency) (fs.FS, string, error) {
	if local, ok := strings.CutPrefix(d.Repository, "file://"); ok {
		dir := path.Join(cleanDir(r.Dir), local)
		if path.IsAbs(local) || !fs.ValidPath(dir) || dir == "." {
			return nil, "", fmt.Errorf("%s is not in the tree", gitindex.CleanURL(d.Repository, 200))
		}
		return r.Chart, dir, nil
	}
	ref, err := reference(c, d)
	if err != nil {
		return nil, "", err
	}
	if r.Sources == nil {
		return nil, "", &render.NeedsError{What: "the chart " + ref.String(), Why: "it is not in the tree"}
	}
	fsys, _, err := r.Sources.Chart(ref)
	return fsys, ".", err
}

// reference is a dependency's chart as Chart.yaml names it, in the version that
// Chart.lock settles.
func reference(c *chart.Chart, d *chart.Dependency) (render.ChartRef, error) {
	ref := render.ChartRef{Version: d.Version}
	switch {
	case strings.HasPrefix(d.Repository, "oci://"):
		ref.OCI = strings.TrimSuffix(d.Repository, "/") + "/" + d.Name
	case strings.HasPrefix(d.Repository, "https://"), strings.HasPrefix(d.Repository, "http://"):
		ref.Repository, ref.Name = d.Repository, d.Name
	case d.Repository == "":
		return ref, errors.New("it is not in the charts directory, and Chart.yaml names no repository for it")
	default:
		return ref, &render.NeedsError{What: "the chart " + gitindex.Clean(d.Name, 100),
			Why: fmt.Sprintf("what its repository %q stands for is not in Git", gitindex.CleanURL(d.Repository, 100)),
			Do:  "write the repository's address, or put the chart into the charts directory"}
	}
	locked, err := lockedVersion(c.Lock, d)
	if locked != "" {
		ref.Version = locked
	}
	return ref, err
}

// lockedVersion is the version that Chart.lock says; Helm refuses a lock that
// does not fit Chart.yaml.
func lockedVersion(lock *chart.Lock, d *chart.Dependency) (string, error) {
	if lock == nil {
		return "", nil
	}
	for _, l := range lock.Dependencies {
		if l == nil || l.Name != d.Name || l.Repository != d.Repository {
			continue
		}
		if d.Version == "" || chartutil.IsCompatibleRange(d.Version, l.Version) {
			return l.Version, nil
		}
	}
	return "", errors.New("Chart.lock does not fit Chart.yaml: run \"helm dependency update\" and commit Chart.lock")
}

// call notes where a dependency stands under its other name too.
func (l *loaded) call(parent string, d *chart.Dependency) {
	if d.Alias == "" {
		return
	}
	from, to := parent+"/charts/"+d.Name, parent+"/charts/"+d.Alias
	for name, at := range maps.Clone(l.places) {
		if name == from || strings.HasPrefix(name, from+"/") {
			l.places[to+strings.TrimPrefix(name, from)] = at
		}
	}
}

// metadata is what Chart.yaml says; nil where there is none.
func metadata(read files) *chart.Metadata {
	for _, f := range read {
		if f.Name == "Chart.yaml" {
			m := &chart.Metadata{}
			if yaml.Unmarshal(f.Data, m) != nil {
				return nil
			}
			return m
		}
	}
	return nil
}
