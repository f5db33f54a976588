package controller

import (
	"encoding/json"
	"path"
	"strings"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/gitindex/render/flux"
)

const generatorGroup = "source.extensions.fluxcd.io"

// holding is what a Flux source object holds, as seen from this Origin.
type holding struct {
	here        bool // this tree, or some of it
	artifact    render.Artifact
	url, branch string // another repository; empty if that is not known
}

// holds finds out what a Flux source holds. One that the Origin's spec lists
// holds what it says there. A GitRepository is known by its URL, an
// ExternalArtifact by the ArtifactGenerator that makes it. A source that Git
// does not declare at all is the one that the repository was first applied
// from.
func (e *evaluator) holds(objects lookups, ref gitindex.Ref, depth int) holding {
	if root, ok := e.artifacts[ref]; ok {
		return holding{here: true, artifact: render.Artifact{Root: root}}
	}
	declared := objects[ref]
	switch {
	case ref.Kind == "ExternalArtifact":
		return e.generated(objects, ref, depth)
	case declared == nil:
		return holding{here: true}
	case ref.Kind != "GitRepository":
		return holding{}
	}
	url, branch := flux.Fetches(declared)
	if url == "" || e.repository.Holds(url, branch) {
		return holding{here: true}
	}
	return holding{url: url, branch: branch}
}

// generator is what is read of an ArtifactGenerator.
type generator struct {
	Metadata struct {
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Spec struct {
		Sources []struct {
			Alias, Kind, Name, Namespace string
		} `json:"sources"`
		Artifacts []struct {
			Name string     `json:"name"`
			Copy []copyStep `json:"copy"`
		} `json:"artifacts"`
	} `json:"spec"`
}

type copyStep struct {
	From, To, Strategy string
	Exclude            []string
}

// generated finds the ArtifactGenerator that makes an ExternalArtifact, and
// what it copies. All of it has to be of this tree.
func (e *evaluator) generated(objects lookups, ref gitindex.Ref, depth int) holding {
	if depth == 0 {
		return holding{} // generators that feed on each other
	}
	var made []render.Artifact
	for of, raw := range objects {
		var g generator
		if of.Group != generatorGroup || of.Namespace != ref.Namespace || json.Unmarshal(raw, &g) != nil {
			continue
		}
		for _, a := range g.Spec.Artifacts {
			if a.Name == ref.Name {
				made = append(made, e.copies(e.aliases(objects, &g, of.Namespace, depth), a.Copy))
			}
		}
	}
	if len(made) != 1 || len(made[0].Copies) == 0 {
		return holding{} // none makes it, or none knows which
	}
	return holding{here: true, artifact: made[0]}
}

// copies are the steps of an artifact, each over a directory of this tree;
// empty if that is not so for all of them.
func (e *evaluator) copies(roots map[string]string, steps []copyStep) render.Artifact {
	var out render.Artifact
	for _, c := range steps {
		alias, from, ok := strings.Cut(strings.TrimPrefix(c.From, "@"), "/")
		root, known := roots[alias]
		to, inside := strings.CutPrefix(c.To, "@artifact/")
		if !ok || !known || !inside || !strings.HasPrefix(c.From, "@") {
			return render.Artifact{}
		}
		out.Copies = append(out.Copies, render.Copy{Root: root, From: from, Exclude: c.Exclude, Strategy: c.Strategy, To: to})
	}
	return out
}

// aliases are the directories that a generator's sources stand for, of those
// that are whole directories of this tree.
func (e *evaluator) aliases(objects lookups, g *generator, namespace string, depth int) map[string]string {
	out := map[string]string{}
	for _, s := range g.Spec.Sources {
		h := e.holds(objects, gitindex.Ref{Group: "source.toolkit.fluxcd.io", Kind: s.Kind, Namespace: or(s.Namespace, namespace), Name: s.Name}, depth-1)
		if _, twice := out[s.Alias]; twice {
			return nil // Flux takes neither
		}
		if h.here && len(h.artifact.Copies) == 0 {
			out[s.Alias] = h.artifact.Root
		}
	}
	return out
}

// claimed are the directories of the tree that a unit over a path of an
// artifact renders.
func claimed(a *render.Artifact, p string) []string {
	if a == nil {
		return []string{p}
	}
	if len(a.Copies) == 0 {
		return []string{clean(path.Join(a.Root, p))}
	}
	var out []string
	for _, c := range a.Copies {
		from := c.From
		if i := strings.IndexAny(from, "*?[{"); i >= 0 {
			from = from[:i]
		}
		if to := clean(c.To); within(p, to) || within(to, p) {
			out = append(out, clean(path.Join(c.Root, from)))
		}
	}
	return out
}
