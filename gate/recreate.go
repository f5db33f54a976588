package gate

import (
	"slices"
	"strings"

	"github.com/gitward/gitward/gitindex"
)

// Some of what Git declares is deleted to be made anew: a hook before it runs
// again, and what cannot be brought to Git's state by an update. Git says which
// objects these are, and who deletes them does not matter: an applier comes under
// many names. An object that is as Git has it stays, whoever asks: nothing would
// come of its deletion but that it is gone for a while. Of a hook that cannot be
// asked, since it is deleted for what it does, not for what it is; until it runs
// again it may be gone.

const fluxForce = "kustomize.toolkit.fluxcd.io/force" // a label or an annotation (fluxcd/pkg, ssa/utils)

// recreated finds the manifest that lets the object be deleted although Git
// declares it; nil if none does, or if the object is as another one has it.
func (t *tracing) recreated(ref gitindex.Ref, old map[string]any, current []*gitindex.Manifest) *gitindex.Manifest {
	if old == nil || isHome(ref) {
		return nil
	}
	var lets *gitindex.Manifest
	for _, m := range current {
		switch {
		case m.Hook && mayEnd(m, old), t.bindsElsewhere(ref, old, m):
			lets = m
		case m.Hook:
		case t.isNow(m):
			return nil
		case mayRecreate(m) && t.differsNow(m):
			lets = m
		}
	}
	return lets
}

// isHome reports what others live in or by: with a Namespace or a
// CustomResourceDefinition go all of them. No applier makes such an object anew:
// Helm leaves it when it is a hook, Argo CD updates it.
func isHome(ref gitindex.Ref) bool {
	return ref.GroupKind() == "Namespace" || ref.GroupKind() == "CustomResourceDefinition.apiextensions.k8s.io"
}

const helmDeletes = "helm.sh/hook-delete-policy"

// mayEnd reports whether a hook may be deleted in the state that it is in. Helm
// deletes a Job or Pod that Git lets it delete only at its end after that end
// (helm, pkg/action/hooks.go), where one that took too long counts as failed.
// Argo CD ends hooks that still run with the operation that runs them.
func mayEnd(m *gitindex.Manifest, live map[string]any) bool {
	raw, err := decodeObject(m.Raw)
	policies := text(dig(raw, "metadata", "annotations", helmDeletes))
	argo := m.Applier != nil && m.Applier.ArgoApplication != ""
	kind := m.Ref.GroupKind()
	if err != nil || policies == "" || argo || kind != "Job.batch" && kind != "Pod" {
		return err == nil
	}
	done := text(dig(live, "status", "phase")) == "Succeeded" || hasCondition(live, "Complete")
	return slices.ContainsFunc(strings.Split(policies, ","), func(p string) bool {
		switch strings.TrimSpace(p) {
		case "before-hook-creation":
			return true
		case "hook-succeeded":
			return done
		case "hook-failed":
			return !done
		}
		return false
	})
}

func hasCondition(obj map[string]any, kind string) bool {
	return slices.ContainsFunc(asList(dig(obj, "status", "conditions")), func(c any) bool {
		return at(c, "type") == any(kind) && at(c, "status") == any("True")
	})
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

// differsNow reports that the live object is not what the manifest declares, and
// isNow that it is. Neither holds where that cannot be told.
func (t *tracing) differsNow(m *gitindex.Manifest) bool {
	f := t.asItIs(m)
	return f.err == nil && !f.traced()
}

func (t *tracing) isNow(m *gitindex.Manifest) bool {
	f := t.asItIs(m)
	return f.traced()
}

// asItIs holds the live object against a manifest, as a request that changes
// nothing: what controllers wrote on it is theirs.
func (t *tracing) asItIs(m *gitindex.Manifest) finding {
	o, err := decodeState(t.req.OldObject)
	if err != nil || o == nil {
		return finding{err: orNoObject(err)}
	}
	return t.hold(newSubject(t.view.Schemas, t.req, objects{old: o, new: o}), candidate{manifest: m})
}

// bindsElsewhere reports a binding to another role than Git's. The API server lets
// nobody change that: kubectl auth reconcile, and Argo CD with it, makes such a
// binding anew.
func (t *tracing) bindsElsewhere(ref gitindex.Ref, live map[string]any, m *gitindex.Manifest) bool {
	if !isBinding(ref) {
		return false
	}
	want, err := decodeObject(m.Canonical)
	if err != nil || want == nil {
		return false
	}
	return !equal(at(live, "roleRef"), at(want, "roleRef"))
}
