package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/gitward/gitward/test/interop/tools"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if workshop.dir != "" {
		os.RemoveAll(workshop.dir)
	}
	os.Exit(code)
}

// need leaves a test out unless its make target runs it: the programs take
// minutes to build, and the stories minutes to play.
func need(t *testing.T, set string) {
	t.Helper()
	if os.Getenv("GITWARD_INTEROP") != set {
		t.Skipf("left out: make interop-%s runs it", set)
	}
}

// program is one of the tools, which the make target built.
func program(t testing.TB, tool tools.Tool) string {
	t.Helper()
	path, err := tool.Path()
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("%s is not built (make interop-%s does that): %v", tool.Name, tool.Set, err)
	}
	return path
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
		if workshop.dir, workshop.err = os.MkdirTemp("", "gitward-interop-"); workshop.err != nil {
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
