// Package attacks plays attacks against a real API server. Each is first shown
// to get past a naive webhook, one that does what some peer does, so that the
// test is known to bite; then it is refused by the real binary, which decides
// from signed commits on a real Git server.
package attacks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/gitward/gitward/test/controlplane"
)

func TestMain(m *testing.M) {
	code := controlplane.Run(m)
	if shared.lab != nil {
		shared.lab.close()
	}
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
		if workshop.dir, workshop.err = os.MkdirTemp("", "gitward-attacks-"); workshop.err != nil {
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
