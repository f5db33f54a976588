package gate

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"github.com/gitward/gitward/gitindex"
)

// What no file declares, and what nevertheless follows from Git alone, to the
// last field: the Namespace that a unit's applier makes if it is missing, the
// HelmChart that Flux makes of a HelmRelease, and a hook that Argo CD gives its
// name. They are compared like what Git declares.

// made lists such an object as each declared unit or HelmRelease has it.
func (t *tracing) made(ref gitindex.Ref) []candidate {
	switch ref.GroupKind() {
	case "Namespace":
		return t.created(ref)
	case "HelmChart.source.toolkit.fluxcd.io":
		return t.charts(ref)
	}
	return t.hooks(ref)
}

// keptNote marks a difference that takes away what Git has no say about.
const keptNote = "kept"

// keepsRest finds what the request takes away of an object that Git says only a
// part of: a Namespace that was there, and whose labels keep its Pods in bounds.
func (c *comparison) keepsRest() {
	for _, field := range []string{"labels", "annotations", "finalizers"} {
		was := dig(c.subject.old, "metadata", field)
		now, git := named(dig(c.subject.new, "metadata", field)), named(dig(c.want, "metadata", field))
		for name, old := range named(was) {
			if at(now, name) != absent || at(git, name) != absent {
				continue
			}
			_, isMap := was.(map[string]any)
			c.path = []segment{{name: "metadata"}, {name: field}, {name: name, item: !isMap}}
			if v := (values{old, absent, absent}); !c.explained(v) {
				c.violations = append(c.violations, Difference{Path: pathText(c.path), Old: old, New: absent, Want: absent, Note: keptNote})
			}
		}
	}
	c.path = nil
}

// named is a map, or a list of names as one.
func named(v any) map[string]any {
	if m, ok := v.(map[string]any); ok {
		return m
	}
	m := map[string]any{}
	for _, item := range asList(v) {
		m[text(item)] = true
	}
	return m
}

const argoSyncOptions = "argocd.argoproj.io/sync-options"

// created lists the Namespace as the appliers of declared units make it, one
// candidate for each.
func (t *tracing) created(ref gitindex.Ref) []candidate {
	var all []candidate
	for i := range t.rule.Origins {
		source := &t.rule.Origins[i]
		s := t.view.Index[source.Origin]
		if s == nil {
			continue
		}
		for _, m := range s.Creators(ref.Name) {
			c := candidate{manifest: namespaceOf(ref, m), beside: true}
			if !source.Fills(ref) || !t.vouched(m, ref) {
				c.refused = WrongNamespace
			}
			all = append(all, c)
		}
	}
	return all
}

// namespaceOf is the Namespace that the applier of m makes: Argo CD's with what
// managedNamespaceMetadata says and nothing else (argo-cd,
// controller/sync_namespace.go), Helm's with one label (helm,
// pkg/action/install.go).
func namespaceOf(ref gitindex.Ref, m *gitindex.Manifest) *gitindex.Manifest {
	a := m.Applier
	meta := map[string]any{"name": ref.Name}
	switch {
	case a.ArgoApplication != "" && (a.NamespaceLabels != nil || a.NamespaceAnnotations != nil):
		annotations := map[string]string{}
		for k, v := range a.NamespaceAnnotations {
			annotations[k] = v
		}
		annotations[argoSyncOptions] = "ServerSideApply=true"
		meta["annotations"] = annotations
		if len(a.NamespaceLabels) > 0 {
			meta["labels"] = a.NamespaceLabels
		}
	case a.ArgoApplication == "" && a.HelmRelease != "":
		meta["labels"] = map[string]string{"name": ref.Name}
	}
	raw, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
	if err != nil { // cannot be, of strings alone
		raw = nil
	}
	return &gitindex.Manifest{Ref: ref, APIVersion: "v1", Origin: m.Origin, Path: m.Path, Line: m.Line, End: m.End, Via: m.Via,
		Unit: m.Unit, Level: gitindex.Derived, Raw: raw, Commit: m.Commit}
}

// charts lists the HelmChart as helm-controller makes it: named after its
// HelmRelease's namespace and name, which both may hold hyphens.
func (t *tracing) charts(ref gitindex.Ref) []candidate {
	var all []candidate
	for i := range len(ref.Name) {
		if ref.Name[i] != '-' {
			continue
		}
		release := gitindex.Ref{Group: "helm.toolkit.fluxcd.io", Kind: "HelmRelease", Namespace: ref.Name[:i], Name: ref.Name[i+1:]}
		for _, c := range t.candidates(release) {
			if c.manifest = chartOf(ref, c.manifest); c.manifest == nil {
				continue
			}
			if c.refused == "" && !t.fills(c.manifest.Origin, ref) {
				c.refused = WrongNamespace
			}
			all = append(all, c)
		}
	}
	return all
}

func (t *tracing) fills(origin string, ref gitindex.Ref) bool {
	for i := range t.rule.Origins {
		if s := &t.rule.Origins[i]; s.Origin == origin {
			return s.Fills(ref)
		}
	}
	return false
}

// chartOf is the HelmChart of a HelmRelease; nil if it makes none of that name
// (helm-controller, internal/reconcile/helmchart_template.go).
func chartOf(ref gitindex.Ref, m *gitindex.Manifest) *gitindex.Manifest {
	release, err := decodeObject(m.Raw)
	template, ok := dig(release, "spec", "chart").(map[string]any)
	if err != nil || !ok {
		return nil
	}
	from := at(template, "spec")
	namespace := m.Ref.Namespace
	if other := text(dig(from, "sourceRef", "namespace")); other != "" {
		namespace = other
	}
	interval := text(at(from, "interval"))
	if interval == "" {
		interval = text(dig(release, "spec", "interval"))
	}
	every, err := time.ParseDuration(interval)
	if err != nil || namespace != ref.Namespace || strings.Join([]string{m.Ref.Namespace, m.Ref.Name}, "-") != ref.Name {
		return nil
	}
	spec := fieldsIn(from, "chart", "version", "reconcileStrategy", "valuesFiles", "ignoreMissingValuesFiles")
	spec["interval"] = every.String()
	spec["sourceRef"] = fieldsIn(at(from, "sourceRef"), "kind", "name")
	if verify := at(from, "verify"); verify != absent {
		spec["verify"] = fieldsIn(verify, "provider", "secretRef")
	}
	meta := fieldsIn(at(template, "metadata"), "labels", "annotations")
	meta["name"], meta["namespace"] = ref.Name, ref.Namespace
	raw, err := json.Marshal(map[string]any{"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": ref.Kind, "metadata": meta, "spec": spec})
	if err != nil {
		return nil
	}
	return &gitindex.Manifest{Ref: ref, APIVersion: "source.toolkit.fluxcd.io/v1", Origin: m.Origin, Path: m.Path, Line: m.Line, End: m.End, Via: m.Via,
		Unit: m.Unit, Level: gitindex.Derived, Raw: raw, Commit: m.Commit,
		Applier: &gitindex.Applier{FluxHelmName: m.Ref.Name, FluxHelmNamespace: m.Ref.Namespace}}
}

// hookSuffix is what Argo CD appends to a hook's generateName: the beginning of
// the revision, the phase and the time (gitops-engine, pkg/sync/sync_context.go).
var hookSuffix = regexp.MustCompile(`^[0-9a-z.+]{0,7}-(presync|sync|postsync|syncfail|predelete|postdelete)-[0-9]{9,11}$`)

// hooks lists the hooks without a name that Argo CD would give this one. They are
// indexed without it.
func (t *tracing) hooks(ref gitindex.Ref) []candidate {
	if n := len(ref.Name); n < 12 || ref.Name[n-1] < '0' || ref.Name[n-1] > '9' {
		return nil
	}
	var all []candidate
	nameless := ref
	nameless.Name = ""
	for _, c := range t.candidates(nameless) {
		a := c.manifest.Applier
		if !c.manifest.Hook || a == nil || a.ArgoApplication == "" {
			continue
		}
		if c.manifest = withName(ref, c.manifest); c.manifest != nil {
			all = append(all, c)
		}
	}
	return all
}

// withName is a manifest with the name that was generated for it; nil if that is
// none of its own.
func withName(ref gitindex.Ref, m *gitindex.Manifest) *gitindex.Manifest {
	raw, err := decodeObject(m.Raw)
	meta, _ := at(raw, "metadata").(map[string]any)
	prefix := text(at(meta, "generateName"))
	suffix, ok := strings.CutPrefix(ref.Name, prefix)
	if err != nil || prefix == "" || !ok || !hookSuffix.MatchString(suffix) {
		return nil
	}
	meta["name"] = ref.Name
	named := *m
	if named.Raw, err = json.Marshal(raw); err != nil {
		return nil
	}
	named.Canonical, named.CanonicalError = nil, ""
	return &named
}

// fieldsIn copies some fields, those that are there.
func fieldsIn(v any, names ...string) map[string]any {
	out := map[string]any{}
	for _, n := range names {
		if f := at(v, n); f != absent {
			out[n] = f
		}
	}
	return out
}
