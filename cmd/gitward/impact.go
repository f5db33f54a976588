package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/audit"
	"github.com/gitward/gitward/gitindex"
)

type impactOptions struct {
	kubeconfig, context string
	gate, action        string
	records             string
	since               time.Duration
	output              string
}

func impactCommand() *cobra.Command {
	o := impactOptions{}
	c := &cobra.Command{
		Use:   "impact",
		Short: "What would a Gate have refused, had it denied?",
		Long: `Say what a Gate that only audits or warns would have refused, grouped by who and
why, and suggest rules for what honest controllers did.

By default from what the Gate itself has learned, which stands in its status; with
--records from the lines of a record.`,
		Example: `  gitward impact --gate default --action Deny
  kubectl -n gitward-system logs deploy/gitward | gitward impact --gate default --records -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return impact(cmd, &o) },
	}
	f := c.Flags()
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig file; default: $KUBECONFIG or ~/.kube/config")
	f.StringVar(&o.context, "context", "", "context of the kubeconfig")
	f.StringVar(&o.gate, "gate", "default", "name of the Gate")
	f.StringVar(&o.action, "action", "Deny", "the action that is thought of")
	f.StringVar(&o.records, "records", "", "file of records, in place of what the Gate learned; - is stdin")
	f.DurationVar(&o.since, "since", 7*24*time.Hour, "of records, how long back")
	f.StringVarP(&o.output, "output", "o", "table", outputs)
	return c
}

// impactResult is what -o json prints.
type impactResult struct {
	document
	Gate      string             `json:"gate"`
	Action    string             `json:"action"`
	Requests  int64              `json:"requests,omitempty"` // known from records alone
	Refused   int64              `json:"refused"`
	Groups    []v1alpha1.Learned `json:"groups"`
	Suggested *suggestion        `json:"suggested,omitempty"`
	People    int64              `json:"people"` // would-be refusals of people, whose changes belong in Git
}

// suggestion is what may be put into the Gate's spec, after thought.
type suggestion struct {
	Derive      []v1alpha1.DeriveRule `json:"derive,omitempty"`
	AllowFields []v1alpha1.FieldRule  `json:"allowFields,omitempty"`
	AllowVerbs  []v1alpha1.VerbRule   `json:"allowVerbs,omitempty"`
	Exclude     []v1alpha1.Exclusion  `json:"exclude,omitempty"`

	removes int64
}

func impact(cmd *cobra.Command, o *impactOptions) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	if o.action != string(v1alpha1.ActionDeny) {
		return fmt.Errorf("--action %q: only Deny refuses anything", o.action)
	}
	r := impactResult{document: documentOf("ImpactResult"), Gate: o.gate, Action: o.action, Groups: []v1alpha1.Learned{}}
	var err error
	if o.records != "" {
		err = r.fromRecords(cmd, o)
	} else {
		err = r.fromGate(cmd.Context(), o)
	}
	if err != nil {
		return err
	}
	slices.SortStableFunc(r.Groups, func(a, b v1alpha1.Learned) int { return cmp.Compare(b.Count, a.Count) })
	r.Suggested = suggest(r.Groups)
	for _, g := range r.Groups {
		r.Refused += g.Count
		if isPerson(g.User) {
			r.People += g.Count
		}
	}
	con := newConsole(cmd)
	if o.output == "table" {
		return r.print(con)
	}
	return con.structured(o.output, r)
}

func (r *impactResult) fromGate(ctx context.Context, o *impactOptions) error {
	c, err := reachCluster(o.kubeconfig, o.context)
	if err != nil {
		return err
	}
	var g v1alpha1.Gate
	if err := c.client.Get(ctx, client.ObjectKey{Name: o.gate}, &g); err != nil {
		return fmt.Errorf("reading Gate %s: %w", o.gate, err)
	}
	r.Groups = append(r.Groups, g.Status.Learned...)
	return nil
}

func (r *impactResult) fromRecords(cmd *cobra.Command, o *impactOptions) error {
	var in io.Reader = cmd.InOrStdin()
	if o.records != "-" {
		f, err := os.Open(o.records)
		if err != nil {
			return fmt.Errorf("reading records: %w", err)
		}
		defer f.Close()
		in = f
	}
	since := time.Now().Add(-o.since)
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var rec audit.Record
		if json.Unmarshal(lines.Bytes(), &rec) != nil || rec.Decision == "" || rec.Gate != o.gate || rec.Time.Before(since) {
			continue // other lines of a log
		}
		r.Requests++
		if rec.Action != string(v1alpha1.ActionDeny) && rec.Refused {
			r.add(&rec)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading records: %w", err)
	}
	return nil
}

func (r *impactResult) add(rec *audit.Record) {
	resource := rec.Resource
	if group, _, ok := strings.Cut(rec.APIVersion, "/"); ok && rec.SubResource == "" {
		resource += "." + group
	}
	if rec.SubResource != "" {
		resource += "/" + rec.SubResource
	}
	one := v1alpha1.Learned{User: rec.User, Reason: rec.Reason, Operation: rec.Operation, Resource: resource, Namespace: rec.Namespace, Owner: rec.Owner,
		Paths: rec.Paths["None"], Example: rec.Name, Count: 1, Last: metav1.NewTime(rec.Time)}
	for i := range r.Groups {
		g := &r.Groups[i]
		if g.User == one.User && g.Reason == one.Reason && g.Operation == one.Operation && g.Resource == one.Resource && g.Namespace == one.Namespace &&
			g.Owner == one.Owner && slices.Equal(g.Paths, one.Paths) {
			g.Count++
			return
		}
	}
	r.Groups = append(r.Groups, one)
}

func isPerson(user string) bool { return !strings.HasPrefix(user, "system:") && user != "*" }

// suggest makes rules of what service accounts did. What people did belongs in
// Git, so that nothing is suggested for it.
func suggest(groups []v1alpha1.Learned) *suggestion {
	s := &suggestion{}
	in30Days := metav1.NewTime(time.Now().Add(30 * 24 * time.Hour).UTC().Truncate(24 * time.Hour))
	for _, g := range groups {
		if isPerson(g.User) || g.User == "*" {
			continue
		}
		resource, sub, _ := strings.Cut(g.Resource, "/")
		switch {
		case g.Owner != "" && (g.Reason == "NotDerived" || g.Reason == "NotInGit") && sub == "":
			kind, group, _ := strings.Cut(g.Owner, ".")
			s.derive(v1alpha1.DeriveRule{Owner: v1alpha1.OwnerKind{Group: group, Kind: kind}, Makes: []string{resource}, Users: []string{g.User}, Reason: "observed; to be decided"})
		case g.Reason == "Differs" && len(g.Paths) > 0 && sub == "":
			s.AllowFields = append(s.AllowFields, v1alpha1.FieldRule{Resources: []string{resource}, Paths: g.Paths, Users: []string{g.User}, Reason: "observed; to be decided"})
		case g.Reason == "VerbNotAllowed" && sub != "":
			s.AllowVerbs = append(s.AllowVerbs, v1alpha1.VerbRule{Resources: []string{g.Resource}, Users: []string{g.User}, Namespaces: namespacesOf(g), Reason: "observed; to be decided"})
		case g.Reason == "NotInGit":
			s.Exclude = append(s.Exclude, v1alpha1.Exclusion{Namespaces: namespacesOf(g), Resources: []string{resource}, Users: []string{g.User},
				Reason: "observed; to be decided", Expires: &in30Days})
		default:
			continue
		}
		s.removes += g.Count
	}
	if s.removes == 0 {
		return nil
	}
	return s
}

func namespacesOf(g v1alpha1.Learned) []string {
	if g.Namespace == "" {
		return nil
	}
	return []string{g.Namespace}
}

// derive joins rules for one owner and one maker.
func (s *suggestion) derive(r v1alpha1.DeriveRule) {
	for i := range s.Derive {
		d := &s.Derive[i]
		if d.Owner == r.Owner && slices.Equal(d.Users, r.Users) {
			if !slices.Contains(d.Makes, r.Makes[0]) {
				d.Makes = append(d.Makes, r.Makes[0])
			}
			return
		}
	}
	s.Derive = append(s.Derive, r)
}

func (r *impactResult) print(con *console) error {
	if r.Requests > 0 {
		fmt.Fprintf(con.out, "If Gate %s had been Deny: %d requests, %d would have been refused\n\n", r.Gate, r.Requests, r.Refused)
	} else {
		fmt.Fprintf(con.out, "If Gate %s had been Deny, %d requests would have been refused\n\n", r.Gate, r.Refused)
	}
	if len(r.Groups) == 0 {
		return nil
	}
	var rows [][]cell
	for _, g := range r.Groups {
		rows = append(rows, []cell{plain(fmt.Sprint(g.Count)), plain(gitindex.Clean(g.User, 70)), plain(g.Reason), plain(g.Operation), plain(gitindex.Clean(g.Resource, 60)),
			plain(gitindex.Clean(g.Namespace, 63)), plain(gitindex.Clean(strings.Join(g.Paths, " "), 80)), plain(gitindex.Clean(g.Example, 60))})
	}
	con.table("COUNT WHO WHY VERB RESOURCE NAMESPACE PATHS EXAMPLE", rows)
	if r.People > 0 {
		fmt.Fprintf(con.out, "\n  %d of these were people: their changes belong in Git\n", r.People)
	}
	if r.Suggested == nil {
		return nil
	}
	data, err := yaml.Marshal(map[string]any{"spec": r.Suggested})
	if err != nil {
		return fmt.Errorf("printing suggestions: %w", err)
	}
	fmt.Fprintf(con.out, "\n  suggested for Gate %s, which removes %d; every rule is a hole, so keep those that you can answer for:\n\n%s", r.Gate, r.Suggested.removes, data)
	return nil
}
