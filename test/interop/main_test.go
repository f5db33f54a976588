package interop

import (
	"os"
	"testing"

	"github.com/gitward/gitward/test/interop/tools"
	"github.com/gitward/gitward/test/server"
)

func TestMain(m *testing.M) {
	code := m.Run()
	server.RemoveBuilt()
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
