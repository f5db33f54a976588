package worker

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render/sandbox"
	"github.com/gitward/gitward/policy"
	"github.com/gitward/gitward/policy/engine"
)

// Serve is the child: it locks itself in, compiles what it is given, and answers
// questions until in ends. Nothing but in, out and the shared page is open to
// it.
func Serve(in io.Reader, out io.Writer, shared *os.File, memory int) error {
	at, err := openMark(shared)
	if err != nil {
		return err
	}
	shared.Close()
	debug.SetMemoryLimit(int64(memory) * 3 / 4)
	debug.SetGCPercent(200)
	debug.SetMaxStack(memory / 8)
	if err := sandbox.Enter(memory); err != nil {
		return fmt.Errorf("locking the policies in: %w", err)
	}
	c := &court{mark: at, memory: memory}
	if err := c.load(in, out); err != nil {
		return err
	}
	c.asked = 1 // the load
	var buf []byte
	for {
		body, err := readFrame(in, buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading a question: %w", err)
		}
		buf = body
		if err := c.respond(body, out); err != nil {
			return fmt.Errorf("sending an answer: %w", err)
		}
	}
}

// court is the child's state.
type court struct {
	mark    *mark
	budget  time.Duration
	bundles []sitting
	heads   []head // of the last questions: they repeat
	memory  int
	asked   uint64 // how many frames there were
}

// sitting is a bundle, and the number of its first policy. One that is broken did
// not compile.
type sitting struct {
	name     string
	broken   bool
	policies []*engine.Policy
	first    int
}

type head struct {
	text []byte
	ask  ask
}

func (c *court) load(in io.Reader, out io.Writer) error {
	body, err := readFrame(in, nil)
	if err != nil {
		return fmt.Errorf("reading the policies: %w", err)
	}
	var l load
	if err := json.Unmarshal(body, &l); err != nil {
		return fmt.Errorf("reading the policies: %w", err)
	}
	c.budget = time.Duration(l.Budget)
	all := make([]Loaded, 0, len(l.Bundles))
	first := 0
	for _, b := range l.Bundles {
		began := ownTime()
		read := engine.Read(b.Files)
		loaded := Loaded{Name: b.Name, Dialect: read.Dialect()}
		e, problems := read.Engine()
		loaded.Problems, loaded.Compiling = problems, ownTime()-began
		s := sitting{name: b.Name, first: first}
		if e != nil {
			s.policies = e.Policies()
			for _, p := range s.policies {
				loaded.Policies = append(loaded.Policies, Described{Name: p.Name, Title: p.Title, File: p.File, Line: p.Line, Points: p.Points(), Inventory: p.Inventory(),
					Shape: p.Shape(), Match: p.Match(), Rules: p.Rules()})
			}
		}
		if s.broken = e == nil; l.Tests && !s.broken {
			loaded.test(read)
		}
		first += len(s.policies)
		c.bundles = append(c.bundles, s)
		all = append(all, loaded)
	}
	text, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("telling of the policies: %w", err)
	}
	return writeFrame(out, text)
}

// testLimit is what one test may take.
const testLimit = 10 * time.Second

func (l *Loaded) test(b *engine.Bundle) {
	results, _, err := b.Tests(context.Background(), "", testLimit)
	if err != nil {
		l.Problems = append(l.Problems, gitindex.Problem{Message: gitindex.Clean(err.Error(), 500)})
	}
	for _, r := range results {
		if r.Skip {
			continue
		}
		l.Tests++
		if !r.Pass && len(l.Failed) < 20 {
			r.Output, r.Error = gitindex.Clean(r.Output, 500), gitindex.Clean(r.Error, 500)
			l.Failed = append(l.Failed, r)
		}
	}
}

// tired reports that little memory is left even after a collection: libraries
// keep what policies made, such as regular expressions.
func (c *court) tired() bool {
	if c.memory == 0 || inUse() < c.memory/2 {
		return false
	}
	runtime.GC()
	return inUse() > c.memory/3
}

func inUse() int {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return int(sample[0].Value.Uint64())
}

func (c *court) respond(body []byte, out io.Writer) error {
	a := c.answer(body)
	c.asked++
	a.Number, a.Tired = c.asked, c.tired()
	text, err := json.Marshal(a)
	if err != nil {
		text, err = json.Marshal(answer{Number: c.asked, Error: "what the policies found cannot be sent"})
	}
	if err != nil {
		return err
	}
	return writeFrame(out, text)
}

func (c *court) answer(body []byte) answer {
	a, input, err := c.read(body)
	if err != nil {
		return answer{Error: err.Error()}
	}
	if a.Inventory {
		return c.stock(slices.Clone(input))
	}
	v, err := engine.NewEvaluation(input, a.Point)
	if err != nil {
		return answer{Error: err.Error()}
	}
	v.Budget, v.Clock = c.budget, ownTime
	var out answer
	defer c.mark.set(-1)
	for _, i := range a.Bundles {
		if i < 0 || i >= len(c.bundles) {
			return answer{Error: fmt.Sprintf("there is no bundle %d", i)}
		}
		if c.bundles[i].broken {
			return answer{Error: "the policies of " + c.bundles[i].name + " do not compile"}
		}
		for _, f := range c.hear(v, &c.bundles[i], a.Without) {
			out.Findings = append(out.Findings, Found{f, i})
		}
	}
	return out
}

const (
	// bundleBudgets are how many policies' budgets all of a bundle may take for one
	// request.
	bundleBudgets = 10
	quarantined   = "it took more time or memory than a policy may, and is not asked again for now"
)

// hear asks the policies of a bundle, but for those that are to be left out. Once
// the bundle has used up its time the rest are left out too.
func (c *court) hear(v *engine.Evaluation, s *sitting, without []int) []policy.Finding {
	var out []policy.Finding
	began, limit := ownTime(), bundleBudgets*c.budget
	for j, p := range s.policies {
		number := s.first + j
		c.mark.set(number)
		var found []policy.Finding
		switch {
		case slices.Contains(without, number):
			found = v.Unasked(p, quarantined)
		case ownTime()-began > limit:
			found = v.Unasked(p, fmt.Sprintf("it is not asked: all policies of its directory together took longer than %v", limit))
		default:
			found = evaluate(v, p)
		}
		out = append(out, bounded(found, v.Point())...)
	}
	return out
}

// mostFound is how many findings of one policy are sent on.
const mostFound = 50

// bounded cuts what a policy found, and keeps the hardest. Details are for people
// who try policies, and not for requests.
func bounded(found []policy.Finding, point policy.Point) []policy.Finding {
	if len(found) > mostFound {
		slices.SortStableFunc(found, func(a, b policy.Finding) int { return cmp.Compare(a.Action, b.Action) })
		found = found[:mostFound]
	}
	if point == policy.Admission {
		for i := range found {
			found[i].Details = nil
		}
	}
	return found
}

// stock gives the policies that want it the inventory.
func (c *court) stock(inventory []byte) answer {
	for _, b := range c.bundles {
		for _, p := range b.policies {
			if len(p.Inventory()) == 0 {
				continue
			}
			if err := p.Stock(inventory); err != nil {
				return answer{Error: err.Error()}
			}
		}
	}
	return answer{}
}

// evaluate asks one policy. A panic of a library is that policy's failure.
func evaluate(v *engine.Evaluation, p *engine.Policy) (found []policy.Finding) {
	defer func() {
		if r := recover(); r != nil {
			found = v.Broken(p, fmt.Sprint(r))
		}
	}()
	return v.Evaluate(p)
}

// read reads a question. Heads are the same for hours.
func (c *court) read(body []byte) (*ask, []byte, error) {
	for i := range c.heads {
		if h := &c.heads[i]; bytes.HasPrefix(body, h.text) {
			return &h.ask, body[len(h.text):], nil
		}
	}
	var h head
	input, err := readQuestion(body, &h.ask)
	if err != nil {
		return nil, nil, fmt.Errorf("reading a question: %w", err)
	}
	h.text = slices.Clone(body[:len(body)-len(input)])
	if len(c.heads) == 16 {
		c.heads = c.heads[1:]
	}
	c.heads = append(c.heads, h)
	return &h.ask, input, nil
}
