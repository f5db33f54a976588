// Package e2e tests the whole: the real binary, as a process, before a real API
// server, deciding from a real Git server.
package e2e

import (
	"os"
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
