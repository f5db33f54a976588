package elsewhere

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// LockPath is where a repository's lock file lies. It is signed as everything
// there is, so whoever may sign says what content from elsewhere is.
const LockPath = ".gitward/lock.yaml"

const (
	lockVersion = "gitward.dev/v1alpha1"
	lockKind    = "Lock"
	lockBytes   = 4 << 20
)

// Lock says which content each chart and base from elsewhere is.
type Lock struct {
	Charts []LockedChart `json:"charts,omitempty"`
	Bases  []LockedBase  `json:"bases,omitempty"`
}

// LockedChart is one chart. Version is as it is asked for, and may be a range
// or empty; Resolved is the version that it was then.
type LockedChart struct {
	Repository string `json:"repository,omitempty" yaml:"repository,omitempty"`
	OCI        string `json:"oci,omitempty" yaml:"oci,omitempty"`
	Name       string `json:"name,omitempty" yaml:"name,omitempty"`
	Version    string `json:"version,omitempty" yaml:"version,omitempty"`
	Resolved   string `json:"resolved,omitempty" yaml:"resolved,omitempty"`
	Digest     string `json:"digest" yaml:"digest"`
}

// LockedBase is one base: a commit of another repository, or the digest of a
// file or OCI artifact.
type LockedBase struct {
	URL    string `json:"url" yaml:"url"` // as the kustomization has it
	Commit string `json:"commit,omitempty" yaml:"commit,omitempty"`
	Digest string `json:"digest,omitempty" yaml:"digest,omitempty"`
}

// Ref is the reference that the entry stands for.
func (c LockedChart) Ref() render.ChartRef {
	return render.ChartRef{Repository: c.Repository, OCI: c.OCI, Name: c.Name, Version: c.Version}
}

// Pin is what the entry pins the chart to.
func (c LockedChart) Pin() render.Pin { return render.Pin{Digest: c.Digest, Version: c.Resolved} }

// Pin is what the entry pins the base to.
func (b LockedBase) Pin() render.Pin {
	if b.Commit != "" {
		return render.Pin{Digest: commitPin + b.Commit}
	}
	return render.Pin{Digest: b.Digest}
}

// asks is what a reference asks for, written in one way: a repository is the
// same with a slash at its end, an OCI reference has the name in it, and Flux
// writes "*" where Helm writes nothing.
func asks(ref render.ChartRef) render.ChartRef {
	ref.Repository, ref.OCI, ref.Digest = strings.TrimRight(ref.Repository, "/"), strings.TrimRight(ref.OCI, "/"), ""
	if ref.OCI != "" {
		ref.Name = ""
	}
	if ref.Version == "*" {
		ref.Version = ""
	}
	return ref
}

// Chart is the pin of a reference, if there is one. A nil Lock has none.
func (l *Lock) Chart(ref render.ChartRef) (render.Pin, bool) {
	if l == nil {
		return render.Pin{}, false
	}
	for _, c := range l.Charts {
		if asks(c.Ref()) == asks(ref) {
			return c.Pin(), true
		}
	}
	return render.Pin{}, false
}

// Base is the pin of a base, if there is one.
func (l *Lock) Base(url string) (render.Pin, bool) {
	if l == nil {
		return render.Pin{}, false
	}
	for _, b := range l.Bases {
		if b.URL == url {
			return b.Pin(), true
		}
	}
	return render.Pin{}, false
}

// String is the lock file: the same entries always make the same bytes.
func (l *Lock) String() string {
	slices.SortFunc(l.Charts, func(a, b LockedChart) int { return strings.Compare(a.order(), b.order()) })
	slices.SortFunc(l.Bases, func(a, b LockedBase) int { return strings.Compare(a.URL, b.URL) })
	var b bytes.Buffer
	b.WriteString("# What charts and bases from elsewhere are. \"gitward lock\" writes this file.\n")
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	// Encoding plain structs of strings into memory cannot fail.
	_ = e.Encode(struct {
		APIVersion string        `yaml:"apiVersion"`
		Kind       string        `yaml:"kind"`
		Charts     []LockedChart `yaml:"charts,omitempty"`
		Bases      []LockedBase  `yaml:"bases,omitempty"`
	}{lockVersion, lockKind, l.Charts, l.Bases})
	_ = e.Close()
	return b.String()
}

func (c LockedChart) order() string {
	return strings.Join([]string{c.Repository, c.OCI, c.Name, c.Version}, "\x00")
}

// ParseLock reads a lock file. What it does not know is an error: it may be
// what somebody relies on.
func ParseLock(text []byte) (*Lock, error) {
	l, err := parseLock(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", LockPath, err)
	}
	return l, nil
}

func parseLock(text []byte) (*Lock, error) {
	if len(text) > lockBytes {
		return nil, fmt.Errorf("it is larger than %d bytes", lockBytes)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	var root, more yaml.Node
	if err := d.Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it is empty")
		}
		return nil, errors.New(gitindex.Clean(strings.TrimPrefix(err.Error(), "yaml: "), 300))
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("it holds more than one document")
	}
	p := &lockParser{seen: map[string]bool{}}
	p.document(root.Content[0])
	return &p.lock, p.err
}

// lockParser walks the nodes of a lock file, and keeps its first error.
type lockParser struct {
	lock Lock
	seen map[string]bool
	err  error
}

func (p *lockParser) fail(n *yaml.Node, format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("line %d: "+format, append([]any{n.Line}, args...)...)
	}
}

// fields hands each field of a mapping to what takes it.
func (p *lockParser) fields(n *yaml.Node, take map[string]func(*yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		p.fail(n, "want a mapping")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case seen[key.Value]:
			p.fail(key, "%q stands there twice", gitindex.Clean(key.Value, 60))
		case take[key.Value] == nil:
			p.fail(key, "unknown field %q", gitindex.Clean(key.Value, 60))
		case p.err == nil:
			take[key.Value](value)
		}
		seen[key.Value] = true
	}
}

func (p *lockParser) text(into *string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		*into = n.Value
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || n.Value == "" {
			p.fail(n, "want a text that is not empty")
		} else if gitindex.Clean(n.Value, 4096) != n.Value {
			p.fail(n, "a text with control characters, or too long a one")
		}
	}
}

func (p *lockParser) list(each func(*yaml.Node)) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.SequenceNode {
			p.fail(n, "want a list")
			return
		}
		for _, item := range n.Content {
			each(item)
		}
	}
}

func (p *lockParser) document(n *yaml.Node) {
	var version, kind string
	p.fields(n, map[string]func(*yaml.Node){
		"apiVersion": p.text(&version), "kind": p.text(&kind), "charts": p.list(p.chart), "bases": p.list(p.base),
	})
	if version != lockVersion || kind != lockKind {
		p.fail(n, "it is a %q of %q: want a %s of %s", gitindex.Clean(kind, 60), gitindex.Clean(version, 60), lockKind, lockVersion)
	}
}

func (p *lockParser) chart(n *yaml.Node) {
	var c LockedChart
	p.fields(n, map[string]func(*yaml.Node){"repository": p.text(&c.Repository), "oci": p.text(&c.OCI), "name": p.text(&c.Name),
		"version": p.text(&c.Version), "resolved": p.text(&c.Resolved), "digest": p.text(&c.Digest)})
	if err := checkRef(c.Ref()); err != nil {
		p.fail(n, "%v", err)
	} else if !sha256Digest.MatchString(c.Digest) {
		p.fail(n, "want a digest: sha256: and 64 hex digits")
	}
	p.once(n, chartKey(c.Ref()))
	p.lock.Charts = append(p.lock.Charts, c)
}

func (p *lockParser) base(n *yaml.Node) {
	var b LockedBase
	p.fields(n, map[string]func(*yaml.Node){"url": p.text(&b.URL), "commit": p.text(&b.Commit), "digest": p.text(&b.Digest)})
	switch {
	case b.URL == "":
		p.fail(n, "want a url")
	case commitID.MatchString(b.Commit) == sha256Digest.MatchString(b.Digest), b.Commit != "" && b.Digest != "":
		p.fail(n, "want either a commit of 40 hex digits, or a digest: sha256: and 64 hex digits")
	}
	p.once(n, baseKey(b.URL))
	p.lock.Bases = append(p.lock.Bases, b)
}

func (p *lockParser) once(n *yaml.Node, what string) {
	if p.seen[what] {
		p.fail(n, "%s stands there twice", gitindex.Clean(what, 200))
	}
	p.seen[what] = true
}
