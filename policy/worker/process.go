package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gitward/gitward/gitindex/render/sandbox"
)

// child is a process that has compiled the bundles.
type child struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	buf    []byte
	said   sandbox.Words
	mark   *mark
	loaded []Loaded
	mu     sync.Mutex
	busy   bool
	asked  uint64 // how many questions
	era    int64  // of the panel, in which it was started
	killed atomic.Pointer[verdict]
	// inventory is what it has.
	inventory *inventory
}

// verdict is why a child was killed, and the policy to blame; -1 is none.
type verdict struct {
	why     error
	culprit int
}

// start starts a child with no environment, in the root directory.
func start(config Config) (*child, error) {
	at, shared, err := newMark()
	if err != nil {
		return nil, err
	}
	defer shared.Close()
	c := &child{mark: at, cmd: exec.Command(config.Command[0], append(config.Command[1:len(config.Command):len(config.Command)], strconv.Itoa(config.Memory))...)}
	c.cmd.Env, c.cmd.Dir, c.cmd.ExtraFiles = []string{}, string(os.PathSeparator), []*os.File{shared}
	c.cmd.Stderr = &c.said
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a child for the policies: %w", err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a child for the policies: %w", err)
	}
	c.in, c.out = in, bufio.NewReaderSize(out, 64<<10)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a child for the policies: %w", err)
	}
	return c, nil
}

func (c *child) load(patience time.Duration, text []byte) error {
	turn := c.begin()
	defer c.finish()
	late := time.AfterFunc(patience, func() { c.kill(turn, fmt.Errorf("took longer than %v", patience), -1) })
	defer late.Stop()
	if err := writeFrame(c.in, text); err != nil {
		return c.reason(err)
	}
	said, err := readFrame(c.out, nil)
	if err != nil {
		return c.reason(err)
	}
	return json.Unmarshal(said, &c.loaded)
}

var (
	errRanAway = errors.New("a policy took too much time")
	errStopped = errors.New("the child for the policies stands still")
)

// ask puts a question. The answer is good until the next one.
func (c *child) ask(ctx context.Context, budget time.Duration, parts ...[]byte) ([]byte, error) {
	turn := c.begin()
	defer c.finish()
	w := &watch{child: c, question: turn, budget: budget, began: time.Now()}
	w.start()
	defer w.stop()
	defer context.AfterFunc(ctx, func() { c.kill(turn, context.Cause(ctx), -1) })()
	if err := writeFrame(c.in, parts...); err != nil {
		return nil, c.reason(err)
	}
	said, err := readFrame(c.out, c.buf)
	if err != nil {
		return nil, c.reason(err)
	}
	c.buf = said
	return said, nil
}

// watch looks now and then how long a child has been at one policy.
type watch struct {
	child    *child
	question uint64
	budget   time.Duration
	began    time.Time

	mu    sync.Mutex // held while it looks
	timer *time.Timer
	done  bool

	turn int64
	used time.Duration // of processor time, when the turn was first seen
	seen time.Time
}

func (w *watch) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(w.budget/4, w.look)
}

// look kills the child when it has been at one policy for the budget, and again
// half of it: by then the policy's own end should have come. It is processor
// time that counts, so that nobody is blamed for a busy machine.
func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done {
		return
	}
	m := w.child.mark
	turn, at := m.turn.Load(), m.at.Load()
	used, now := processorTime(w.child.cmd.Process.Pid, w.began), time.Now()
	switch {
	case turn != w.turn || w.seen.IsZero():
		w.turn, w.used, w.seen = turn, used, now
	case used-w.used > w.allowed(at) && m.turn.Load() == turn:
		w.child.kill(w.question, errRanAway, int(at))
		return
	case now.Sub(w.seen) > 20*w.budget+5*time.Second:
		w.child.kill(w.question, errStopped, -1)
		return
	}
	w.timer.Reset(w.budget / 4)
}

// allowed is what a child may take for what it is at: a policy, or reading the
// input and sending the answer, which depend on their size alone.
func (w *watch) allowed(at int64) time.Duration {
	if at < 0 {
		return 10 * w.budget
	}
	return w.budget * 5 / 4
}

// stop returns when nobody looks any more: the page that is looked at may be gone
// soon.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = true
	w.timer.Stop()
}

// kill ends a child for the question that it is at. One that is at another, or at
// none, stays: whoever asked has the answer, and nobody else is to pay for that.
func (c *child) kill(question uint64, why error, culprit int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy && c.asked == question {
		c.killed.CompareAndSwap(nil, &verdict{why, culprit})
		_ = c.cmd.Process.Kill()
	}
}

// begin begins a question, and gives its number. The load has 1.
func (c *child) begin() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = true
	c.asked++
	return c.asked
}

func (c *child) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = false
}

// reason is why the conversation ended.
func (c *child) reason(err error) error {
	if v := c.killed.Load(); v != nil {
		return v.why
	}
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait() // so that all it said is here
	if said := c.said.String(); said != "" {
		return fmt.Errorf("the child for the policies died: %s", said)
	}
	return fmt.Errorf("the child for the policies died: %w", err)
}

// fault is whose doing the end of the child was; nil if it was nobody's.
func (c *child) fault() *fault {
	if v := c.killed.Load(); v != nil {
		if v.culprit < 0 {
			return nil
		}
		return &fault{culprit: v.culprit}
	}
	return &fault{culprit: int(c.mark.at.Load()), died: true}
}

// end ends the child, whatever it is doing.
func (c *child) end() {
	_ = c.in.Close()
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
	c.mark.close()
}
