package argocd

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/strvals"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// valuesOf works out what a release's values are.
type valuesOf struct {
	b     *builder
	at    place
	env   environment
	given *Helm
}

// located is a file that an option names: in the tree, or in the chart.
type located struct {
	files fs.FS
	name  string
	tree  bool
}

// files are the values files in order. One that a pattern matches keeps its own
// place where it is listed by name too, and none counts twice: getResolvedValueFiles.
func (v *valuesOf) files() ([]string, error) {
	listed := map[string]bool{}
	for _, raw := range v.given.ValueFiles {
		if f, err := v.locate(raw); err == nil && !isPattern(f.name) {
			listed[v.argument(f)] = true
		}
	}
	var all []string
	for _, raw := range v.given.ValueFiles {
		found, err := v.matches(raw, listed)
		if err != nil {
			return nil, fmt.Errorf("the values file %q: %w", gitindex.Clean(raw, 200), err)
		}
		for _, name := range found {
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all, nil
}

func (v *valuesOf) matches(raw string, listed map[string]bool) ([]string, error) {
	f, err := v.locate(raw)
	if err != nil {
		return nil, err
	}
	if !isPattern(f.name) {
		_, err := fs.Stat(f.files, f.name)
		if errors.Is(err, fs.ErrNotExist) {
			if v.given.IgnoreMissingValueFiles {
				return nil, nil
			}
			return nil, errors.New("there is no such file")
		}
		return []string{v.argument(f)}, err
	}
	names, err := matchFiles(f.files, f.name)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 && !v.given.IgnoreMissingValueFiles {
		return nil, errors.New("no file matches")
	}
	var found []string
	for _, name := range names {
		if one := v.argument(located{f.files, name, f.tree}); !listed[one] {
			found = append(found, one)
		}
	}
	return found, nil
}

// argument names a file as render.HelmOptions does: from the tree's root with a
// leading slash, else from the chart.
func (v *valuesOf) argument(f located) string {
	if f.tree {
		return "/" + f.name
	}
	return f.name
}

// locate finds the file that an option names: beside the chart, from the root
// with a leading slash, or from the root of the source that $name refers to.
func (v *valuesOf) locate(raw string) (located, error) {
	if first, rest, _ := strings.Cut(raw, "/"); strings.HasPrefix(raw, "$") && v.b.app.several() {
		git, known := v.b.refs[first]
		switch {
		case !known:
			return located{}, fmt.Errorf("no source has the ref %s", gitindex.Clean(strings.TrimPrefix(first, "$"), 60))
		case !git:
			return located{}, errors.New("a source that is referred to must be a Git repository")
		}
		return v.inside(located{files: v.b.src.Tree(), name: path.Join(".", v.env.expand(rest)), tree: true})
	}
	text := v.env.expand(raw)
	if u, err := url.Parse(text); err == nil && u.Scheme != "" {
		return located{}, &render.NeedsError{What: "the file " + gitindex.Clean(text, 200), Why: "it is not in the tree", Do: "commit it"}
	}
	f := located{files: v.at.files, name: path.Join(v.at.dir, text), tree: !v.at.elsewhere}
	if strings.HasPrefix(text, "/") {
		f.name = path.Join(".", strings.TrimLeft(text, "/"))
	}
	return v.inside(f)
}

func (v *valuesOf) inside(f located) (located, error) {
	if f.name == "." || !fs.ValidPath(f.name) {
		return located{}, errors.New("its path leads out of the repository")
	}
	return f, nil
}

// parameters are --set, --set-string and --set-file, which Helm takes in this
// order. Of two parameters of one name the last counts; between others Argo CD
// keeps no order, so such as touch each other are refused.
func (v *valuesOf) parameters() (func(map[string]any) error, error) {
	plain, quoted, files := map[string]string{}, map[string]string{}, map[string]string{}
	for _, p := range v.given.Parameters {
		if p.ForceString {
			quoted[p.Name] = p.Name + "=" + escape(v.env.expand(p.Value))
		} else {
			plain[p.Name] = p.Name + "=" + escape(v.env.expand(p.Value))
		}
	}
	for _, p := range v.given.FileParameters {
		text, err := v.fileParameter(p)
		if err != nil {
			return nil, fmt.Errorf("the file parameter %q: %w", gitindex.Clean(p.Name, 100), err)
		}
		files[p.Name] = text
	}
	for _, set := range []map[string]string{plain, quoted, files} {
		if err := orderless(set); err != nil {
			return nil, err
		}
	}
	if len(plain)+len(quoted)+len(files) == 0 {
		return nil, nil
	}
	return func(values map[string]any) error { return set(values, plain, quoted, files) }, nil
}

func set(values map[string]any, plain, quoted, files map[string]string) error {
	for name, argument := range sorted(plain) {
		if err := strvals.ParseInto(argument, values); err != nil {
			return fmt.Errorf("the parameter %s: %s", gitindex.Clean(name, 100), gitindex.Clean(err.Error(), 100))
		}
	}
	for name, argument := range sorted(quoted) {
		if err := strvals.ParseIntoString(argument, values); err != nil {
			return fmt.Errorf("the parameter %s: %s", gitindex.Clean(name, 100), gitindex.Clean(err.Error(), 100))
		}
	}
	for name, text := range sorted(files) {
		content := func([]rune) (any, error) { return text, nil }
		if err := strvals.ParseIntoFile(name+"=file", values, content); err != nil {
			return fmt.Errorf("the file parameter %s: %s", gitindex.Clean(name, 100), gitindex.Clean(err.Error(), 100))
		}
	}
	return nil
}

func (v *valuesOf) fileParameter(p FileParameter) (string, error) {
	f, err := v.locate(p.Path)
	if err != nil {
		return "", err
	}
	text, err := fs.ReadFile(f.files, f.name)
	if err == nil && len(text) > maxText {
		err = fmt.Errorf("is larger than %d MiB", maxText>>20)
	}
	return string(text), err
}

// maxText is the most that one file of options may hold.
const maxText = 16 << 20

// escape keeps a comma in a value from beginning another one, unless the value
// is a list in braces or the comma is escaped already.
func escape(value string) string {
	if strings.HasPrefix(value, "{") && strings.HasSuffix(value, "}") {
		return value
	}
	var b strings.Builder
	before := rune(0)
	for _, r := range value {
		if r == ',' && before != '\\' {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
		before = r
	}
	return b.String()
}

// orderless refuses parameters whose order would count.
func orderless(parameters map[string]string) error {
	for name := range parameters {
		for other := range parameters {
			rest, longer := strings.CutPrefix(other, name)
			if longer && rest != "" && strings.ContainsAny(rest[:1], ".[") {
				return fmt.Errorf("the parameters %s and %s set one value, in an order that Argo CD does not keep: %w",
					gitindex.Clean(name, 100), gitindex.Clean(other, 100), render.ErrUnstable)
			}
		}
	}
	return nil
}
