package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gitward/gitward/policy"
)

// Config says how children are started and what they may use.
type Config struct {
	// Command starts a child: a program that calls Serve on its standard input and
	// output and its first extra file, with the memory limit in bytes as its last
	// argument.
	Command  []string
	Children int           // how many answer at once; 2
	Memory   int           // bytes that a child may use; 512 MiB
	Budget   time.Duration // processor time of one policy; 100 ms
	Patience time.Duration // for a child to start and compile; 60 s
	Tests    bool          // whether children run the bundles' own tests
}

// DefaultMemory is what a child may use unless its Config says otherwise.
const DefaultMemory = 512 << 20

func (c Config) defaults() Config {
	for _, d := range []struct {
		value *int
		is    int
	}{{&c.Children, 2}, {&c.Memory, DefaultMemory}} {
		if *d.value == 0 {
			*d.value = d.is
		}
	}
	if c.Budget == 0 {
		c.Budget = 100 * time.Millisecond
	}
	if c.Patience == 0 {
		c.Patience = time.Minute
	}
	return c
}

// Panel is one set of bundles and the children that have compiled it. Any number
// of goroutines may ask.
type Panel struct {
	// Loaded is what became of each bundle.
	Loaded []Loaded

	config  Config
	bundles []Bundle
	idle    chan *child // as many as there are children, and nil for one that is to be started

	mu          sync.Mutex
	quarantined map[int]*quarantine
	closed      bool
	// era changes when a child dies: what answered before it is not asked again.
	era       atomic.Int64
	inventory *inventory
}

// inventory is what the children have as data.inventory.
type inventory struct{ json []byte }

// Kinds are those of which some policy wants the inventory; "*" is any.
func (p *Panel) Kinds() []string {
	kinds := map[string]bool{}
	for _, l := range p.Loaded {
		for _, d := range l.Policies {
			for _, k := range d.Inventory {
				kinds[k] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(kinds))
}

// Stock gives the policies another inventory: JSON of data.inventory. Each child
// takes it in before its next question.
func (p *Panel) Stock(text []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inventory = &inventory{text}
}

// quarantine keeps a policy that ran away from being asked: for a minute, and
// for twice as long each time that it does so again.
type quarantine struct {
	until time.Time
	last  time.Duration
}

const (
	firstQuarantine = time.Minute
	lastQuarantine  = time.Hour
)

// Start starts children with the bundles, and waits for the first to say what
// became of them. An error means that there is no panel: a child did not start,
// or ran away compiling.
func Start(config Config, bundles []Bundle) (*Panel, error) {
	p := &Panel{config: config.defaults(), bundles: bundles, quarantined: map[int]*quarantine{}}
	c, err := p.child()
	if err != nil {
		return nil, err
	}
	p.Loaded = c.loaded
	p.idle = make(chan *child, p.config.Children)
	p.idle <- c
	for range p.config.Children - 1 {
		p.idle <- nil
	}
	return p, nil
}

// Has reports whether the panel has just these bundles, in this order.
func (p *Panel) Has(bundles []Bundle) bool {
	return slices.EqualFunc(p.bundles, bundles, func(a, b Bundle) bool {
		return a.Name == b.Name && maps.EqualFunc(a.Files, b.Files, bytes.Equal)
	})
}

// Close ends the children, each when it has answered.
func (p *Panel) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	for range p.config.Children {
		if c := <-p.idle; c != nil {
			c.end()
		}
	}
}

// Question is what a panel is asked.
type Question struct {
	Bundles []int // by their place in Start's list
	Point   policy.Point
	Input   []byte // the JSON of a policy.Input
}

// ErrReplaced is what a panel says that has been closed.
var ErrReplaced = errors.New("the policies have been replaced")

// Ask puts a question, and gives what the policies found. A policy that runs
// away is a finding. An error means that nothing is known, and must refuse.
func (p *Panel) Ask(ctx context.Context, q Question) ([]Found, error) {
	for deaths := 0; ; {
		head, err := question(&ask{Bundles: q.Bundles, Point: q.Point, Without: p.without()})
		if err != nil {
			return nil, fmt.Errorf("asking the policies: %w", err)
		}
		found, fault, err := p.put(ctx, head, q.Input)
		if err == nil {
			return found, nil
		}
		if fault == nil || ctx.Err() != nil {
			return nil, fmt.Errorf("asking the policies: %w", err)
		}
		// One that dies for want of memory may have been filled by others before: that
		// counts against the policy that it was at only in a fresh child.
		if fault.died {
			if deaths++; deaths == 1 {
				continue
			}
			if deaths > 10 || fault.culprit < 0 {
				return nil, fmt.Errorf("asking the policies: %w", err)
			}
		}
		p.quarantine(fault.culprit)
	}
}

// fault is why a question has no answer, where that is a policy's doing.
type fault struct {
	culprit int  // the policy, -1 if none is known
	died    bool // of itself, and was not killed for taking too long
}

// put has one child answer.
func (p *Panel) put(ctx context.Context, head, input []byte) ([]Found, *fault, error) {
	c, err := p.take(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := p.stock(ctx, c); err != nil {
		c.end()
		p.idle <- nil
		return nil, nil, err
	}
	text, err := c.ask(ctx, p.config.Budget, head, input)
	if err != nil {
		f := c.fault()
		if f != nil && f.died {
			p.era.Add(1) // whoever has answered before may be as full
		}
		c.end()
		p.idle <- nil
		return nil, f, err
	}
	// What was read is the child's own until it is given back.
	var a answer
	err = json.Unmarshal(text, &a)
	another := a.Number != c.asked
	if err != nil || another || c.killed.Load() != nil || a.Tired {
		c.end()
		p.idle <- nil
	} else {
		p.idle <- c
	}
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("reading what the policies found: %w", err)
	case another:
		return nil, nil, errors.New("a child gave the answer to another question")
	case a.Error != "":
		return nil, nil, errors.New(a.Error)
	}
	return a.Findings, nil, nil
}

// stock brings a child's inventory up to date.
func (p *Panel) stock(ctx context.Context, c *child) error {
	p.mu.Lock()
	now := p.inventory
	p.mu.Unlock()
	if now == nil || c.inventory == now {
		return nil
	}
	head, err := question(&ask{Inventory: true})
	if err != nil {
		return err
	}
	text, err := c.ask(ctx, p.config.Patience, head, now.json)
	if err != nil {
		return fmt.Errorf("handing over the inventory: %w", err)
	}
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		return fmt.Errorf("handing over the inventory: %w", err)
	}
	if a.Error != "" {
		return fmt.Errorf("handing over the inventory: %s", a.Error)
	}
	c.inventory = now
	return nil
}

// take waits for a child. Where there is a place for one it is started, which
// nobody need wait for whose time is up.
func (p *Panel) take(ctx context.Context) (*child, error) {
	for {
		p.mu.Lock()
		closed := p.closed
		p.mu.Unlock()
		if closed {
			return nil, ErrReplaced
		}
		var c *child
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case c = <-p.idle:
		}
		switch {
		case c != nil && (c.era == p.era.Load() || c.asked == 1):
			return c, nil
		case c != nil:
			c.end()
		}
		failed := make(chan error, 1)
		go func() {
			c, err := p.child()
			failed <- err
			p.idle <- c // nil where it could not be started
		}()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case err := <-failed:
			if err != nil {
				return nil, err
			}
		}
	}
}

// child starts one, and has it compile.
func (p *Panel) child() (*child, error) {
	era := p.era.Load()
	c, err := start(p.config)
	if err != nil {
		return nil, err
	}
	c.era = era
	text, err := json.Marshal(load{Bundles: p.bundles, Tests: p.config.Tests, Budget: int64(p.config.Budget)})
	if err == nil {
		err = c.load(p.config.Patience, text)
	}
	if err != nil {
		c.end()
		return nil, fmt.Errorf("compiling the policies: %w", err)
	}
	return c, nil
}

// without are the policies in quarantine.
func (p *Panel) without() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.quarantined) == 0 {
		return nil
	}
	var out []int
	for i, q := range p.quarantined {
		if time.Now().Before(q.until) {
			out = append(out, i)
		}
	}
	slices.Sort(out)
	return out
}

func (p *Panel) quarantine(number int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.quarantined[number]
	if q == nil {
		q = &quarantine{last: firstQuarantine / 2}
		p.quarantined[number] = q
	}
	q.last = min(2*q.last, lastQuarantine)
	q.until = time.Now().Add(q.last)
}

// Quarantined names the policies of a bundle that ran away and are not asked for
// now.
func (p *Panel) Quarantined(bundle int) []string {
	first := 0
	for i := range bundle {
		first += len(p.Loaded[i].Policies)
	}
	var out []string
	for _, number := range p.without() {
		if n := number - first; n >= 0 && n < len(p.Loaded[bundle].Policies) {
			out = append(out, p.Loaded[bundle].Policies[n].Name)
		}
	}
	return out
}
