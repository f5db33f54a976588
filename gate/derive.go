package gate

import (
	"fmt"
	"slices"

	"github.com/gitward/gitward/gitindex"
)

// Derived: a controller made the object from one that is declared.
//
// Four things must hold together, for each of them alone was forged: the
// controller ownerReference names an object that is live under that uid; that
// object is declared, or derived itself; the requester is the controller that
// is responsible for it; and what it made is what the owner's template yields.

// maker is one way of making objects from others.
type maker struct {
	owner, child string   // Kind or Kind.group
	by           []string // users
	// yields builds the child that the owner's template gives, as a manifest.
	// Nil where there is no template: then the content is the controller's own.
	yields func(d *derivation) (map[string]any, error)
	// adds is what the controller adds to it, by path.
	adds map[string]func(c *comparison, v values) bool
}

// derivation is one object before the owner that it claims.
type derivation struct {
	tracing *tracing
	subject *subject
	maker   *maker
	owner   *LiveObject
}

func (m *maker) reason(c *comparison, v values) bool {
	if holds, ok := m.adds[pathPattern(c.path)]; ok {
		return holds(c, v)
	}
	return false
}

// makers lists every way in which Kubernetes itself makes objects from others.
var makers = []maker{
	{"Deployment.apps", "ReplicaSet.apps", controllers("deployment-controller"), yieldsReplicaSet, replicaSetAdds},
	{"ReplicaSet.apps", "Pod", controllers("replicaset-controller"), yieldsPod, podAdds},
	{"ReplicationController", "Pod", controllers("replication-controller"), yieldsPod, podAdds},
	{"StatefulSet.apps", "Pod", controllers("statefulset-controller"), yieldsRevisedPod, statefulPodAdds},
	{"DaemonSet.apps", "Pod", controllers("daemon-set-controller"), yieldsRevisedPod, daemonPodAdds},
	{"Job.batch", "Pod", controllers("job-controller"), yieldsPod, jobPodAdds},
	{"CronJob.batch", "Job.batch", controllers("cronjob-controller"), yieldsJob, jobAdds},
	{"StatefulSet.apps", "ControllerRevision.apps", controllers("statefulset-controller"), yieldsRevision, revisionAdds},
	{"DaemonSet.apps", "ControllerRevision.apps", controllers("daemon-set-controller"), yieldsRevision, revisionAdds},
	{"Pod", "PersistentVolumeClaim", controllers("ephemeral-volume-controller"), yieldsEphemeralClaim, claimAdds},
	{"Pod", "ResourceClaim.resource.k8s.io", append(controllers("resource-claim-controller"), scheduler), nil, nil},
	{"Service", "EndpointSlice.discovery.k8s.io", controllers("endpointslice-controller"), nil, nil},
	{"Endpoints", "EndpointSlice.discovery.k8s.io", controllers("endpointslicemirroring-controller"), nil, nil},
}

// claimMaker makes a StatefulSet's claims, which name no owner.
var claimMaker = maker{"StatefulSet.apps", "PersistentVolumeClaim", controllers("statefulset-controller"), yieldsClaim, claimAdds}

// endpointsMaker makes a Service's Endpoints, which have its name.
var endpointsMaker = maker{"Service", "Endpoints", controllers("endpoint-controller"), nil, nil}

// derived decides about the CREATE of an object that no Origin declares and
// that says, or is known, to stem from another. It is not ok where nothing
// speaks for that.
func (t *tracing) derived(s *subject) (Decision, bool) {
	if t.view.Live == nil {
		return Decision{}, false
	}
	owner, m, claimed := t.claimedOwner(s)
	switch {
	case !claimed:
		return Decision{}, false
	case m == nil || !t.req.User.isOneOf(m.by):
		return Decision{Refusal: notTheController(t.req, owner)}, true
	}
	live := t.view.Live.Object(owner.UID)
	if live == nil {
		return Decision{Refusal: ownerUnknown(t.req, owner), awaits: true}, true
	}
	if !isOwner(live, owner, s.ref) {
		return Decision{Refusal: notTheController(t.req, owner)}, true
	}
	decision := t.derivedOf(live)
	if decision.Refusal != nil {
		return decision, true
	}
	d := &derivation{tracing: t, subject: s, maker: m, owner: live}
	if diffs, err := d.faults(); err != nil || len(diffs) > 0 {
		if m := decision.Manifest; m != nil && len(m.Holes) > 0 {
			hideAll(diffs)
		}
		return Decision{Refusal: notYielded(s.ref, live, diffs, err), awaits: true}, true
	}
	return decision, true
}

// derivedOf admits what is made of a live object, where that may be there itself.
func (t *tracing) derivedOf(owner *LiveObject) Decision {
	root, why := t.root(owner)
	if why != "" {
		return Decision{Refusal: rootless(t.req, why)}
	}
	return Decision{Reason: Derived, Manifest: root.manifest, Root: root.ref, BreakGlass: root.use, via: owner, past: t.everDeclared(root.ref)}
}

// claimedOwner is the owner that the object says it stems from, and the way of
// making it; no way if there is none for these two kinds.
func (t *tracing) claimedOwner(s *subject) (Owner, *maker, bool) {
	child := s.ref.GroupKind()
	if owner, ok := controllerOf(s.new); ok {
		kind := gitindex.Ref{Group: groupOf(owner.APIVersion), Kind: owner.Kind}.GroupKind()
		for i := range makers {
			if makers[i].owner == kind && makers[i].child == child {
				return owner, &makers[i], true
			}
		}
		return owner, t.operator(kind), true
	}
	switch child {
	case "PersistentVolume":
		// A provisioner that the Gate names makes a volume for a claim. It names no
		// owner; the claim that it is bound to stands for one.
		claim := dig(s.new, "spec", "claimRef")
		if m := t.operator("PersistentVolumeClaim"); m != nil && dig(s.new, "spec", "csi") != absent && text(at(claim, "uid")) != "" {
			return Owner{APIVersion: "v1", Kind: "PersistentVolumeClaim", Name: text(at(claim, "name")), UID: text(at(claim, "uid"))}, m, true
		}
	case "PersistentVolumeClaim":
		if o := t.claimsOf(s.ref); o != nil {
			return ownerOf(o), &claimMaker, true
		}
	case "Endpoints":
		if o := t.view.Live.Find(gitindex.Ref{Kind: "Service", Namespace: s.ref.Namespace, Name: s.ref.Name}); o != nil {
			return ownerOf(o), &endpointsMaker, true
		}
	}
	return Owner{}, nil, false
}

// isOwner reports whether a live object is the one that an ownerReference of the
// child names.
func isOwner(live *LiveObject, owner Owner, child gitindex.Ref) bool {
	sameSpace := live.Ref.Namespace == "" || live.Ref.Namespace == child.Namespace || child.Kind == "PersistentVolume"
	return sameSpace && live.Ref.Kind == owner.Kind && live.Ref.Name == owner.Name && live.Ref.Group == groupOf(owner.APIVersion)
}

// operator is what the Gate's derive rules say about making the request's
// resource from this kind.
func (t *tracing) operator(kind string) *maker { return t.operatorOf(kind, t.req.resource()) }

func (t *tracing) operatorOf(kind, resource string) *maker {
	for _, r := range t.rule.Derive {
		owner := gitindex.Ref{Group: r.Group, Kind: r.Kind}.GroupKind()
		if owner == kind && slices.Contains(r.Makes, resource) && !expired(r.Expires, t.now) {
			return &maker{owner: owner, by: r.Users}
		}
	}
	return nil
}

// makes reports whether objects of the child's kind are made of the owner's: by
// Kubernetes, or by an operator that the Gate names. An ownerReference between
// other kinds was written by somebody, and says nothing.
func (t *tracing) makes(owner *LiveObject, child gitindex.Ref) bool {
	kind := owner.Ref.GroupKind()
	if slices.ContainsFunc(makers, func(m maker) bool { return m.owner == kind && m.child == child.GroupKind() }) {
		return true
	}
	return t.operatorOf(kind, resourceFor(child)) != nil
}

func ownerOf(o *LiveObject) Owner {
	return Owner{APIVersion: o.APIVersion, Kind: o.Ref.Kind, Name: o.Ref.Name, UID: o.UID}
}

// controllerOf reads the controller ownerReference; there is one at most.
func controllerOf(obj map[string]any) (Owner, bool) {
	for _, r := range asList(dig(obj, "metadata", "ownerReferences")) {
		if at(r, "controller") == any(true) {
			return Owner{APIVersion: text(at(r, "apiVersion")), Kind: text(at(r, "kind")), Name: text(at(r, "name")), UID: text(at(r, "uid"))}, true
		}
	}
	return Owner{}, false
}

// faults are what the controller did not get from its owner. Where two owners'
// states may count, the one with the fewest speaks.
func (d *derivation) faults() ([]Difference, error) {
	if d.maker.yields == nil {
		return nil, nil
	}
	raw, err := d.maker.yields(d)
	if err != nil {
		return nil, err
	}
	s, t := d.subject, d.tracing
	want, err := t.canonicalOf(raw)
	if err != nil {
		return nil, err
	}
	strip(want, s.hasStatus)
	strip(raw, s.hasStatus)
	c := &comparison{tracing: t, subject: s, maker: d.maker, want: want, declared: func() any { return raw }}
	c.run(want)
	return sortedDiffs(c.violations), nil
}

// maxDepth is how far an object may be from the declared one that it stems from.
const maxDepth = 8

// lineage is where a chain of owners ends: in a declared object, or in one that
// somebody broke the glass for.
type lineage struct {
	ref      gitindex.Ref
	manifest *gitindex.Manifest
	use      *Use
}

// root follows the owners of a live object to one that may be there. Otherwise
// it says why not.
func (t *tracing) root(o *LiveObject) (lineage, string) {
	first := o
	for range maxDepth {
		m := t.counted(o.Ref)
		if m != nil {
			if is := t.declaredAs(o, m); is != nil {
				return lineage{ref: o.Ref, manifest: is}, ""
			}
		}
		if use := t.openUse(o.Ref); use != nil {
			return lineage{ref: o.Ref, use: use}, ""
		}
		if m != nil {
			// Its controller must go on, or a Pod that dies is not made again; but what
			// it makes is not what Git says, and must not be stamped as if it were.
			return lineage{ref: o.Ref}, ""
		}
		if t.keptLive(o) {
			return lineage{ref: o.Ref}, ""
		}
		if o.Owner.UID == "" && o == first {
			return lineage{}, clean(o.Ref) + " is not in Git"
		}
		if o.Owner.UID == "" {
			return lineage{}, fmt.Sprintf("%s stems from %s, which is not in Git", clean(first.Ref), clean(o.Ref))
		}
		next := t.view.Live.Object(o.Owner.UID)
		if next == nil {
			return lineage{}, fmt.Sprintf("%s stems from %s %s, which is not live", clean(first.Ref), gitindex.Clean(o.Owner.Kind, 60), gitindex.Clean(o.Owner.Name, 90))
		}
		if !isOwner(next, o.Owner, o.Ref) || !t.makes(next, o.Ref) {
			return lineage{}, fmt.Sprintf("%s names %s as its owner, of which no such objects are made", clean(o.Ref), clean(next.Ref))
		}
		o = next
	}
	return lineage{}, fmt.Sprintf("%s has too many owners above it", clean(first.Ref))
}

// declaredAs is the manifest, of those that are remembered, whose templates a live
// object has: what its controller makes is that commit's. Nil means that it has
// drifted. A Job's template carries what the server adds to it, and cannot be
// changed; where there is no template, it is what counts now.
func (t *tracing) declaredAs(o *LiveObject, now *gitindex.Manifest) *gitindex.Manifest {
	if len(o.Template) == 0 || o.Ref.GroupKind() == "Job.batch" {
		return now
	}
	ruled := t.hasFieldRule(resourceOf[o.Ref.GroupKind()]) // then it is so for this Gate alone, and for a time
	for _, m := range t.everDeclared(o.Ref) {
		if !ruled && o.asIn.Load() == m {
			return m
		}
		if t.sameTemplates(o, m) {
			if !ruled {
				o.asIn.Store(m)
			}
			return m
		}
	}
	return nil
}

// sameTemplates compares a live object's templates with a manifest's, field by
// field, as a request for them would be.
func (t *tracing) sameTemplates(o *LiveObject, m *gitindex.Manifest) bool {
	if m.Canonical == nil || m.APIVersion != o.APIVersion {
		return true // another version has another form; it was compared when it was written
	}
	live, err := decodeObject(o.Template)
	if err != nil {
		return false
	}
	want, err := decodeObject(m.Canonical)
	if err != nil {
		return false
	}
	version := versionOf(o.APIVersion)
	templates := map[string]any{}
	for field := range live {
		if w := dig(want, "spec", field); w != absent {
			templates[field] = w
		}
	}
	c := &comparison{tracing: t, manifest: m, want: want, live: true, subject: &subject{ref: o.Ref, apiVersion: o.APIVersion, resource: resourceOf[o.Ref.GroupKind()],
		shape: t.view.Schemas.Shape(o.Ref.Group, version, o.Ref.Kind), managed: &managedFields{}, uid: o.UID}}
	c.declared = func() any { // a default that an older API server does not know may be missing
		if data, err := t.view.Schemas.Declared(m.Raw, version); err == nil {
			if v, err := decodeObject(data); err == nil {
				return v
			}
		}
		return want
	}
	c.path = []segment{{name: "spec"}}
	c.fields(c.subject.shape.Field("spec"), absent, live, templates)
	return len(c.violations) == 0
}

// hasFieldRule reports whether the Gate lets fields of a resource be live, or be
// filled in.
func (t *tracing) hasFieldRule(resource string) bool {
	if slices.ContainsFunc(t.rule.Holes, func(h HoleRule) bool { return !expired(h.Expires, t.now) && slices.Contains(h.Resources, resource) }) {
		return true
	}
	return slices.ContainsFunc(t.rule.AllowFields, func(r FieldRule) bool {
		return !expired(r.Expires, t.now) && slices.Contains(r.Resources, resource)
	})
}

// counted is a manifest of the object that counts: a current one, or one that
// was removed no longer ago than appliers may lag.
func (t *tracing) counted(ref gitindex.Ref) *gitindex.Manifest {
	for _, c := range t.candidates(ref) {
		if c.refused == "" {
			return c.manifest
		}
	}
	return nil
}

// everDeclared lists the manifests of an object that are remembered: a stamp
// that was right stays one that was right.
func (t *tracing) everDeclared(ref gitindex.Ref) []*gitindex.Manifest {
	var all []*gitindex.Manifest
	for _, c := range t.candidates(ref) {
		if c.refused == "" || c.refused == Outdated {
			all = append(all, c.manifest)
		}
	}
	return all
}

// keptLive reports a live object that is there without Git: Kubernetes' own, or
// one that the Gate excludes.
func (t *tracing) keptLive(o *LiveObject) bool {
	if isPlatformObject(o.Ref) {
		return true
	}
	resource, known := resourceOf[o.Ref.GroupKind()]
	for i := range t.rule.Exclude {
		e := &t.rule.Exclude[i]
		if expired(e.Expires, t.now) || len(e.Users) > 0 || len(e.Namespaces)+len(e.Resources) == 0 {
			continue
		}
		if len(e.Namespaces) > 0 && (o.Ref.Namespace == "" || !matchAny(e.Namespaces, o.Ref.Namespace)) {
			continue
		}
		if len(e.Resources) == 0 || known && slices.Contains(e.Resources, resource) {
			return true
		}
	}
	return false
}

// resourceOf names the resources of the kinds that others are made of.
var resourceOf = map[string]string{
	"Deployment.apps": "deployments.apps", "ReplicaSet.apps": "replicasets.apps", "StatefulSet.apps": "statefulsets.apps",
	"DaemonSet.apps": "daemonsets.apps", "Job.batch": "jobs.batch", "CronJob.batch": "cronjobs.batch", "Pod": "pods",
	"ReplicationController": "replicationcontrollers", "Service": "services", "Endpoints": "endpoints",
}

func clean(ref gitindex.Ref) string { return gitindex.Clean(ref.String(), 100) }
