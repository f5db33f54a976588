// Package argocd answers: what does Argo CD apply for this Application, and
// which Applications does it make of this ApplicationSet?
//
// It follows Argo CD 3.6's repo server and controllers, over a tree of Git and
// with the renderers of its sibling packages. Nothing is asked of a cluster,
// of an environment or of a network: what only these could tell is refused by
// name.
package argocd

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// Hub is what render.Sources may know beyond render's own interface. Sources
// without it leave it to the caller to see that an Application's Git sources
// are the tree, by Sources, and only the cluster that Argo CD runs in is known.
type Hub interface {
	// Holds reports whether the repository at that revision is the tree.
	Holds(repoURL, revision string) bool
	// Clusters are those that Argo CD knows from cluster Secrets which Git
	// declares; ok is false if Git does not say.
	Clusters() (clusters []Cluster, ok bool)
}

// Cluster is one that Argo CD knows. Labels and annotations are all those of its
// Secret.
type Cluster struct {
	Name, Server, Project string
	Labels, Annotations   map[string]string
}

// Build gives the objects that Argo CD applies for the Application that opened
// the unit, before it adds its tracking marks. An object without a namespace is
// for Output.Namespace. An Application for another cluster is built like any:
// see InCluster.
func Build(src render.Sources, u render.Unit) (render.Output, error) {
	app, err := read(u.Opener)
	if err != nil {
		return render.Output{}, err
	}
	out, err := build(src, u, app)
	if err != nil {
		return render.Output{}, fmt.Errorf("the Application %s: %w", gitindex.Clean(app.instance(), 200), err)
	}
	return out, nil
}

func build(src render.Sources, u render.Unit, app *Application) (render.Output, error) {
	b := newBuilder(src, u, app, oneRevision)
	objects, err := b.objects()
	if err != nil {
		return render.Output{}, err
	}
	if b.asked {
		other, err := newBuilder(src, u, app, otherRevision).objects()
		if err != nil {
			return render.Output{}, err
		}
		if err := openHoles(objects, other); err != nil {
			return render.Output{}, err
		}
	}
	b.problems = append(b.problems, live(app, objects)...)
	return render.Output{Objects: objects, Problems: b.problems, Level: level(b.src.level, objects),
		Applier: b.settings.applier(app), Namespace: app.Spec.Destination.Namespace}, nil
}

// level is the least direct way in which any object came about.
func level(base gitindex.Level, objects []render.Object) gitindex.Level {
	for i := range objects {
		if len(objects[i].Holes) > 0 {
			return gitindex.Templated
		}
	}
	return base
}

// builder renders one Application once.
type builder struct {
	src      *noted
	unit     render.Unit
	app      *Application
	settings settings
	revision revision
	asked    bool // something depends on the commit
	refs     map[string]bool
	problems []gitindex.Problem
}

func newBuilder(src render.Sources, u render.Unit, app *Application, r revision) *builder {
	return &builder{src: &noted{Sources: src, level: gitindex.Exact}, unit: u, app: app, revision: r, refs: map[string]bool{}}
}

func (b *builder) objects() ([]render.Object, error) {
	sources, err := b.app.sources()
	if err != nil {
		return nil, err
	}
	if b.settings, err = readSettings(b.src); err != nil {
		return nil, err
	}
	if err := b.reachable(sources); err != nil {
		return nil, err
	}
	var all []render.Object
	for i := range sources {
		found, err := b.source(&sources[i])
		if err != nil {
			return nil, fmt.Errorf("source %d, %s: %w", i+1, gitindex.Clean(sources[i].where(), 200), err)
		}
		all = append(all, found...)
	}
	return b.applied(all)
}

// where is a source as people know it.
func (s *Source) where() string {
	switch {
	case s.Chart != "":
		return "the chart " + s.Chart
	case s.onlyRef():
		return "the reference " + s.Ref
	}
	return path.Clean("./" + s.Path)
}

// reachable refuses a repository that is not the tree, and collects the names
// by which sources refer to each other.
func (b *builder) reachable(sources []Source) error {
	hub, known := b.src.Sources.(Hub)
	first := ""
	for _, s := range sources {
		if s.Ref != "" && b.app.several() {
			b.refs["$"+s.Ref] = s.isGit()
		}
		if !s.isGit() {
			continue
		}
		repository := repositoryOf(s.RepoURL)
		if known && !hub.Holds(s.RepoURL, s.TargetRevision) || !known && first != "" && repository != first {
			return elsewhere(s.RepoURL, s.TargetRevision)
		}
		first = repository
	}
	return nil
}

// repositoryOf is the host and path of an address, however it is written.
func repositoryOf(address string) string {
	_, rest, found := strings.Cut(address, "://")
	if !found {
		rest = strings.Replace(address, ":", "/", 1) // git@host:path
	}
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		rest = rest[at+1:]
	}
	return strings.ToLower(strings.TrimSuffix(strings.TrimRight(rest, "/"), ".git"))
}

func elsewhere(repoURL, revision string) error {
	if revision == "" {
		revision = "HEAD"
	}
	return &render.NeedsError{What: "the Git repository " + gitindex.CleanURL(repoURL, 200) + " at " + gitindex.Clean(revision, 80),
		Why: "it is not this one", Do: "make it an Origin of its own"}
}

// source renders one of the sources.
func (b *builder) source(s *Source) ([]render.Object, error) {
	switch {
	case s.Path == "" && s.Chart == "" && b.app.several():
		return nil, nil // it only gives files to the others
	case s.isGit():
		return b.fromTree(s)
	}
	return b.fromElsewhere(s)
}

func (b *builder) fromTree(s *Source) ([]render.Object, error) {
	dir, err := directory(b.src.Tree(), s.Path)
	if err != nil {
		return nil, err
	}
	merged, err := b.override(s, b.src.Tree(), dir)
	if err != nil {
		return nil, err
	}
	tool, err := merged.tool(b.src.Tree(), dir)
	if err != nil {
		return nil, err
	}
	env := b.environment(s)
	switch tool {
	case render.Helm:
		return b.helm(merged, place{files: b.src.Tree(), dir: dir}, env)
	case render.Kustomize:
		return b.kustomize(merged, dir, env)
	}
	return b.directory(merged, dir, env)
}

// directory is a source's path as a directory of the tree:
// util/app/path/path.go, Path.
func directory(tree fs.FS, name string) (string, error) {
	if path.IsAbs(name) {
		return "", errors.New("its path is absolute")
	}
	dir := path.Clean("./" + name)
	if !fs.ValidPath(dir) {
		return "", errors.New("its path leads out of the tree")
	}
	state, err := fs.Stat(tree, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", errors.New("there is no such directory in the tree")
	case err != nil:
		return "", err
	case !state.IsDir():
		return "", errors.New("its path is no directory")
	}
	return dir, nil
}

// noted remembers the least direct way in which content came.
type noted struct {
	render.Sources
	level gitindex.Level
}

func (n *noted) Chart(ref render.ChartRef) (fs.FS, render.Pin, error) {
	n.level = gitindex.Pinned
	return n.Sources.Chart(ref)
}

func (n *noted) Base(url string) (fs.FS, render.Pin, error) {
	n.level = gitindex.Pinned
	return n.Sources.Base(url)
}

// rendered says that a tool has made what comes.
func (n *noted) rendered() {
	if n.level == gitindex.Exact {
		n.level = gitindex.Rendered
	}
}
