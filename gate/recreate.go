package gate

import (
	"slices"
	"strings"

	"github.com/gitward/gitward/gitindex"
)

// Some of what Git declares is deleted to be made anew: a hook before it runs
// again, and what cannot be brought to Git's state by an update. Git says which
// objects these are. An object that is as Git has it stays, whoever asks: nothing
// would come of its deletion but that it is gone for a while.

const fluxForce = "kustomize.toolkit.fluxcd.io/force" // a label or an annotation (fluxcd/pkg, ssa/utils)

// recreated finds the manifest that lets the object be deleted although Git
// declares it; nil if none does.
func (t *tracing) recreated(ref gitindex.Ref, old map[string]any, current []*gitindex.Manifest) *gitindex.Manifest {
	if old == nil {
		return nil
	}
	for _, m := range current {
		if m.Hook || mayRecreate(m) && t.differsNow(old, m) || t.bindsElsewhere(ref, old, m) {
			return m
		}
	}
	return nil
}

// mayRecreate reports whether Git says that the object's applier may make it anew:
// for its unit, or in an annotation of its own.
func mayRecreate(m *gitindex.Manifest) bool {
	if m.Recreate {
		return true
	}
	raw, err := decodeObject(m.Raw)
	if err != nil {
		return false
	}
	labels, annotations := dig(raw, "metadata", "labels"), dig(raw, "metadata", "annotations")
	flux, argo := m.Applier != nil && m.Applier.FluxName != "", m.Applier != nil && m.Applier.ArgoApplication != ""
	return flux && (strings.EqualFold(text(at(annotations, fluxForce)), "enabled") || strings.EqualFold(text(at(labels, fluxForce)), "enabled")) ||
		argo && slices.ContainsFunc(strings.Split(text(at(annotations, argoSyncOptions)), ","), func(o string) bool { return strings.TrimSpace(o) == "Force=true" })
}

// differsNow reports whether the live object is not what the manifest declares.
func (t *tracing) differsNow(live map[string]any, m *gitindex.Manifest) bool {
	o, err := decodeState(t.req.OldObject)
	if err != nil || live == nil {
		return false
	}
	f := t.hold(newSubject(t.view.Schemas, t.req, objects{new: o}), candidate{manifest: m})
	return f.err == nil && !f.traced()
}

// bindsElsewhere reports a binding to another role than Git's. The API server lets
// nobody change that: kubectl auth reconcile, and Argo CD with it, makes such a
// binding anew.
func (t *tracing) bindsElsewhere(ref gitindex.Ref, live map[string]any, m *gitindex.Manifest) bool {
	if ref.Group != rbacGroup || ref.Kind != "RoleBinding" && ref.Kind != "ClusterRoleBinding" {
		return false
	}
	want, err := decodeObject(m.Canonical)
	if err != nil || want == nil {
		return false
	}
	return !equal(at(live, "roleRef"), at(want, "roleRef"))
}
