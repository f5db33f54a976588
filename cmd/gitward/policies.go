package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/policy"
	policies "github.com/gitward/gitward/policy/controller"
	"github.com/gitward/gitward/policy/worker"
)

// courtWord is the hidden command that a child process runs.
const courtWord = "evaluate-policies"

// court says how the children that evaluate policies are started.
func court() worker.Config {
	return worker.Config{Command: []string{ownProgram(), courtWord}, Memory: policyMemory()}
}

// courtCommand is a child of serve and of the commands that decide: see
// policy/worker.
func courtCommand() *cobra.Command {
	return &cobra.Command{
		Use:    courtWord + " BYTES",
		Short:  "Evaluate policies for a parent process",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			memory, err := strconv.Atoi(args[0])
			if err != nil || memory < 64<<20 {
				return fmt.Errorf("%s: %q is no number of bytes of at least 64 MiB", courtWord, args[0])
			}
			return worker.Serve(cmd.InOrStdin(), cmd.OutOrStdout(), os.NewFile(3, "mark"), memory)
		},
	}
}

func (p *process) policyController() *policies.Controller {
	c := &policies.Controller{Trees: p.hub, Worker: court(), Log: p.log, Inventory: p.inventory}
	if p.stateDir != "" {
		c.Dir = filepath.Join(p.stateDir, "policies")
	}
	return c
}

// bringPolicies has the Gates' policies in force before anything is asked, and
// says which are not. Those of the accepted revision count, and no older ones that
// were good: what cannot be put into force must not look as if it were.
func (l *loaded) bringPolicies(ctx context.Context, con *console) {
	l.policies.Dir = ""
	l.policies.Sync(ctx)
	stop := l.stop
	l.stop = func() { l.policies.Close(); stop() }
	for i := range l.configuration.gates {
		for _, s := range l.policies.Status(l.configuration.gates[i].Name) {
			for _, p := range s.Problems {
				con.note("the policies %s of Gate %s: %s", s.Place, l.configuration.gates[i].Name, gitindex.Clean(p.String(), 300))
			}
		}
	}
}

// policyUses are the directories of policies that Gates name.
func policyUses(gates []v1alpha1.Gate) map[string][]policies.Use {
	out := map[string][]policies.Use{}
	for i := range gates {
		for _, r := range gates[i].Spec.Policies {
			u := policies.Use{Place: policies.Place{Origin: r.Origin, Path: r.Path}, NewDenials: 100}
			if r.NewDenials != nil {
				u.NewDenials = int(*r.NewDenials)
			}
			switch r.Action {
			case v1alpha1.ActionWarn:
				u.Action = policy.Warn
			case v1alpha1.ActionAudit:
				u.Action = policy.Audit
			}
			out[gates[i].Name] = append(out[gates[i].Name], u)
		}
	}
	return out
}

// policyStatus is what a Gate's status says of its policies.
func (p *process) policyStatus(gate string) []v1alpha1.PolicyStatus {
	var out []v1alpha1.PolicyStatus
	for _, s := range p.policies.Status(gate) {
		st := v1alpha1.PolicyStatus{Origin: s.Origin, Path: s.Path, Revision: s.Revision, Policies: int32(len(s.Policies)), Refused: s.Refused, Quarantined: s.Quarantined[:min(len(s.Quarantined), 20)]}
		for _, problem := range s.Problems[:min(len(s.Problems), 20)] {
			st.Problems = append(st.Problems, gitindex.Clean(problem.String(), 500))
		}
		out = append(out, st)
	}
	return out
}
