package gitrepo_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gitward/gitward/gitindex/gitrepo"
	"github.com/gitward/gitward/test/corpus"
	"github.com/gitward/gitward/test/gitserver"
)

var ctx = context.Background()

// origin makes a repository "app.git" with three commits in a directory to serve.
func origin(t *testing.T) (root string, repo *gitserver.Repo, tip string) {
	t.Helper()
	corpus.Programs(t, "git")
	root = t.TempDir()
	repo = must(gitserver.NewRepo(filepath.Join(root, "app.git")))
	for i := range 3 {
		tip = must(repo.Commit(gitserver.CommitOptions{Files: map[string]string{fmt.Sprintf("apps/%d.yaml", i): fmt.Sprint("a: ", i)}, Message: "add"}))
	}
	return root, repo, tip
}

func serve(t *testing.T, o gitserver.HTTPOptions) *gitserver.HTTP {
	t.Helper()
	s := must(gitserver.NewHTTP(o))
	t.Cleanup(s.Close)
	return s
}

func open(t *testing.T, remote gitrepo.Remote) *gitrepo.Repo {
	t.Helper()
	if remote.Timeout == 0 {
		remote.Timeout = 20 * time.Second
	}
	r, err := gitrepo.Open(t.TempDir(), remote, gitrepo.Limits{})
	check(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

// fetchErr opens and fetches, and gives whichever error comes.
func fetchErr(t *testing.T, remote gitrepo.Remote, limits gitrepo.Limits) error {
	t.Helper()
	if remote.Timeout == 0 {
		remote.Timeout = 20 * time.Second
	}
	r, err := gitrepo.Open(t.TempDir(), remote, limits)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = r.Fetch(ctx)
	return err
}

func wantTip(t *testing.T, r *gitrepo.Repo, want string) {
	t.Helper()
	got, err := r.Fetch(ctx)
	check(t, err)
	if got != want {
		t.Fatalf("tip %s, want %s", got, want)
	}
}

func TestFetchOverHTTPS(t *testing.T) {
	root, repo, tip := origin(t)
	client := must(gitserver.NewAuthority("clients"))
	cert, key, err := gitserver.PEM(must(client.Issue("gitward")))
	check(t, err)
	for _, c := range []struct {
		name  string
		serve gitserver.HTTPOptions
		creds map[string]string
		auth  string
	}{
		{name: "open"},
		{name: "basic", serve: gitserver.HTTPOptions{Username: "ada", Password: "pw-s3cret"}, creds: map[string]string{"username": "ada", "password": "pw-s3cret"}},
		{name: "bearer", serve: gitserver.HTTPOptions{BearerToken: "tok-s3cret"}, creds: map[string]string{"bearerToken": "tok-s3cret"}},
		{name: "client certificate", serve: gitserver.HTTPOptions{ClientCA: client.PEM}, creds: map[string]string{"tls.crt": string(cert), "tls.key": string(key)}},
		{name: "version 0", serve: gitserver.HTTPOptions{NoVersion2: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.serve.Root, c.serve.TLS = root, true
			server := serve(t, c.serve)
			data := map[string][]byte{"ca.crt": server.CA}
			for k, v := range c.creds {
				data[k] = []byte(v)
			}
			remote := gitrepo.Remote{URL: server.URL + "/app.git", Credentials: must(gitrepo.ParseCredentials(data))}
			r := open(t, remote)
			wantTip(t, r, tip)
			asked := len(server.Requests())
			wantTip(t, r, tip)
			// Version 2 greets, then lists the one ref; version 0 does both at once.
			if more := len(server.Requests()) - asked; more > 2 {
				t.Errorf("an unchanged ref cost %d requests", more)
			}
			tip = must(repo.Commit(gitserver.CommitOptions{Files: map[string]string{"b.yaml": c.name}}))
			wantTip(t, r, tip)
			if steps := must(r.Walk(ctx, tip, "")); len(steps) < 4 {
				t.Errorf("%d steps", len(steps))
			}
		})
	}
}

func TestHTTPRefusals(t *testing.T) {
	root, _, _ := origin(t)
	server := serve(t, gitserver.HTTPOptions{Root: root, TLS: true, Username: "ada", Password: "pw-s3cret"})
	plain := serve(t, gitserver.HTTPOptions{Root: root})
	wrong := gitrepo.Credentials{Username: "ada", Password: "wrong-s3cret", CA: server.CA}
	other := must(gitserver.NewAuthority("other"))
	for _, c := range []struct {
		name   string
		remote gitrepo.Remote
		want   error
		text   string
	}{
		{"wrong password", gitrepo.Remote{URL: server.URL + "/app.git", Credentials: wrong}, gitrepo.ErrDenied, "401"},
		{"unknown authority", gitrepo.Remote{URL: server.URL + "/app.git"}, nil, "certificate"},
		{"pinned authority", gitrepo.Remote{URL: server.URL + "/app.git", Credentials: gitrepo.Credentials{CA: other.PEM}}, nil, "certificate"},
		{"credentials over http", gitrepo.Remote{URL: plain.URL + "/app.git", Credentials: gitrepo.Credentials{BearerToken: "tok-s3cret"}}, gitrepo.ErrRefused, "plain http"},
		{"user over http", gitrepo.Remote{URL: strings.Replace(plain.URL, "//", "//ada@", 1) + "/app.git"}, gitrepo.ErrRefused, "plain http"},
		{"password in URL", gitrepo.Remote{URL: strings.Replace(server.URL, "//", "//ada:pw-s3cret@", 1) + "/app.git"}, gitrepo.ErrRefused, "password in the URL"},
		{"no such repository", gitrepo.Remote{URL: plain.URL + "/nix.git"}, gitrepo.ErrDenied, "404"},
		{"no such branch", gitrepo.Remote{URL: plain.URL + "/app.git", Ref: gitrepo.Ref{Branch: "nix"}}, gitrepo.ErrNoRef, "nix"},
		{"two refs", gitrepo.Remote{URL: plain.URL + "/app.git", Ref: gitrepo.Ref{Branch: "main", Tag: "x"}}, gitrepo.ErrRefused, "more than one"},
		{"git scheme", gitrepo.Remote{URL: "git://127.0.0.1/app.git"}, gitrepo.ErrRefused, "scheme"},
		{"ext transport", gitrepo.Remote{URL: "ext::sh -c id"}, gitrepo.ErrRefused, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := fetchErr(t, c.remote, gitrepo.Limits{})
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("got %v, want %v with %q", err, c.want, c.text)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, c.remote, c.remote), "s3cret") {
				t.Errorf("a secret shows: %v, %+v", err, c.remote)
			}
		})
	}
	for _, q := range plain.Requests() {
		if q.Authorization != "" {
			t.Errorf("credentials went over plain http")
		}
	}
}

func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds: left out with -short")
	}
	root, _, tip := origin(t)
	evil := serve(t, gitserver.HTTPOptions{Root: root})
	server := serve(t, gitserver.HTTPOptions{Root: root})
	remote := gitrepo.Remote{URL: server.URL + "/app.git", Timeout: 3 * time.Second}
	small := gitrepo.Limits{PackBytes: 1 << 20, Refs: 1000}
	for _, c := range []struct {
		name  string
		fault gitserver.Fault
		want  error
	}{
		{"hang", gitserver.Fault{Hang: true}, context.DeadlineExceeded},
		{"hang in the pack", gitserver.Fault{On: "/git-upload-pack", Hang: true}, context.DeadlineExceeded},
		{"redirect elsewhere", gitserver.Fault{Redirect: evil.URL}, gitrepo.ErrRefused},
		{"redirect of the pack", gitserver.Fault{On: "/git-upload-pack", Redirect: evil.URL}, gitrepo.ErrRefused},
		{"redirect to another scheme", gitserver.Fault{Redirect: "https" + strings.TrimPrefix(server.URL, "http")}, gitrepo.ErrRefused},
		{"redirect loop", gitserver.Fault{Redirect: server.URL}, gitrepo.ErrRefused},
		{"truncated", gitserver.Fault{On: "/git-upload-pack", Truncate: 40}, nil},
		{"server error", gitserver.Fault{Status: http.StatusInternalServerError}, nil},
		{"endless", gitserver.Fault{On: "/git-upload-pack", Endless: true}, gitrepo.ErrTooLarge},
		{"ref flood", gitserver.Fault{On: "/info/refs", Flood: true}, gitrepo.ErrTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			server.SetFault(c.fault)
			err := fetchErr(t, remote, small)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			t.Log(err)
		})
	}
	if n := len(evil.Requests()); n != 0 {
		t.Errorf("the other host was asked %d times", n)
	}
	server.SetFault(gitserver.Fault{})
	wantTip(t, open(t, remote), tip)
}

func TestFetchOverSSH(t *testing.T) {
	root, repo, tip := origin(t)
	key, stranger := must(gitserver.NewSSHSigner()), must(gitserver.NewSSHSigner())
	for _, v0 := range []bool{false, true} {
		server := must(gitserver.NewSSH(gitserver.SSHOptions{Root: root, Authorized: []ssh.PublicKey{key.Key.PublicKey()}, NoVersion2: v0}))
		t.Cleanup(func() { server.Close() })
		other := must(gitserver.NewSSH(gitserver.SSHOptions{Root: root}))
		t.Cleanup(func() { other.Close() })
		creds := must(gitrepo.ParseCredentials(map[string][]byte{"identity": key.PrivatePEM, "known_hosts": server.KnownHosts}))
		remote := gitrepo.Remote{URL: server.URL("app.git"), Ref: gitrepo.Ref{Branch: "main"}, Credentials: creds}
		r := open(t, remote)
		wantTip(t, r, tip)
		wantTip(t, r, tip)
		tip = must(repo.Commit(gitserver.CommitOptions{Files: map[string]string{"ssh.yaml": fmt.Sprint(v0)}}))
		wantTip(t, r, tip)

		// The host answers with a key that known_hosts does not have for it.
		fake := strings.Replace(string(other.KnownHosts), other.Addr[len("127.0.0.1:"):], server.Addr[len("127.0.0.1:"):], 1)
		for _, c := range []struct {
			name  string
			creds gitrepo.Credentials
			want  error
		}{
			{"wrong host key", gitrepo.Credentials{Identity: key.PrivatePEM, KnownHosts: []byte(fake)}, gitrepo.ErrRefused},
			{"unknown host", gitrepo.Credentials{Identity: key.PrivatePEM, KnownHosts: other.KnownHosts}, gitrepo.ErrRefused},
			{"no known_hosts", gitrepo.Credentials{Identity: key.PrivatePEM}, gitrepo.ErrRefused},
			{"no identity", gitrepo.Credentials{KnownHosts: server.KnownHosts}, gitrepo.ErrRefused},
			{"key not let in", gitrepo.Credentials{Identity: stranger.PrivatePEM, KnownHosts: server.KnownHosts}, gitrepo.ErrDenied},
		} {
			remote.Credentials = c.creds
			if err := fetchErr(t, remote, gitrepo.Limits{}); !errors.Is(err, c.want) {
				t.Errorf("%s: got %v, want %v", c.name, err, c.want)
			}
		}
	}
}

func TestLocal(t *testing.T) {
	_, repo, tip := origin(t)
	for _, url := range []string{repo.Dir, "file://" + repo.Dir} {
		if err := fetchErr(t, gitrepo.Remote{URL: url}, gitrepo.Limits{}); !errors.Is(err, gitrepo.ErrRefused) {
			t.Errorf("%s without AllowLocal: %v", url, err)
		}
		r := open(t, gitrepo.Remote{URL: url, AllowLocal: true})
		wantTip(t, r, tip)
		tip = must(repo.Commit(gitserver.CommitOptions{Files: map[string]string{"local.yaml": url}}))
		wantTip(t, r, tip)
		if steps := must(r.Walk(ctx, tip, "")); len(steps) < 4 {
			t.Errorf("%d steps", len(steps))
		}
	}
	must(repo.Git("repack", "-adq"))
	wantTip(t, open(t, gitrepo.Remote{URL: repo.Dir, AllowLocal: true}), tip)
	sha256 := t.TempDir()
	must(repo.Git("init", "-q", "--bare", "--object-format=sha256", sha256))
	if err := fetchErr(t, gitrepo.Remote{URL: sha256, AllowLocal: true}, gitrepo.Limits{}); !errors.Is(err, gitrepo.ErrUnsupported) {
		t.Errorf("SHA-256 repository: %v", err)
	}
}

func TestObjectFormat(t *testing.T) {
	root, repo, _ := origin(t)
	must(repo.Git("init", "-q", "--bare", "--initial-branch=main", "--object-format=sha256", filepath.Join(root, "new.git")))
	sha256 := &gitserver.Repo{Dir: filepath.Join(root, "new.git")}
	tree := strings.TrimSpace(must(sha256.Git("hash-object", "-w", "-t", "tree", "/dev/null")))
	commit := must(sha256.Git("-c", "user.name=a", "-c", "user.email=a@b", "commit-tree", "-m", "first", tree))
	must(sha256.Git("update-ref", gitserver.MainRef, strings.TrimSpace(commit)))
	for _, v0 := range []bool{false, true} {
		server := serve(t, gitserver.HTTPOptions{Root: root, NoVersion2: v0})
		err := fetchErr(t, gitrepo.Remote{URL: server.URL + "/new.git"}, gitrepo.Limits{})
		if !errors.Is(err, gitrepo.ErrUnsupported) {
			t.Errorf("SHA-256 repository: %v", err)
		}
	}
}

func TestRefs(t *testing.T) {
	root, repo, tip := origin(t)
	server := serve(t, gitserver.HTTPOptions{Root: root})
	old := strings.TrimSpace(must(repo.Git("rev-parse", "main~1")))
	must(repo.Tag("v1.2.0", old, nil))
	check(t, repo.SetRef("refs/tags/1.10.0", tip))
	must(repo.Tag("v2.0.0-rc.1", tip, nil))
	for ref, want := range map[gitrepo.Ref]string{
		{}:                           tip,
		{Branch: "main"}:             tip,
		{Tag: "v1.2.0"}:              old,
		{SemVer: ">=1.0.0 <1.5.0"}:   old,
		{SemVer: ">=1.0.0 <2.0.0-0"}: tip,
		{Name: "refs/heads/main"}:    tip,
		{Commit: old}:                old,
	} {
		for _, url := range []string{server.URL + "/app.git", repo.Dir} {
			r := open(t, gitrepo.Remote{URL: url, Ref: ref, AllowLocal: true})
			got, err := r.Fetch(ctx)
			if err != nil || got != want {
				t.Errorf("%v from %s: %s, %v; want %s", ref, url, got, err, want)
			}
			if isTag := ref.Tag != "" || got == old && ref.SemVer != ""; isTag != (r.Tag() != nil) {
				t.Errorf("%v: tag object %q", ref, r.Tag())
			}
		}
	}
}

func TestRestart(t *testing.T) {
	root, repo, tip := origin(t)
	server := serve(t, gitserver.HTTPOptions{Root: root})
	remote := gitrepo.Remote{URL: server.URL + "/app.git"}
	dir := t.TempDir()
	r := must(gitrepo.Open(dir, remote, gitrepo.Limits{}))
	wantTip(t, r, tip)
	check(t, r.Close())
	r = must(gitrepo.Open(dir, remote, gitrepo.Limits{}))
	defer r.Close()
	wantTip(t, r, tip)
	if n := len(server.Requests()); n > 5 { // greeting, refs, pack; then greeting, refs
		t.Errorf("fetched again after a restart: %v", server.Requests())
	}
	next := must(repo.Commit(gitserver.CommitOptions{Delete: []string{"apps/1.yaml"}}))
	wantTip(t, r, next)
	steps := must(r.Walk(ctx, next, tip))
	if len(steps) != 1 || len(steps[0].Changes) != 1 || !steps[0].Changes[0].New.IsZero() {
		t.Errorf("steps %+v", steps)
	}
	// git can look into the directory and finds nothing amiss.
	bare := &gitserver.Repo{Dir: dir}
	must(bare.Git("fsck", "--full", "--strict"))
	must(bare.Git("verify-pack", must(filepath.Glob(filepath.Join(dir, "objects/pack/*.idx")))[0]))
	if got := strings.TrimSpace(must(bare.Git("rev-parse", "refs/gitward/tracked"))); got != next {
		t.Errorf("git sees %s", got)
	}
}

func TestForcePush(t *testing.T) {
	root, repo, tip := origin(t)
	server := serve(t, gitserver.HTTPOptions{Root: root})
	r := open(t, gitrepo.Remote{URL: server.URL + "/app.git"})
	wantTip(t, r, tip)
	base := strings.TrimSpace(must(repo.Git("rev-parse", "main~1")))

	rewritten := must(repo.Commit(gitserver.CommitOptions{Parents: []string{base}, Files: map[string]string{"evil.yaml": "x"}}))
	wantTip(t, r, rewritten)
	var gone *gitrepo.NotDescendantError
	_, err := r.Walk(ctx, rewritten, tip)
	if !errors.Is(err, gitrepo.ErrNotDescendant) || !errors.As(err, &gone) || gone.Ancestor || gone.Rollback || gone.Tip != rewritten || gone.Known != tip {
		t.Errorf("force-push: %v %+v", err, gone)
	}

	check(t, repo.SetRef(gitserver.MainRef, base))
	wantTip(t, r, base)
	if _, err = r.Walk(ctx, base, rewritten); !errors.As(err, &gone) || !gone.Rollback {
		t.Errorf("rollback: %v", err)
	}

	foxtrot := must(repo.Commit(gitserver.CommitOptions{Parents: []string{base, rewritten}, Files: map[string]string{"m": "m"}}))
	wantTip(t, r, foxtrot)
	if _, err = r.Walk(ctx, foxtrot, rewritten); !errors.As(err, &gone) || !gone.Ancestor {
		t.Errorf("foxtrot merge: %v", err)
	}
	if steps, err := r.Walk(ctx, foxtrot, base); err != nil || len(steps) != 1 || len(steps[0].Changes) != 2 && len(steps[0].Changes) != 1 {
		t.Errorf("steps %v, %v", steps, err)
	}
}

func TestShallowRemote(t *testing.T) {
	root, repo, tip := origin(t)
	must(repo.Git("clone", "-q", "--bare", "--depth=2", "file://"+repo.Dir, filepath.Join(root, "shallow.git")))
	for _, c := range []struct {
		v0    bool
		local bool
	}{{}, {v0: true}, {local: true}} {
		s := serve(t, gitserver.HTTPOptions{Root: root, NoVersion2: c.v0})
		remote := gitrepo.Remote{URL: s.URL + "/shallow.git"}
		if c.local {
			remote = gitrepo.Remote{URL: filepath.Join(root, "shallow.git"), AllowLocal: true}
		}
		r := open(t, remote)
		wantTip(t, r, tip)
		steps, err := r.Walk(ctx, tip, "")
		check(t, err)
		if len(steps) != 2 || !steps[0].Boundary || steps[1].Boundary || len(steps[0].Changes) != 2 {
			t.Errorf("%+v: steps %+v", c, steps)
		}
	}
}

func TestParallel(t *testing.T) {
	root, repo, tip := origin(t)
	server := serve(t, gitserver.HTTPOptions{Root: root})
	r := open(t, gitrepo.Remote{URL: server.URL + "/app.git"})
	wantTip(t, r, tip)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for j := range 10 {
				if i == 0 {
					must(repo.Commit(gitserver.CommitOptions{Files: map[string]string{"p.yaml": fmt.Sprint(j)}}))
				}
				got, err := r.Fetch(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				steps, err := r.Walk(ctx, got, "")
				if err != nil {
					t.Error(err)
					return
				}
				for _, s := range steps {
					for _, c := range s.Changes {
						if _, err := r.Blob(c.New); err != nil {
							t.Error(err)
						}
					}
				}
				if _, err := r.Tree(ctx, got); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func TestCredentials(t *testing.T) {
	if _, err := gitrepo.ParseCredentials(map[string][]byte{"usrname": nil, "password": nil}); err == nil || !strings.Contains(err.Error(), "usrname") {
		t.Errorf("unknown key: %v", err)
	}
	if _, err := gitrepo.ParseCredentials(map[string][]byte{"username": []byte("a"), "bearerToken": []byte("b")}); err == nil {
		t.Error("both username and bearerToken")
	}
}

// TestManyFetches: each brings a pack, and they do not pile up.
func TestManyFetches(t *testing.T) {
	_, repo, tip := origin(t)
	dir := t.TempDir()
	remote := gitrepo.Remote{URL: repo.Dir, AllowLocal: true}
	r := must(gitrepo.Open(dir, remote, gitrepo.Limits{}))
	wantTip(t, r, tip)
	for i := range 120 {
		tip = must(repo.Commit(gitserver.CommitOptions{Files: map[string]string{"n.yaml": fmt.Sprint(i), "same.yaml": fmt.Sprint(i % 3)}}))
		wantTip(t, r, tip)
	}
	check(t, r.Close())
	if n := len(must(filepath.Glob(filepath.Join(dir, "objects/pack/*")))); n > 2*48 {
		t.Errorf("%d files", n)
	}
	must((&gitserver.Repo{Dir: dir}).Git("fsck", "--full", "--strict", tip))
	r = must(gitrepo.Open(dir, remote, gitrepo.Limits{}))
	defer r.Close()
	if steps := must(r.Walk(ctx, tip, "")); len(steps) != 123 {
		t.Errorf("%d steps", len(steps))
	}
	for path, f := range must(r.Tree(ctx, tip)) {
		if _, err := r.Blob(f.ID); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}
