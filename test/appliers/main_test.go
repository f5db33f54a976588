// Package appliers answers: is all that a tool applies from Git admitted, and
// nothing beside it? The tools' own libraries run in process against a real API
// server, with the real binary before it. The real controllers of Flux and Argo
// CD are the matter of test/interop: they take too long for every run.
package appliers

import (
	"os"
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
