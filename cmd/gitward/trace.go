package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

type traceOptions struct {
	source
	output string
}

func traceCommand() *cobra.Command {
	o := traceOptions{}
	c := &cobra.Command{
		Use:   "trace KIND/NAME",
		Short: "Say where an object comes from: repository, file, lines, commit, signer",
		Long: `Say where an object comes from: repository, file, lines, commit, signer; what
it was before, and what is held back.

With a cluster (--live, --kubeconfig, or no --config) the live object is held
against Git as well.

Exit codes: 0 it is in Git, 1 it is not, 2 could not tell.`,
		Example: `  gitward trace deploy/web -n shop
  gitward trace certificates.cert-manager.io/web -n shop -o json`,
		Args: exactlyOneArg("KIND/NAME, such as deploy/web"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return trace(cmd, &o, args[0])
		},
	}
	f := c.Flags()
	o.source.flags(f)
	f.BoolVar(&o.live, "live", false, "hold the live object against Git, in the cluster of the usual kubeconfig")
	f.StringVarP(&o.output, "output", "o", "table", outputs)
	return c
}

// exactlyOneArg is cobra's ExactArgs(1), saying what is wanted.
func exactlyOneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("%s: give one %s", cmd.Name(), what)
		}
		return nil
	}
}

// The states of a traced object.
const (
	stateDeclared = "declared" // in Git; nobody looked at the cluster
	stateTraced   = "traced"   // in Git, and live exactly as Git says
	stateDrifted  = "drifted"  // in Git, and live otherwise
	stateMissing  = "missing"  // in Git, and not in the cluster
	stateUnclear  = "unclear"  // in Git; the live object could not be read or compared
	stateHeld     = "held"     // only in commits that are not trusted
	stateRemoved  = "removed"  // was in Git
	stateAbsent   = "absent"   // not in Git
)

// traceResult is what -o json prints.
type traceResult struct {
	document
	Object  objectName   `json:"object"`
	State   string       `json:"state"`
	Sources []traceItem  `json:"sources"`
	Earlier []earlier    `json:"earlier,omitempty"`
	Held    []heldItem   `json:"held,omitempty"`
	Removal *commitItem  `json:"heldRemoval,omitempty"` // an untrusted commit that removes it
	Gate    *gateItem    `json:"gate,omitempty"`
	Live    *liveItem    `json:"live,omitempty"`
	Near    []sourceItem `json:"near,omitempty"`

	ref gitindex.Ref
}

// traceItem is one place in Git that declares the object.
type traceItem struct {
	sourceItem
	URL      string     `json:"url"`
	Ref      string     `json:"ref"`
	Revision string     `json:"revision"` // the Origin's accepted one
	Last     commitItem `json:"lastChange"`
	Applier  string     `json:"applier,omitempty"`
}

type commitItem struct {
	ID        string    `json:"id"`
	Subject   string    `json:"subject"`
	Author    string    `json:"author"`
	Date      time.Time `json:"date"` // the author's, as claimed
	Outcome   string    `json:"outcome"`
	Signer    string    `json:"signer,omitempty"`
	Principal string    `json:"principal,omitempty"`
	Detail    string    `json:"detail,omitempty"`
}

type earlier struct {
	Commit       commitItem `json:"commit"`
	SupersededBy string     `json:"supersededBy"`
	SupersededAt time.Time  `json:"supersededAt"`
}

type heldItem struct {
	sourceItem
	Last commitItem `json:"lastChange"`
}

// gateItem is what a Gate makes of the object as Git has it.
type gateItem struct {
	Name    string  `json:"name,omitempty"`
	Action  string  `json:"action,omitempty"`
	Verdict verdict `json:"verdict"`
	Reason  string  `json:"reason"`
	Message string  `json:"message,omitempty"`
}

type liveItem struct {
	State   string              `json:"state"` // traced, drifted, missing, unclear
	Drift   []differenceItem    `json:"drift,omitempty"`
	Reasons map[string][]string `json:"reasons,omitempty"` // paths whose value is not Git's but accounted for
	Message string              `json:"message,omitempty"`
}

func commitOf(c *gitindex.Commit) commitItem {
	return commitItem{ID: c.ID, Subject: gitindex.Clean(c.Subject, 200), Author: c.Author.String(), Date: c.Author.When.UTC(),
		Outcome: c.Verdict.Outcome.String(), Signer: gitindex.Signer{Kind: c.Verdict.Signer.Kind, Fingerprint: c.Verdict.Signer.Fingerprint}.String(),
		Principal: gitindex.Clean(c.Verdict.Signer.Principal, 160), Detail: gitindex.Clean(c.Verdict.Detail, 300)}
}

func trace(cmd *cobra.Command, o *traceOptions, arg string) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	t, err := parseTarget(arg)
	if err != nil {
		return err
	}
	con := newConsole(cmd)
	l, err := o.load(cmd.Context(), con)
	if err != nil {
		return err
	}
	defer l.stop()
	result, liveErr := l.trace(cmd.Context(), t)
	if result == nil {
		return liveErr
	}
	if o.output == "table" {
		result.print(con)
	} else if err := con.structured(o.output, result); err != nil {
		return err
	}
	switch {
	case liveErr != nil:
		return liveErr
	case len(result.Sources) == 0:
		return errFound
	}
	return nil
}

// trace gathers what is known. Where only the cluster cannot be asked, there is
// both a result and an error.
func (l *loaded) trace(ctx context.Context, t target) (*traceResult, error) {
	ref, near, err := l.find(t)
	if err != nil {
		return nil, err
	}
	r := &traceResult{document: documentOf("TraceResult"), ref: ref, Object: nameOfRef(ref), State: stateAbsent, Sources: []traceItem{}}
	if ref.Name == "" {
		r.Object = objectName{Kind: t.kind, Group: t.group, Namespace: l.namespace, Name: t.name}
		r.ref = gitindex.Ref{Kind: t.kind, Namespace: l.namespace, Name: t.name}
		for _, m := range near {
			r.Near = append(r.Near, *sourceOf(m))
		}
		return r, nil
	}
	var current *gitindex.Manifest
	for _, s := range l.snapshots() {
		e := s.Lookup(ref)
		if e == nil {
			continue
		}
		r.add(s, e)
		if current == nil && len(e.Current) > 0 {
			current = e.Current[0]
		}
	}
	switch {
	case current != nil:
		r.State = stateDeclared
	case len(r.Held) > 0:
		r.State = stateHeld
		return r, nil
	default:
		r.State = stateRemoved
		return r, nil
	}
	r.Gate = l.gateOn(ctx, current)
	if l.cluster != nil {
		r.Live, err = l.liveOf(ctx, current)
		r.State = r.Live.State
	}
	return r, err
}

func (r *traceResult) add(s *gitindex.Snapshot, e *gitindex.Entry) {
	for _, m := range e.Current {
		item := traceItem{sourceItem: *sourceOf(m), URL: s.URL, Ref: s.Ref, Last: commitOf(m.Commit), Applier: applierText(m.Applier)}
		if s.Accepted != nil {
			item.Revision = s.Accepted.ID
		}
		r.Sources = append(r.Sources, item)
	}
	for _, p := range e.Past {
		r.Earlier = append(r.Earlier, earlier{Commit: commitOf(p.Manifest.Commit), SupersededBy: p.By.ID, SupersededAt: p.At.UTC()})
	}
	for _, m := range e.Held {
		r.Held = append(r.Held, heldItem{sourceItem: *sourceOf(m), Last: commitOf(m.Commit)})
	}
	if e.HeldRemoval != nil {
		c := commitOf(e.HeldRemoval)
		r.Removal = &c
	}
}

func applierText(a *gitindex.Applier) string {
	switch {
	case a == nil:
		return ""
	case a.FluxName != "":
		return "Flux Kustomization " + a.FluxNamespace + "/" + a.FluxName
	}
	return "Argo CD Application " + a.ArgoApplication
}

// gateOn asks the Gates what they make of the object as Git has it: a manifest
// in the wrong Origin is in Git and refused all the same.
func (l *loaded) gateOn(ctx context.Context, m *gitindex.Manifest) *gateItem {
	gv, err := schema.ParseGroupVersion(m.APIVersion)
	if err != nil {
		return nil
	}
	req, err := l.creation(&render.Object{Group: gv.Group, Version: gv.Version, Kind: m.Ref.Kind, Namespace: m.Ref.Namespace, Name: m.Ref.Name, JSON: m.Raw})
	if err != nil {
		return &gateItem{Verdict: verdictUnknown, Reason: string(gate.Unreadable), Message: err.Error()}
	}
	d := l.gate(nil, false).Decide(ctx, req)
	g := &gateItem{Name: d.Gate, Verdict: verdictOf(&d, false), Reason: string(d.Reason)}
	if d.Gate != "" {
		g.Action = d.Action.String()
	}
	if d.Refusal != nil {
		g.Reason, g.Message = string(d.Refusal.Kind), refusalText(d.Refusal)
	}
	return g
}

// liveOf holds the live object against Git.
func (l *loaded) liveOf(ctx context.Context, m *gitindex.Manifest) (*liveItem, error) {
	live, err := l.cluster.live(ctx, m)
	var missing errNotThere
	if errors.As(err, &missing) {
		return &liveItem{State: stateMissing, Message: missing.Error()}, nil
	}
	if err != nil {
		return &liveItem{State: stateUnclear, Message: err.Error()}, err
	}
	d, err := l.compare(ctx, live)
	if err != nil {
		return &liveItem{State: stateUnclear, Message: err.Error()}, err
	}
	item := &liveItem{State: stateDrifted, Drift: differencesOf(m.Ref, d.Drift), Reasons: map[string][]string{}}
	for reason, paths := range d.Reasons {
		item.Reasons[string(reason)] = paths
	}
	switch {
	case d.Traced:
		item.State = stateTraced
	case d.Manifest == nil || len(d.Drift) == 0:
		item.State, item.Message = stateUnclear, "Git's form cannot be compared with it"
		if d.Refusal != nil {
			item.Message = d.Refusal.Head
		}
	}
	return item, nil
}

// print draws the tree.
func (r *traceResult) print(con *console) {
	head := []cell{{text: gitindex.Clean(r.ref.String(), 120)}, r.headline(con)}
	con.columns([][]cell{head}, 3)
	var tree []branch
	for i := range r.Sources {
		tree = append(tree, r.Sources[i].branches(con)...)
	}
	for _, p := range r.Earlier {
		tree = append(tree, branch{cells: []cell{{text: "earlier"}, {text: gitindex.Short(p.Commit.ID) + "  " + quoted(p.Commit.Subject)},
			{text: fmt.Sprintf("superseded by %s, seen %s", gitindex.Short(p.SupersededBy), minute(p.SupersededAt))}}})
	}
	for i := range r.Held {
		h := &r.Held[i]
		tree = append(tree, h.Last.branch(con, "held back", h.place()))
	}
	if r.Removal != nil {
		tree = append(tree, r.Removal.branch(con, "held back", "its removal"))
	}
	if r.Gate != nil {
		tree = append(tree, r.Gate.branch(con))
	}
	if r.Live != nil {
		tree = append(tree, r.Live.branch(con))
	}
	for _, n := range r.Near {
		tree = append(tree, branch{cells: []cell{{text: "near"}, {text: fmt.Sprintf("%s@%s", n.Origin, gitindex.Short(n.Commit))},
			{text: n.place() + ": a typo?"}}})
	}
	con.tree(tree)
}

func (r *traceResult) headline(con *console) cell {
	switch r.State {
	case stateDeclared:
		return con.marked(markGood, "declared in Git")
	case stateTraced:
		return con.marked(markGood, "traced")
	case stateDrifted:
		return con.marked(markBad, "drifted: live is not what Git says")
	case stateMissing:
		return con.marked(markNotice, "declared in Git, not in the cluster")
	case stateUnclear:
		return con.marked(markUnsure, "declared in Git, the live object is not compared")
	case stateHeld:
		return con.marked(markBad, "held back: only commits that are not trusted declare it")
	case stateRemoved:
		return con.marked(markBad, "removed from Git")
	}
	return con.marked(markBad, "not in Git")
}

func (t *traceItem) branches(con *console) []branch {
	out := []branch{
		{cells: []cell{{text: "origin"}, {text: t.Origin + "  " + t.Ref + "@" + gitindex.Short(t.Revision)}, {text: gitindex.Clean(t.URL, 200)}}},
		{cells: []cell{{text: "file"}, {text: t.span()}}},
		t.Last.branch(con, "commit", t.Last.Author+"  "+minute(t.Last.Date)),
	}
	if t.Unit != "" {
		unit := []cell{{text: "unit"}, {text: gitindex.Clean(t.Unit, 200)}, {text: t.Level}}
		if t.Via != "" {
			unit[2].text += ", opened by Origin " + t.Via
		}
		out = slices.Insert(out, 2, branch{cells: unit})
	}
	if t.Applier != "" {
		out = append(out, branch{cells: []cell{{text: "applier"}, {text: gitindex.Clean(t.Applier, 120)}}})
	}
	return out
}

// branch shows a commit, and under it what its signature is worth.
func (c *commitItem) branch(con *console, label, more string) branch {
	said := con.marked(markBad, c.Outcome)
	switch c.Outcome {
	case gitindex.Good.String():
		said = con.marked(markGood, "trusted as "+c.Principal)
		if c.Principal == "" {
			said = con.marked(markGood, "trusted")
		}
	case gitindex.Sealed.String():
		said = con.marked(markGood, "sealed: accepted as it is")
	}
	// Of these two, the outcome says it all.
	if c.Detail != "" && c.Outcome != gitindex.Unsigned.String() && c.Outcome != gitindex.UnknownSigner.String() {
		said.text += ": " + c.Detail
	}
	by := con.paint(said)
	if c.Signer != "" {
		by = c.Signer + "  " + by
	}
	// One cell, so that a fingerprint's width moves nothing else.
	return branch{cells: []cell{{text: label}, {text: gitindex.Short(c.ID) + "  " + quoted(c.Subject)}, {text: more}},
		under: []branch{{cells: []cell{{text: "signed"}, {text: by}}}}}
}

func (g *gateItem) branch(con *console) branch {
	name, said := g.Name+" ("+g.Action+")", con.marked(g.Verdict.mark(), string(g.Verdict))
	if g.Name == "" {
		name, said = "none matches", con.marked(markNotice, "anybody may apply it")
	}
	if g.Message != "" {
		head, _, _ := strings.Cut(g.Message, "\n")
		said.text += ": " + head
	}
	return branch{cells: []cell{{text: "gate"}, {text: name}, said}}
}

func (i *liveItem) branch(con *console) branch {
	var aside []string
	for _, reason := range []gate.Reason{gate.ByServer, gate.ByApplier} {
		if n := len(i.Reasons[string(reason)]); n > 0 {
			aside = append(aside, fmt.Sprintf("%d set by the %s", n, strings.ToLower(string(reason))))
		}
	}
	b := branch{cells: []cell{{text: "live"}, {text: ""}, {text: strings.Join(aside, ", ")}}}
	switch i.State {
	case stateTraced:
		b.cells[1] = con.marked(markGood, "all fields match")
	case stateDrifted:
		b.cells[1] = con.marked(markBad, count(len(i.Drift), "difference"))
		for _, d := range i.Drift {
			b.under = append(b.under, branch{cells: []cell{{text: d.Path + "   Git " + d.Git + ", live " + d.Object}}})
		}
	case stateMissing:
		b.cells[1] = con.marked(markNotice, "missing: "+gitindex.Clean(i.Message, 200))
	default:
		b.cells[1] = con.marked(markUnsure, gitindex.Clean(i.Message, 200))
	}
	return b
}

func quoted(subject string) string { return `"` + gitindex.Clean(subject, 60) + `"` }

// minute is how results for people write a time.
func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04Z") }
