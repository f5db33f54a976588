package controller

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/signature"
	"github.com/gitward/gitward/test/gitserver"
)

// scene is a repository with two trusted people, a stranger, and a tracker.
type scene struct {
	t               testing.TB
	repo            *gitserver.Repo
	ada, ben, alien *gitserver.SSHSigner
	settings        Settings
	tracker         *Tracker
	now             time.Time
}

func newScene(t testing.TB) *scene {
	t.Helper()
	w := &scene{t: t, now: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}
	var err error
	if w.repo, err = gitserver.NewRepo(filepath.Join(t.TempDir(), "repo.git")); err != nil {
		t.Fatal(err)
	}
	for _, s := range []**gitserver.SSHSigner{&w.ada, &w.ben, &w.alien} {
		if *s, err = gitserver.NewSSHSigner(); err != nil {
			t.Fatal(err)
		}
	}
	keyring, err := signature.NewKeyring(map[string][]byte{"ada.pub": []byte(w.ada.PublicLine), "ben.pub": []byte(w.ben.PublicLine)})
	if err != nil {
		t.Fatal(err)
	}
	origin := v1alpha1.Origin{Spec: v1alpha1.OriginSpec{URL: w.repo.Dir, Ref: &v1alpha1.GitRef{Branch: "main"}}}
	origin.SetDefaults()
	w.settings = Settings{Name: "platform", Spec: origin.Spec, Keyring: keyring, Dir: t.TempDir(), AllowLocal: true, Now: func() time.Time { return w.now }}
	return w
}

// commit adds one commit; a nil content deletes.
func (w *scene) commit(signer gitserver.Signer, files map[string]string) string {
	w.t.Helper()
	o := gitserver.CommitOptions{Files: map[string]string{}, Message: "a change", Signer: signer}
	for p, c := range files {
		if c == "" {
			o.Delete = append(o.Delete, p)
		} else {
			o.Files[p] = c
		}
	}
	return w.add(o)
}

func (w *scene) add(o gitserver.CommitOptions) string {
	w.t.Helper()
	id, err := w.repo.Commit(o)
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *scene) open() {
	w.t.Helper()
	t, err := NewTracker(w.settings)
	if err != nil {
		w.t.Fatal(err)
	}
	w.tracker = t
	w.t.Cleanup(func() { t.Close() })
}

func (w *scene) sync() *gitindex.Snapshot {
	w.t.Helper()
	if w.tracker == nil {
		w.open()
	}
	s, err := w.tracker.Sync(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *scene) restart() {
	w.t.Helper()
	if err := w.tracker.Save(); err != nil {
		w.t.Fatal(err)
	}
	w.tracker.Close()
	w.open()
}

func (w *scene) entry(s *gitindex.Snapshot, name string) *gitindex.Entry {
	w.t.Helper()
	e := s.Lookup(gitindex.Ref{Kind: "ConfigMap", Namespace: "shop", Name: name})
	if e == nil {
		return &gitindex.Entry{}
	}
	return e
}

// from is the commit an object is traced to, "" if it is not declared.
func (w *scene) from(s *gitindex.Snapshot, name string) string {
	e := w.entry(s, name)
	if len(e.Current) == 0 {
		return ""
	}
	return e.Current[0].Commit.ID
}

func (w *scene) want(s *gitindex.Snapshot, name, commit string) {
	w.t.Helper()
	if got := w.from(s, name); got != commit {
		w.t.Errorf("%s is traced to %.7s, want %.7s", name, got, commit)
	}
}

func cm(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: shop}\ndata: {value: %q}\n", name, value)
}

func docs(parts ...string) string { return strings.Join(parts, "---\n") }

func TestProvenanceStaysWithTheObject(t *testing.T) {
	w := newScene(t)
	first := w.commit(w.ada, map[string]string{"a.yaml": docs(cm("one", "1"), cm("two", "1"))})
	s := w.sync()
	w.want(s, "one", first)
	second := w.commit(w.ben, map[string]string{"a.yaml": docs(cm("one", "1"), cm("two", "2"))})
	s = w.sync()
	w.want(s, "one", first) // an edit elsewhere in the file
	w.want(s, "two", second)
	w.commit(w.ada, map[string]string{"a.yaml": "# why\n" + docs(cm("one", "1"), cm("two", "2")), "README.md": "x"})
	w.commit(w.ada, map[string]string{"b.yaml": cm("three", "1")})
	s = w.sync()
	w.want(s, "one", first) // a comment, and a commit elsewhere
	w.want(s, "two", second)
	w.commit(w.ada, map[string]string{"a.yaml": "", "moved/here.yaml": docs(cm("one", "1"), cm("two", "2"))})
	s = w.sync()
	w.want(s, "one", first) // another file
	w.want(s, "two", second)
	if p := w.entry(s, "one").Current[0].Path; p != "moved/here.yaml" {
		t.Errorf("the path is %s", p)
	}
	there := w.commit(w.ada, map[string]string{"moved/here.yaml": docs(cm("one", "9"), cm("two", "2"))})
	back := w.commit(w.ada, map[string]string{"moved/here.yaml": docs(cm("one", "1"), cm("two", "2"))})
	s = w.sync()
	w.want(s, "one", back) // there and back is a change
	if there == back {
		t.Fatal("two commits with one id")
	}
	// A tracker that reads it all at once must come to the same end.
	other := *w
	other.settings.Dir, other.tracker = t.TempDir(), nil
	fresh := other.sync()
	for _, name := range []string{"one", "two", "three"} {
		other.want(fresh, name, w.from(s, name))
	}
}

func TestUntrustedCommitsChangeNothing(t *testing.T) {
	w := newScene(t)
	good := w.commit(w.ada, map[string]string{"a.yaml": cm("a", "1"), "b.yaml": cm("b", "1"), "c.yaml": cm("c", "1")})
	bad := w.commit(nil, map[string]string{"a.yaml": cm("a", "2"), "c.yaml": ""})
	alien := w.commit(w.alien, map[string]string{"d.yaml": cm("d", "1")})
	later := w.commit(w.ada, map[string]string{"b.yaml": cm("b", "2")})
	s := w.sync()
	w.want(s, "a", good)
	w.want(s, "b", later)
	w.want(s, "c", good)
	w.want(s, "d", "")
	if h := w.entry(s, "a").Held; len(h) != 1 || h[0].Commit.ID != bad || h[0].Commit.Verdict.Outcome != gitindex.Unsigned {
		t.Errorf("a is not held back with its commit: %v", h)
	}
	if r := w.entry(s, "c").HeldRemoval; r == nil || r.ID != bad {
		t.Errorf("the held removal of c is %v", r)
	}
	if h := w.entry(s, "d").Held; len(h) != 1 || h[0].Commit.ID != alien || h[0].Commit.Verdict.Outcome != gitindex.UnknownSigner {
		t.Errorf("d is not held back: %v", h)
	}
	if len(s.Held) != 3 {
		t.Errorf("held back: %v", s.Held)
	}
	// Who edits the file with a trusted key vouches for it as it then stands.
	vouched := w.commit(w.ben, map[string]string{"a.yaml": docs(cm("a", "2"), cm("a2", "1"))})
	s = w.sync()
	w.want(s, "a", vouched)
	w.want(s, "a2", vouched)
	if len(w.entry(s, "a").Held) != 0 {
		t.Error("a is still held back")
	}
	if p := w.entry(s, "a").Past; len(p) != 1 || p[0].By.ID != vouched || !p[0].At.Equal(w.now) {
		t.Errorf("the past of a is %v", p)
	}
}

func TestMergeVouchesForWhatItBringsIn(t *testing.T) {
	w := newScene(t)
	base := w.commit(w.ada, map[string]string{"a.yaml": cm("a", "1")})
	side := w.add(gitserver.CommitOptions{Files: map[string]string{"b.yaml": cm("b", "1")}, Message: "unsigned work", Parents: []string{base}, Ref: "refs/heads/side"})
	merge := w.add(gitserver.CommitOptions{Files: map[string]string{"b.yaml": cm("b", "1")}, Message: "merge", Signer: w.ben, Parents: []string{base, side}})
	s := w.sync()
	w.want(s, "b", merge)
	unsigned := w.add(gitserver.CommitOptions{Files: map[string]string{"c.yaml": cm("c", "1")}, Message: "unsigned merge", Parents: []string{merge, side}})
	s = w.sync()
	w.want(s, "c", "")
	if s.Accepted.ID != unsigned {
		t.Errorf("accepted %s", s.Accepted.ID)
	}
}

func TestDeclaredTwice(t *testing.T) {
	w := newScene(t)
	w.commit(w.ada, map[string]string{"a.yaml": cm("a", "1")})
	w.commit(w.ada, map[string]string{"b.yaml": cm("a", "2")})
	w.commit(nil, map[string]string{"c.yaml": cm("a", "3")})
	s := w.sync()
	e := w.entry(s, "a")
	if len(e.Current) != 2 || len(e.Held) != 1 {
		t.Fatalf("%d count and %d are held, want 2 and 1", len(e.Current), len(e.Held))
	}
	if len(s.Problems) != 1 || !strings.Contains(s.Problems[0].String(), "b.yaml:1: declares ConfigMap shop/a, which a.yaml:1 declares as well") {
		t.Errorf("problems: %v", s.Problems)
	}
	w.commit(w.ada, map[string]string{"b.yaml": ""})
	if e = w.entry(w.sync(), "a"); len(e.Current) != 1 || e.Current[0].Path != "a.yaml" {
		t.Errorf("after the removal: %v", e.Current)
	}
}

func TestBrokenFileTakesNothingElseDown(t *testing.T) {
	w := newScene(t)
	w.commit(w.ada, map[string]string{"good.yaml": cm("a", "1"), "bad.yaml": "a: [1\nb: {\n"})
	s := w.sync()
	if w.from(s, "a") == "" || len(s.Problems) != 1 || !strings.HasPrefix(s.Problems[0].String(), "bad.yaml:") {
		t.Errorf("problems: %v", s.Problems)
	}
}

func TestOtherRenderersDirectories(t *testing.T) {
	w := newScene(t)
	w.commit(w.ada, map[string]string{"plain.yaml": cm("a", "1"), "k/base/b.yaml": cm("b", "1"), "chart/templates/c.yaml": cm("c", "1"), "chart/Chart.yaml": "name: x\n"})
	s := w.sync()
	if w.from(s, "b") == "" || w.from(s, "c") != "" {
		t.Error("a chart's template is an object, or a plain file is none")
	}
	w.commit(w.ada, map[string]string{"k/kustomization.yaml": "resources: [base/b.yaml]\n"})
	s = w.sync()
	if w.from(s, "b") != "" || w.from(s, "a") == "" {
		t.Error("a file below a kustomization is still an object of its own, or one that nothing rendered is")
	}
	if len(s.Problems) != 2 || !strings.Contains(s.Problems[1].Message, "renders nothing") {
		t.Errorf("problems: %v", s.Problems)
	}
	w.commit(w.ada, map[string]string{"k/kustomization.yaml": ""})
	if s = w.sync(); w.from(s, "b") == "" {
		t.Error("b is not back")
	}
}

func TestRestartNeedsNoGit(t *testing.T) {
	w := newScene(t)
	first := w.commit(w.ada, map[string]string{"a.yaml": cm("a", "1"), "s.yaml": cm("b", "1")})
	w.sync()
	w.now = w.now.Add(time.Hour)
	second := w.commit(w.ben, map[string]string{"a.yaml": cm("a", "2")})
	w.commit(nil, map[string]string{"a.yaml": cm("a", "3")})
	before := w.sync()
	if err := os.Rename(w.repo.Dir, w.repo.Dir+".away"); err != nil {
		t.Fatal(err)
	}
	w.restart()
	s := w.tracker.Snapshot()
	w.want(s, "a", second)
	w.want(s, "b", first)
	e := w.entry(s, "a")
	if len(e.Past) != 1 || !e.Past[0].At.Equal(w.now) || len(e.Held) != 1 {
		t.Errorf("past %v, held %v", e.Past, e.Held)
	}
	if s.Accepted.ID != before.Accepted.ID || s.Count() != before.Count() || len(s.Held) != len(before.Held) {
		t.Errorf("the snapshot after the restart is another one")
	}
	if e.Current[0].Commit != e.Past[0].By {
		t.Error("one commit is held twice in memory")
	}
	if _, err := w.tracker.Sync(context.Background()); err == nil {
		t.Error("a repository that is gone was fetched")
	}
	w.want(w.tracker.Snapshot(), "a", second)
	if err := os.Rename(w.repo.Dir+".away", w.repo.Dir); err != nil {
		t.Fatal(err)
	}
	third := w.commit(w.ada, map[string]string{"a.yaml": cm("a", "4")})
	w.want(w.sync(), "a", third)
}

func TestDamagedIndexIsBuiltAnew(t *testing.T) {
	w := newScene(t)
	first := w.commit(w.ada, map[string]string{"a.yaml": cm("a", "1")})
	w.sync()
	if err := w.tracker.Save(); err != nil {
		t.Fatal(err)
	}
	name := w.tracker.indexFile()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, len(data) / 2, len(data) - 1} {
		broken := append([]byte(nil), data...)
		broken[at] ^= 1
		if err := os.WriteFile(name, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadState(name); err == nil {
			t.Errorf("a byte flipped at %d goes unnoticed", at)
		}
	}
	w.tracker.Close()
	w.tracker = nil
	w.want(w.sync(), "a", first)
}

func TestRevisionOnlyMovesForward(t *testing.T) {
	w := newScene(t)
	first := w.commit(w.ada, map[string]string{"a.yaml": cm("a", "1")})
	second := w.commit(w.ada, map[string]string{"a.yaml": cm("a", "2")})
	w.sync()
	for name, move := range map[string]func(){
		"rollback": func() { w.repo.SetRef("refs/heads/main", first) },
		"force-push": func() {
			w.add(gitserver.CommitOptions{Files: map[string]string{"a.yaml": cm("a", "3")}, Message: "x", Signer: w.ada, Parents: []string{first}})
		},
	} {
		move()
		s := w.sync()
		w.want(s, "a", second)
		if s.Frozen == "" || s.Accepted.ID != second {
			t.Errorf("%s: frozen %q at %s", name, s.Frozen, s.Accepted.Short())
		}
	}
	// Without its disk, the status of the Origin still remembers.
	w.settings.HighWater, w.settings.Dir, w.tracker = second, t.TempDir(), nil
	if s := w.sync(); s.Accepted != nil || s.Frozen == "" {
		t.Errorf("a history without the high-water mark was accepted: %v", s.Accepted)
	}
	w.repo.SetRef("refs/heads/main", second)
	w.settings.Dir, w.tracker = t.TempDir(), nil
	if s := w.sync(); s.Accepted == nil || s.Accepted.ID != second {
		t.Errorf("the history with the mark is refused: %s", s.Frozen)
	}
}

func TestRequire(t *testing.T) {
	build := func(t *testing.T) (*scene, []string) {
		w := newScene(t)
		return w, []string{
			w.commit(w.ada, map[string]string{"a.yaml": cm("a", "1")}),
			w.commit(nil, map[string]string{"b.yaml": cm("b", "1")}),
			w.commit(w.ben, map[string]string{"c.yaml": cm("c", "1")}),
			w.commit(nil, map[string]string{"d.yaml": cm("d", "1")}),
		}
	}
	for _, c := range []struct {
		require    v1alpha1.Require
		after      int
		a, b, c, d int // commit each is traced to, -1 for none
	}{
		{v1alpha1.RequireChange, -1, 0, -1, 2, -1},
		{v1alpha1.RequireChange, 1, 0, 1, 2, -1},
		{v1alpha1.RequireHead, -1, 0, 1, 2, -1},
		{v1alpha1.RequireHistory, 0, 0, -1, -1, -1},
		{v1alpha1.RequireHistory, 1, 0, 1, 2, -1},
	} {
		t.Run(fmt.Sprint(c.require, c.after), func(t *testing.T) {
			w, ids := build(t)
			w.settings.Spec.Signers.Require = c.require
			if c.after >= 0 {
				w.settings.Spec.Signers.After = ids[c.after]
			}
			s := w.sync()
			for name, i := range map[string]int{"a": c.a, "b": c.b, "c": c.c, "d": c.d} {
				want := ""
				if i >= 0 {
					want = ids[i]
				}
				w.want(s, name, want)
			}
		})
	}
}

func TestTrustChanges(t *testing.T) {
	w := newScene(t)
	first := w.commit(w.ada, map[string]string{"a.yaml": cm("a", "1")})
	alien := w.commit(w.alien, map[string]string{"a.yaml": cm("a", "2")})
	s := w.sync()
	w.want(s, "a", first)
	keyring, err := signature.NewKeyring(map[string][]byte{"ada.pub": []byte(w.ada.PublicLine), "alien.pub": []byte(w.alien.PublicLine)})
	if err != nil {
		t.Fatal(err)
	}
	w.settings.Keyring = keyring
	w.now = w.now.Add(time.Hour)
	w.restart()
	if s := w.tracker.Snapshot(); s != nil && s.Accepted != nil {
		t.Error("an index made under other keys decides")
	}
	s = w.sync()
	w.want(s, "a", alien)
	if seen := w.entry(s, "a").Current[0].Commit.FirstSeen; !seen.Equal(w.now.Add(-time.Hour)) {
		t.Errorf("first seen %v: what was seen when is forgotten", seen)
	}
	// The key goes again: at once, and for what is indexed already.
	if w.settings.Keyring, err = signature.NewKeyring(map[string][]byte{"ada.pub": []byte(w.ada.PublicLine)}); err != nil {
		t.Fatal(err)
	}
	w.restart()
	w.want(w.sync(), "a", first)
}

func TestNamespaceOfTheUnit(t *testing.T) {
	w := newScene(t)
	w.settings.Spec.Render = []v1alpha1.Render{{Path: "apps", Namespace: "shop"}, {Path: "apps/special", Namespace: "other"}}
	bare := "{apiVersion: v1, kind: ConfigMap, metadata: {name: %s}}\n"
	w.commit(w.ada, map[string]string{"apps/a.yaml": fmt.Sprintf(bare, "a"), "apps/special/b.yaml": fmt.Sprintf(bare, "b"), "elsewhere/c.yaml": fmt.Sprintf(bare, "c"),
		"apps/d.yaml": "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: d, namespace: x}}\n",
		"apps/e.yaml": "{apiVersion: example.org/v1, kind: Widget, metadata: {name: e}}\n"})
	s := w.sync()
	for ref, want := range map[gitindex.Ref]bool{
		{Kind: "ConfigMap", Namespace: "shop", Name: "a"}:                    true,
		{Kind: "ConfigMap", Namespace: "default", Name: "a"}:                 false,
		{Kind: "ConfigMap", Namespace: "other", Name: "b"}:                   true,
		{Kind: "ConfigMap", Namespace: "shop", Name: "b"}:                    false,
		{Kind: "ConfigMap", Namespace: "default", Name: "c"}:                 false,
		{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "d"}: true,
		{Group: "example.org", Kind: "Widget", Namespace: "shop", Name: "e"}: true,
		{Group: "example.org", Kind: "Widget", Name: "e"}:                    true,
	} {
		if got := s.Lookup(ref) != nil; got != want {
			t.Errorf("%v declared: %v, want %v", ref, got, want)
		}
	}
	if s.Count() != 4 {
		t.Errorf("%d objects, want 4", s.Count())
	}
}

func TestLinksDeclareNothing(t *testing.T) {
	w := newScene(t)
	w.add(gitserver.CommitOptions{Files: map[string]string{"a.yaml": cm("a", "1"), "link.yaml": "a.yaml"}, Modes: map[string]uint32{"link.yaml": 0o120000},
		Links: map[string]string{"sub.yaml": strings.Repeat("1", 40)}, Message: "x", Signer: w.ada})
	s := w.sync()
	if s.Count() != 1 || len(s.Problems) != 2 {
		t.Errorf("%d objects, problems %v", s.Count(), s.Problems)
	}
}
