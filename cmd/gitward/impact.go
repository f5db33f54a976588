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
	"github.com/gitward/gitward/audit/ledger"
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

	genuine []v1alpha1.Learned // without service accounts that were merely impersonated, which no rule lets pass
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
	r.Suggested = suggest(r.genuine)
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
	r.genuine = g.Status.Learned
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
	if err := r.read(in, o.gate, time.Now().Add(-o.since)); err != nil {
		return fmt.Errorf("reading records: %w", err)
	}
	return nil
}

// read groups the records of one Gate as the Gate's own status would.
func (r *impactResult) read(in io.Reader, gateName string, since time.Time) error {
	var all, genuine ledger.Groups
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var rec audit.Record
		if json.Unmarshal(lines.Bytes(), &rec) != nil || rec.Decision == "" || rec.Gate != gateName || rec.Time.Before(since) {
			continue // other lines of a log
		}
		r.Requests++
		if rec.Action == string(v1alpha1.ActionDeny) || !rec.Refused {
			continue
		}
		all.Add(seenIn(&rec))
		if !rec.Impersonated {
			genuine.Add(seenIn(&rec))
		}
	}
	r.Groups, r.genuine = append(r.Groups, all.List()...), genuine.List()
	return lines.Err()
}

func seenIn(rec *audit.Record) ledger.Seen {
	group := rec.ResourceGroup
	if group == "" && rec.SubResource == "" { // older records do not have it
		if g, _, ok := strings.Cut(rec.APIVersion, "/"); ok {
			group = g
		}
	}
	return ledger.Seen{User: rec.User, Reason: rec.Reason, Operation: rec.Operation, ResourceGroup: group, Resource: rec.Resource, SubResource: rec.SubResource,
		Namespace: rec.Namespace, Name: rec.Name, Owner: rec.Owner, Paths: rec.Paths["None"], At: rec.Time}
}

func isPerson(user string) bool { return !strings.HasPrefix(user, "system:") && user != "*" }

// suggest makes rules of what service accounts did. What people did belongs in
// Git, so that nothing is suggested for it; nor is a rule that the gate would
// never look at.
func suggest(groups []v1alpha1.Learned) *suggestion {
	s := &suggestion{}
	in30Days := metav1.NewTime(time.Now().Add(30 * 24 * time.Hour).UTC().Truncate(24 * time.Hour))
	for _, g := range groups {
		if isPerson(g.User) || g.User == "*" || g.User == "system:anonymous" {
			continue
		}
		resource, sub, _ := strings.Cut(g.Resource, "/")
		users, namespaces, reason := []string{g.User}, namespacesOf(g), "observed; to be decided"
		switch {
		case sub == "scale" && (g.Reason == "Differs" || g.Reason == "NotInGit" || g.Reason == "NoRule"):
			s.allow(v1alpha1.FieldRule{Resources: []string{resource}, Paths: []string{"spec.replicas"}, Users: users, Namespaces: namespaces, Reason: reason})
		case sub != "" && (g.Reason == "VerbNotAllowed" || g.Reason == "NoRule" && sub != "finalize" && sub != "status"):
			s.AllowVerbs = append(s.AllowVerbs, v1alpha1.VerbRule{Resources: []string{g.Resource}, Users: users, Namespaces: namespaces, Reason: reason})
		case sub != "":
			continue
		case g.Owner != "" && isDerivable(&g):
			kind, group, _ := strings.Cut(g.Owner, ".")
			s.derive(v1alpha1.DeriveRule{Owner: v1alpha1.OwnerKind{Group: group, Kind: kind}, Makes: []string{resource}, Users: users, Reason: reason})
		case g.Reason == "Differs" && allFields(g.Paths):
			if resource == "namespaces" {
				namespaces = nil // it is in none, as far as its fields go
			}
			s.allow(v1alpha1.FieldRule{Resources: []string{resource}, Paths: g.Paths, Users: users, Namespaces: namespaces, Reason: reason})
		case g.Reason == "NotInGit" && g.Owner == "":
			s.exclude(v1alpha1.Exclusion{Namespaces: namespaces, Resources: []string{resource}, Users: users, Reason: reason, Expires: &in30Days})
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

// isDerivable reports whether a derive rule could let the request pass.
func isDerivable(g *v1alpha1.Learned) bool {
	switch g.Reason {
	case "DerivedOnly":
		return true
	case "NotDerived", "NotInGit":
		return !slices.Contains(madeByKubernetes[g.Owner], g.Resource)
	}
	return false
}

// madeByKubernetes are what its own controllers make, by the owner's kind: the
// gate knows them, and asks no rule. Where they are refused, the owner is
// missing in Git.
var madeByKubernetes = map[string][]string{
	"Deployment.apps": {"replicasets.apps"}, "ReplicaSet.apps": {"pods"}, "ReplicationController": {"pods"}, "Job.batch": {"pods"}, "CronJob.batch": {"jobs.batch"},
	"StatefulSet.apps": {"pods", "controllerrevisions.apps"}, "DaemonSet.apps": {"pods", "controllerrevisions.apps"},
	"Pod":     {"persistentvolumeclaims", "resourceclaims.resource.k8s.io"},
	"Service": {"endpointslices.discovery.k8s.io"}, "Endpoints": {"endpointslices.discovery.k8s.io"},
}

// allFields reports whether a field rule can name all of the paths: not what
// was cut short, nor a field of the object's first level.
func allFields(paths []string) bool {
	return len(paths) > 0 && !slices.ContainsFunc(paths, func(p string) bool { return !fieldPath.MatchString(p) || strings.Contains(p, "…") })
}

// allow joins rules that differ in their paths alone.
func (s *suggestion) allow(r v1alpha1.FieldRule) {
	for i := range s.AllowFields {
		f := &s.AllowFields[i]
		if slices.Equal(f.Resources, r.Resources) && slices.Equal(f.Users, r.Users) && slices.Equal(f.Namespaces, r.Namespaces) && len(f.Paths)+len(r.Paths) <= mostRulePaths {
			f.Paths = slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(f.Paths), r.Paths...))))
			return
		}
	}
	s.AllowFields = append(s.AllowFields, r)
}

// mostRulePaths is how many the schema lets one rule have.
const mostRulePaths = 64

// exclude leaves out what is there already.
func (s *suggestion) exclude(e v1alpha1.Exclusion) {
	for _, o := range s.Exclude {
		if slices.Equal(o.Namespaces, e.Namespaces) && slices.Equal(o.Resources, e.Resources) && slices.Equal(o.Users, e.Users) {
			return
		}
	}
	s.Exclude = append(s.Exclude, e)
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
