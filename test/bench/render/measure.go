//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/gitindex/render/helm"
)

// goal is how much of the command's CPU a rendering may take.
const goal = 1.0

// Result is one unit, or several in a row, beside the command: milliseconds of
// CPU, 0 where it was not measured.
type Result struct {
	What    string  `json:"what"`
	Objects int     `json:"objects"`
	Command float64 `json:"command"`
	// In a child of the gitward program, with what its parent does: the first
	// unit, with the child's start and end, and each further one.
	ChildFirst float64 `json:"childFirst"`
	ChildNext  float64 `json:"childNext,omitempty"`
	// In the calling process, without its start.
	LocalFirst float64 `json:"localFirst"`
	LocalNext  float64 `json:"localNext,omitempty"`
	How        string  `json:"how"`
}

// beside is a figure and its ratio to the command's, as two cells.
func (r Result) beside(figure float64) string {
	if figure == 0 {
		return "\t\t"
	}
	over := ""
	if figure > goal*r.Command {
		over = " over"
	}
	return fmt.Sprintf("%.1f\t%.2f%s\t", figure, figure/r.Command, over)
}

// measurement is the parent's side.
type measurement struct {
	options                  *options
	kustomize, helm, gitward string // programs
	home                     string // of the commands: they find no settings there
}

// all measures each unit alone, then those of a set one after the other.
func (m *measurement) all(sets []set) ([]Result, error) {
	var out []Result
	for _, s := range sets {
		for _, in := range s.inputs {
			r, err := m.one(in)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", in.name, err)
			}
			out = append(out, r)
		}
		if len(s.inputs) < 2 {
			continue
		}
		r, err := m.together(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		out = append(out, r)
	}
	return out, nil
}

// one measures one unit. Command and renderers take turns, so that a machine
// that gets busy is busy for all.
func (m *measurement) one(in input) (Result, error) {
	n, err := m.same(in)
	if err != nil {
		return Result{}, err
	}
	units, times := []render.Unit{in.unit}, m.options.times
	var commands, childFirst, childMore, localFirst, localMore []time.Duration
	for range m.options.runs {
		spent, _, err := m.command(in)
		if err != nil {
			return Result{}, err
		}
		commands = append(commands, spent)
		for _, f := range []struct {
			task task
			into *[]time.Duration
		}{
			{task{Root: in.root, Units: units, Program: m.gitward}, &childFirst},
			{task{Root: in.root, Units: units, Program: m.gitward, More: times}, &childMore},
			{task{Root: in.root, Units: units}, &localFirst},
			{task{Root: in.root, Units: units, More: times}, &localMore},
		} {
			got, err := call(f.task)
			if err != nil {
				return Result{}, err
			}
			*f.into = append(*f.into, got.CPU)
		}
	}
	if err := m.profile(in); err != nil {
		return Result{}, err
	}
	next := func(more, first []time.Duration) float64 {
		return (median(more) - median(first)) / float64(times)
	}
	return Result{What: in.name, Objects: n, Command: median(commands),
		ChildFirst: median(childFirst), ChildNext: next(childMore, childFirst),
		LocalFirst: median(localFirst), LocalNext: next(localMore, localFirst),
		How: fmt.Sprintf("median of %d, next: of %d", m.options.runs, times)}, nil
}

// together renders a set's units one after the other in one child, as an index
// does, beside one command for each.
func (m *measurement) together(s set) (Result, error) {
	r := Result{What: fmt.Sprintf("%s, all %d", s.name, len(s.inputs)), How: fmt.Sprintf("median of %d, one child", m.options.runs)}
	units := make([]render.Unit, len(s.inputs))
	for i, in := range s.inputs {
		units[i] = in.unit
	}
	var commands, child, local []time.Duration
	for range m.options.runs {
		var sum time.Duration
		r.Objects = 0
		for _, in := range s.inputs {
			spent, objects, err := m.command(in)
			if err != nil {
				return r, err
			}
			sum, r.Objects = sum+spent, r.Objects+len(objects)
		}
		commands = append(commands, sum)
		got, err := call(task{Root: s.root, Units: units, Program: m.gitward})
		if err != nil {
			return r, err
		}
		child = append(child, got.CPU)
		if got, err = call(task{Root: s.root, Units: units}); err != nil {
			return r, err
		}
		local = append(local, got.CPU)
	}
	r.Command, r.ChildFirst, r.LocalFirst = median(commands), median(child), median(local)
	return r, nil
}

func (m *measurement) profile(in input) error {
	if m.options.profile == "" {
		return nil
	}
	name := strings.ReplaceAll(strings.ReplaceAll(in.name, "/", "_"), " ", "-") + ".cpu"
	file, err := filepath.Abs(filepath.Join(m.options.profile, name))
	if err == nil {
		_, err = call(task{Root: in.root, Units: []render.Unit{in.unit}, More: 10 * m.options.times, Profile: file})
	}
	return err
}

// command runs the tool itself, and reads what it prints.
func (m *measurement) command(in input) (time.Duration, []string, error) {
	var cmd *exec.Cmd
	if in.unit.Tool == render.Kustomize {
		cmd = exec.Command(m.kustomize, "build", in.unit.Path)
	} else {
		cmd = exec.Command(m.helm, helmArguments(in.unit)...)
	}
	var out, said bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = in.root, &out, &said
	cmd.Env = []string{"HOME=" + m.home, "PATH=" + os.Getenv("PATH")}
	if err := cmd.Run(); err != nil {
		return 0, nil, fmt.Errorf("%s: %w: %.300s", filepath.Base(cmd.Path), err, said.Bytes())
	}
	objects, err := printed(out.Bytes())
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), objects, err
}

// helmArguments tell the command what Gitward supposes of a cluster.
func helmArguments(u render.Unit) []string {
	o := u.Helm
	args := []string{"template", o.ReleaseName, u.Path, "--namespace", o.Namespace, "--include-crds",
		"--kube-version", o.KubeVersion, "--api-versions", strings.Join(helm.Served(), ",")}
	for _, name := range o.ValuesFiles {
		args = append(args, "--values", filepath.Join(u.Path, name))
	}
	return args
}

func median(d []time.Duration) float64 {
	s := slices.Sorted(slices.Values(d))
	return float64(s[len(s)/2]) / float64(time.Millisecond)
}
