// Package fluxhelm answers: what does Flux's helm-controller apply for this
// HelmRelease?
//
// The rules are those of helm-controller v1.6.3 and source-controller v1.9.1,
// with their default flags. What the controllers read from the cluster is taken
// from what Git declares, and what Git does not say is a hole or refused.
package fluxhelm

import (
	"fmt"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// Build renders the unit that a HelmRelease opens. The labels and annotations by
// which Flux and Helm mark all objects are not among what it gives.
func Build(src render.Sources, u render.Unit) (render.Output, error) {
	hr, err := parse(u.Opener)
	if err != nil {
		return render.Output{}, err
	}
	out, err := hr.build(src, u)
	if err != nil {
		return render.Output{}, fmt.Errorf("%s: %w", hr.ref(), err)
	}
	return out, nil
}

func (hr *helmRelease) build(src render.Sources, u render.Unit) (render.Output, error) {
	if err := hr.check(); err != nil {
		return render.Output{}, err
	}
	noted := &noting{Sources: src}
	c, err := hr.chart(noted)
	if err != nil {
		return render.Output{}, err
	}
	given, err := hr.values(src)
	if err != nil {
		return render.Output{}, err
	}
	j := job{hr: hr, src: noted, chart: c, given: given, cluster: u.Cluster}
	objects, err := j.objects()
	if err != nil {
		return render.Output{}, err
	}
	if err := hr.liveIn(objects); err != nil {
		return render.Output{}, err
	}
	fetched, err := hr.helmChart()
	if err != nil {
		return render.Output{}, err
	}
	if fetched != nil {
		objects = append(objects, *fetched)
	}
	return render.Output{
		Objects: objects, Level: level(objects, noted), Applier: hr.applier(), Namespace: hr.releaseNamespace(),
	}, nil
}

// noting notes whether a chart from elsewhere has a part in it.
type noting struct {
	render.Sources
	elsewhere bool
}

func level(objects []render.Object, n *noting) gitindex.Level {
	for i := range objects {
		if len(objects[i].Holes) > 0 {
			return gitindex.Templated
		}
	}
	if n.elsewhere {
		return gitindex.Pinned
	}
	return gitindex.Rendered
}

func (hr *helmRelease) applier() *gitindex.Applier {
	a := &gitindex.Applier{
		HelmRelease: hr.releaseName(), HelmNamespace: hr.releaseNamespace(), HelmStorageNamespace: hr.Spec.StorageNamespace,
		FluxHelmName: hr.Metadata.Name, FluxHelmNamespace: hr.Metadata.Namespace,
	}
	if hr.Spec.Install.CreateNamespace && hr.Spec.TargetNamespace != "" {
		a.CreatesNamespace = hr.Spec.TargetNamespace
		a.NamespaceLabels = map[string]string{"name": hr.Spec.TargetNamespace} // as Helm's install does
	}
	return a
}
