package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/policy"
	"github.com/gitward/gitward/policy/worker"
)

type policyImpactOptions struct {
	source
	output   string
	policies string
	against  string
	gate     string
	input    []string
	point    string
	cluster  bool
}

func policyImpactCommand() *cobra.Command {
	o := policyImpactOptions{}
	c := &cobra.Command{
		Use:   "impact --policies DIR [--against DIR | --gate NAME] --input FILE...",
		Short: "What would new policies have refused, or let pass?",
		Long: `Ask new policies about requests that were recorded, or about what is in the
cluster, and the old ones too: say what would be refused that was not, admitted
that was not, and told in other words; by policy and by object.

The old policies are a directory (--against), or those that a Gate names, as its
Origins have them at their accepted revisions (--gate, with --config or a cluster).
Without either all that the new ones find is new.

Exit codes: 0 nothing would be newly refused, 1 something would, 2 could not tell.`,
		Example: `  gitward policy impact --policies policies/ --against main/policies --input requests.jsonl
  gitward policy impact --policies policies/ --gate default --cluster`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return policyImpact(cmd, &o) },
	}
	f := c.Flags()
	o.source.flags(f)
	f.StringVar(&o.policies, "policies", "", "directory of the new policies")
	f.StringVar(&o.against, "against", "", "directory of the old ones")
	f.StringVar(&o.gate, "gate", "", "Gate whose policies are the old ones")
	f.StringArrayVar(&o.local, "origin", nil, "DIR or NAME=DIR: read this repository, at its HEAD, in place of the Origin's URL")
	f.StringArrayVar(&o.input, "input", nil, inputUsage)
	f.BoolVar(&o.cluster, "cluster", false, "ask about every object in the cluster, as if it were created now")
	f.StringVar(&o.point, "point", string(policy.Admission), "where the policies are asked: admission, scan or ci")
	f.StringVarP(&o.output, "output", "o", "table", reportOutputs)
	return c
}

// policyImpactResult is what -o json prints.
type policyImpactResult struct {
	document
	Requests      int                 `json:"requests"`
	NewlyRefused  int                 `json:"newlyRefused"`
	NewlyAdmitted int                 `json:"newlyAdmitted"`
	Changed       int                 `json:"changed"` // refused or warned of before and after, in other words
	Policies      []policyImpactGroup `json:"policies"`
	Objects       []policyImpactItem  `json:"objects"`
	Unread        []string            `json:"unread,omitempty"` // kinds of the cluster
}

// policyImpactGroup is what becomes of requests through one policy.
type policyImpactGroup struct {
	Policy  string `json:"policy"`
	File    string `json:"file,omitempty"`
	Change  change `json:"change"`
	Count   int    `json:"count"`
	Example string `json:"example"`
}

// change is the difference between old and new.
type change string

// The changes, the gravest first.
const (
	newlyRefused  change = "newly refused"
	newlyAdmitted change = "newly admitted"
	otherwiseTold change = "changed"
)

// policyImpactItem is one request for which something changes.
type policyImpactItem struct {
	Object    objectName       `json:"object"`
	Operation string           `json:"operation"`
	File      string           `json:"file,omitempty"`
	Line      int              `json:"line,omitempty"`
	Change    change           `json:"change"`
	New       []policy.Finding `json:"new,omitempty"` // that the old policies did not have
	Gone      []policy.Finding `json:"gone,omitempty"`
}

func policyImpact(cmd *cobra.Command, o *policyImpactOptions) error {
	if err := checkReportOutput(o.output); err != nil {
		return err
	}
	point, err := pointFlag(o.point)
	switch {
	case err != nil:
		return err
	case o.policies == "":
		return errors.New("impact: give --policies DIR")
	case o.against != "" && o.gate != "":
		return errors.New("impact: give --against or --gate, not both")
	case len(o.input) == 0 && !o.cluster:
		return fmt.Errorf("impact: give --input %s, or --cluster", inputUsage)
	}
	con := newConsole(cmd)
	i, err := o.prepare(cmd.Context(), con)
	if err != nil {
		return err
	}
	defer i.panel.Close()
	i.point = point
	r := policyImpactResult{document: documentOf("PolicyImpactResult"), Policies: []policyImpactGroup{}, Objects: []policyImpactItem{}}
	var requests []policyRequest
	if len(o.input) > 0 {
		if requests, err = policyRequests(o.input, cmd.InOrStdin()); err != nil {
			return err
		}
	}
	if o.cluster {
		live, unread, err := o.live(cmd.Context(), con)
		if err != nil {
			return err
		}
		requests, r.Unread = append(requests, live...), unread
	}
	for j := range requests {
		if err := i.ask(cmd.Context(), &requests[j], &r); err != nil {
			return err
		}
	}
	r.group()
	if err := con.write(o.output, result{document: r, table: r.print, report: r.report()}); err != nil {
		return err
	}
	if r.NewlyRefused > 0 {
		return errFound
	}
	return nil
}

// impacting is a panel with the new policies first, and the old ones after.
type impacting struct {
	panel *worker.Panel
	dirs  []*policyDir
	caps  []policy.Action // the strictest that may follow, by directory
	point policy.Point
}

func (o *policyImpactOptions) prepare(ctx context.Context, con *console) (*impacting, error) {
	d, err := readPolicyDir(o.policies)
	if err != nil {
		return nil, err
	}
	i := &impacting{dirs: []*policyDir{d}, caps: []policy.Action{policy.Deny}}
	switch {
	case o.against != "":
		if d, err = readPolicyDir(o.against); err != nil {
			return nil, err
		}
		i.dirs, i.caps = append(i.dirs, d), append(i.caps, policy.Deny)
	case o.gate != "":
		if err := o.ofGate(ctx, con, i); err != nil {
			return nil, err
		}
	}
	i.panel, err = compiledPolicies(i.dirs...)
	return i, err
}

// ofGate reads the policies that a Gate names.
func (o *policyImpactOptions) ofGate(ctx context.Context, con *console, i *impacting) error {
	l, err := o.load(ctx, con)
	if err != nil {
		return err
	}
	defer l.stop()
	at := slices.IndexFunc(l.configuration.gates, func(g v1alpha1.Gate) bool { return g.Name == o.gate })
	if at < 0 {
		return fmt.Errorf("there is no Gate %s", o.gate)
	}
	for _, use := range policyUses(l.configuration.gates[at : at+1])[o.gate] {
		d := &policyDir{name: use.Place.String()}
		err := l.hub.Read(use.Origin, func(tree fs.FS, _ string) error {
			sub, err := fs.Sub(tree, use.Path)
			if err != nil {
				return err
			}
			d.files, err = policy.Collect(sub)
			return err
		})
		if err != nil {
			return fmt.Errorf("reading the policies %s: %w", use.Place, err)
		}
		i.dirs, i.caps = append(i.dirs, d), append(i.caps, use.Action)
	}
	return nil
}

// ask puts one request to both, and notes what is different.
func (i *impacting) ask(ctx context.Context, r *policyRequest, out *policyImpactResult) error {
	out.Requests++
	before, err := i.found(ctx, r, 1, len(i.dirs))
	if err != nil {
		return err
	}
	after, err := i.found(ctx, r, 0, 1)
	if err != nil {
		return err
	}
	item := policyImpactItem{Object: r.object(), Operation: r.in.Request.Operation, File: r.at.file, Line: r.at.line, New: without(after, before), Gone: without(before, after)}
	switch was, is := denied(before), denied(after); {
	case is && !was:
		item.Change = newlyRefused
		out.NewlyRefused++
	case was && !is:
		item.Change = newlyAdmitted
		out.NewlyAdmitted++
	case len(item.New)+len(item.Gone) > 0:
		item.Change = otherwiseTold
		out.Changed++
	default:
		return nil
	}
	out.Objects = append(out.Objects, item)
	return nil
}

// found is what the policies of some of the directories say.
func (i *impacting) found(ctx context.Context, r *policyRequest, from, to int) ([]policy.Finding, error) {
	if from == to {
		return nil, nil
	}
	q := worker.Question{Point: i.point, Input: r.text}
	for n := from; n < to; n++ {
		q.Bundles = append(q.Bundles, n)
	}
	found, err := i.panel.Ask(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.at, err)
	}
	out := make([]policy.Finding, 0, len(found))
	for _, f := range found {
		f.Action = max(f.Action, i.caps[f.Bundle])
		f.File = i.dirs[f.Bundle].file(f.File)
		out = append(out, f.Finding)
	}
	return out, nil
}

func denied(found []policy.Finding) bool {
	return slices.ContainsFunc(found, func(f policy.Finding) bool { return f.Action == policy.Deny })
}

// without are the findings that the others do not have: by policy, message and
// what follows.
func without(found, others []policy.Finding) []policy.Finding {
	var out []policy.Finding
	for _, f := range found {
		if !slices.ContainsFunc(others, func(o policy.Finding) bool {
			return o.Policy == f.Policy && o.Message == f.Message && o.Action == f.Action && o.Kind == f.Kind
		}) {
			out = append(out, f)
		}
	}
	return out
}

// live makes a request of every object in the cluster.
func (o *policyImpactOptions) live(ctx context.Context, con *console) ([]policyRequest, []string, error) {
	c, err := reachCluster(o.kubeconfig, o.context)
	if err != nil {
		return nil, nil, err
	}
	homes, err := namespacesIn(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	home := func(name string) *policy.Namespace {
		if ns := homes[name]; ns != nil {
			return ns
		}
		return &policy.Namespace{Name: name, Labels: withName(nil, name)}
	}
	var out []policyRequest
	now := time.Now()
	unread, err := c.eachObject(ctx, o.namespace, con, func(object *unstructured.Unstructured, _ string) error {
		dropStamps(object)
		object.SetManagedFields(nil)
		text, err := object.MarshalJSON()
		if err != nil {
			return err
		}
		var head objectHead
		head.APIVersion, head.Kind = object.GetAPIVersion(), object.GetKind()
		head.Metadata.Name, head.Metadata.Namespace = object.GetName(), object.GetNamespace()
		r, err := creationOf(head, text, home, now)
		if err != nil {
			return err
		}
		r.at = location{text: "in the cluster"}
		out = append(out, *r)
		return nil
	})
	return out, unread, err
}

func namespacesIn(ctx context.Context, c *clusterReader) (map[string]*policy.Namespace, error) {
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion("v1")
	list.SetKind("NamespaceList")
	out := map[string]*policy.Namespace{}
	if err := c.client.List(ctx, list, &client.ListOptions{}); err != nil {
		if apierrors.IsForbidden(err) {
			return out, nil
		}
		return nil, fmt.Errorf("reading Namespaces: %w", err)
	}
	for i := range list.Items {
		o := &list.Items[i]
		out[o.GetName()] = &policy.Namespace{Name: o.GetName(), Labels: o.GetLabels(), Annotations: o.GetAnnotations()}
	}
	return out, nil
}

// group counts by policy.
func (r *policyImpactResult) group() {
	type key struct {
		policy string
		change change
	}
	groups := map[key]*policyImpactGroup{}
	note := func(item *policyImpactItem, f *policy.Finding, c change) {
		k := key{f.Policy, c}
		if groups[k] == nil {
			groups[k] = &policyImpactGroup{Policy: f.Policy, File: f.File, Change: c, Example: item.Object.String()}
		}
		groups[k].Count++
	}
	for i := range r.Objects {
		item := &r.Objects[i]
		seen := map[string]bool{}
		for j, list := range [][]policy.Finding{item.New, item.Gone} {
			for k := range list {
				f := &list[k]
				if item.Change == newlyRefused && (j == 1 || f.Action != policy.Deny) || item.Change == newlyAdmitted && (j == 0 || f.Action != policy.Deny) || seen[f.Policy] {
					continue
				}
				seen[f.Policy] = true
				note(item, f, item.Change)
			}
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(groups), func(a, b key) int {
		return cmp.Or(cmp.Compare(slices.Index(changes, a.change), slices.Index(changes, b.change)), cmp.Compare(groups[b].Count, groups[a].Count), cmp.Compare(a.policy, b.policy))
	}) {
		r.Policies = append(r.Policies, *groups[k])
	}
}

var changes = []change{newlyRefused, newlyAdmitted, otherwiseTold}

func (c change) mark() mark {
	switch c {
	case newlyRefused:
		return markBad
	case newlyAdmitted:
		return markGood
	}
	return markNotice
}

func (r *policyImpactResult) head() string {
	return fmt.Sprintf("%s: %d newly refused, %d newly admitted, %d changed", count(r.Requests, "request"), r.NewlyRefused, r.NewlyAdmitted, r.Changed)
}

func (r *policyImpactResult) print(s *console) {
	fmt.Fprintln(s.out, r.head())
	for _, kind := range r.Unread {
		s.note("%s could not be read", kind)
	}
	if len(r.Objects) == 0 {
		return
	}
	var rows [][]cell
	for i := range r.Policies {
		g := &r.Policies[i]
		rows = append(rows, []cell{plain(fmt.Sprint(g.Count)), plain(gitindex.Clean(g.Policy, 100)), s.marked(g.Change.mark(), string(g.Change)), plain(g.Example), plain(g.File)})
	}
	fmt.Fprintln(s.out)
	s.table("COUNT POLICY CHANGE EXAMPLE FILE", rows)
	rows = nil
	for i := range r.Objects {
		o := &r.Objects[i]
		for _, part := range []struct {
			sign string
			list []policy.Finding
		}{{"+", o.New}, {"-", o.Gone}} {
			for _, f := range part.list {
				rows = append(rows, []cell{plain(o.Object.String()), plain(o.Operation), s.marked(o.Change.mark(), string(o.Change)), plain(part.sign + " " + f.Action.String()), plain(gitindex.Clean(f.Policy, 100)), plain(f.Message)})
			}
		}
	}
	fmt.Fprintln(s.out)
	s.table("OBJECT VERB CHANGE FINDING POLICY MESSAGE", rows)
}

// report is the result for CI: a case is a request for which something changes.
func (r *policyImpactResult) report() *report {
	out := &report{command: "gitward policy impact", noun: "change", about: map[string]string{}, notes: []string{r.head()}}
	for i := range r.Objects {
		o := &r.Objects[i]
		c := reportCase{name: o.Object.String(), at: location{file: o.File, line: o.Line}, outcome: outWarned, word: string(o.Change)}
		weight := mild
		if o.Change == newlyRefused {
			c.outcome, weight = outFailed, severe
		}
		for _, f := range o.New {
			w := weight
			if f.Action != policy.Deny {
				w = trivial
			}
			c.findings = append(c.findings, impactFinding(o, &f, w, "+ "))
		}
		for _, f := range o.Gone {
			c.findings = append(c.findings, impactFinding(o, &f, trivial, "- "))
		}
		out.cases = append(out.cases, c)
	}
	return out
}

func impactFinding(o *policyImpactItem, f *policy.Finding, weight severity, sign string) reportFinding {
	return reportFinding{rule: gitindex.Clean(f.Policy, 120), severity: weight, message: fmt.Sprintf("%s %s: %s%s: %s", o.Object, o.Change, sign, f.Action, f.Message), fix: f.Fix,
		related: []location{{file: f.File, line: f.Line, text: strings.TrimSpace("the policy " + f.Title)}}}
}
