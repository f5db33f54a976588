package fluxhelm

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/gitindex/render/helm"
)

// job is all that a HelmRelease renders from.
type job struct {
	hr      *helmRelease
	src     render.Sources
	chart   *chart
	given   *given
	cluster render.Cluster
}

// objects renders the release with other text in each unknown's place, and
// leaves holes where that makes the only difference.
func (j *job) objects() ([]render.Object, error) {
	one, err := j.forms(func(u unknown) string { return u.stands })
	unknowns := slices.Concat(j.chart.unknown, j.given.unknown)
	if err != nil || len(unknowns) == 0 {
		return one, err
	}
	other, err := j.forms(func(u unknown) string { return u.otherwise })
	if err != nil {
		return nil, fmt.Errorf("rendering with another value of what is not in Git: %w", err)
	}
	return open(one, other, unknowns)
}

// forms renders the release as Flux installs it and as it upgrades it. The two
// must be the same but for hooks, which run at the one or at the other.
func (j *job) forms(stand func(unknown) string) ([]render.Object, error) {
	install, err := j.form(stand, false)
	if err != nil {
		return nil, err
	}
	upgrade, err := j.form(stand, true)
	if err != nil {
		return nil, fmt.Errorf("upgrading: %w", err)
	}
	all := slices.Clone(install)
	known := map[gitindex.Ref][]byte{}
	for i := range install {
		known[key(&install[i])] = install[i].JSON
	}
	for i := range upgrade {
		o := &upgrade[i]
		was, ok := known[key(o)]
		switch {
		case ok && bytes.Equal(was, o.JSON):
			delete(known, key(o))
		case ok || !o.Hook && !o.Bare:
			return nil, unlike(o)
		default:
			all = append(all, *o)
		}
	}
	for i := range install {
		if _, left := known[key(&install[i])]; left && !install[i].Hook && !install[i].Bare {
			return nil, unlike(&install[i])
		}
	}
	return all, nil
}

func unlike(o *render.Object) error {
	return fmt.Errorf("%w: %v depends on whether the release is installed or upgraded, in %s", render.ErrUnstable, ref(o), gitindex.Clean(o.Path, 200))
}

func ref(o *render.Object) gitindex.Ref {
	return gitindex.Ref{Group: o.Group, Kind: gitindex.Clean(o.Kind, 60), Namespace: gitindex.Clean(o.Namespace, 80), Name: gitindex.Clean(o.Name, 120)}
}

// key tells hooks and CRDs of the crds directory from the release's own objects,
// which may have the same name.
func key(o *render.Object) gitindex.Ref {
	r := gitindex.Ref{Group: o.Group, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}
	if o.Hook {
		r.Kind += " hook"
	}
	if o.Bare {
		r.Kind += " bare"
	}
	return r
}

func (j *job) form(stand func(unknown) string, upgrade bool) ([]render.Object, error) {
	act, revision := &j.hr.Spec.Install, 1
	if upgrade {
		act, revision = &j.hr.Spec.Upgrade, 2
	}
	suffix := j.chart.suffix
	for _, u := range j.chart.unknown {
		suffix = strings.ReplaceAll(suffix, u.stands, stand(u))
	}
	r := helm.Release{
		Sources: j.src, Chart: j.chart.fsys, Dir: j.chart.dir, Cluster: j.cluster, InCluster: true,
		Options: render.HelmOptions{
			ReleaseName: j.hr.releaseName(), Namespace: j.hr.releaseNamespace(), Revision: revision, IsUpgrade: upgrade,
			SkipCRDs: act.CRDs == "Skip",
		},
		Set: func(values map[string]any) error {
			own, err := j.given.make(stand)
			maps.Copy(values, own)
			return err
		},
		Version: j.chart.version(suffix), Defaults: j.chart.defaults, SkipSchema: act.DisableSchemaValidation,
	}
	documents, err := r.Documents()
	if err != nil {
		return nil, err
	}
	return j.hr.postRender(documents, render.HelmOptions{SkipHooks: act.DisableHooks, SkipTests: !j.hr.Spec.Test.Enable})
}
