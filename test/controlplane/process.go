package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// process is one running program of a control plane.
type process struct {
	name string
	log  string // the file that has what it says
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// start runs a program and leaves its output in log, after what is there.
func start(name, log string, cmd *exec.Cmd) (*process, error) {
	file, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	ownGroup(cmd)
	dieWithUs(cmd)
	p := &process{name: name, log: log, cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // dieWithUs is about this thread
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait() // how it ended is in its log
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return p, nil
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stop asks the process to end, and after a while insists. It is safe on a
// process that has ended: a pid that was given to somebody else is not touched.
func (p *process) stop(patience time.Duration) {
	if p == nil || p.ended() {
		return
	}
	terminate(p.cmd.Process)
	select {
	case <-p.done:
	case <-time.After(patience):
		p.cmd.Process.Kill()
		<-p.done
	}
}

// errEnded says that a process ended while it was waited for.
var errEnded = errors.New("ended")

// await asks ready again and again until it has no complaint. Its error holds
// the end of the log, where the reason is.
func (p *process) await(ctx context.Context, ready func(context.Context) error) error {
	for {
		err := p.ask(ctx, ready)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s %w before it was ready; %s says\n%s", p.name, errEnded, p.log, p.tail(15))
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w (last: %v); %s says\n%s", p.name, ctx.Err(), err, p.log, p.tail(15))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (p *process) ask(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return ready(ctx)
}

// tail is the last lines of the log.
func (p *process) tail(lines int) string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	var out []string
	for _, line := range all[max(0, len(all)-lines):] {
		out = append(out, "  "+string(line[:min(len(line), 400)]))
	}
	return strings.Join(out, "\n")
}
