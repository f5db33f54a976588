// Package kustomize answers: what does kustomize make of this directory of the
// tree?
//
// The work is kustomize's own (sigs.k8s.io/kustomize/api/krusty), over a file
// system that reads the trusted tree and nothing else. kustomize runs git and
// speaks HTTP for every reference that looks like an address, so no
// kustomization reaches it unexamined: the file system examines each one at the
// moment it is read (see examination). Plugins, functions and the helm binary
// are never run.
package kustomize

import (
	"fmt"
	"path"
	"strings"
	"sync"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/openapi"
)

// Options say how a directory is built. The zero value is what Flux does
// without an opener: no load restriction inside the tree.
type Options struct {
	// Restrict is kustomize's load restriction, on by default in kustomize and
	// Argo CD: files are read from a kustomization's own directory or below it.
	Restrict bool
	// Overlay holds files that replace or add to the tree's, by clean path: a
	// kustomization that an applier writes or edits before it builds.
	Overlay map[string][]byte
	// Hidden says that a file or directory of the tree is not there: an applier
	// whose copy of the tree leaves files out. It may be nil. The overlay is
	// not asked.
	Hidden func(name string, dir bool) bool
	// NoLinks says that symbolic links are not there, for the same reason.
	NoLinks bool
	// Encrypted keeps documents that SOPS encrypted as they are, for a caller
	// that knows what its applier does with them. Otherwise they are refused.
	Encrypted bool
	// Decrypt gives what an applier puts in the place of a file before it
	// builds: of each that a secretGenerator or a patch reads. A nil answer
	// leaves the file as it is.
	Decrypt func(s Secret) ([]byte, error)
	// Builtins loads Kubernetes' own schema before one that a kustomization
	// names in openapi.path, as Flux does; the kustomize command does not.
	Builtins bool
	Limits   render.Limits
}

// Build gives the objects that the directory builds to, in kustomize's order.
// The error names the file and field; it holds a *render.NeedsError where the
// build needs what is not in the tree.
func Build(src render.Sources, dir string, o Options) ([]render.Object, error) {
	built, err := Run(src, dir, o)
	if err != nil {
		return nil, err
	}
	objects, problems := built.Read()
	if len(problems) > 0 {
		return nil, fmt.Errorf("building %s with kustomize: %v", gitindex.Clean(shown(built.dir), 200), problems[0])
	}
	return objects, nil
}

// Render is Build for a unit: what one object lacks is a problem and does not
// take the others down.
func Render(src render.Sources, dir string, o Options) (render.Output, error) {
	built, err := Run(src, dir, o)
	if err != nil {
		return render.Output{}, err
	}
	objects, problems := built.Read()
	return render.Output{Objects: objects, Problems: problems, Level: built.Level}, nil
}

// Secret is a file that an applier may decrypt before it builds.
type Secret struct {
	Path string // in the tree
	Data []byte
	Use  string // "file", "env" or "patch"
}

// Built is a directory that kustomize has built.
type Built struct {
	// Resources are kustomize's own words for the objects.
	Resources resmap.ResMap
	// Level is Pinned if a base came from elsewhere, Rendered otherwise.
	Level gitindex.Level
	// Hashed are the names of generated Secrets that end in a hash over what
	// Options.Decrypt gave.
	Hashed []string

	dir     string
	options Options
	tree    *tree
	places  *places
}

// one guards kustomize's schema, which is a variable of its package
// (https://github.com/kubernetes-sigs/kustomize/issues/3659).
var one sync.Mutex

// plainSchema is the name of the schema that a fresh process has.
var plainSchema = openapi.GetSchemaVersion()

// Run builds the directory and leaves the result as kustomize has it.
func Run(src render.Sources, dir string, o Options) (*Built, error) {
	clean, err := cleanDir(dir)
	if err != nil {
		return nil, err
	}
	t := newTree(src, o)
	resources, err := t.run(path.Join(treeRoot, clean))
	if t.refused != nil { // kustomize takes a kustomization that cannot be read for a missing one
		err = t.refused
	}
	if err != nil {
		return nil, fmt.Errorf("building %s with kustomize: %w", gitindex.Clean(shown(clean), 200), t.plain(err))
	}
	level := gitindex.Rendered
	if t.elsewhere {
		level = gitindex.Pinned
	}
	return &Built{Resources: resources, Level: level, Hashed: t.hashed, dir: clean, options: o, tree: t}, nil
}

// run builds with the schema that a fresh process has. kustomize itself lets a
// schema that one build names reach the next: SetSchema keeps an earlier one.
func (t *tree) run(dir string) (resmap.ResMap, error) {
	one.Lock()
	defer one.Unlock()
	defer forget()
	if t.options.Builtins {
		_ = openapi.Schema()
	}
	result, err := t.attempt(dir)
	if openapi.GetSchemaVersion() == plainSchema || t.options.Builtins {
		return result, err
	}
	// A schema of its own was added to what earlier builds had loaded, which
	// the command, one process for each build, would not have.
	openapi.ResetOpenAPI()
	return t.attempt(dir)
}

func forget() {
	if openapi.GetSchemaVersion() != plainSchema {
		openapi.ResetOpenAPI()
	}
}

func (t *tree) attempt(dir string) (result resmap.ResMap, err error) {
	defer func() { // kustomize panics on some broken objects
		if p := recover(); p != nil {
			result, err = nil, fmt.Errorf("kustomize panicked: %s", gitindex.Clean(fmt.Sprint(p), 200))
		}
	}()
	return krusty.MakeKustomizer(t.krusty()).Run(t, dir)
}

func (t *tree) krusty() *krusty.Options {
	o := krusty.MakeDefaultOptions() // no plugins, no order but the files'
	if !t.options.Restrict {
		o.LoadRestrictions = types.LoadRestrictionsNone
	}
	return o
}

func cleanDir(dir string) (string, error) {
	clean := path.Clean("/" + dir)[1:]
	if strings.Contains(dir, "\x00") || path.IsAbs(dir) || dir == ".." || strings.HasPrefix(path.Clean(dir), "../") {
		return "", fmt.Errorf("%q is no directory of the tree", gitindex.Clean(dir, 200))
	}
	return clean, nil
}

// shown is a directory as people write it.
func shown(dir string) string {
	if dir == "" {
		return "the root"
	}
	return dir
}

// plainError keeps an error's kind and takes the virtual places out of its text.
type plainError struct {
	text string
	err  error
}

func (e *plainError) Error() string { return e.text }
func (e *plainError) Unwrap() error { return e.err }

// plain cuts kustomize's text, which may repeat whole documents.
func (t *tree) plain(err error) error {
	text := strings.ReplaceAll(err.Error(), treeRoot+"/", "")
	text = strings.ReplaceAll(strings.Join(strings.Fields(text), " "), treeRoot, ".")
	return &plainError{gitindex.Clean(text, 600), err}
}
