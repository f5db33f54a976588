package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/metrics"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/policy"
	"github.com/gitward/gitward/policy/engine"
	"github.com/gitward/gitward/policy/worker"
)

func policyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "Write, test and try out policies",
		Long: `Work on policies before they are signed: in directories on this machine, without
a cluster, by the code that the server asks.

Exit codes: 0 nothing found, 1 something found (a test fails, a policy looks
wrong, a request would be refused), 2 could not tell.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("there is no command %q; see gitward policy --help", "policy "+args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(policyTestCommand(), policyCheckCommand(), policyBenchCommand(), policyImpactCommand(), policyExplainCommand(), policySchemaCommand())
	return c
}

func policySchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON schema of what policies are told",
		Long: `Print the JSON schema (draft-07) of the document "input" of a policy that reads
input.request. "gitward policy check" holds policies against it, and editors can.`,
		Example: `  gitward policy schema > schema/input.json && opa check --schema schema policies/`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(policy.Schema())
			return err
		},
	}
}

// policyDir is a directory of policies on this machine.
type policyDir struct {
	name  string
	fsys  fs.FS
	files policy.Files
}

func readPolicyDir(name string) (*policyDir, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("reading policies: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("reading policies: %s is no directory: a policy is read with all that lies beside it", name)
	}
	d := &policyDir{name: name, fsys: os.DirFS(name)}
	if d.files, err = policy.Collect(d.fsys); err != nil {
		return nil, err
	}
	if len(d.files) == 0 {
		return nil, fmt.Errorf("reading policies: there are none in %s", name)
	}
	return d, nil
}

func readPolicyDirs(names []string) ([]*policyDir, error) {
	var out []*policyDir
	for _, name := range names {
		d, err := readPolicyDir(name)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// file is a path in the directory, for people.
func (d *policyDir) file(name string) string {
	if name == "" {
		return ""
	}
	return fromHere(filepath.ToSlash(filepath.Join(d.name, filepath.FromSlash(name))))
}

// start has a child compile the policies of some directories, as the server has.
func startPolicies(limit time.Duration, dirs ...*policyDir) (*worker.Panel, error) {
	config := court()
	config.Children, config.Patience, config.Budget = 1, limit, policyBudget
	var bundles []worker.Bundle
	for _, d := range dirs {
		bundles = append(bundles, worker.Bundle{Name: d.name, Files: d.files})
	}
	return worker.Start(config, bundles)
}

const (
	// policyBudget is what one policy may take for a request: the server's.
	policyBudget = 100 * time.Millisecond
	// compileLimit is what compiling may take.
	compileLimit = 30 * time.Second
)

// compiledPolicies starts a panel, and makes an error of what does not compile.
func compiledPolicies(dirs ...*policyDir) (*worker.Panel, error) {
	panel, err := startPolicies(compileLimit, dirs...)
	if err != nil {
		return nil, err
	}
	for i, l := range panel.Loaded {
		if err := dirs[i].broken(l.Problems); err != nil {
			panel.Close()
			return nil, err
		}
		if len(l.Policies) == 0 {
			panel.Close()
			return nil, fmt.Errorf("reading policies: %s: %s", dirs[i].name, saysNothing)
		}
	}
	return panel, nil
}

// engineOf compiles the policies in this process. Have a child do it first: it can
// be ended.
func (d *policyDir) engineOf() (*engine.Engine, error) {
	e, problems := engine.Read(d.files).Engine()
	if err := d.broken(problems); err != nil {
		return nil, err
	}
	return e, nil
}

func (d *policyDir) broken(problems []gitindex.Problem) error {
	if len(problems) == 0 {
		return nil
	}
	p := problems[0]
	p.Path = d.file(p.Path)
	more := ""
	if n := len(problems) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	return fmt.Errorf("compiling the policies: %s%s\n  do    gitward policy check %s", p.String(), more, d.name)
}

const saysNothing = "no rule here is named deny, violation or warn, and there is no constraint: these policies would say nothing"

// timekeeper ends what runs in this process and does not come back: a built-in that is
// at work heeds no deadline. The error names what was being done, and ends the
// process.
type timekeeper struct {
	limit  time.Duration // of one step
	memory uint64

	mu    sync.Mutex
	step  string
	began time.Time
}

func newTimekeeper(limit time.Duration) *timekeeper {
	return &timekeeper{limit: limit, memory: 4 << 30, began: time.Now(), step: "reading the policies"}
}

// at says what is done from now on.
func (g *timekeeper) at(step string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.step, g.began = step, time.Now()
}

// run does something that may not come back.
func (g *timekeeper) run(ctx context.Context, do func() error) error {
	g.at(g.step)
	done := make(chan error, 1)
	go func() { done <- do() }()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-look.C:
			if err := g.overrun(); err != nil {
				return err
			}
		}
	}
}

var errRanAway = errors.New("it ran away, and was ended")

func (g *timekeeper) overrun() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if took := time.Since(g.began); took > g.limit {
		return fmt.Errorf("%s took longer than %v: %w", g.step, g.limit, errRanAway)
	}
	memory := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(memory)
	if memory[0].Value.Uint64() > g.memory {
		return fmt.Errorf("%s took more than %d MiB: %w", g.step, g.memory>>20, errRanAway)
	}
	return nil
}

// placeIn is a location in a directory of policies.
func (d *policyDir) placeIn(file string, line int) location {
	return location{file: d.file(file), line: line}
}

// pointFlag reads --point.
func pointFlag(text string) (policy.Point, error) {
	if p := policy.Point(text); slices.Contains(policy.Points, p) {
		return p, nil
	}
	return "", fmt.Errorf("--point %q is none of admission, scan and ci", text)
}
