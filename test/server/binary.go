// Package server answers: how does a test run the program that it is about? As
// a process, built once from this checkout, beside a cluster and a Git server,
// waited for until it answers and ended with whoever started it.
package server

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Binary is the program under test: the one that GITWARD_BINARY names, or
// otherwise what Build makes.
func Binary(t testing.TB) string {
	t.Helper()
	if given := os.Getenv("GITWARD_BINARY"); given != "" {
		return given
	}
	return Build(t)
}

// Build makes the program from this checkout, once for all tests of a package.
// Whoever calls it has TestMain call RemoveBuilt.
func Build(t testing.TB) string {
	t.Helper()
	built.Do(build)
	if built.err != nil {
		t.Fatalf("building gitward: %v", built.err)
	}
	return built.binary()
}

// RemoveBuilt removes what Build made, if it made anything.
func RemoveBuilt() {
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
}

// built is where the binary is made.
var built workshop

type workshop struct {
	sync.Once
	dir string
	err error
}

func (w *workshop) binary() string { return filepath.Join(w.dir, "gitward") }

func build() {
	if built.dir, built.err = os.MkdirTemp("", "gitward-built-"); built.err != nil {
		return
	}
	out, err := exec.Command("go", "build", "-o", built.binary(), "github.com/gitward/gitward/cmd/gitward").CombinedOutput()
	if err != nil {
		built.err = fmt.Errorf("%w: %s", err, out)
	}
}
