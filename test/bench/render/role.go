//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/gitindex/render/worker"
)

// roleVariable says that this process renders and is counted. Its task comes on
// stdin, what it found goes to stdout, both as JSON.
const roleVariable = "GITWARD_BENCH_ROLE"

type task struct {
	Root    string // the tree's directory
	Units   []render.Unit
	More    int    // times that the units are rendered again
	Program string // whose child renders; empty: this process does
	Profile string // a file for a CPU profile
}

type rendered struct {
	CPU     time.Duration // of this process while it rendered, and of its child from start to end
	Objects [][]string    // of each unit
}

// call has the task done by a new process.
func call(t task) (rendered, error) {
	var out rendered
	self, err := os.Executable()
	if err != nil {
		return out, err
	}
	given, err := json.Marshal(t)
	if err != nil {
		return out, err
	}
	cmd := exec.Command(self)
	cmd.Env, cmd.Stdin, cmd.Stderr = append(os.Environ(), roleVariable+"=render"), bytes.NewReader(given), os.Stderr
	found, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("rendering: %w", err)
	}
	return out, json.Unmarshal(found, &out)
}

type renderer interface {
	Render(render.Sources, render.Unit) (render.Output, error)
}

func play() error {
	log.SetOutput(io.Discard) // Helm's library tells what it thinks of values
	var t task
	if err := json.NewDecoder(os.Stdin).Decode(&t); err != nil {
		return err
	}
	if t.Profile != "" {
		f, err := os.Create(t.Profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	out, err := t.do()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// do renders and counts. The child's CPU is known when it has ended.
func (t *task) do() (rendered, error) {
	var r renderer = worker.Local{}
	end := func() {}
	if t.Program != "" {
		pool := &worker.Pool{Command: []string{t.Program, "render-units"}}
		r, end = pool, pool.Close
	}
	outputs := make([]render.Output, len(t.Units))
	before, err := cpu()
	if err != nil {
		return rendered{}, err
	}
	for range 1 + t.More {
		for i, u := range t.Units {
			out, err := r.Render(render.Alone{FS: os.DirFS(t.Root)}, u)
			if err != nil {
				return rendered{}, err
			}
			if len(out.Problems) > 0 {
				return rendered{}, fmt.Errorf("%s: %v", u.Path, out.Problems[0])
			}
			outputs[i] = out
		}
	}
	end()
	after, err := cpu()
	found := rendered{CPU: after - before, Objects: make([][]string, len(outputs))}
	for i, out := range outputs {
		for _, o := range out.Objects {
			found.Objects[i] = append(found.Objects[i], string(o.JSON))
		}
	}
	return found, err
}

// cpu is what this process, and the children that have ended, have spent in
// user and kernel.
func cpu() (time.Duration, error) {
	var sum int64
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			return 0, err
		}
		sum += u.Utime.Nano() + u.Stime.Nano()
	}
	return time.Duration(sum), nil
}
