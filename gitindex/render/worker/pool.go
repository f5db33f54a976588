package worker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// Pool renders in child processes. Any number of goroutines may use it.
type Pool struct {
	// Command starts a child: a program that calls Serve on its standard input
	// and output, with the memory limit in bytes as its last argument.
	Command []string
	Timeout time.Duration // of one unit; 60 s
	Memory  int           // bytes that a child may use; 1 GiB

	mu   sync.Mutex
	idle []*child
}

// jobs is how many units a child renders before another takes its place.
const jobs = 500

// idle is how many children wait for work.
const mostIdle = 2

type child struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	line   *line
	stderr *tail
	meter  *meter
	done   int
}

// mostSaid bounds what a child may say of one unit, in bytes: what it asks for,
// and what it renders.
const mostSaid = 256 << 20

// meter lets so many bytes through.
type meter struct {
	io.Reader
	left int64
}

var errTooMuch = fmt.Errorf("it renders to more than %d MiB", mostSaid>>20)

func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, errTooMuch
	}
	n, err := m.Reader.Read(p[:min(int64(len(p)), m.left)])
	m.left -= int64(n)
	return n, err
}

// Render renders the unit in a child. That the child takes too long, needs too
// much or dies is an error of the unit alone.
func (p *Pool) Render(src render.Sources, u render.Unit) (render.Output, error) {
	timeout := p.Timeout
	if timeout == 0 {
		timeout = time.Minute
	}
	return p.render(src, u, timeout)
}

// Hasty is the pool with less time for each unit.
func (p *Pool) Hasty(timeout time.Duration) func(render.Sources, render.Unit) (render.Output, error) {
	return func(src render.Sources, u render.Unit) (render.Output, error) { return p.render(src, u, timeout) }
}

func (p *Pool) render(src render.Sources, u render.Unit, timeout time.Duration) (render.Output, error) {
	c, err := p.take()
	if err != nil {
		return render.Output{}, err
	}
	c.meter.left = mostSaid
	late := time.AfterFunc(timeout, func() { _ = c.cmd.Process.Kill() })
	out, err := c.line.respond(src, u)
	inTime := late.Stop()
	var said answered
	if err == nil || errors.As(err, &said) {
		if c.done++; inTime && c.done < jobs && p.keep(c) {
			return out, err
		}
		c.end()
		return out, err
	}
	c.end()
	if !inTime {
		return render.Output{}, &brokenOff{fmt.Errorf("took longer than %s to render", timeout)}
	}
	return render.Output{}, &brokenOff{fmt.Errorf("its rendering broke off: %w", c.reason(err))}
}

// brokenOff is the failure of a child, not of the unit's own rendering.
type brokenOff struct{ error }

// Passing says that it may go well another time.
func (*brokenOff) Passing() bool { return true }

// Close ends the children that wait.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle {
		c.end()
	}
	p.idle = nil
}

func (p *Pool) take() (*child, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return c, nil
	}
	return p.start()
}

func (p *Pool) keep(c *child) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == mostIdle {
		return false
	}
	p.idle = append(p.idle, c)
	return true
}

func (p *Pool) memory() int {
	if p.Memory == 0 {
		return 1 << 30
	}
	return p.Memory
}

// start starts a child with no environment, in the root directory.
func (p *Pool) start() (*child, error) {
	args := append(append([]string(nil), p.Command[1:]...), strconv.Itoa(p.memory()))
	c := &child{cmd: exec.Command(p.Command[0], args...), stderr: &tail{}}
	c.cmd.Env, c.cmd.Dir, c.cmd.Stderr = []string{}, string(os.PathSeparator), c.stderr
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a renderer: %w", err)
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a renderer: %w", err)
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a renderer: %w", err)
	}
	c.meter = &meter{Reader: stdout}
	c.stdin, c.line = stdin, newLine(c.meter, stdin)
	return c, nil
}

// end ends the child, whatever it is doing.
func (c *child) end() {
	_ = c.stdin.Close()
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// reason is why a child died, from what it said last.
func (c *child) reason(err error) error {
	said := c.stderr.String()
	switch {
	case strings.Contains(said, "out of memory"), strings.Contains(said, "cannot allocate memory"):
		return errors.New("it needs more memory than a unit may use")
	case strings.Contains(said, "stack overflow"), strings.Contains(said, "stack exceeds"):
		return errors.New("it nests without end")
	}
	for line := range strings.Lines(said) {
		if strings.HasPrefix(line, "fatal error: ") || strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "gitward: ") {
			return errors.New(gitindex.Clean(strings.TrimSpace(line), 200))
		}
	}
	return err
}

// tail keeps the end of what a child says. Libraries chat; when the child dies,
// the reason comes last, and what goroutines were doing after it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - 64<<10; over > 0 {
		t.text = t.text[over:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
