package gitrepo_test

import (
	"os"
	"os/exec"
	"testing"
)

// needGit skips a test where there is no git to test against.
func needGit(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("git"); err == nil {
		return
	}
	if os.Getenv("GITWARD_CORPUS") == "required" {
		t.Fatal("git is not installed")
	}
	t.Skip("git is not installed")
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
