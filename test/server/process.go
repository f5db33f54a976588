package server

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Process is a program that runs beside a test.
type Process struct {
	Name string // what a failure calls it
	Path string
	Args []string
	Env  []string // beside the test's own
	Log  string   // the file that has what it says, after what is there

	cmd   *exec.Cmd
	ended chan struct{}
}

// Start runs the program, once more if it has ended. Whoever starts it ends it;
// on Linux it does not outlive the test's process, however that ends.
func (p *Process) Start(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(p.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(p.Path, p.Args...)
	cmd.Env = append(os.Environ(), p.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	dieWithUs(cmd)
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // dieWithUs is about this thread
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
		}
		close(ended)
	}()
	if err := <-started; err != nil {
		t.Fatalf("starting %s: %v", p.Name, err)
	}
	p.cmd, p.ended = cmd, ended
}

// Await is Await for something that the program does: if it ends instead, the
// test ends at once, with what it said.
func (p *Process) Await(t testing.TB, limit time.Duration, ready func() error) {
	t.Helper()
	Await(t, p.Name, limit, func() error {
		select {
		case <-p.ended:
			t.Fatalf("%s ended:\n%s", p.Name, p.Tail())
		default:
		}
		return ready()
	})
}

// Answers is nil if there is an answer: a page's ("http://127.0.0.1:8080/readyz")
// or, at an address alone, that of whoever listens there.
func Answers(address string) error {
	if !strings.Contains(address, "://") {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err
	}
	response, err := http.Get(address)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", address, response.Status)
	}
	return nil
}

// Pid is that of the running program.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Signal sends the running program a signal.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Kill ends the program as a power cut does, if it runs.
func (p *Process) Kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// Stop asks the program to end, if it runs, and kills it if it does not.
func (p *Process) Stop() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		p.Kill()
	}
}

// KillAndTell kills the program and, if the test failed, tells what it said
// last.
func (p *Process) KillAndTell(t testing.TB) {
	t.Helper()
	p.Kill()
	if t.Failed() {
		t.Logf("the end of %s's log:\n%s", p.Name, p.Tail())
	}
}

// Tail is the end of what the program said.
func (p *Process) Tail() string {
	data, _ := os.ReadFile(p.Log)
	return string(data[max(0, len(data)-6000):])
}
