package gitrepo_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/gitward/gitward/gitindex/gitrepo"
	"github.com/gitward/gitward/test/corpus"
	"github.com/gitward/gitward/test/gitserver"
)

func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// gitCPU runs a git command and gives the CPU time it took, with its children.
func gitCPU(t testing.TB, args ...string) time.Duration {
	cmd := exec.Command("git", args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// TestSpeed prints what the first index of a large repository costs beside
// git, and holds one new commit to 50 ms.
func TestSpeed(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	corpus.Programs(t, "git")
	root := t.TempDir()
	origin := must(gitserver.NewRepo(filepath.Join(root, "big.git")))
	check(t, origin.Generate(gitserver.Shape{Commits: 10_000, Files: 5_000, Seed: 1}))
	check(t, os.WriteFile(filepath.Join(origin.Dir, "config"), []byte("[core]\n\trepositoryformatversion = 0\n\tbare = true\n[uploadpack]\n\tallowFilter = true\n"), 0o600))
	server := must(gitserver.NewHTTP(gitserver.HTTPOptions{Root: root}))
	defer server.Close()

	clone := filepath.Join(t.TempDir(), "clone.git")
	gitClone := gitCPU(t, "clone", "-q", "--bare", "--single-branch", server.URL+"/big.git", clone)
	gitLog := gitCPU(t, "--git-dir", clone, "log", "--first-parent", "--name-only", "--format=%H")

	repo := must(gitrepo.Open(t.TempDir(), gitrepo.Remote{URL: server.URL + "/big.git", Ref: gitrepo.Ref{Branch: "main"}}, gitrepo.Limits{}))
	defer repo.Close()
	ctx := context.Background()
	runtime.GC()
	before := cpu()
	tip := must(repo.Fetch(ctx))
	fetched := cpu()
	steps := must(repo.Walk(ctx, tip, ""))
	walked := cpu()
	if len(steps) != 10_000 || len(steps[0].Changes) != 5_000 {
		t.Fatalf("%d steps, %d changes in the first", len(steps), len(steps[0].Changes))
	}
	if spent := walked - before; spent > 3*(gitClone+gitLog) {
		t.Logf("beyond its goal: the first index took %v of CPU, git %v", spent, gitClone+gitLog)
	}
	t.Logf("git clone %v + log %v = %v; Fetch %v + Walk %v = %v CPU (%.1fx)", gitClone, gitLog, gitClone+gitLog,
		fetched-before, walked-fetched, walked-before, float64(walked-before)/float64(gitClone+gitLog))

	for range 5 {
		must(origin.Commit(gitserver.CommitOptions{Files: map[string]string{"teams/team-01/service-000/app-1.yaml": time.Now().String()}, Message: "one more"}))
		start, used := time.Now(), cpu()
		next := must(repo.Fetch(ctx))
		got := time.Since(start)
		more := must(repo.Walk(ctx, next, tip))
		if len(more) != 1 || len(more[0].Changes) != 1 {
			t.Fatalf("%d steps", len(more))
		}
		tip = next
		t.Logf("one commit: Fetch %v (server included), Walk %v, our CPU %v", got, time.Since(start)-got, cpu()-used)
		if spent := cpu() - used; spent > 50*time.Millisecond {
			t.Logf("beyond its goal: one new commit took %v of CPU, want less than 50ms", spent)
		}
	}
}
