package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// failing is a test that may fail: what it says at its end is kept.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// fails is what a test that does this says at its end.
func fails(t *testing.T, do func(testing.TB)) string {
	t.Helper()
	f, done := &failing{TB: t}, make(chan struct{})
	go func() { defer close(done); do(f) }()
	<-done
	return f.said
}

func TestAwait(t *testing.T) {
	asked := 0
	Await(t, "the third time", time.Minute, func() error {
		if asked++; asked < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	if asked != 3 {
		t.Errorf("asked %d times, want 3", asked)
	}
	said := fails(t, func(t testing.TB) {
		Await(t, "a miracle", 10*time.Millisecond, func() error { return errors.New("none yet") })
	})
	if want := "a miracle: not within 10ms: none yet"; said != want {
		t.Errorf("it says %q, want %q", said, want)
	}
}

func shell(t testing.TB, script string) *Process {
	return &Process{Name: "shell", Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"WORD=hello"}, Log: filepath.Join(t.TempDir(), "log")}
}

// TestProcessEnds: whoever waits for a program that ends is told at once, with
// what it said.
func TestProcessEnds(t *testing.T) {
	p := shell(t, "echo $WORD; exit 1")
	p.Start(t)
	said := fails(t, func(t testing.TB) {
		p.Await(t, time.Minute, func() error { return errors.New("not yet") })
	})
	if want := "shell ended:\nhello\n"; said != want {
		t.Errorf("it says %q, want %q", said, want)
	}
	p.Stop()
	p.Kill() // of what has ended: nothing happens
}

// TestProcessAgain: a program is stopped and started again, and its log goes on.
func TestProcessAgain(t *testing.T) {
	p := shell(t, "trap 'echo bye; exit' TERM; echo $WORD; while :; do sleep 0.05; done")
	p.Kill() // of what was never started: nothing happens
	for n := range 2 {
		p.Start(t)
		p.Await(t, time.Minute, func() error {
			if strings.Count(p.Tail(), "hello") <= n {
				return errors.New("it has said nothing")
			}
			return nil
		})
		p.Stop()
	}
	data, err := os.ReadFile(p.Log)
	if want := "hello\nbye\nhello\nbye\n"; err != nil || string(data) != want {
		t.Errorf("its log is %q, %v, want %q", data, err, want)
	}
}
