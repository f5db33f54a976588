// Package e2e tests the whole: the real binary, as a process, before a real API
// server, deciding from a real Git server.
package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/server"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	code := controlplane.Run(m)
	server.RemoveBuilt()
	os.Exit(code)
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
