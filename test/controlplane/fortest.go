package controlplane

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// shared holds the control planes of this test binary, by their options.
var shared = struct {
	sync.Mutex
	planes map[string]*ControlPlane
}{planes: map[string]*ControlPlane{}}

// ForTest returns the control plane of this test binary: tests that ask for
// the same options get the same one, so each should use a namespace of its
// own, and webhooks should select namespaces. A test that restarts or breaks
// things calls OwnForTest instead.
//
// Under -short the test is skipped. Otherwise a control plane that cannot be
// had is a failure, never a skip. Options.Dir is not for this; the logs' place
// is told when a test fails.
func ForTest(t testing.TB, options Options) *ControlPlane {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a real API server, which -short leaves out")
	}
	shared.Lock()
	defer shared.Unlock()
	options.Dir = ""
	if options.Output == nil {
		options.Output = os.Stderr
	}
	key := fmt.Sprintf("%v %+v %q %v", options.ControllerManager, options.Users, options.ExtraAPIServerArgs, options.AuditLog)
	cp := shared.planes[key]
	if cp == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 40*time.Minute)
		defer cancel()
		var err error
		if cp, err = Start(ctx, options); err != nil {
			t.Fatalf("this test needs a real API server: %v", err)
		}
		shared.planes[key] = cp
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of the API server's log:\n%s", cp.apiServer.tail(10))
		}
	})
	return cp
}

// OwnForTest starts a control plane for one test alone, which ends with it.
// Under -short the test is skipped.
func OwnForTest(t testing.TB, options Options) *ControlPlane {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a real API server, which -short leaves out")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Minute)
	defer cancel()
	cp, err := Start(ctx, options)
	if err != nil {
		t.Fatalf("this test needs a real API server: %v", err)
	}
	t.Cleanup(cp.Stop)
	return cp
}

// Run runs a package's tests and then stops the control planes that ForTest
// started:
//
//	func TestMain(m *testing.M) { os.Exit(controlplane.Run(m)) }
//
// Without it they end with the test binary all the same, and their directories
// are swept up by whoever starts the next one.
func Run(m *testing.M) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	for _, cp := range shared.planes {
		cp.Stop()
	}
	return code
}

// tempPrefix begins the name of a directory that Start makes, followed by the
// pid of whoever made it.
const tempPrefix = "gitward-controlplane-pid"

// sweep removes the directories of processes that are gone: a test binary that
// was killed cannot tidy up.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), tempPrefix+"*")) // the pattern is good
	for _, dir := range dirs {
		number, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), tempPrefix), "-")
		if pid, err := strconv.Atoi(number); err == nil && pid > 0 && !alive(pid) {
			os.RemoveAll(dir)
		}
	}
}
