package server

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestKilled: what a test started ends with it, though the test is killed and
// can end nothing.
func TestKilled(t *testing.T) {
	if os.Getenv("GITWARD_TEST_TO_BE_KILLED") != "" {
		p := shell(t, "exec sleep 60")
		p.Start(t)
		fmt.Printf("started %d\n", p.Pid())
		select {}
	}
	test := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	test.Env = append(os.Environ(), "GITWARD_TEST_TO_BE_KILLED=1", "TMPDIR="+t.TempDir())
	out, err := test.StdoutPipe()
	if err == nil {
		err = test.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	pid := started(t, bufio.NewScanner(out))
	if !runs(pid) {
		t.Fatalf("process %d does not run: this proves nothing", pid)
	}
	if err := test.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = test.Wait() // it was killed
	Await(t, "the end of what the test started", 10*time.Second, func() error {
		if runs(pid) {
			return fmt.Errorf("process %d runs", pid)
		}
		return nil
	})
}

func started(t *testing.T, lines *bufio.Scanner) int {
	t.Helper()
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "started "); ok {
			pid, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	t.Fatalf("the test to be killed started nothing: %v", lines.Err())
	return 0
}

// runs is false of a process that is over, though nobody has asked yet how it
// ended: see proc_pid_stat(5).
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(stat, []byte(") Z "))
}
