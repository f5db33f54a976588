package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/gitrepo"
	"github.com/gitward/gitward/test/corpus"
	"github.com/gitward/gitward/test/gitserver"
)

// chartServer is a Helm repository with one chart.
type chartServer struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string][]byte
}

func newCharts() *chartServer {
	c := &chartServer{files: map[string][]byte{}}
	c.Server = httptest.NewTLSServer(c)
	return c
}

func (c *chartServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	data, ok := c.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(data)
}

func (c *chartServer) publish(versions ...string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	index := "apiVersion: v1\nentries:\n  redis:\n"
	for _, v := range versions {
		data, err := packed("redis/Chart.yaml", "apiVersion: v2\nname: redis\nversion: "+v+"\n")
		if err != nil {
			return err
		}
		c.files["/redis-"+v+".tgz"] = data
		sum := sha256.Sum256(data)
		index += fmt.Sprintf("  - version: %s\n    urls: [redis-%s.tgz]\n    digest: %s\n", v, v, hex.EncodeToString(sum[:]))
	}
	c.files["/index.yaml"] = []byte(index)
	return nil
}

func packed(name, text string) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))})
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	err = errors.Join(err, w.Close(), z.Close())
	return b.Bytes(), err
}

// elsewhereKey is where a story keeps its servers.
type elsewhereKey struct{}

type elsewhereStory struct {
	charts *chartServer
	repo   *gitserver.Repo
}

// TestLockScripts plays the stories of testdata/lock, with a Helm repository
// ($charts) and a Git server ($git) whose authorities are in $credentials.
func TestLockScripts(t *testing.T) {
	corpus.Programs(t, "git")
	testscript.Run(t, testscript.Params{Dir: "testdata/lock", Setup: setUpElsewhere, Cmds: map[string]func(*testscript.TestScript, bool, []string){
		"exits": exitsCommand, "publish": publishCommand, "base": baseCommand, "expand": expandCommand, "away": awayCommand,
	}})
}

func setUpElsewhere(e *testscript.Env) error {
	repo, err := gitserver.NewRepo(filepath.Join(e.WorkDir, "git", "acme", "app.git"))
	if err != nil {
		return err
	}
	git, err := gitserver.NewHTTP(gitserver.HTTPOptions{Root: filepath.Join(e.WorkDir, "git"), TLS: true})
	if err != nil {
		return err
	}
	e.Defer(git.Close)
	s := &elsewhereStory{charts: newCharts(), repo: repo}
	e.Defer(s.charts.Close)
	e.Values[elsewhereKey{}] = s
	home := filepath.Join(e.WorkDir, ".home")
	e.Setenv("HOME", home)
	e.Setenv("XDG_CACHE_HOME", filepath.Join(home, ".cache"))
	e.Setenv("LANG", "C.UTF-8")
	chartHost, gitHost := strings.TrimPrefix(s.charts.URL, "https://"), strings.TrimPrefix(git.URL, "https://")
	e.Setenv("charts", chartHost)
	e.Setenv("git", gitHost)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.charts.Certificate().Raw})
	e.Setenv("credentials", filepath.Join(e.WorkDir, "credentials.yaml"))
	text := fmt.Sprintf("%q: {ca.crt: %q, username: ada, password: pw-s3cret}\n%q: {ca.crt: %q}\n", chartHost, authority, gitHost, git.CA)
	return os.WriteFile(filepath.Join(e.WorkDir, "credentials.yaml"), []byte(text), 0o600)
}

func elsewhereOf(ts *testscript.TestScript) *elsewhereStory {
	return ts.Value(elsewhereKey{}).(*elsewhereStory)
}

// publishCommand has the Helm repository offer these versions: publish VERSION...
func publishCommand(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(elsewhereOf(ts).charts.publish(args...))
}

// awayCommand has the Helm repository be gone: away
func awayCommand(ts *testscript.TestScript, _ bool, _ []string) {
	elsewhereOf(ts).charts.Close()
}

// baseCommand commits to the base's repository, and sets $tip: base TEXT
func baseCommand(ts *testscript.TestScript, _ bool, args []string) {
	id, err := elsewhereOf(ts).repo.Commit(gitserver.CommitOptions{Message: args[0], Files: map[string]string{"k8s/kustomization.yaml": args[0]}})
	ts.Check(err)
	ts.Setenv("tip", id)
}

// expandCommand replaces $charts and $git in files: expand FILE...
func expandCommand(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		text := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o644))
	}
}

// TestRepositoryTree holds the file system of a commit against Go's own rules
// for one, links and all.
func TestRepositoryTree(t *testing.T) {
	dir := t.TempDir()
	repo, err := gitserver.NewRepo(filepath.Join(dir, "a.git"))
	if err != nil {
		t.Fatal(err)
	}
	link := uint32(modeLink)
	if _, err := repo.Commit(gitserver.CommitOptions{Message: "m", Author: gitindex.Person{Name: "Ada"},
		Files: map[string]string{"base/a.yaml": "a", "base/deep/b.yaml": "b", "to-file": "base/a.yaml", "base/to-dir": "deep", "out": "../x", "abs": "/etc/passwd", "round": "about", "about": "round", "up/down": "../base/deep"},
		Modes: map[string]uint32{"to-file": link, "base/to-dir": link, "out": link, "abs": link, "round": link, "about": link, "up/down": link}}); err != nil {
		t.Fatal(err)
	}
	server, err := gitserver.NewHTTP(gitserver.HTTPOptions{Root: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	git := &repositories{dir: t.TempDir(), credentials: map[string]gitrepo.Credentials{}}
	t.Cleanup(func() { _ = git.Close() })
	tree, commit, err := git.Tree(t.Context(), server.URL+"/a.git", "main")
	if err != nil || !fullID.MatchString(commit) {
		t.Fatal(commit, err)
	}
	for name, want := range map[string]string{"base/a.yaml": "a", "to-file": "a", "base/to-dir/b.yaml": "b", "up/down/b.yaml": "b"} {
		if text, err := fs.ReadFile(tree, name); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	for _, name := range []string{"out", "abs", "round", "nothing", "base", "../a.git", "base/a.yaml/x"} {
		if text, err := fs.ReadFile(tree, name); err == nil {
			t.Errorf("%s is %q", name, text)
		}
	}
	entries, err := fs.ReadDir(tree, "up/down")
	if err != nil || len(entries) != 1 || entries[0].Name() != "b.yaml" {
		t.Errorf("%v, %v", entries, err)
	}
	if target, err := fs.ReadLink(tree, "base/to-dir"); err != nil || target != "deep" {
		t.Errorf("%q, %v", target, err)
	}
	again, same, err := git.Tree(t.Context(), server.URL+"/a.git", commit)
	if err != nil || same != commit || again == nil {
		t.Error(same, err)
	}
	before := len(server.Requests())
	if _, _, err := git.Tree(t.Context(), server.URL+"/a.git", commit); err != nil || len(server.Requests()) != before {
		t.Errorf("a commit that is here is asked for: %v", err)
	}
	for _, bad := range []string{"nobody", "../x", "-oProxyCommand=x", strings.Repeat("e", 40)} {
		if _, _, err := git.Tree(t.Context(), server.URL+"/a.git", bad); err == nil {
			t.Errorf("the ref %q is there", bad)
		}
	}
	sub, err := fs.Sub(tree, "base/deep")
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(sub, "b.yaml"); err != nil {
		t.Error(err)
	}
}

func TestHostFlags(t *testing.T) {
	secrets := map[string]gitrepo.Credentials{"a.example.org": {Username: "ada", Password: "pw"}, "b.example.org": {Username: "bob", Password: "pw"}}
	hosts, err := hostsOf([]string{"a.example.org,private,http", "*.c.example.org"}, secrets)
	if err != nil || len(hosts) != 2 || !hosts[0].Private || !hosts[0].InsecureHTTP || hosts[0].Credentials.Username != "ada" || hosts[1].Private {
		t.Errorf("%v, %v", hosts, err)
	}
	hosts, err = hostsOf(nil, secrets)
	var names []string
	for _, h := range hosts {
		names = append(names, h.Name)
		if h.Private || h.InsecureHTTP || (h.Credentials.Username == "") != (h.Name == "*") {
			t.Errorf("%+v", h)
		}
	}
	if slices.Sort(names); err != nil || strings.Join(names, " ") != "* a.example.org b.example.org" {
		t.Errorf("%v, %v", names, err)
	}
	for _, bad := range []string{"a,b", "https://a", "", "a,http,x"} {
		if _, err := hostsOf([]string{bad}, nil); err == nil {
			t.Errorf("--host %q is taken", bad)
		}
	}
}
