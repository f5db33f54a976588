// Package e2e tests the whole: the real binary, as a process, before a real API
// server, deciding from a real Git server.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/gitward/gitward/test/controlplane"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	code := controlplane.Run(m)
	if workshop.dir != "" {
		os.RemoveAll(workshop.dir)
	}
	os.Exit(code)
}

// workshop is where the binary is built, once.
var workshop struct {
	sync.Once
	dir, binary string
	err         error
}

// binary is the program under test: built from this checkout, or the one that
// GITWARD_BINARY names.
func binary(t testing.TB) string {
	t.Helper()
	if given := os.Getenv("GITWARD_BINARY"); given != "" {
		return given
	}
	workshop.Do(func() {
		if workshop.dir, workshop.err = os.MkdirTemp("", "gitward-e2e-"); workshop.err != nil {
			return
		}
		workshop.binary = filepath.Join(workshop.dir, "gitward")
		out, err := exec.Command("go", "build", "-o", workshop.binary, "../../cmd/gitward").CombinedOutput()
		if err != nil {
			workshop.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	if workshop.err != nil {
		t.Fatalf("building gitward: %v", workshop.err)
	}
	return workshop.binary
}

// corpusDir is the directory of real manifests beside the checkout.
func corpusDir(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("../../../shared/corpus")
	if err == nil {
		_, err = os.Stat(dir)
	}
	if err != nil {
		if os.Getenv("GITWARD_CORPUS") == "required" {
			t.Fatalf("the corpus is required: %v", err)
		}
		t.Skip("the corpus of real manifests is not here")
	}
	return dir
}
