package controlplane

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestProgressEstimate(t *testing.T) {
	for _, test := range []struct {
		done, total int
		elapsed     time.Duration
		want        string
	}{
		{0, 2080, 0, "estimating"},
		{30, 2080, time.Minute, "estimating"},
		{1163, 2080, 228 * time.Second, "about 3 min left"},
		{2000, 2080, 400 * time.Second, "about 20 s left"},
		{2079, 2080, 400 * time.Second, "about 5 s left"},
		{2080, 2080, 400 * time.Second, "linking"},
		{0, 0, time.Second, "linking"},
	} {
		p := progress{done: test.done, total: test.total, elapsed: test.elapsed}
		if got := p.left(); got != test.want {
			t.Errorf("%d of %d after %v: %s, want %s", test.done, test.total, test.elapsed, got, test.want)
		}
	}
}

func TestProgressBar(t *testing.T) {
	for done, want := range map[int]string{0: "[░░░░]", 1: "[█░░░]", 3: "[███░]", 4: "[████]", 9: "[████]"} {
		if got := (progress{done: done, total: 4}).bar(4); got != want {
			t.Errorf("%d of 4: %s, want %s", done, got, want)
		}
	}
	if got := (progress{}).bar(4); got != "[░░░░]" {
		t.Errorf("nothing to do: %s", got)
	}
}

func TestMeter(t *testing.T) {
	var told bytes.Buffer
	m := newMeter(&told, "kube-apiserver v1.37.2")
	m.every = 0
	m.begin("listing packages")
	m.fetched()
	m.expect(2)
	m.compiled()
	m.end(nil)
	want := []string{
		"control plane  kube-apiserver v1.37.2  listing packages",
		"control plane  kube-apiserver v1.37.2  fetching modules (1)",
		"control plane  kube-apiserver v1.37.2  [░░░░░░░░░░░░░░░░░░] 0/2 packages  estimating      (once; then cached in ~/.cache/gitward)",
		"control plane  kube-apiserver v1.37.2  [█████████░░░░░░░░░] 1/2 packages  estimating      (once; then cached in ~/.cache/gitward)",
		"control plane  kube-apiserver v1.37.2  built in 0s",
	}
	if got := strings.TrimSpace(told.String()); got != strings.Join(want, "\n") {
		t.Errorf("told\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// On a terminal the line is redrawn and never wraps.
func TestMeterOnATerminal(t *testing.T) {
	var told bytes.Buffer
	m := &meter{w: &told, title: "etcd", width: 60}
	m.begin("listing packages")
	m.expect(2)
	m.end(errors.New("stopped"))
	if strings.Count(told.String(), "\n") != 1 || strings.Contains(told.String(), "(once") {
		t.Errorf("told %q", told.String())
	}
	if got := fit("a line that is too long      (a remark)", 10); got != "a line tha" {
		t.Errorf("fit: %q", got)
	}
}

func TestListenTellsPackagesFromComplaints(t *testing.T) {
	m := newMeter(io.Discard, "x")
	said := builder{show: m}.listen(strings.NewReader(
		"go: downloading k8s.io/api v0.37.2\ninternal/abi\nk8s.io/api/core/v1\n# k8s.io/api\ncore.go:3:1: syntax error\n"))
	if m.progress.done != 2 || m.modules != 1 {
		t.Errorf("%d packages and %d modules, want 2 and 1", m.progress.done, m.modules)
	}
	if said != "# k8s.io/api\ncore.go:3:1: syntax error" {
		t.Errorf("complaint %q", said)
	}
}

// A build that is called off ends with all it started, not just with its
// first process.
func TestCancelEndsTheWholeBuild(t *testing.T) {
	dir := t.TempDir()
	tool := filepath.Join(dir, "go")
	script := "#!/bin/sh\nsleep 60 &\necho $! > " + dir + "/pid.new && mv " + dir + "/pid.new " + dir + "/pid\nwait\n"
	if err := os.WriteFile(tool, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := builder{tool: tool, src: dir, show: newMeter(io.Discard, "x")}.run(ctx, "build")
		ended <- err
	}()
	var child int
	eventually(t, "the child's pid", func() error {
		text, err := os.ReadFile(filepath.Join(dir, "pid"))
		if err != nil {
			return err
		}
		child, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err
	})
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	eventually(t, "the child's end", func() error {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(child) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") { // a zombie waits for init alone
			return nil
		}
		return errors.New("it still runs")
	})
}
