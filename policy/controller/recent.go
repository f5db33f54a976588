package controller

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/policy"
	"github.com/gitward/gitward/policy/worker"
)

// recent are the last requests that a Gate's policies were asked about, and the
// least that a new state of them must bear with. They are kept in memory alone.
type recent struct {
	mu    sync.Mutex
	asked []asked // the oldest first
	bytes int
}

var dryRun = []byte(`"dryRun":true`)

type asked struct {
	input  []byte
	denied bool // by the policies in force
}

// Of so many requests, in so many bytes, a new state is asked.
const (
	mostRecent  = 1000
	recentBytes = 16 << 20
)

// note keeps a request. Dry runs are left out: they cost nothing, and whoever
// wants to could fill the list with them.
func (r *recent) note(input []byte, denied bool) {
	if len(input) > recentBytes/16 || bytes.Contains(input, dryRun) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, asked{input, denied})
	r.bytes += len(input)
	for len(r.asked) > mostRecent || r.bytes > recentBytes {
		r.bytes -= len(r.asked[0].input)
		r.asked[0] = asked{}
		r.asked = r.asked[1:]
	}
}

func (r *recent) list() []asked {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]asked(nil), r.asked...)
}

// longestReplay is what all of it may take.
const longestReplay = 30 * time.Second

// fewest is how many requests that were let pass a new state may deny in any
// case: of few requests a share says nothing.
const fewest = 10

// replay asks a new state about the last requests of each Gate that uses it. What
// runs away, errs, or denies more of what was let pass than the Gate bears with,
// is a problem.
func (c *Controller) replay(ctx context.Context, place Place, panel *worker.Panel) []gitindex.Problem {
	ctx, cancel := context.WithTimeout(ctx, longestReplay)
	defer cancel()
	var problems []gitindex.Problem
	for gate, use := range c.usersOf(place) {
		requests := c.recentOf(gate).list()
		news, passed := 0, 0
		for _, r := range requests {
			found, err := panel.Ask(ctx, worker.Question{Bundles: []int{0}, Point: policy.Admission, Input: r.input})
			if ctx.Err() != nil {
				return append(problems, gitindex.Problem{Path: place.Path, Message: fmt.Sprintf("answering the last %d requests takes more than %v", len(requests), longestReplay)})
			}
			if err != nil {
				return append(problems, gitindex.Problem{Path: place.Path, Message: "asked about a recent request: " + gitindex.Clean(err.Error(), 200)})
			}
			if !r.denied {
				passed++
			}
			denies := false
			for _, f := range found {
				if f.Kind == policy.Overrun {
					return append(problems, gitindex.Problem{Path: f.File, Line: f.Line,
						Message: fmt.Sprintf("%s took more time or memory than a policy may, for a request that came lately", gitindex.Clean(f.Policy, 100))})
				}
				denies = denies || max(f.Action, use.Action) == policy.Deny
			}
			if denies && !r.denied {
				news++
			}
		}
		if news > fewest && news*100 > passed*use.NewDenials {
			problems = append(problems, gitindex.Problem{Path: place.Path, Message: fmt.Sprintf(
				"these policies would deny %d of the last %d requests that the ones in force let pass (Gate %s bears with %d %%); if that is meant, raise newDenials there",
				news, passed, gate, use.NewDenials)})
		}
	}
	return problems
}

// usersOf are the Gates that use a place, and how.
func (c *Controller) usersOf(place Place) map[string]Use {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]Use{}
	for gate, uses := range c.wanted {
		for _, u := range uses {
			if u.Place == place {
				out[gate] = u
			}
		}
	}
	return out
}

func (c *Controller) recentOf(gate string) *recent {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.recent[gate]
	if r == nil {
		r = &recent{}
		c.recent[gate] = r
	}
	return r
}
