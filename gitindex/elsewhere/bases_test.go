package elsewhere

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/gitrepo"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/test/corpus"
	"github.com/gitward/gitward/test/gitserver"
)

// TestBaseURLs are kustomize's own examples and those of real repositories;
// what they mean is what kustomize's parser makes of them.
func TestBaseURLs(t *testing.T) {
	for text, want := range map[string]base{
		"https://github.com/acme/app":                                    {clone: "https://github.com/acme/app", dir: "."},
		"https://github.com/acme/app/config/default?ref=abc":             {clone: "https://github.com/acme/app", dir: "config/default", ref: "abc"},
		"https://github.com/acme/app//k8s?ref=v1":                        {clone: "https://github.com/acme/app", dir: "k8s", ref: "v1"},
		"https://github.com/acme/app/config/?ref=v1&submodules=false":    {clone: "https://github.com/acme/app", dir: "config", ref: "v1"},
		"github.com/acme/app//deploy?version=v2":                         {clone: "https://github.com/acme/app", dir: "deploy", ref: "v2"},
		"github.com/acme/app?ref=v2&version=v1":                          {clone: "https://github.com/acme/app", dir: ".", ref: "v2"},
		"https://git.example.org/group/sub/app.git//base?ref=v1":         {clone: "https://git.example.org/group/sub/app.git", dir: "base", ref: "v1"},
		"https://git.example.org/group/sub/app.git/base?ref=v1":          {clone: "https://git.example.org/group/sub/app.git", dir: "base", ref: "v1"},
		"git::https://git.example.org/group/app.git":                     {clone: "https://git.example.org/group/app.git", dir: "."},
		"git@github.com:acme/app.git//base?ref=v1":                       {clone: "ssh://git@github.com/acme/app.git", dir: "base", ref: "v1"},
		"git@github.com:acme/app":                                        {clone: "ssh://git@github.com/acme/app", dir: "."},
		"github.com:acme/app//x":                                         {clone: "ssh://git@github.com/acme/app", dir: "x"},
		"ssh://git@example.org:2222/acme/app.git//x":                     {clone: "ssh://git@example.org:2222/acme/app.git", dir: "x"},
		"https://dev.azure.com/org/project/_git/repo/path/x?ref=main":    {clone: "https://dev.azure.com/org/project/_git/repo", dir: "path/x", ref: "main"},
		"https://raw.githubusercontent.com/acme/app/v1/crd.yaml":         {file: true, dir: "crd.yaml"},
		"https://github.com/acme/app/releases/download/v1/install.yaml":  {file: true, dir: "install.yaml"},
		"https://raw.githubusercontent.com/acme/app/v1/a.yaml?token=abc": {file: true, dir: "a.yaml"},
		"https://github.com/acme/app//deploy/all.yaml?ref=v1":            {clone: "https://github.com/acme/app", dir: "deploy/all.yaml", ref: "v1"},
		"https://org@dev.azure.com/org/project/_git/repo?ref=main":       {clone: "https://dev.azure.com/org/project/_git/repo", dir: ".", ref: "main"},
		"oci://ghcr.io/acme/manifests:v1":                                {oci: "oci://ghcr.io/acme/manifests", version: "v1", dir: "."},
		"oci://reg.example.org:5000/acme/m":                              {oci: "oci://reg.example.org:5000/acme/m", version: "latest", dir: "."},
	} {
		got, err := parseBase(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got.text, got.host = "", nil
		if *got != want {
			t.Errorf("%s:\n got %+v\nwant %+v", text, *got, want)
		}
		if !IsRemote(text) {
			t.Errorf("%s is taken for a path", text)
		}
	}
	for _, text := range []string{"", "base", "../base", "/etc", "https://", "file:///etc", "https://github.com/acme", "https://ada:pw@github.com/acme/app", "ftp://x/y/z",
		"https://github.com/acme/app/../../x", "https://github.com/acme/app//../x", "https://github.com/acme/app//a/../../x", "oci://ghcr.io/acme/m@sha256:abc", "oci://", "oci://ghcr.io/ACME/m",
		"https://github.com/acme/app\n//x", "git@github.com:", "https://github.com/acme/app?ref=%zz", "ext::sh -c x", "-oProxyCommand=x@host:path"} {
		if b, err := parseBase(text); !errors.Is(err, ErrRefused) {
			t.Errorf("%q is taken: %+v, %v", text, b, err)
		} else if strings.Contains(err.Error(), "pw") {
			t.Errorf("the error tells a password: %v", err)
		}
	}
	for _, text := range []string{"base", "../base", "deployment.yaml", "./a@b/c", "github.com", "a/b:c"} {
		if IsRemote(text) {
			t.Errorf("%s is taken for remote", text)
		}
	}
}

// repositories is a Git of gitrepo's, as the wiring makes one.
type repositories struct {
	t    testing.TB
	ca   []byte
	asks []string
}

func (g *repositories) Tree(ctx context.Context, at, ref string) (fs.FS, string, error) {
	g.asks = append(g.asks, at+" "+ref)
	remote := gitrepo.Remote{URL: at, Credentials: gitrepo.Credentials{CA: g.ca}}
	if commitID.MatchString(ref) {
		remote.Ref.Commit = ref
	} else {
		remote.Ref.Branch = ref
	}
	repo, err := gitrepo.Open(g.t.TempDir(), remote, gitrepo.DefaultLimits())
	if err != nil {
		return nil, "", err
	}
	defer repo.Close()
	tip, err := repo.Fetch(ctx)
	if err != nil {
		return nil, "", err
	}
	entries, err := repo.Tree(ctx, tip)
	if err != nil {
		return nil, "", err
	}
	found := map[string][]byte{}
	for name, e := range entries {
		if found[name], err = repo.Blob(e.ID); err != nil {
			return nil, "", err
		}
	}
	tree, err := newFiles(found)
	return tree, tip, err
}

func TestGitBase(t *testing.T) {
	corpus.Programs(t, "git")
	root := t.TempDir()
	repo, err := gitserver.NewRepo(root + "/acme/app.git")
	if err != nil {
		t.Fatal(err)
	}
	commit := func(text string) string {
		id, err := repo.Commit(gitserver.CommitOptions{Message: text, Author: gitindex.Person{Name: "Ada"}, Files: map[string]string{"base/kustomization.yaml": text, "common/a.yaml": "a"}})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	first := commit("one")
	server, err := gitserver.NewHTTP(gitserver.HTTPOptions{Root: root, TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	u, _ := url.Parse(server.URL)
	git := &repositories{t: t, ca: server.CA}
	entry := Host{Name: u.Host, Private: true}
	s := store(t, entry)
	s.Git = git
	uses := firstUse{}
	s.FirstUse = uses
	at := server.URL + "/acme/app.git//base?ref="

	tree, pin, err := s.Base(at + "main")
	if err != nil || pin.Digest != "sha1:"+first || pin.Version != "main" {
		t.Fatal(pin, err)
	}
	if b, ok := tree.(render.BaseFS); !ok || b.BaseDir() != "base" {
		t.Errorf("%T is no base in its directory", tree)
	}
	for name, want := range map[string]string{"base/kustomization.yaml": "one", "common/a.yaml": "a"} {
		if text, err := fs.ReadFile(tree, name); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	second := commit("two")
	if _, again, err := s.Base(at + "main"); err != nil || again != pin {
		t.Errorf("the branch moves the base along: %v, %v", again, err)
	}
	locked := store(t, entry)
	locked.Git, locked.Lock = git, &Lock{Bases: []LockedBase{{URL: at + "main", Commit: second}}}
	if _, got, err := locked.Base(at + "main"); err != nil || got.Digest != "sha1:"+second {
		t.Errorf("%v, %v", got, err)
	}
	// A full commit id in the URL is a pin.
	own := store(t, entry)
	own.Git = git
	if _, got, err := own.Base(at + first); err != nil || got.Digest != "sha1:"+first {
		t.Errorf("%v, %v", got, err)
	}
	asked := len(git.asks)
	for name, test := range map[string]struct {
		host Host
		url  string
		say  string
	}{
		"another host":  {Host{Name: "git.example.org"}, at + first, "not one that the Origin allows"},
		"private":       {Host{Name: u.Host}, at + first, "a private one"},
		"a signature":   {Host{Name: u.Host, Private: true, Keys: publicKey(t, newKey(t))}, at + first, "only OCI content"},
		"short id":      {entry, at + first[:12], "nothing in Git says"},
		"not a commit":  {entry, at + "main", "nothing in Git says"},
		"a local path":  {entry, "file:///etc/x.git", "no URL that kustomize takes"},
		"wrong lock":    {entry, at + "other", "cannot be the digest"},
		"plain http to": {entry, strings.Replace(at, "https", "http", 1) + first, "plain http"},
	} {
		s := store(t, test.host)
		s.Git, s.Lock = git, &Lock{Bases: []LockedBase{{URL: at + "other", Digest: "sha256:" + strings.Repeat("a", 64)}}}
		if _, _, err := s.Base(test.url); err == nil || !strings.Contains(err.Error(), test.say) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(git.asks) != asked {
		t.Errorf("Git was asked all the same: %q", git.asks[asked:])
	}
	s.Git = lying{}
	uses["base "+at+"main"] = pin
	var mismatch *MismatchError
	if _, _, err := s.Base(at + "main"); !errors.As(err, &mismatch) {
		t.Errorf("another commit than the pinned one: %v", err)
	}
}

type lying struct{}

func (lying) Tree(context.Context, string, string) (fs.FS, string, error) {
	return &files{}, strings.Repeat("e", 40), nil
}

func TestFileBase(t *testing.T) {
	h := newHost(t)
	h.put("/v1/crd.yaml", []byte("kind: CustomResourceDefinition\n"))
	s := store(t, h.entry())
	uses := firstUse{}
	s.FirstUse = uses
	at := h.URL + "/v1/crd.yaml"
	tree, pin, err := s.Base(at)
	if err != nil || pin.Digest != digestOf([]byte("kind: CustomResourceDefinition\n")) {
		t.Fatal(pin, err)
	}
	dir := tree.(render.BaseFS).BaseDir()
	if text, err := fs.ReadFile(tree, dir); err != nil || dir != "crd.yaml" || string(text) != "kind: CustomResourceDefinition\n" {
		t.Errorf("%s: %q, %v", dir, text, err)
	}
	h.put("/v1/crd.yaml", []byte("kind: Evil\n"))
	if _, again, err := s.Base(at); err != nil || again != pin {
		t.Errorf("what is kept: %v, %v", again, err)
	}
	s.Cache = nil
	_, _, err = s.Base(at)
	mustSay(t, err, pin.Digest, digestOf([]byte("kind: Evil\n")))
	if uses[baseKey(at)] != pin {
		t.Error("the record has changed")
	}
}

// TestFluxArtifact: the source of a Flux Kustomization may be an artifact.
func TestFluxArtifact(t *testing.T) {
	o := newOCI(t, "acme/manifests")
	archive := tgz(t, entry{name: "./deploy/kustomization.yaml", text: "resources: [a.yaml]"}, entry{name: "deploy/a.yaml", text: "kind: ConfigMap"})
	digest := o.manifest(t, "v1", "application/vnd.cncf.flux.config.v1+json", layer{MediaType: "application/vnd.cncf.flux.content.v1.tar+gzip", Digest: o.blob(archive)})
	s := store(t, o.entry())
	s.FirstUse = firstUse{}
	for _, at := range []string{":v1", "@" + digest, ":v1@" + digest} {
		tree, pin, err := s.Base("oci://" + o.host.name + "/acme/manifests" + at)
		if err != nil || pin.Digest != digest {
			t.Fatal(at, pin, err)
		}
		if text, err := fs.ReadFile(tree, "deploy/a.yaml"); err != nil || string(text) != "kind: ConfigMap" {
			t.Errorf("%q, %v", text, err)
		}
	}
	// An index of images is no artifact, and an image's layer no chart.
	o.on("/v2/acme/manifests/manifests/many", o.guard(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`))
	}))
	o.manifest(t, "none", "x", layer{MediaType: "application/octet-stream", Digest: o.blob([]byte("x"))})
	for tag, say := range map[string]string{"many": "want an artifact's", "none": "no layer that is a gzipped archive", "missing": "no such thing"} {
		_, _, err := s.Base("oci://" + o.host.name + "/acme/manifests:" + tag)
		mustSay(t, err, say)
	}
}
