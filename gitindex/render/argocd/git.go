package argocd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/gitindex"
)

// gitGenerator finds directories or files of a repository:
// applicationset/generators/git.go.
type gitGenerator struct {
	RepoURL         string
	Revision        string
	Directories     []gitItem
	Files           []gitItem
	PathParamPrefix string
	Values          map[string]string
}

type gitItem struct {
	Path    string
	Exclude bool
}

func (e *expansion) git(raw json.RawMessage, _ int) ([]map[string]any, error) {
	var g gitGenerator
	if err := json.Unmarshal(raw, &g); err != nil {
		return nil, err
	}
	if hub, ok := e.src.(Hub); ok && !hub.Holds(g.RepoURL, g.Revision) {
		return nil, elsewhere(g.RepoURL, g.Revision)
	}
	switch {
	case len(g.Directories) > 0:
		return e.directories(&g)
	case len(g.Files) > 0:
		return e.files(&g)
	}
	return nil, errors.New("it names neither directories nor files")
}

func (e *expansion) directories(g *gitGenerator) ([]map[string]any, error) {
	var all []map[string]any
	err := walkTree(e.src.Tree(), ".", 0, func(name string, dir bool) error {
		if !dir || !g.wants(name) {
			return nil
		}
		params := g.params(name, "", nil, e.set.Spec.GoTemplate)
		all = append(all, params)
		return e.values(g.Values, params)
	}, true)
	return all, err
}

// wants goes by path.Match, in which a star stops at a slash. A pattern that is
// none matches nothing.
func (g *gitGenerator) wants(name string) bool {
	in := false
	for _, item := range g.Directories {
		match, err := path.Match(item.Path, name)
		if err != nil || !match {
			continue
		}
		if item.Exclude {
			return false
		}
		in = true
	}
	return in
}

// walkTree goes through the tree in lexical order, as Argo CD goes through a
// checkout. Links are files to it. Directories whose names begin with a dot are
// left out for directories, not for files.
func walkTree(files fs.FS, dir string, depth int, do func(name string, dir bool) error, unhidden bool) error {
	if depth > maxDepth {
		return fmt.Errorf("%s is more than %d directories deep", gitindex.Clean(dir, 200), maxDepth)
	}
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		below := e.IsDir() && e.Type()&fs.ModeSymlink == 0
		if below && unhidden && strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if err := do(name, below); err != nil {
			return err
		}
		if below {
			if err := walkTree(files, name, depth+1, do, unhidden); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *expansion) files(g *gitGenerator) ([]map[string]any, error) {
	found := map[string]bool{}
	for _, exclude := range []bool{false, true} { // what is excluded is taken out at the end
		for _, item := range g.Files {
			if item.Exclude != exclude {
				continue
			}
			names, err := e.filesOf(item.Path)
			if err != nil {
				return nil, err
			}
			for _, name := range names {
				found[name] = !exclude
			}
		}
	}
	var all []map[string]any
	for name, in := range sorted(found) {
		if !in {
			continue
		}
		sets, err := e.file(g, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", gitindex.Clean(name, 200), err)
		}
		all = append(all, sets...)
	}
	return all, nil
}

// filesOf finds files by Git's pathspecs, or by globs if Argo CD is set so.
func (e *expansion) filesOf(pattern string) ([]string, error) {
	globs, err := newGlobbing(e.src)
	if err != nil {
		return nil, err
	}
	if globs {
		return matchFiles(e.src.Tree(), path.Clean("./"+pattern))
	}
	matches, err := pathspec(pattern)
	if err != nil {
		return nil, err
	}
	var names []string
	err = walkTree(e.src.Tree(), ".", 0, func(name string, dir bool) error {
		if !dir && matches(name) {
			names = append(names, name)
		}
		return nil
	}, false)
	return names, err
}

// file gives the sets of one file: a map, or a list of maps.
func (e *expansion) file(g *gitGenerator, name string) ([]map[string]any, error) {
	text, err := fs.ReadFile(e.src.Tree(), name)
	if err != nil {
		return nil, err
	}
	if len(text) > maxText {
		return nil, fmt.Errorf("is larger than %d MiB", maxText>>20)
	}
	one := map[string]any{}
	contents := []map[string]any{one}
	if yaml.Unmarshal(text, &one) != nil {
		contents = nil
		if err := yaml.Unmarshal(text, &contents); err != nil {
			return nil, errors.New("is neither a map nor a list of maps")
		}
	} else {
		contents[0] = one
	}
	var all []map[string]any
	for _, content := range contents {
		params := g.params(path.Dir(name), path.Base(name), content, e.set.Spec.GoTemplate)
		if err := e.values(g.Values, params); err != nil {
			return nil, err
		}
		all = append(all, params)
	}
	return all, nil
}

// params say where a directory or file is, beside what the file holds.
func (g *gitGenerator) params(dir, file string, content map[string]any, goTemplate bool) map[string]any {
	params := map[string]any{}
	if goTemplate {
		for key, value := range content {
			params[key] = value
		}
		place := map[string]any{"path": dir, "basename": path.Base(dir), "basenameNormalized": normalize(path.Base(dir)), "segments": strings.Split(dir, "/")}
		if file != "" {
			place["filename"], place["filenameNormalized"] = file, normalize(file)
		}
		if g.PathParamPrefix != "" {
			params[g.PathParamPrefix] = map[string]any{"path": place}
		} else {
			params["path"] = place
		}
		return params
	}
	for key, value := range flat(content) {
		params[key] = value
	}
	name := "path"
	if g.PathParamPrefix != "" {
		name = g.PathParamPrefix + ".path"
	}
	params[name], params[name+".basename"], params[name+".basenameNormalized"] = dir, path.Base(dir), normalize(path.Base(dir))
	if file != "" {
		params[name+".filename"], params[name+".filenameNormalized"] = file, normalize(file)
	}
	for i, segment := range slices.All(strings.Split(dir, "/")) {
		if segment != "" {
			params[name+"["+strconv.Itoa(i)+"]"] = segment
		}
	}
	return params
}

var notName = regexp.MustCompile(`[^-a-z0-9.]`)

// normalize makes a name that DNS takes: applicationset/utils/template_functions.go.
func normalize(name string) string {
	name = notName.ReplaceAllString(strings.ToLower(name), "-")
	return strings.Trim(name[:min(len(name), 253)], "-.")
}
