package gate

import "github.com/gitward/gitward/gitindex"

// Applier: metadata that a known applier adds, at exactly the value computed for
// this applier and this object. Never a prefix, and never because a label says
// who applied.

const (
	lastApplied = "kubectl.kubernetes.io/last-applied-configuration"
	argoHook    = "argocd.argoproj.io/hook-finalizer"
)

func applierReason(c *comparison, v values) bool {
	if len(c.path) < 2 || c.path[0].name != "metadata" || v.want != absent {
		return false
	}
	switch field := c.path[1].name; {
	case field == "ownerReferences" && len(c.path) == 2:
		return c.isOwnedBySet(v.new)
	case len(c.path) != 3:
		return false
	case field == "annotations" && c.path[2].name == lastApplied:
		return equal(v.old, v.new) || c.isLastApplied(text(v.new))
	case field == "labels", field == "annotations":
		return v.new == any(c.decorations()[field][c.path[2].name]) && v.new != any("")
	case field == "finalizers":
		return v.new == any(argoHook) && c.isArgoHook()
	}
	return false
}

// decorations are the labels and annotations that the manifest's applier adds:
// see gitindex.Applier.Decorations.
func (c *comparison) decorations() map[string]map[string]string {
	m := c.manifest
	if m.Applier == nil {
		return nil
	}
	ref := c.subject.ref
	if m.Ref.Name == "" {
		ref.Name = "" // Argo CD tracks it before it is named
	}
	return m.Applier.Decorations(ref, m.Hook, m.Bare)
}

// isLastApplied reports whether the annotation is what client-side apply
// writes for this manifest: the manifest itself, with its namespace, without
// nulls, and with the applier's own decorations.
func (c *comparison) isLastApplied(annotation string) bool {
	applied, err := decodeObject([]byte(annotation))
	if err != nil || applied == nil {
		return false
	}
	raw, err := decodeObject(c.manifest.Raw)
	if err != nil {
		return false
	}
	for field, values := range c.decorations() {
		set, _ := dig(applied, "metadata", field).(map[string]any)
		for name, value := range values {
			if dig(raw, "metadata", field, name) == absent && set[name] == any(value) {
				delete(set, name)
			}
		}
	}
	if annotations, ok := dig(raw, "metadata", "annotations").(map[string]any); ok {
		delete(annotations, lastApplied) // kubectl leaves out a file's own
	}
	if c.isArgoHook() {
		dropFinalizer(applied, argoHook)
	}
	if c.subject.ref.GroupKind() == "Namespace" {
		dropEmpty(applied, "spec", "status")
		dropEmpty(raw, "spec", "status")
	}
	a, r := appliedForm(applied, c.subject.ref), appliedForm(raw, c.subject.ref)
	return equal(a, r) || c.isOpen() && c.differsInHoles(a, r)
}

// dropEmpty takes out fields without content. A Namespace that a tool makes of
// its Go type has them all (argo-cd, controller/sync_namespace.go).
func dropEmpty(obj map[string]any, fields ...string) {
	for _, f := range fields {
		if m, ok := obj[f].(map[string]any); ok && len(m) == 0 {
			delete(obj, f)
		}
	}
}

// dropFinalizer takes the last finalizer off, if it is this one: appliers append.
func dropFinalizer(obj map[string]any, name string) {
	meta, _ := obj["metadata"].(map[string]any)
	list := asList(at(meta, "finalizers"))
	switch n := len(list); {
	case n == 0 || list[n-1] != any(name):
	case n == 1:
		delete(meta, "finalizers")
	default:
		meta["finalizers"] = list[:n-1]
	}
}

// differsInHoles reports whether what was applied is the manifest but for values
// that are left open, or that the applier takes from what is live.
func (c *comparison) differsInHoles(applied, raw any) bool {
	holes := &comparison{tracing: c.tracing, manifest: c.manifest, declared: func() any { return raw },
		subject: &subject{ref: c.subject.ref, resource: c.subject.resource, shape: c.subject.shape, old: c.subject.new}}
	holes.only = func(v values) bool { return v.new != absent && (holes.holeReason(v) || holes.liveReason(v)) }
	holes.fields(c.subject.shape, c.subject.new, applied, raw)
	return len(holes.violations)+len(holes.drift) == 0
}

// isOpen reports whether any value of the object is left open.
func (c *comparison) isOpen() bool {
	return len(c.manifest.Holes)+len(c.manifest.Live) > 0 || c.tracing != nil && len(c.tracing.rule.Holes) > 0
}

// appliedForm brings a manifest to the form in which two of them say the same
// to an applier.
func appliedForm(obj map[string]any, ref gitindex.Ref) any {
	v := withoutNulls(obj)
	meta, ok := at(v, "metadata").(map[string]any)
	if !ok {
		return v
	}
	if ns := text(at(meta, "namespace")); ns == "" || ns == ref.Namespace || ref.Namespace == "" {
		delete(meta, "namespace")
	}
	for _, field := range []string{"annotations", "labels"} {
		if m, ok := meta[field].(map[string]any); ok && len(m) == 0 {
			delete(meta, field)
		}
	}
	return v
}

func withoutNulls(v any) any {
	switch x := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(x))
		for k, f := range x {
			if f != nil {
				out[k] = withoutNulls(f)
			}
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i := range x {
			out[i] = withoutNulls(x[i])
		}
		return out
	}
	return v
}
