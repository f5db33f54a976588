package gate

import (
	"slices"

	"github.com/gitward/gitward/gitindex"
)

// scalable maps the resources with a scale subresource, with their group, to
// their kind.
var scalable = map[string]gitindex.Ref{
	"deployments.apps":       {Group: "apps", Kind: "Deployment"},
	"replicasets.apps":       {Group: "apps", Kind: "ReplicaSet"},
	"statefulsets.apps":      {Group: "apps", Kind: "StatefulSet"},
	"replicationcontrollers": {Kind: "ReplicationController"},
}

// scale decides the scale subresource: the number is Git's, or that of an
// autoscaler that Git declares, or live by a rule of the Gate.
func scale(t *tracing) Decision {
	if r := t.notReady(); r != nil {
		return Decision{Refusal: r}
	}
	o, err := t.req.decode()
	if err != nil || o.new == nil || o.old == nil {
		return Decision{Refusal: unreadable(t.req, orNoObject(err))}
	}
	now, before := replicasOf(o.new), replicasOf(o.old)
	strip(o.old, true)
	strip(o.new, true) // which may be one map; then there is nothing left to take
	if !equal(at(o.old, "metadata"), at(o.new, "metadata")) {
		return Decision{Refusal: noRule(t.req)}
	}
	if equal(before, now) {
		return Decision{Reason: NoChange}
	}
	ref, ok := scalable[t.req.resource()]
	ref.Namespace, ref.Name = t.req.Namespace, t.req.Name
	custom := gitindex.Ref{Group: t.req.ResourceGroup, Kind: t.view.Schemas.KindOf(t.req.ResourceGroup, t.req.Resource), Namespace: ref.Namespace, Name: ref.Name}
	switch {
	case !ok && custom.Kind != "" && t.req.User.isOneOf(autoscalerUsers) && t.autoscaled(custom, now):
		return Decision{Reason: ByController}
	case ok && t.req.User.isOneOf(autoscalerUsers) && t.autoscaled(ref, now):
		return Decision{Reason: ByController}
	case t.scalesByRule():
		return Decision{Reason: ByRule}
	case !ok:
		return Decision{Refusal: noRule(t.req)}
	}
	return t.brokenFor(ref, t.replicas(ref, before, now))
}

// replicasOf reads a Scale, which leaves zero out.
func replicasOf(scale map[string]any) any {
	if n := dig(scale, "spec", "replicas"); n != absent {
		return n
	}
	return int64(0)
}

// scalesByRule: the Gate lets this user say the number.
func (t *tracing) scalesByRule() bool {
	return slices.ContainsFunc(t.rule.AllowFields, func(r FieldRule) bool {
		return !expired(r.Expires, t.now) && slices.Contains(r.Resources, t.req.resource()) && slices.Contains(r.Paths, "spec.replicas") &&
			matchAny(r.Namespaces, t.req.Namespace) && t.req.User.isOneOf(r.Users)
	})
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
