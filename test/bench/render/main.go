//go:build unix

// Render measures what rendering costs: a kustomization beside the kustomize
// command, a chart beside "helm template". Run it from the repository's root:
//
//	go run ./test/bench/render
//
// Both read the same files, and what they make of them is compared before
// anything is counted. Gitward renders as it does when it serves: its own
// program's child does the work and asks its parent for every file. Each
// measurement is a process of its own, this program started again, so that
// nothing is warm that would not be.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"text/tabwriter"

	"github.com/gitward/gitward/test/interop/tools"
)

// The commands, in the versions of the libraries that the product renders with.
var (
	kustomizeCommand = tools.Tool{Name: "kustomize", Dir: "../bench/render/kustomize",
		Module: "sigs.k8s.io/kustomize/kustomize/v5", Pkg: "sigs.k8s.io/kustomize/kustomize/v5"}
	helmCommand = tools.Tool{Name: "helm", Dir: "../bench/render/helm",
		Module: "helm.sh/helm/v4", Pkg: "helm.sh/helm/v4/cmd/helm"}
)

type options struct {
	runs, times     int
	output, profile string
}

func main() {
	if os.Getenv(roleVariable) != "" {
		exitOn(play())
		return
	}
	o := options{}
	flag.IntVar(&o.runs, "runs", 5, "runs of each command and each renderer")
	flag.IntVar(&o.times, "times", 20, "renderings after the first in one process")
	flag.StringVar(&o.output, "o", "table", "table or json")
	flag.StringVar(&o.profile, "profile", "", "directory for a CPU profile of each unit, rendered in process")
	flag.Parse()
	if o.runs < 1 || o.times < 1 || o.output != "table" && o.output != "json" {
		exitOn(fmt.Errorf("-runs and -times are at least 1, -o is table or json"))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	results, err := run(ctx, &o)
	exitOn(err)
	exitOn(print(results, o.output))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run takes all measurements in a temporary directory.
func run(ctx context.Context, o *options) ([]Result, error) {
	root, err := os.MkdirTemp("", "gitward-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(root)
	if o.profile != "" {
		if err := os.MkdirAll(o.profile, 0o755); err != nil {
			return nil, err
		}
	}
	m := &measurement{options: o, home: root}
	if m.kustomize, err = kustomizeCommand.Ensure(ctx, os.Stderr); err != nil {
		return nil, err
	}
	if m.helm, err = helmCommand.Ensure(ctx, os.Stderr); err != nil {
		return nil, err
	}
	if m.gitward, err = buildGitward(ctx, root); err != nil {
		return nil, err
	}
	sets, err := inputs(m, filepath.Join(root, "generated"))
	if err != nil {
		return nil, err
	}
	return m.all(sets)
}

// buildGitward is the program whose child renders: its size and what it does
// before main are part of what a child costs.
func buildGitward(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "gitward")
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w", "-o", path, "./cmd/gitward")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("building gitward, from the repository's root: %w", err)
	}
	return path, nil
}

func print(results []Result, output string) error {
	if output == "json" {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(map[string]any{"cpus": runtime.NumCPU(), "go": runtime.Version(), "goal": goal, "unit": "ms of CPU, median", "results": results})
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "CPU, ms\tOBJECTS\tCOMMAND\tCHILD, FIRST\t/COMMAND\tNEXT\t/COMMAND\tIN PROCESS, FIRST\t/COMMAND\tNEXT\t/COMMAND\tHOW\n")
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%d\t%.1f\t%s%s%s%s%s\n", r.What, r.Objects, r.Command,
			r.beside(r.ChildFirst), r.beside(r.ChildNext), r.beside(r.LocalFirst), r.beside(r.LocalNext), r.How)
	}
	return w.Flush()
}
