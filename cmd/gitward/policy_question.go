package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/gitward/gitward/policy"
	"github.com/gitward/gitward/policy/engine"
	"github.com/gitward/gitward/policy/worker"
)

// policyQuestion is what the commands have in common that ask the policies of a
// directory about requests, in this process.
type policyQuestion struct {
	output string
	input  []string
	point  string
}

func (o *policyQuestion) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringArrayVar(&o.input, "input", nil, inputUsage)
	f.StringVar(&o.point, "point", string(policy.Admission), "where the policies are asked: admission, scan or ci")
	f.StringVarP(&o.output, "output", "o", "table", outputs)
}

// questioned is what there is to ask, and about what.
type questioned struct {
	dir      *policyDir
	point    policy.Point
	requests []policyRequest
	engine   *engine.Engine
	runaways []policy.Finding // of the policies that must not be asked here, one each
}

// open reads the policies and the requests. No policy is evaluated in this process
// before a child has come to the end of all of them.
func (o *policyQuestion) open(cmd *cobra.Command, dir string) (*questioned, error) {
	if err := checkOutput(o.output); err != nil {
		return nil, err
	}
	point, err := pointFlag(o.point)
	if err != nil {
		return nil, err
	}
	if len(o.input) == 0 {
		return nil, fmt.Errorf("%s: give --input %s", cmd.Name(), inputUsage)
	}
	q := &questioned{point: point}
	if q.dir, err = readPolicyDir(dir); err != nil {
		return nil, err
	}
	if q.requests, err = policyRequests(o.input, cmd.InOrStdin()); err != nil {
		return nil, err
	}
	if q.runaways, err = q.findRunaways(cmd.Context()); err != nil {
		return nil, err
	}
	q.engine, err = q.dir.engineOf()
	return q, err
}

// findRunaways puts each request to a child once, and gives what was said of
// policies that had to be ended, once for each.
func (q *questioned) findRunaways(ctx context.Context) ([]policy.Finding, error) {
	panel, err := compiledPolicies(q.dir)
	if err != nil {
		return nil, err
	}
	defer panel.Close()
	var out []policy.Finding
	for i := range q.requests {
		found, err := panel.Ask(ctx, worker.Question{Bundles: []int{0}, Point: q.point, Input: q.requests[i].text})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", q.requests[i].at, err)
		}
		for _, f := range found {
			if f.Kind == policy.Overrun && !slices.ContainsFunc(out, func(have policy.Finding) bool { return have.Policy == f.Policy }) {
				out = append(out, f.Finding)
			}
		}
	}
	return out, nil
}

// runaway is what was said of a policy that must not be asked here; nil of any other.
func (q *questioned) runaway(p *engine.Policy) *policy.Finding {
	if i := slices.IndexFunc(q.runaways, func(f policy.Finding) bool { return f.Policy == p.Name }); i >= 0 {
		return &q.runaways[i]
	}
	return nil
}
