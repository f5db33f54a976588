package gate

import (
	"errors"

	"github.com/gitward/gitward/gitindex"
)

type verbKey struct {
	op          Operation
	subresource string
}

// verbs has a rule for each kind of request that can pass. A request that finds
// none here is refused by name.
var verbs = map[verbKey]func(*tracing) Decision{
	{Create, ""}:       write,
	{Update, ""}:       write,
	{Delete, ""}:       remove,
	{Update, "status"}: status,
	{Update, "scale"}:  scale,
}

// remove decides DELETE: what Git still declares stays. In a collection
// deletion the request has no name; then the old object tells it.
func remove(t *tracing) Decision {
	ref := t.req.Ref()
	old, err := decodeObject(t.req.OldObject)
	if err != nil {
		return Decision{Refusal: unreadable(t.req, err)}
	}
	if ref.Name == "" {
		ref.Name = text(dig(old, "metadata", "name"))
	}
	if ref.Name == "" {
		return Decision{Refusal: unreadable(t.req, errors.New("the deletion names no object"))}
	}
	for i := range t.rule.Origins {
		source := &t.rule.Origins[i]
		s := t.view.Index[source.Origin]
		if e := s.Lookup(ref); e != nil && len(e.Current) > 0 && source.Fills(ref) {
			return Decision{Refusal: stillInGit(ref, e), Manifest: e.Current[0]}
		}
		if r := takesAlong(source, s, ref, old); r != nil {
			return Decision{Refusal: r}
		}
	}
	return Decision{Reason: NotDeclared}
}

// takesAlong refuses the deletion of what others live in: with a Namespace go
// the objects in it, and with a CustomResourceDefinition the objects of its
// kind, the latter without any request that could be refused.
func takesAlong(source *Source, s *gitindex.Snapshot, ref gitindex.Ref, old map[string]any) *Refusal {
	switch ref.GroupKind() {
	case "Namespace":
		if n := s.Declares(ref.Name); n > 0 && source.Fills(gitindex.Ref{Namespace: ref.Name}) {
			return namespaceInUse(ref, s, n)
		}
	case "CustomResourceDefinition.apiextensions.k8s.io":
		kind := gitindex.Ref{Group: text(dig(old, "spec", "group")), Kind: text(dig(old, "spec", "names", "kind"))}
		if n := s.DeclaresKind(kind.Group, kind.Kind); n > 0 {
			return kindInUse(ref, s, n)
		}
	}
	return nil
}

// status decides writes to the status subresource. The status itself is the
// controllers' business; but most kinds let such a request write metadata too,
// so metadata must stay as it is.
func status(t *tracing) Decision {
	o, err := t.req.decode()
	if err != nil {
		return Decision{Refusal: unreadable(t.req, err)}
	}
	if o.new == nil || o.old == nil {
		return Decision{Refusal: unreadable(t.req, errors.New("the review carries no object"))}
	}
	s := newSubject(t.view.Schemas, t.req, o)
	for _, k := range append(sortedKeys(s.newStamps), sortedKeys(s.oldStamps)...) {
		now, has := s.newStamps[k]
		if was, had := s.oldStamps[k]; has != had || now != was {
			return Decision{Refusal: badStamp(t.req, k, ForgedStamp)}
		}
	}
	if !equal(at(s.old, "metadata"), at(s.new, "metadata")) {
		return Decision{Refusal: metadataThroughStatus(t.req, s)}
	}
	return Decision{Reason: NoChange}
}

// scalable maps the resources with a scale subresource, with their group, to
// their kind.
var scalable = map[string]gitindex.Ref{
	"deployments.apps":       {Group: "apps", Kind: "Deployment"},
	"replicasets.apps":       {Group: "apps", Kind: "ReplicaSet"},
	"statefulsets.apps":      {Group: "apps", Kind: "StatefulSet"},
	"replicationcontrollers": {Kind: "ReplicationController"},
}

// scale decides the scale subresource: the number must be Git's. (An autoscaler
// that Git declares will be a reason of its own.)
func scale(t *tracing) Decision {
	resource := t.req.Resource
	if t.req.ResourceGroup != "" {
		resource += "." + t.req.ResourceGroup
	}
	ref, ok := scalable[resource]
	if !ok {
		return Decision{Refusal: noRule(t.req)}
	}
	ref.Namespace, ref.Name = t.req.Namespace, t.req.Name
	o, err := t.req.decode()
	if err != nil {
		return Decision{Refusal: unreadable(t.req, err)}
	}
	if o.new == nil || o.old == nil {
		return Decision{Refusal: unreadable(t.req, errors.New("the review carries no object"))}
	}
	replicas := dig(o.new, "spec", "replicas")
	if replicas == absent {
		replicas = int64(0) // Scale leaves zero out
	}
	before := dig(o.old, "spec", "replicas")
	if before == absent {
		before = int64(0)
	}
	strip(o.old, true)
	strip(o.new, true) // which may be one map; then there is nothing left to take
	if !equal(at(o.old, "metadata"), at(o.new, "metadata")) {
		return Decision{Refusal: noRule(t.req)}
	}
	if equal(before, replicas) {
		return Decision{Reason: NoChange}
	}
	return t.replicas(ref, before, replicas)
}

// replicas looks for a candidate that wants this many.
func (t *tracing) replicas(ref gitindex.Ref, before, replicas any) Decision {
	var closest *gitindex.Manifest
	var want any
	candidates := t.candidates(ref)
	for _, c := range candidates {
		if c.refused != "" || c.past != nil {
			continue // a superseded manifest counts as a whole or not at all
		}
		canonical, err := decodeObject(c.manifest.Canonical)
		if err != nil || canonical == nil {
			continue
		}
		if equal(dig(canonical, "spec", "replicas"), replicas) {
			return Decision{Reason: ByGit, Manifest: c.manifest}
		}
		if closest == nil {
			closest, want = c.manifest, dig(canonical, "spec", "replicas")
		}
	}
	if closest == nil {
		return Decision{Refusal: t.refuseUnknown(ref)}
	}
	d := Difference{Path: "spec.replicas", Old: before, New: replicas, Want: want}
	return Decision{Refusal: t.differs(ref, closest, []Difference{d}), Manifest: closest}
}
