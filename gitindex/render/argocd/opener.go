package argocd

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/gitward/gitward/gitindex"
)

// ControlPlane is the namespace that Argo CD itself runs in by default. An
// Application in another one is named with its namespace.
const ControlPlane = "argocd"

// The names under which Argo CD knows the cluster that it runs in.
const (
	InClusterServer = "https://kubernetes.default.svc"
	InClusterName   = "in-cluster"
)

// Group and version of the objects that open a unit here.
const apiVersion = "argoproj.io/v1alpha1"

// read takes the opener for an Application. A field that it does not know is
// left out, as by Argo CD's own types: the API server prunes it.
func read(opener json.RawMessage) (*Application, error) {
	var app Application
	if err := json.Unmarshal(opener, &app); err != nil {
		return nil, fmt.Errorf("reading the Application: %w", err)
	}
	if app.APIVersion != apiVersion || app.Kind != "Application" {
		return nil, fmt.Errorf("the unit's opener is no Application of %s but %s of %s", apiVersion,
			gitindex.Clean(app.Kind, 60), gitindex.Clean(app.APIVersion, 60))
	}
	return &app, nil
}

// sources are those that are synced from. A hydrator's are the rendered ones.
func (a *Application) sources() ([]Source, error) {
	switch s := a.Spec; {
	case s.SourceHydrator != nil:
		synced := s.SourceHydrator.SyncSource
		repo := synced.RepoURL
		if repo == "" {
			repo = s.SourceHydrator.DrySource.RepoURL
		}
		return []Source{{RepoURL: repo, Path: synced.Path, TargetRevision: synced.TargetBranch}}, nil
	case len(s.Sources) > 0:
		return s.Sources, nil
	case s.Source != nil:
		return []Source{*s.Source}, nil
	}
	return nil, errors.New("the Application has neither spec.source nor spec.sources")
}

// several reports whether the Application counts as one of several sources,
// which allows references between them.
func (a *Application) several() bool { return a.Spec.SourceHydrator == nil && len(a.Spec.Sources) > 0 }

// isGit reports whether the source is a Git repository, and not a chart or
// another artifact of a registry.
func (s *Source) isGit() bool { return s.Chart == "" && !strings.HasPrefix(s.RepoURL, "oci://") }

// onlyRef reports whether the source gives files to others and no objects.
func (s *Source) onlyRef() bool { return s.Path == "" && s.Chart == "" && s.isGit() }

// Place is where one source of an Application lies.
type Place struct {
	RepoURL        string
	TargetRevision string // a branch, tag, commit or range; "" is HEAD
	Path           string
	Chart          string
	Git            bool // else a chart or another artifact of a registry
	OnlyRef        bool // it gives files to the other sources, and no objects
}

// Sources says where the manifests of an Application come from, or what the git
// generators of an ApplicationSet read, so that a caller can tell which of them
// are the tree that it holds.
func Sources(opener json.RawMessage) ([]Place, error) {
	var set applicationSet
	if json.Unmarshal(opener, &set) == nil && set.APIVersion == apiVersion && set.Kind == "ApplicationSet" {
		return generatorPlaces(set.Spec.Generators)
	}
	app, err := read(opener)
	if err != nil {
		return nil, err
	}
	sources, err := app.sources()
	if err != nil {
		return nil, err
	}
	places := make([]Place, len(sources))
	for i, s := range sources {
		places[i] = Place{RepoURL: s.RepoURL, TargetRevision: s.TargetRevision, Path: path.Clean("./" + s.Path), Chart: s.Chart, Git: s.isGit(), OnlyRef: s.onlyRef()}
	}
	return places, nil
}

// generatorPlaces are the repositories that generators read, those within a matrix or
// merge included.
func generatorPlaces(generators []generator) ([]Place, error) {
	var places []Place
	for i := range generators {
		g := &generators[i]
		if len(g.Git) > 0 {
			var git gitGenerator
			if err := json.Unmarshal(g.Git, &git); err != nil {
				return nil, fmt.Errorf("reading a git generator: %w", err)
			}
			places = append(places, Place{RepoURL: git.RepoURL, TargetRevision: git.Revision, Path: ".", Git: true})
		}
		for _, raw := range []json.RawMessage{g.Matrix, g.Merge} {
			var inner struct{ Generators []generator }
			if len(raw) == 0 {
				continue
			}
			if err := json.Unmarshal(raw, &inner); err != nil {
				return nil, fmt.Errorf("reading a matrix or merge generator: %w", err)
			}
			more, err := generatorPlaces(inner.Generators)
			if err != nil {
				return nil, err
			}
			places = append(places, more...)
		}
	}
	return places, nil
}

// Destination is the cluster and namespace that the Application is for.
func Destination(opener json.RawMessage) (Target, error) {
	app, err := read(opener)
	if err != nil {
		return Target{}, err
	}
	return app.Spec.Destination, nil
}

// InCluster reports whether the Application is for the cluster that Argo CD
// runs in, or for one of the names and addresses given: an Argo CD elsewhere
// may know this cluster by such a one. What cannot be read is not.
func InCluster(opener json.RawMessage, names ...string) bool {
	d, err := Destination(opener)
	if err != nil || d.Server != "" && d.Name != "" {
		return false // Argo CD refuses both at once
	}
	is := func(value string) bool { return slices.Contains(names, strings.TrimRight(value, "/")) }
	switch {
	case d.Server != "":
		return strings.TrimRight(d.Server, "/") == InClusterServer || is(d.Server)
	case d.Name != "":
		return d.Name == InClusterName || is(d.Name)
	}
	return true
}

// Instance is the name by which Argo CD marks what it applies for the
// Application: util/argo/argo.go, AppInstanceName.
func Instance(namespace, name string) string {
	if namespace == "" || namespace == ControlPlane {
		return name
	}
	return namespace + "_" + name
}

func (a *Application) instance() string { return Instance(a.Namespace, a.Name) }

func (a *Application) project() string {
	if a.Spec.Project == "" {
		return "default"
	}
	return a.Spec.Project
}

// option reports whether a sync option stands in the Application.
func (a *Application) option(name string) bool {
	return a.Spec.SyncPolicy != nil && slices.Contains(a.Spec.SyncPolicy.SyncOptions, name)
}
