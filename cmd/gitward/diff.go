package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gitward/gitward/gitindex"
)

type diffOptions struct {
	source
	output        string
	exitCode, all bool
}

func diffCommand() *cobra.Command {
	o := diffOptions{}
	c := &cobra.Command{
		Use:   "diff [KIND/NAME]",
		Short: "Hold live objects against Git",
		Long: `Hold live objects against Git: all that Git declares, those of one namespace
(-n), or one.

Fields that Kubernetes fills in, and those that the API server or the applier
set, are no differences.

Exit codes: 0 all the same, 1 something is different or missing, 2 could not
tell.`,
		Example: `  gitward diff -A
  gitward diff deploy/web -n shop`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return diff(cmd, &o, args)
		},
	}
	f := c.Flags()
	o.source.flags(f)
	o.live = true
	f.BoolVarP(&o.all, "all-namespaces", "A", false, "all that Git declares (the default, unless -n is given)")
	f.StringVarP(&o.output, "output", "o", "table", outputs)
	f.BoolVar(&o.exitCode, "exit-code", true, "exit with 1 when something differs; false: with 0")
	return c
}

// The states of a compared object. Missing is the same as trace's.
const (
	stateSame      = "same"
	stateDifferent = "different"
)

// diffResult is what -o json prints.
type diffResult struct {
	document
	Items []diffItem `json:"items"`
}

type diffItem struct {
	Object      objectName       `json:"object"`
	State       string           `json:"state"` // same, different, missing, unclear
	Source      *sourceItem      `json:"source"`
	Differences []differenceItem `json:"differences,omitempty"` // object is the live one
	Message     string           `json:"message,omitempty"`

	ref gitindex.Ref
}

func diff(cmd *cobra.Command, o *diffOptions, args []string) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	if o.all && (o.namespace != "" || len(args) > 0) {
		return fmt.Errorf("-A means everything: give it without -n and KIND/NAME")
	}
	con := newConsole(cmd)
	l, err := o.load(cmd.Context(), con)
	if err != nil {
		return err
	}
	defer l.stop()
	manifests, err := o.pick(l, args)
	if err != nil {
		return err
	}
	result := diffResult{document: documentOf("DiffResult"), Items: []diffItem{}}
	stop := con.progress(func() string { return "reading " + count(len(manifests), "object") + " of the cluster" })
	for _, m := range manifests {
		result.Items = append(result.Items, l.diff(cmd.Context(), m))
	}
	stop()
	if o.output == "table" {
		result.print(con)
	} else if err := con.structured(o.output, result); err != nil {
		return err
	}
	return result.exit(o.exitCode)
}

// pick lists the manifests to compare, one per object.
func (o *diffOptions) pick(l *loaded, args []string) ([]*gitindex.Manifest, error) {
	if len(args) == 0 {
		return l.declared(o.namespace), nil
	}
	t, err := parseTarget(args[0])
	if err != nil {
		return nil, err
	}
	ref, _, err := l.find(t)
	if err != nil {
		return nil, err
	}
	for _, s := range l.snapshots() {
		if e := s.Lookup(ref); e != nil && len(e.Current) > 0 {
			return e.Current[:1], nil
		}
	}
	return nil, fmt.Errorf("%s is not in Git (namespace %s)\n  do    `gitward trace %s` says more", args[0], l.namespace, args[0])
}

// declared are the objects that Git declares, in one namespace or in all.
func (l *loaded) declared(namespace string) []*gitindex.Manifest {
	first := map[gitindex.Ref]*gitindex.Manifest{}
	for _, s := range l.snapshots() {
		for ref, e := range s.Objects {
			if len(e.Current) == 0 || e.Current[0].Alternate || first[ref] != nil {
				continue
			}
			if namespace == "" || ref.Namespace == namespace {
				first[ref] = e.Current[0]
			}
		}
	}
	var out []*gitindex.Manifest
	for _, m := range first {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b *gitindex.Manifest) int {
		return strings.Compare(a.Ref.Namespace+"\x00"+a.Ref.GroupKind()+"\x00"+a.Ref.Name, b.Ref.Namespace+"\x00"+b.Ref.GroupKind()+"\x00"+b.Ref.Name)
	})
	return out
}

func (l *loaded) diff(ctx context.Context, m *gitindex.Manifest) diffItem {
	item := diffItem{Object: nameOfRef(m.Ref), ref: m.Ref, Source: sourceOf(m)}
	live, err := l.liveOf(ctx, m)
	item.State, item.Differences, item.Message = live.State, live.Drift, live.Message
	switch {
	case err != nil:
		item.State = stateUnclear
	case live.State == stateTraced:
		item.State = stateSame
	case live.State == stateDrifted:
		item.State = stateDifferent
	}
	return item
}

func (i *diffItem) mark() mark {
	switch i.State {
	case stateSame:
		return markGood
	case stateDifferent, stateMissing:
		return markBad
	}
	return markUnsure
}

func (r *diffResult) print(con *console) {
	var rows [][]cell
	for i := range r.Items {
		item := &r.Items[i]
		what := item.Message
		if n := len(item.Differences); n > 0 {
			what = count(n, "difference")
		}
		rows = append(rows, []cell{plain(gitindex.Clean(item.ref.String(), 120)), con.marked(item.mark(), item.State),
			plain(gitindex.Short(item.Source.Commit)), plain(gitindex.Clean(what, 200))})
	}
	if len(rows) == 0 {
		con.note("Git declares nothing there")
		return
	}
	con.table("OBJECT STATE COMMIT FOUND", rows)
	for i := range r.Items {
		r.Items[i].print(con)
	}
}

// print shows both sides of each difference.
func (i *diffItem) print(con *console) {
	if len(i.Differences) == 0 {
		return
	}
	fmt.Fprintf(con.out, "\n%s   %s@%s %s:%d\n", gitindex.Clean(i.ref.String(), 120), i.Source.Origin, gitindex.Short(i.Source.Commit),
		gitindex.Clean(i.Source.Path, 200), i.Source.Line)
	var rows [][]cell
	for _, d := range i.Differences {
		rows = append(rows, []cell{{text: "    " + d.Path}, {text: "Git " + d.Git}, {text: "live " + d.Object}})
	}
	con.columns(rows, 3)
}

func (r *diffResult) exit(code bool) error {
	found, unsure := 0, 0
	for _, i := range r.Items {
		switch i.State {
		case stateSame:
		case stateDifferent, stateMissing:
			found++
		default:
			unsure++
		}
	}
	switch {
	case unsure > 0:
		return fmt.Errorf("of %s, %d could not be compared", count(len(r.Items), "object"), unsure)
	case found > 0 && code:
		return errFound
	}
	return nil
}
