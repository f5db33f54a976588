package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/policy/engine"
)

type policyBenchOptions struct {
	policyQuestion
	took time.Duration
}

func policyBenchCommand() *cobra.Command {
	o := policyBenchOptions{}
	c := &cobra.Command{
		Use:   "bench DIR --input FILE...",
		Short: "Say what each policy costs",
		Long: `Ask the policies of a directory about requests, again and again, and say what each
costs: the dearest first. SHARE is of the time of all. ASKED counts the evaluations:
what a match does not concern is not evaluated.

Each request is first put to a child process like the server's, so that a policy
that runs away is named, and ended. Times are this machine's.

Exit codes: 0 measured, 1 a policy ran away, 2 could not tell.`,
		Example: `  gitward policy bench policies/ --input requests.jsonl
  gitward policy bench policies/ --input clusters/prod --for 10s`,
		Args: oneArg("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error { return policyBench(cmd, &o, args[0]) },
	}
	o.flags(c)
	f := c.Flags()
	f.DurationVar(&o.took, "for", 2*time.Second, "how long to measure")
	return c
}

// oneArg is cobra's ExactArgs(1), saying what is missing.
func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("%s: give one %s", cmd.Name(), what)
		}
		return nil
	}
}

// policyBenchResult is what -o json prints.
type policyBenchResult struct {
	document
	Requests int          `json:"requests"`
	Rounds   int          `json:"rounds"`
	Policies []policyCost `json:"policies"` // the dearest first
}

// policyCost is what one policy took. Durations are nanoseconds.
type policyCost struct {
	Policy      string        `json:"policy"`
	File        string        `json:"file"`
	Line        int           `json:"line,omitempty"`
	Mean        time.Duration `json:"mean"` // of an evaluation
	P99         time.Duration `json:"p99"`
	Share       float64       `json:"share"` // of the time of all, from 0 to 1
	Evaluations int           `json:"evaluations"`
	Findings    int           `json:"findings"` // of one round

	times []time.Duration
	total time.Duration
}

func policyBench(cmd *cobra.Command, o *policyBenchOptions, dir string) error {
	q, err := o.open(cmd, dir)
	if err != nil {
		return err
	}
	con := newConsole(cmd)
	for _, f := range q.runaways {
		con.note("the policy %s (%s) runs away, and is not measured: %s", gitindex.Clean(f.Policy, 100), q.dir.placeIn(f.File, f.Line), f.Message)
	}
	b := &benching{questioned: q, guard: newTimekeeper(10 * time.Second)}
	for _, p := range q.engine.Policies() {
		if q.runaway(p) == nil {
			b.policies = append(b.policies, p)
		}
	}
	if err := b.guard.run(cmd.Context(), func() error { return b.run(cmd.Context(), o.took) }); err != nil {
		return err
	}
	r := b.result()
	if o.output != "table" {
		err = con.structured(o.output, r)
	} else {
		r.print(con)
	}
	if err == nil && len(q.runaways) > 0 {
		return errFound
	}
	return err
}

// benching is one measurement.
type benching struct {
	*questioned
	policies []*engine.Policy
	guard    *timekeeper

	costs  []policyCost
	rounds int
}

// mostTimes is how many are kept of one policy, for the percentile.
const mostTimes = 200_000

// run measures whole rounds, at least two: the first warms up, and does not count.
func (b *benching) run(ctx context.Context, took time.Duration) error {
	b.costs = make([]policyCost, len(b.policies))
	for i, p := range b.policies {
		b.costs[i] = policyCost{Policy: p.Name, File: b.dir.file(p.File), Line: p.Line}
	}
	end := time.Now().Add(took)
	for round := 0; round < 2 || time.Now().Before(end); round++ {
		for i := range b.requests {
			if err := ctx.Err(); err != nil {
				return err
			}
			v, err := engine.NewEvaluation(b.requests[i].text, b.point)
			if err != nil {
				return fmt.Errorf("%s: %w", b.requests[i].at, err)
			}
			for j, p := range b.policies {
				b.guard.at("the policy " + p.Name)
				b.one(&b.costs[j], v, p, round)
			}
		}
		b.rounds = round
	}
	return nil
}

func (b *benching) one(c *policyCost, v *engine.Evaluation, p *engine.Policy, round int) {
	if !v.Concerns(p) {
		return
	}
	began := time.Now()
	found := v.Evaluate(p)
	took := time.Since(began)
	if round == 0 {
		c.Findings += len(found)
		return
	}
	c.Evaluations++
	c.total += took
	if len(c.times) < mostTimes {
		c.times = append(c.times, took)
	}
}

func (b *benching) result() policyBenchResult {
	r := policyBenchResult{document: documentOf("PolicyBenchResult"), Requests: len(b.requests), Rounds: b.rounds, Policies: b.costs}
	var all time.Duration
	for i := range b.costs {
		all += b.costs[i].total
	}
	for i := range b.costs {
		c := &b.costs[i]
		if c.Evaluations == 0 {
			continue
		}
		slices.Sort(c.times)
		c.Mean, c.P99 = c.total/time.Duration(c.Evaluations), c.times[(len(c.times)*99-1)/100]
		c.Share = float64(c.total) / float64(max(all, 1))
	}
	slices.SortStableFunc(r.Policies, func(x, y policyCost) int {
		return cmp.Or(cmp.Compare(y.total, x.total), cmp.Compare(x.Policy, y.Policy))
	})
	return r
}

func (r *policyBenchResult) print(s *console) {
	var rows [][]cell
	for i := range r.Policies {
		c := &r.Policies[i]
		mean, p99, share := micro(c.Mean), micro(c.P99), fmt.Sprintf("%.1f%%", 100*c.Share)
		if c.Evaluations == 0 {
			mean, p99, share = "-", "-", "-"
		}
		rows = append(rows, []cell{plain(gitindex.Clean(c.Policy, 100)), plain(mean), plain(p99), plain(share), plain(fmt.Sprint(c.Evaluations)), plain(fmt.Sprint(c.Findings)),
			plain(location{file: c.File, line: c.Line}.String())})
	}
	s.table("POLICY MEAN P99 SHARE ASKED FINDINGS FILE", rows)
	fmt.Fprintf(s.out, "\n%s, %s\n", count(r.Requests, "request"), count(r.Rounds, "round"))
}

func micro(d time.Duration) string {
	return fmt.Sprintf("%.1fµs", float64(d)/float64(time.Microsecond))
}
