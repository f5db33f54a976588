package gate

import (
	"encoding/json"

	"github.com/gitward/gitward/gitindex"
)

// A Namespace that no file declares: the unit whose applier makes it if it is
// missing says what it is. It is compared like what Git declares.

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
			c := candidate{manifest: namespaceOf(ref, m)}
			if !source.Fills(ref) {
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
	return &gitindex.Manifest{Ref: ref, APIVersion: "v1", Origin: m.Origin, Path: m.Path, Line: m.Line, End: m.End,
		Unit: m.Unit, Level: gitindex.Derived, Raw: raw, Commit: m.Commit}
}
