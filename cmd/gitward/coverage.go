package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
)

type coverageOptions struct {
	source
	output string
	list   string
	all    bool
}

func coverageCommand() *cobra.Command {
	o := coverageOptions{}
	c := &cobra.Command{
		Use:   "coverage",
		Short: "How much of the cluster comes from Git?",
		Long: `Hold every live object against Git, and count by namespace: traced (it is what Git
declares), derived (a controller made it of such an object), drifted (Git says
something else), untraced (nothing says why it is there), broken (break-glass is
open for it, or for what it stems from), excluded (a Gate leaves it out), platform
(Kubernetes itself keeps it), ungated (no Gate is about it).

Reading all objects takes the right to; values of Secrets are never shown.`,
		Example: `  gitward coverage
  gitward coverage -n shop --list untraced`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return coverage(cmd, &o) },
	}
	f := c.Flags()
	o.source.flags(f)
	o.live = true
	f.BoolVarP(&o.all, "all-namespaces", "A", false, "all namespaces (the default, unless -n is given)")
	f.StringVar(&o.list, "list", "", "name the objects of one standing: untraced, drifted, ...")
	f.StringVarP(&o.output, "output", "o", "table", outputs)
	return c
}

// coverageResult is what -o json prints.
type coverageResult struct {
	document
	Namespaces []coverageItem  `json:"namespaces"` // the first is the cluster's own, without a name
	Total      map[string]int  `json:"total"`
	Exclusions []exclusionItem `json:"exclusions,omitempty"`
	Objects    []standingItem  `json:"objects,omitempty"` // those of --list
	Unread     []string        `json:"unread,omitempty"`
}

type coverageItem struct {
	Namespace string         `json:"namespace,omitempty"`
	Counts    map[string]int `json:"counts"`
}

type exclusionItem struct {
	Gate    string     `json:"gate"`
	What    string     `json:"what"`
	Reason  string     `json:"reason"`
	Expires *time.Time `json:"expires,omitempty"` // never, when it is missing
	Expired bool       `json:"expired,omitempty"`
}

type standingItem struct {
	Object   objectName `json:"object"`
	Standing string     `json:"standing"`
	Root     string     `json:"root,omitempty"`
	Paths    []string   `json:"paths,omitempty"` // that drifted
}

var standings = []gate.Standing{gate.Traced, gate.StandsDerived, gate.Drifted, gate.Untraced, gate.StandsBroken, gate.StandsExcluded, gate.StandsPlatform, gate.NotMatched}

func coverage(cmd *cobra.Command, o *coverageOptions) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	if o.list != "" && !slices.Contains(standings, gate.Standing(o.list)) {
		return fmt.Errorf("--list %q is none of %v", o.list, standings)
	}
	con := newConsole(cmd)
	l, err := o.load(cmd.Context(), con)
	if err != nil {
		return err
	}
	defer l.stop()
	if err := l.followLive(cmd.Context()); err != nil {
		return err
	}
	c := newCounting(l, o)
	if err := c.readAll(cmd.Context(), con); err != nil {
		return err
	}
	c.finish()
	if o.output == "table" {
		c.result.print(con)
		return nil
	}
	return con.structured(o.output, c.result)
}

// followLive has the process know whom live objects stem from, and waits until
// it does.
func (l *loaded) followLive(ctx context.Context) error {
	w, err := l.watchLive(l.cluster.config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	stop := l.stop
	l.stop = func() { cancel(); <-done; stop() }
	deadline := time.Now().Add(time.Minute)
	for w.Cache.Ready() != nil {
		if time.Now().After(deadline) {
			return w.Cache.Ready()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// counting is one reading of the cluster.
type counting struct {
	*loaded
	list, only  string
	byNamespace map[string]map[string]int
	read        int
	result      coverageResult
}

func newCounting(l *loaded, o *coverageOptions) *counting {
	return &counting{loaded: l, list: o.list, only: o.namespace, byNamespace: map[string]map[string]int{}, result: coverageResult{document: documentOf("CoverageResult"), Total: map[string]int{}}}
}

// readAll counts every object that can be read.
func (c *counting) readAll(ctx context.Context, con *console) (err error) {
	c.result.Unread, err = c.cluster.eachObject(ctx, c.only, con, c.count)
	return err
}

func (c *counting) count(o *unstructured.Unstructured, resource string) error {
	standing, d, err := standingOf(c.process, c.ledger, o, resource)
	if err != nil {
		return err
	}
	namespace := o.GetNamespace()
	if c.byNamespace[namespace] == nil {
		c.byNamespace[namespace] = map[string]int{}
	}
	c.byNamespace[namespace][string(standing)]++
	c.result.Total[string(standing)]++
	c.read++
	if c.list == string(standing) {
		item := standingItem{Standing: c.list, Object: nameOfObject(o)}
		if d.Root.Name != "" {
			item.Root = d.Root.String()
		}
		for _, diff := range d.Drift {
			item.Paths = append(item.Paths, gitindex.Clean(diff.Path, 200))
		}
		c.result.Objects = append(c.result.Objects, item)
	}
	return nil
}

func (c *counting) finish() {
	for _, ns := range slices.Sorted(maps.Keys(c.byNamespace)) {
		c.result.Namespaces = append(c.result.Namespaces, coverageItem{Namespace: ns, Counts: c.byNamespace[ns]})
	}
	now := time.Now()
	for _, r := range c.view.Load().Rules {
		for _, e := range r.Exclude {
			item := exclusionItem{Gate: r.Name, What: exclusionText(&e), Reason: gitindex.Clean(e.Reason, 300)}
			if !e.Expires.IsZero() {
				item.Expires, item.Expired = &e.Expires, !now.Before(e.Expires)
			}
			c.result.Exclusions = append(c.result.Exclusions, item)
		}
	}
}

// shown are the columns: the first four always, the others where there are any.
func (r *coverageResult) shown() []gate.Standing {
	var out []gate.Standing
	for i, s := range standings {
		if i < 4 || slices.ContainsFunc(r.Namespaces, func(n coverageItem) bool { return n.Counts[string(s)] > 0 }) {
			out = append(out, s)
		}
	}
	return out
}

func exclusionText(e *gate.Exclusion) string {
	var parts []string
	for _, p := range []struct {
		word string
		list []string
	}{{"in", e.Namespaces}, {"all", e.Resources}, {"by", e.Users}} {
		if len(p.list) > 0 {
			parts = append(parts, p.word+" "+gitindex.Clean(strings.Join(p.list, ", "), 120))
		}
	}
	return strings.Join(parts, " ")
}

func (r *coverageResult) print(con *console) {
	header, shown := "NAMESPACE COVERED", r.shown()
	for _, s := range shown {
		header += " " + strings.ToUpper(string(s))
	}
	var rows [][]cell
	for _, item := range r.Namespaces {
		name := item.Namespace
		if name == "" {
			name = "(cluster)"
		}
		row := []cell{plain(gitindex.Clean(name, 63)), {text: con.bar(item.Counts)}}
		for _, s := range shown {
			row = append(row, plain(number(item.Counts[string(s)])))
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		con.note("there is nothing there")
		return
	}
	con.table(header, rows)
	for _, o := range r.Objects {
		ref := gitindex.Ref{Group: o.Object.Group, Kind: o.Object.Kind, Namespace: o.Object.Namespace, Name: o.Object.Name}
		fmt.Fprintf(con.out, "  %s  %s %s\n", o.Standing, gitindex.Clean(ref.String(), 150), gitindex.Clean(strings.Join(o.Paths, " "), 300))
	}
	for _, e := range r.Exclusions {
		until := "never expires"
		switch {
		case e.Expired:
			until = "EXPIRED " + e.Expires.UTC().Format(time.DateOnly)
		case e.Expires != nil:
			until = "until " + e.Expires.UTC().Format(time.DateOnly)
		}
		fmt.Fprintf(con.out, "  excluded by %s: %s (%s): %s\n", e.Gate, e.What, until, e.Reason)
	}
	if len(r.Unread) > 0 {
		con.note("these kinds could not be read: %s", gitindex.Clean(strings.Join(r.Unread, ", "), 300))
	}
}

func number(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

// bar shows the part that comes from Git of what ought to: ten places.
func (s *console) bar(counts map[string]int) string {
	good := counts[string(gate.Traced)] + counts[string(gate.StandsDerived)]
	all := good + counts[string(gate.Drifted)] + counts[string(gate.Untraced)] + counts[string(gate.StandsBroken)]
	if all == 0 {
		return "-"
	}
	full, empty := "█", "░"
	if s.ascii {
		full, empty = "#", "."
	}
	n := good * 10 / all
	return strings.Repeat(full, n) + strings.Repeat(empty, 10-n) + fmt.Sprintf(" %3d%%", good*100/all)
}
