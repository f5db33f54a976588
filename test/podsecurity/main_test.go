// Package podsecurity asks whether the Pod Security policies say what Kubernetes
// says: its own module, control by control, and the admission of a real API
// server.
package podsecurity

import (
	"os"
	"testing"

	"github.com/gitward/gitward/test/controlplane"
)

func TestMain(m *testing.M) { os.Exit(controlplane.Run(m)) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
