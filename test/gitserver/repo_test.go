package gitserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitward/gitward/test/corpus"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestGitAccepts lets git itself judge what is made here.
func TestGitAccepts(t *testing.T) {
	corpus.Programs(t, "git", "gpg", "ssh-keygen")
	dir := t.TempDir()
	repo := must(NewRepo(filepath.Join(dir, "r.git")))
	ssh, pgp := must(NewSSHSigner()), must(NewPGPSigner("Ada Example", "ada@example.org"))
	allowed := filepath.Join(dir, "allowed")
	if err := os.WriteFile(allowed, []byte("ada@example.org "+ssh.PublicLine+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	home := must(os.MkdirTemp("", "gpg")) // short: a socket's path has a limit
	defer os.RemoveAll(home)
	t.Setenv("GNUPGHOME", home)
	gpg := exec.Command("gpg", "--batch", "--import")
	gpg.Stdin = strings.NewReader(string(pgp.PublicKey))
	if out, err := gpg.CombinedOutput(); err != nil {
		t.Fatalf("gpg: %v: %s", err, out)
	}

	first := must(repo.Commit(CommitOptions{Files: map[string]string{"a/b/c": "1", "a.b": "2", "a-b": "3"}, Signer: ssh, Message: "first\n\nbody"}))
	second := must(repo.Commit(CommitOptions{Files: map[string]string{"a/b/d": "1"}, Delete: []string{"a/b/c"}, Signer: pgp}))
	side := must(repo.Commit(CommitOptions{Ref: "refs/heads/side", Parents: []string{first}, Files: map[string]string{"s": "s"}}))
	merge := must(repo.Commit(CommitOptions{Parents: []string{second, side}, Files: map[string]string{"s": "s"}, Signer: ssh}))
	must(repo.Tag("v1", merge, ssh))
	for _, id := range []string{first, second, merge} {
		must(repo.Git("-c", "gpg.ssh.allowedSignersFile="+allowed, "verify-commit", id))
	}
	must(repo.Git("-c", "gpg.ssh.allowedSignersFile="+allowed, "verify-tag", "v1"))
	must(repo.Git("fsck", "--full", "--strict"))

	// A Repo that has forgotten its trees reads them back.
	again := &Repo{Dir: repo.Dir, roots: map[string]*node{}}
	must(again.Commit(CommitOptions{Files: map[string]string{"new": "x"}, When: time.Now()}))
	if got := strings.Fields(must(repo.Git("ls-tree", "-r", "--name-only", "main"))); len(got) != 5 {
		t.Errorf("files %v", got)
	}
}

// TestBatch makes a long signed history in one pack.
func TestBatch(t *testing.T) {
	corpus.Programs(t, "git")
	repo := must(NewRepo(filepath.Join(t.TempDir(), "r.git")))
	signer := must(NewSSHSigner())
	start := time.Now()
	const n = 2000
	err := repo.Batch(func() error {
		for i := range n {
			_, err := repo.Commit(CommitOptions{Files: map[string]string{fmt.Sprintf("d%d/f%d", i%10, i%500): fmt.Sprint(i)}, Signer: signer})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d signed commits in %v", n, time.Since(start))
	if got := strings.TrimSpace(must(repo.Git("rev-list", "--count", "main"))); got != fmt.Sprint(n) {
		t.Errorf("git counts %s commits", got)
	}
	must(repo.Git("fsck", "--full", "--strict"))
}
