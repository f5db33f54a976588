package flux

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/fluxcd/pkg/sourceignore"
	"github.com/fluxcd/pkg/sourceignore/gitignore"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/gitindex/render/kustomize"
)

// repository is what is read of a GitRepository.
type repository struct {
	Spec struct {
		URL string `json:"url"`
		Ref struct {
			Branch string `json:"branch"`
			Tag    string `json:"tag"`
			SemVer string `json:"semver"`
			Commit string `json:"commit"`
			Name   string `json:"name"`
		} `json:"ref"`
		Ignore         *string           `json:"ignore"`
		Include        []json.RawMessage `json:"include"`
		SparseCheckout []string          `json:"sparseCheckout"`
	} `json:"spec"`
}

func (k *kustomization) source() gitindex.Ref {
	s := k.Spec.SourceRef
	if s.Namespace == "" {
		s.Namespace = k.Metadata.Namespace
	}
	return gitindex.Ref{Group: sourceGroup, Kind: s.Kind, Namespace: s.Namespace, Name: s.Name}
}

// repository is nil where the GitRepository is not declared.
func (k *kustomization) repository(src render.Sources) (*repository, error) {
	ref := k.source()
	if ref.Kind != "GitRepository" {
		if k.here {
			return nil, nil
		}
		return nil, &render.NeedsError{What: "the content of " + ref.String(), Why: "it is not this repository's tree",
			Do: "take the files from a GitRepository"}
	}
	raw, err := src.Declared(ref)
	if err != nil || len(raw) == 0 {
		return nil, err
	}
	r := &repository{}
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, fmt.Errorf("reading %v: %w", ref, err)
	}
	if len(r.Spec.Include) > 0 {
		return nil, &render.NeedsError{What: "what " + ref.String() + " includes (spec.include)", Why: "it is not in the tree"}
	}
	return r, nil
}

// artifact is the tree as source-controller packs it.
func (k *kustomization) artifact(src render.Sources) (kustomize.Options, error) {
	o := kustomize.Options{NoLinks: true, Encrypted: true, Builtins: true}
	if k.whole {
		return o, nil
	}
	r, err := k.repository(src)
	if err != nil {
		return o, err
	}
	a := &packing{tree: src.Tree(), dirs: map[string][]gitignore.Pattern{}}
	if r != nil {
		if r.Spec.Ignore != nil {
			a.own = sourceignore.ReadPatterns(strings.NewReader(*r.Spec.Ignore), nil)
		}
		a.sparse = r.Spec.SparseCheckout
	}
	o.Hidden = a.hidden
	return o, nil
}

// packing decides which files source-controller packs (source-controller
// v1.9.1, gitrepository_controller.go; pkg/artifact, storage/archive.go): it
// reads the .sourceignore of every directory, adds the GitRepository's own
// patterns, and uses its defaults only where there are none of both.
type packing struct {
	tree   fs.FS
	own    []gitignore.Pattern
	sparse []string
	dirs   map[string][]gitignore.Pattern // of the .sourceignore in a directory
	found  *bool                          // whether any pattern is in the tree
}

var (
	always   = sourceignore.VCSPatterns(nil)
	defaults = append(sourceignore.VCSPatterns(nil), sourceignore.DefaultPatterns(nil)...)
)

func (p *packing) hidden(name string, dir bool) bool {
	if !p.checkedOut(name, dir) {
		return true
	}
	if dir {
		return false // what is packed is files; one may be taken back into a directory that is left out
	}
	parts := strings.Split(name, "/")
	patterns := append([]gitignore.Pattern{}, always...)
	for i := range parts {
		patterns = append(patterns, p.of(strings.Join(parts[:i], "/"))...)
	}
	patterns = append(patterns, p.own...)
	if len(patterns) > len(always) {
		return gitignore.NewMatcher(patterns).Match(parts, false)
	}
	// None of the patterns on the way concerns the path. If there are others
	// elsewhere in the tree, the defaults do not hold, and that is asked only
	// of a path that they would leave out: it takes a walk through the tree.
	return gitignore.NewMatcher(defaults).Match(parts, false) &&
		(gitignore.NewMatcher(always).Match(parts, false) || !p.any())
}

// checkedOut reports whether a sparse checkout has the path.
func (p *packing) checkedOut(name string, dir bool) bool {
	if len(p.sparse) == 0 {
		return true
	}
	for _, s := range p.sparse {
		s = path.Clean("/" + s)[1:]
		if s == "" || name == s || strings.HasPrefix(name, s+"/") || dir && strings.HasPrefix(s, name+"/") {
			return true
		}
	}
	return false
}

// of are the patterns of one directory's .sourceignore.
func (p *packing) of(dir string) []gitignore.Pattern {
	if patterns, ok := p.dirs[dir]; ok {
		return patterns
	}
	var patterns []gitignore.Pattern
	if data, err := fs.ReadFile(p.tree, path.Join(dir, sourceignore.IgnoreFile)); err == nil {
		var domain []string
		if dir != "" {
			domain = strings.Split(dir, "/")
		}
		patterns = sourceignore.ReadPatterns(bytes.NewReader(data), domain)
	}
	p.dirs[dir] = patterns
	return patterns
}

// any reports whether any .sourceignore of the tree holds a pattern.
func (p *packing) any() bool {
	if p.found != nil {
		return *p.found
	}
	found := false
	_ = fs.WalkDir(p.tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && path.Base(name) == sourceignore.IgnoreFile && !d.IsDir() {
			dir := path.Dir(name)
			if dir == "." {
				dir = ""
			}
			found = found || len(p.of(dir)) > 0
		}
		return nil
	})
	p.found = &found
	return found
}
