package argocd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"sigs.k8s.io/yaml"
)

// kustomizations are the names that Argo CD knows a kustomization by.
var kustomizations = []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}

// tool is what renders the source: the one whose options are given, else what
// the directory holds (util/app/discovery/discovery.go). A plugin that finds
// its directories by itself cannot be seen from Git.
func (s *Source) tool(tree fs.FS, dir string) (render.Tool, error) {
	var given []render.Tool
	for tool, is := range map[render.Tool]bool{render.Kustomize: s.Kustomize != nil, render.Helm: s.Helm != nil,
		render.Plain: s.Directory != nil, "": s.Plugin != nil} {
		if is {
			given = append(given, tool)
		}
	}
	switch {
	case len(given) > 1:
		return "", errors.New("it has options for more than one tool: Argo CD refuses that")
	case s.Plugin != nil:
		return "", s.plugin()
	case len(given) == 1:
		return given[0], nil
	}
	return detect(tree, dir)
}

func (s *Source) plugin() error {
	what := "a config management plugin that Argo CD finds by itself"
	if s.Plugin.Name != "" {
		what = "the config management plugin " + gitindex.Clean(s.Plugin.Name, 80)
	}
	return &render.NeedsError{What: what, Why: "it is a program of the Argo CD installation, not of the tree",
		Do: "use Helm, kustomize, jsonnet or plain files, or commit what the plugin makes"}
}

func detect(tree fs.FS, dir string) (render.Tool, error) {
	entries, err := fs.ReadDir(tree, dir)
	if err != nil {
		return "", err
	}
	found := render.Plain
	for _, e := range entries { // in lexical order: the last one wins
		switch {
		case e.IsDir():
		case strings.HasSuffix(e.Name(), "Chart.yaml"):
			found = render.Helm
		case slices.Contains(kustomizations, e.Name()):
			found = render.Kustomize
		}
	}
	return found, nil
}

// override merges what files beside the manifests say into the source's
// options: reposerver/repository/repository.go, mergeSourceParameters.
func (b *builder) override(s *Source, files fs.FS, dir string) (*Source, error) {
	merged := *s
	for _, name := range []string{".argocd-source.yaml", ".argocd-source-" + b.app.instance() + ".yaml"} {
		if strings.Contains(name, "/") {
			continue
		}
		name = path.Join(dir, name)
		state, err := fs.Stat(files, name)
		if errors.Is(err, fs.ErrNotExist) || err == nil && state.IsDir() {
			continue
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", gitindex.Clean(name, 200), err)
		}
		if merged, err = merge(merged, text); err != nil {
			return nil, fmt.Errorf("%s: %w", gitindex.Clean(name, 200), err)
		}
	}
	merged.Chart, merged.Path, merged.RepoURL, merged.TargetRevision = s.Chart, s.Path, s.RepoURL, s.TargetRevision
	return &merged, nil
}

func merge(s Source, text []byte) (Source, error) {
	patch, err := yaml.YAMLToJSON(text)
	if err != nil {
		return Source{}, err
	}
	now, err := json.Marshal(s)
	if err != nil {
		return Source{}, err
	}
	now, err = jsonpatch.MergePatch(now, patch)
	if err != nil {
		return Source{}, err
	}
	// Into the old value, as Argo CD does: what the patch takes out stays.
	merged := s
	return merged, json.Unmarshal(now, &merged)
}
