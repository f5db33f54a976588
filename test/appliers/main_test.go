// Package appliers answers: is all that a tool applies from Git admitted, and
// nothing beside it? The tools' own libraries run in process against a real API
// server, with the real binary before it. The real controllers of Flux and Argo
// CD are the matter of test/interop: they take too long for every run.
package appliers

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/server"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	code := controlplane.Run(m)
	server.RemoveBuilt()
	os.Exit(code)
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
