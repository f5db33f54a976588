package attack

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/canonical"
	"github.com/gitward/gitward/gitindex/controller"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/gitindex/signature"
	"github.com/gitward/gitward/test/gitserver"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// cluster is a gate over Origins whose content the test writes down.
type cluster struct {
	t       *testing.T
	schemas *canonical.Schemas
	index   gitindex.Index
	rules   []gate.Rule
}

// git makes a cluster whose Origin "platform" declares the objects of text.
func git(t *testing.T, text string, crds ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, index: gitindex.Index{}}
	var raw [][]byte
	for _, crd := range crds {
		raw = append(raw, toJSON(t, crd))
	}
	var errs []error
	if c.schemas, errs = canonical.New(raw...); len(errs) > 0 {
		t.Fatal(errs)
	}
	c.rules = []gate.Rule{{Name: "all", ClusterScoped: true, Lag: 15 * time.Minute, Author: true}}
	return c.origin("platform", text)
}

// origin adds an Origin, which the first rule accepts everywhere.
func (c *cluster) origin(name, text string) *cluster {
	c.t.Helper()
	commit := trusted(name, 1)
	s := &gitindex.Snapshot{Origin: name, URL: "https://git.example.com/" + name + ".git", Ref: "main", Accepted: commit,
		FetchedAt: noon, Objects: map[gitindex.Ref]*gitindex.Entry{}}
	for _, m := range c.manifests(name, text, commit) {
		e := s.Objects[m.Ref]
		if e == nil {
			e = &gitindex.Entry{}
			s.Objects[m.Ref] = e
		}
		e.Current = append(e.Current, m)
	}
	c.index[name] = s.Seal()
	c.rules[0].Origins = append(c.rules[0].Origins, gate.Source{Origin: name})
	return c
}

func trusted(origin string, n int) *gitindex.Commit {
	return &gitindex.Commit{ID: fmt.Sprintf("%x%s", n, strings.Repeat("0", 39)), Author: gitindex.Person{Name: "Ada", Email: "ada@" + origin + ".example"},
		Verdict: gitindex.Verdict{Outcome: gitindex.Good, Signer: gitindex.Signer{Kind: "ssh", Fingerprint: "SHA256:9uKx"}}}
}

func (c *cluster) manifests(origin, text string, commit *gitindex.Commit) []*gitindex.Manifest {
	c.t.Helper()
	objects, problems := render.File("a.yaml", []byte(text), render.Limits{})
	if len(problems) > 0 {
		c.t.Fatal(problems)
	}
	var out []*gitindex.Manifest
	for _, o := range objects {
		m := &gitindex.Manifest{Ref: gitindex.Ref{Group: o.Group, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name},
			APIVersion: strings.TrimPrefix(o.Group+"/"+o.Version, "/"), Origin: origin, Path: "a.yaml", Line: o.Line, Raw: o.JSON, Commit: commit}
		var err error
		if m.Canonical, err = c.schemas.Canonical(o.JSON, o.Version); err != nil {
			c.t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

func (c *cluster) gate() *gate.Gate {
	v := &gate.View{Index: c.index, Schemas: c.schemas, Rules: c.rules}
	return &gate.Gate{View: func() *gate.View { return v }, Now: func() time.Time { return noon }}
}

func (c *cluster) decide(r *gate.Request) gate.Decision {
	return c.gate().Decide(context.Background(), r)
}

// write is a CREATE of object, or an UPDATE of old to it, as it stands.
func write(t *testing.T, old, object string) *gate.Request {
	t.Helper()
	r := &gate.Request{UID: "u", Operation: gate.Create, Object: toJSON(t, object)}
	if old != "" {
		r.Operation, r.OldObject = gate.Update, toJSON(t, old)
	}
	return about(t, r, r.Object)
}

// removal is a DELETE of object.
func removal(t *testing.T, object string) *gate.Request {
	t.Helper()
	r := &gate.Request{UID: "u", Operation: gate.Delete, OldObject: toJSON(t, object)}
	return about(t, r, r.OldObject)
}

func about(t *testing.T, r *gate.Request, object []byte) *gate.Request {
	t.Helper()
	var o struct {
		APIVersion, Kind string
		Metadata         struct{ Namespace, Name string }
	}
	if err := json.Unmarshal(object, &o); err != nil {
		t.Fatal(err)
	}
	group, version, ok := strings.Cut(o.APIVersion, "/")
	if !ok {
		group, version = "", o.APIVersion
	}
	r.Group, r.Version, r.Kind, r.Namespace, r.Name = group, version, o.Kind, o.Metadata.Namespace, o.Metadata.Name
	if o.Kind == "Namespace" {
		r.Namespace = r.Name
	}
	return r
}

func toJSON(t *testing.T, text string) []byte {
	t.Helper()
	out, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// served is the object with the defaults that an API server gives it.
func (c *cluster) served(text string) string {
	c.t.Helper()
	raw := toJSON(c.t, text)
	r := about(c.t, &gate.Request{}, raw)
	full, err := c.schemas.Canonical(raw, r.Version)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(full)
}

// refused wants a refusal of this kind.
func refused(t *testing.T, d gate.Decision, kind gate.Refused) {
	t.Helper()
	if d.Allowed || d.Refusal == nil {
		t.Fatalf("admitted: %s, traced %v", d.Reason, d.Traced)
	}
	if d.Refusal.Kind != kind {
		t.Fatalf("refused as %s, want %s:\n%s", d.Refusal.Kind, kind, d.Message())
	}
}

func admitted(t *testing.T, d gate.Decision) {
	t.Helper()
	if !d.Allowed {
		t.Fatalf("refused:\n%s", d.Message())
	}
}

// naive is the check this project is an answer to: every field that Git
// declares is there, as text, somewhere under its path.
func naive(t *testing.T, git, object string) bool {
	t.Helper()
	have := map[string]bool{}
	flatten("", decode(t, object), func(path, text string) { have[path+"="+text] = true })
	ok := true
	flatten("", decode(t, git), func(path, text string) { ok = ok && have[path+"="+text] })
	return ok
}

func decode(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(toJSON(t, text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func flatten(path string, v any, leaf func(path, text string)) {
	switch x := v.(type) {
	case map[string]any:
		for k, f := range x {
			flatten(path+"."+k, f, leaf)
		}
	case []any:
		for _, f := range x {
			flatten(path, f, leaf)
		}
	default:
		leaf(path, fmt.Sprint(x))
	}
}

// forge is a real repository with one trusted signer, one who is not, and a
// tracker that follows its main branch.
type forge struct {
	t        *testing.T
	repo     *gitserver.Repo
	ada, eve *gitserver.SSHSigner
	settings controller.Settings
	tracker  *controller.Tracker
	now      time.Time
}

func newForge(t *testing.T) *forge {
	t.Helper()
	f := &forge{t: t, now: noon}
	var err error
	if f.repo, err = gitserver.NewRepo(filepath.Join(t.TempDir(), "repo.git")); err != nil {
		t.Fatal(err)
	}
	for _, s := range []**gitserver.SSHSigner{&f.ada, &f.eve} {
		if *s, err = gitserver.NewSSHSigner(); err != nil {
			t.Fatal(err)
		}
	}
	keyring, err := signature.NewKeyring(map[string][]byte{"ada.pub": []byte(f.ada.PublicLine)})
	if err != nil {
		t.Fatal(err)
	}
	o := v1alpha1.Origin{Spec: v1alpha1.OriginSpec{URL: f.repo.Dir, Ref: &v1alpha1.GitRef{Branch: "main"}}}
	o.SetDefaults()
	f.settings = controller.Settings{Name: "platform", Spec: o.Spec, Keyring: keyring, Dir: t.TempDir(), AllowLocal: true,
		Now: func() time.Time { return f.now }}
	return f
}

func (f *forge) commit(o gitserver.CommitOptions) string {
	f.t.Helper()
	id, err := f.repo.Commit(o)
	if err != nil {
		f.t.Fatal(err)
	}
	return id
}

func (f *forge) put(signer gitserver.Signer, path, content string) string {
	f.t.Helper()
	return f.commit(gitserver.CommitOptions{Files: map[string]string{path: content}, Signer: signer})
}

func (f *forge) open() {
	f.t.Helper()
	tracker, err := controller.NewTracker(f.settings)
	if err != nil {
		f.t.Fatal(err)
	}
	f.tracker = tracker
	f.t.Cleanup(func() { tracker.Close() })
}

func (f *forge) sync() *gitindex.Snapshot {
	f.t.Helper()
	if f.tracker == nil {
		f.open()
	}
	s, err := f.tracker.Sync(context.Background())
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// cluster puts a gate before what the forge declares now.
func (f *forge) cluster(s *gitindex.Snapshot) *cluster {
	schemas, _ := canonical.New()
	return &cluster{t: f.t, schemas: schemas, index: gitindex.Index{"platform": s},
		rules: []gate.Rule{{Name: "all", ClusterScoped: true, Origins: []gate.Source{{Origin: "platform"}}, Lag: 15 * time.Minute}}}
}

func cm(value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, namespace: shop}\ndata: {value: %q}\n", value)
}
