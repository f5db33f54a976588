// Package attacks plays attacks against a real API server. Each is first shown
// to get past a naive webhook, one that does what some peer does, so that the
// test is known to bite; then it is refused by the real binary, which decides
// from signed commits on a real Git server.
package attacks

import (
	"os"
	"testing"

	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/server"
)

func TestMain(m *testing.M) {
	code := controlplane.Run(m)
	if shared.lab != nil {
		shared.lab.close()
	}
	server.RemoveBuilt()
	os.Exit(code)
}
