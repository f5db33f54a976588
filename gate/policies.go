package gate

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/policy"
)

// Policies answers for the policies that a Gate names. It asks nobody outside
// this machine. An error means that nothing is known, and refuses.
type Policies interface {
	Ask(ctx context.Context, gate string, point policy.Point, input []byte) ([]policy.Finding, error)
}

// govern puts what the Gates would let pass to their policies. Those can only
// tighten: what is refused on its own merits is not asked about.
func (g *Gate) govern(ctx context.Context, view *View, req *Request, d Decision) Decision {
	if len(d.governed) == 0 || d.Refusal != nil && d.Action == Deny || req.SubResource == "status" || leaves(req) {
		return d
	}
	for i := range d.governed {
		r := d.governed[i].rule
		input, err := json.Marshal(g.inputOf(view, req, &d.governed[i]))
		var found []policy.Finding
		if err == nil {
			found, err = view.Policies.Ask(ctx, r.Name, g.point(), input)
		}
		if err != nil {
			d = d.ungoverned(req, r, err)
			continue
		}
		for _, f := range found {
			d.found(req, r, f)
		}
	}
	return d
}

// governed is a Gate whose policies are to be asked, with what it would have
// decided alone: of another Gate's reasons they know nothing.
type governed struct {
	rule *Rule
	own  Decision
}

// point is where this gate stands.
func (g *Gate) point() policy.Point {
	if g.Point == "" {
		return policy.Admission
	}
	return g.Point
}

// leaves reports a request that leaves an object as it is, as far as policies go:
// it was there before them, and whoever applies it anew has not made it; nor has
// who takes a finalizer from one that has been deleted.
func leaves(req *Request) bool {
	if req.Operation != Update || req.SubResource != "" {
		return false
	}
	o, err := req.decode()
	if err != nil || o.old == nil || o.new == nil {
		return false
	}
	kept := []string{"managedFields", "resourceVersion", "generation"}
	if text(dig(o.old, "metadata", "deletionTimestamp")) != "" {
		kept = append(kept, "finalizers")
	}
	return o.same() || reflect.DeepEqual(essence(o.old, kept), essence(o.new, kept))
}

// essence is an object without what the API server and Gitward keep in it. Kept
// are keys of the metadata. Its status counts: where it has a resource of its own
// an update cannot change it, and elsewhere it is content like any other.
func essence(o map[string]any, kept []string) map[string]any {
	out := maps.Clone(o)
	if m, ok := o["metadata"].(map[string]any); ok {
		m = maps.Clone(m)
		for _, key := range kept {
			delete(m, key)
		}
		if annotations, ok := m["annotations"].(map[string]any); ok {
			annotations = maps.Clone(annotations)
			maps.DeleteFunc(annotations, func(k string, _ any) bool { return strings.HasPrefix(k, StampPrefix) && k != StampBreakGlass })
			if m["annotations"] = annotations; len(annotations) == 0 {
				delete(m, "annotations")
			}
		}
		out["metadata"] = m
	}
	return out
}

// found takes a finding in. The Gate's action is the strictest that follows.
func (d *Decision) found(req *Request, r *Rule, f policy.Finding) {
	action := max(r.Action, actionOf(f.Action))
	if len(d.Findings) < mostFindings {
		d.Findings = append(d.Findings, Finding{Finding: f, Gate: r.Name, Action: action})
	}
	if action != Deny {
		return
	}
	if d.Refusal != nil && d.Action == Deny {
		if policyKind(d.Refusal.Kind) && len(d.Refusal.Facts) < mostFacts {
			d.Refusal.Facts = append(d.Refusal.Facts, "also  "+findingHead(f))
		}
		return
	}
	d.Gate, d.Action, d.Reason, d.Refusal = r.Name, Deny, "", policyRefusal(req, f)
}

// Of so many findings a decision tells, and of so many a refusal.
const mostFindings, mostFacts = 100, 10

// Finding is a policy's, with what follows from it.
type Finding struct {
	policy.Finding
	Gate   string
	Action Action
}

func actionOf(a policy.Action) Action {
	switch a {
	case policy.Warn:
		return Warn
	case policy.Audit:
		return Audit
	}
	return Deny
}

// ungoverned refuses what the policies could not be asked about, as far as the
// Gate refuses at all.
func (d Decision) ungoverned(req *Request, r *Rule, err error) Decision {
	if d.Refusal != nil && d.Action <= r.Action {
		return d
	}
	d.Gate, d.Action, d.Reason = r.Name, r.Action, ""
	d.Refusal = &Refusal{Kind: PolicyNotReady, Head: cutRunes(req.What()+" cannot be put to the policies: "+gitindex.Clean(err.Error(), 120), maxHead),
		Do: "if it stays, kubectl get gate " + r.Name + " -o yaml says which policies are not in force, and why"}
	return d
}

func policyKind(k Refused) bool { return k == PolicyViolation || k == PolicyFailed }

// policyRefusal is what the person reads.
func policyRefusal(req *Request, f policy.Finding) *Refusal {
	what := gitindex.Clean(req.Ref().String(), 80)
	if f.Kind != policy.Violation {
		return &Refusal{Kind: PolicyFailed, Head: fmt.Sprintf("%s cannot be judged by policy %s", what, findingHead(f)),
			Do: "have its author mend the policy: what it governs is refused until it can be asked"}
	}
	r := &Refusal{Kind: PolicyViolation, Head: fmt.Sprintf("%s breaks policy %s", what, findingHead(f)), Do: gitindex.Clean(f.Fix, 300)}
	if r.Do == "" {
		r.Do = "change the object in Git as the policy demands, or the policy where it lies"
	}
	if f.Title != "" {
		r.Facts = append(r.Facts, "policy  "+gitindex.Clean(f.Title, 160))
	}
	return r
}

func findingHead(f policy.Finding) string {
	at := f.File
	if f.Line > 0 {
		at = fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	if f.Origin != "" {
		at = f.Origin + "@" + gitindex.Short(f.Revision) + " " + at
	}
	return fmt.Sprintf("%q (%s): %s", gitindex.Clean(f.Policy, 60), gitindex.Clean(at, 110), gitindex.Clean(f.Message, 500))
}

// Warnings are what the client is to be shown though the request passes.
func (d *Decision) Warnings() []string {
	var out []string
	for _, f := range d.Findings {
		if f.Action == Warn {
			out = append(out, "policy "+findingHead(f.Finding))
		}
	}
	return out
}

// inputOf is what the policies are told.
func (g *Gate) inputOf(view *View, req *Request, by *governed) *policy.Input {
	d := &by.own
	in := PolicyInput(req, homeOf(view, by.rule, req), g.Now())
	if in.Reason = string(d.Reason); d.Reason == Derived && d.BreakGlass != nil {
		in.Reason = string(BrokenGlass) // of what an emergency made, an emergency
	}
	if m := d.Manifest; m != nil && d.Refusal == nil { // of what differs from Git, Git says nothing
		in.Provenance = provenanceOf(m, d)
	}
	if d.Root.Name != "" {
		in.Derived = &policy.Root{Group: d.Root.Group, Kind: d.Root.Kind, Namespace: d.Root.Namespace, Name: d.Root.Name}
	}
	for _, reason := range slices.Sorted(reasonsOf(d)) {
		for _, path := range d.Reasons[reason] {
			in.Changes = append(in.Changes, policy.Change{Path: path, Reason: string(reason)})
		}
	}
	return in
}

// PolicyInput is what policies are told of a request of which no more is known: of
// a Secret no value.
func PolicyInput(req *Request, home *policy.Namespace, at time.Time) *policy.Input {
	return &policy.Input{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview", Time: at.UTC(),
		Request: policy.Request{UID: req.UID, Kind: policy.Kinds{Group: req.Group, Version: req.Version, Kind: req.Kind},
			Resource: policy.Resources{Group: req.ResourceGroup, Version: req.Version, Resource: req.Resource}, SubResource: req.SubResource,
			Name: req.Name, Namespace: req.Namespace, Operation: string(req.Operation), DryRun: req.DryRun,
			UserInfo: policy.User{Username: req.User.Name, UID: req.User.UID, Groups: req.User.Groups, Extra: req.User.Extra},
			Object:   hidden(req, req.Object), OldObject: hidden(req, req.OldObject)},
		Namespace: home}
}

func reasonsOf(d *Decision) func(func(Reason) bool) {
	return func(yield func(Reason) bool) {
		for r := range d.Reasons {
			if !yield(r) {
				return
			}
		}
	}
}

func provenanceOf(m *gitindex.Manifest, d *Decision) *policy.Provenance {
	c := m.Commit
	p := &policy.Provenance{Origin: m.Origin, Revision: d.Revisions[m.Origin], Commit: c.ID, Parents: c.Parents, Subject: gitindex.Clean(c.Subject, 200),
		Author: person(c.Author), Committer: person(c.Committer), Time: c.Committer.When.UTC(), Path: m.Path, Line: m.Line,
		Level: string(d.Level()), Unit: m.Unit, Signers: []policy.Signer{}}
	if p.Via = m.Via; m.Via != "" {
		return p // whoever opened the unit says what becomes of the content, and no commit here tells who that was
	}
	if c.Verdict.Outcome == gitindex.Good {
		p.Signers = append(p.Signers, signer(c.Verdict.Signer))
	}
	for _, m := range c.Merged {
		p.Merged = append(p.Merged, policy.Merged{Commit: m.ID, Author: person(m.Author), Committer: person(m.Committer), Signers: []policy.Signer{signer(m.Signer)}})
	}
	return p
}

func signer(s gitindex.Signer) policy.Signer {
	return policy.Signer{Kind: s.Kind, ID: s.Fingerprint, Name: s.Principal}
}

func person(p gitindex.Person) policy.Person {
	return policy.Person{Name: gitindex.Clean(p.Name, 120), Email: gitindex.Clean(p.Email, 120)}
}

// nameLabel is the label that the API server gives every Namespace.
const nameLabel = "kubernetes.io/metadata.name"

// homeOf is the object's Namespace as it is live, or as Git has it. A
// Namespace that is itself the object stands in the request.
func homeOf(view *View, rule *Rule, req *Request) *policy.Namespace {
	if req.Namespace == "" || req.Group == "" && req.Kind == "Namespace" {
		return nil
	}
	ns := &policy.Namespace{Name: req.Namespace, Labels: map[string]string{nameLabel: req.Namespace}}
	ref := gitindex.Ref{Kind: "Namespace", Name: req.Namespace}
	if view.Live != nil {
		if o := view.Live.Find(ref); o != nil {
			ns.Labels = o.Labels
			return ns
		}
	}
	for i := range rule.Origins {
		source := &rule.Origins[i]
		s := view.Index[source.Origin]
		if s == nil || !source.Fills(ref) {
			continue
		}
		e := s.Lookup(ref)
		if e == nil || len(e.Current) == 0 || e.Current[0].Via != "" {
			continue
		}
		var declared struct {
			Metadata struct{ Labels map[string]string }
		}
		if json.Unmarshal(e.Current[0].Raw, &declared) == nil {
			maps.Copy(ns.Labels, declared.Metadata.Labels)
			ns.Labels[nameLabel] = req.Namespace
		}
		return ns
	}
	return ns
}
