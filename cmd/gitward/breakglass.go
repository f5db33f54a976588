package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
)

func breakglassCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "breakglass",
		Short: "What was changed beside Git in an emergency, and is still owed to it?",
	}
	c.AddCommand(breakglassListCommand())
	return c
}

type breakglassOptions struct {
	source
	output string
	yaml   bool
}

func breakglassListCommand() *cobra.Command {
	o := breakglassOptions{}
	c := &cobra.Command{
		Use:   "list",
		Short: "List the debt, and with --yaml what to commit",
		Long: `List every use of break-glass that Git has not caught up with: the object, who
changed it, why, until when, and what Git says otherwise.

With --yaml the objects are printed as they should be committed to keep what was
done. Values of Secrets are never printed.

Exit codes: 0 nothing is owed, 1 something is, 2 could not tell.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return listBreakglass(cmd, &o) },
	}
	f := c.Flags()
	o.source.flags(f)
	o.live = true
	f.StringVarP(&o.output, "output", "o", "table", outputs)
	f.BoolVar(&o.yaml, "yaml", false, "print the YAML to commit")
	return c
}

// debtResult is what -o json prints.
type debtResult struct {
	document
	Items []debtItem `json:"items"`
}

type debtItem struct {
	Object      objectName       `json:"object"`
	Gate        string           `json:"gate"`
	User        string           `json:"user"`
	Reason      string           `json:"reason"`
	Operation   string           `json:"operation"`
	Decision    string           `json:"decision"`
	Since       time.Time        `json:"since"`
	Until       time.Time        `json:"until"`
	Overdue     bool             `json:"overdue"`
	Count       int              `json:"count"`
	State       string           `json:"state"` // gone, not in Git, different, paid
	Source      *sourceItem      `json:"source,omitempty"`
	Differences []differenceItem `json:"differences,omitempty"`

	ref  gitindex.Ref
	live *unstructured.Unstructured
}

func listBreakglass(cmd *cobra.Command, o *breakglassOptions) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	con := newConsole(cmd)
	l, err := o.load(cmd.Context(), con)
	if err != nil {
		return err
	}
	defer l.stop()
	result := debtResult{document: documentOf("BreakGlassDebt"), Items: []debtItem{}}
	for _, u := range l.ledger.All() {
		item, err := l.debt(cmd.Context(), u)
		if err != nil {
			return err
		}
		result.Items = append(result.Items, *item)
	}
	switch {
	case o.yaml:
		err = result.toCommit(con)
	case o.output == "table":
		result.print(con)
	default:
		err = con.structured(o.output, result)
	}
	if err == nil && len(result.Items) > 0 {
		err = errFound
	}
	return err
}

// debt says what of a use is still owed.
func (l *loaded) debt(ctx context.Context, u gate.Use) (*debtItem, error) {
	item := &debtItem{Object: nameOfRef(u.Ref), Gate: u.Gate, User: u.User, Reason: u.Reason, Operation: string(u.Operation), Decision: u.Decision,
		Since: u.Since.UTC(), Until: u.Until.UTC(), Overdue: time.Now().After(u.Until), Count: u.Count, ref: u.Ref}
	gv := schema.GroupVersion{Group: u.Ref.Group, Version: u.Version}
	declared := l.declaredAs(u.Ref)
	live, err := l.cluster.live(ctx, &gitindex.Manifest{Ref: u.Ref, APIVersion: gv.String()})
	var gone errNotThere
	switch {
	case errors.As(err, &gone) && declared == nil:
		item.State = "paid"
		return item, nil
	case errors.As(err, &gone):
		item.State, item.Source = "gone", sourceOf(declared)
		return item, nil
	case err != nil:
		return nil, err
	}
	item.live = live
	standing, d, err := standingOf(l.process, nil, live, u.Resource)
	if err != nil {
		return nil, err
	}
	switch {
	case standing == gate.Traced:
		item.State = "paid"
	case declared == nil:
		item.State = "not in Git"
	default:
		item.State, item.Source, item.Differences = "different", sourceOf(declared), differencesOf(u.Ref, d.Drift)
	}
	return item, nil
}

func (l *loaded) declaredAs(ref gitindex.Ref) *gitindex.Manifest {
	for _, s := range l.snapshots() {
		if e := s.Lookup(ref); e != nil && len(e.Current) > 0 {
			return e.Current[0]
		}
	}
	return nil
}

func (r *debtResult) print(con *console) {
	if len(r.Items) == 0 {
		con.note("nothing is owed to Git")
		return
	}
	var rows [][]cell
	for i := range r.Items {
		item := &r.Items[i]
		until := con.marked(markNotice, "until "+item.Until.Format("2006-01-02 15:04Z"))
		if item.Overdue {
			until = con.marked(markBad, "ended "+item.Until.Format("2006-01-02 15:04Z"))
		}
		rows = append(rows, []cell{plain(gitindex.Clean(item.ref.String(), 120)), plain(item.State), plain(gitindex.Clean(item.User, 60)),
			plain(gitindex.Clean(item.Reason, 80)), until})
	}
	con.table("OBJECT STATE USER REASON SPAN", rows)
	for i := range r.Items {
		item := &r.Items[i]
		for _, d := range item.Differences {
			fmt.Fprintf(con.out, "  %s  %s   Git %s, live %s\n", gitindex.Clean(item.ref.String(), 120), d.Path, d.Git, d.Object)
		}
	}
	fmt.Fprintln(con.out, "  do    commit what should stay (gitward breakglass list --yaml prints it), and have the rest applied from Git again")
}

// toCommit prints what would have to be in Git for everything to stay as it is.
func (r *debtResult) toCommit(con *console) error {
	for i := range r.Items {
		item := &r.Items[i]
		name := gitindex.Clean(item.ref.String(), 150)
		switch {
		case item.State == "gone":
			fmt.Fprintf(con.out, "---\n# %s was deleted: take it out of %s:%d\n", name, gitindex.Clean(item.Source.Path, 200), item.Source.Line)
		case item.State == "paid":
			fmt.Fprintf(con.out, "---\n# %s: Git has caught up\n", name)
		default:
			place := "a new file"
			if item.Source != nil {
				place = fmt.Sprintf("%s:%d", gitindex.Clean(item.Source.Path, 200), item.Source.Line)
			}
			data, err := yaml.Marshal(worthCommitting(item.live))
			if err != nil {
				return fmt.Errorf("printing %s: %w", name, err)
			}
			fmt.Fprintf(con.out, "---\n# %s, for %s\n%s", name, place, data)
		}
	}
	return nil
}

// worthCommitting is a live object without what the server, appliers and Gitward
// put there, and without the values of a Secret.
func worthCommitting(live *unstructured.Unstructured) map[string]any {
	o := live.DeepCopy()
	for _, f := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink", "ownerReferences", "finalizers"} {
		unstructured.RemoveNestedField(o.Object, "metadata", f)
	}
	dropStamps(o)
	annotations := o.GetAnnotations()
	for _, k := range []string{"kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/revision"} {
		delete(annotations, k)
	}
	o.SetAnnotations(annotations)
	if len(annotations) == 0 {
		unstructured.RemoveNestedField(o.Object, "metadata", "annotations")
	}
	delete(o.Object, "status")
	if o.GetKind() == "Secret" && o.GroupVersionKind().Group == "" {
		redact(o.Object)
	}
	return o.Object
}

const notShown = "<not shown: put the base64 of the value here>"

// redact takes the values out of a Secret. What is not known to hold none goes
// as a whole; annotations may be copies of values.
func redact(secret map[string]any) {
	for k := range secret {
		switch k {
		case "apiVersion", "kind", "metadata", "type", "immutable", "data":
		default:
			delete(secret, k)
		}
	}
	data, _ := secret["data"].(map[string]any)
	shown := map[string]any{}
	for k := range data {
		shown[k] = notShown
	}
	secret["data"] = shown
	meta, _ := secret["metadata"].(map[string]any)
	annotations, _ := meta["annotations"].(map[string]any)
	for k := range annotations {
		annotations[k] = "<not shown>"
	}
}
