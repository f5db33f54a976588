// Package appliers answers: is all that a tool applies from Git admitted, and
// nothing beside it? The tools' own libraries run in process against a real API
// server, with the real binary before it. The real controllers of Flux and Argo
// CD are the matter of test/interop: they take too long for every run.
package appliers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/gitward/gitward/test/controlplane"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
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
		if workshop.dir, workshop.err = os.MkdirTemp("", "gitward-appliers-"); workshop.err != nil {
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

// corpusDir is the directory of real repositories beside the checkout.
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
		t.Skip("the corpus of real repositories is not here")
	}
	return dir
}
