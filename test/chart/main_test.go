// Package chart tests what is installed: the chart as Helm's engine renders it,
// applied to a real API server.
package chart

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
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

var built struct {
	sync.Once
	dir, binary string
	err         error
}

// binary is the program, built from this checkout.
func binary(t testing.TB) string {
	t.Helper()
	built.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "gitward-chart-"); built.err != nil {
			return
		}
		built.binary = filepath.Join(built.dir, "gitward")
		if out, err := exec.Command("go", "build", "-o", built.binary, "../../cmd/gitward").CombinedOutput(); err != nil {
			built.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	if built.err != nil {
		t.Fatalf("building gitward: %v", built.err)
	}
	return built.binary
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
