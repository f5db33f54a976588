package argocd

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

const (
	argoHook = "argocd.argoproj.io/hook"
	helmHook = "helm.sh/hook"
)

// applied are the objects that Argo CD sends at some time. Of objects with one
// name it keeps the last (controller/state.go, NormalizeTargetObjects); hooks
// of kinds that it does not know are left out.
func (b *builder) applied(all []render.Object) ([]render.Object, error) {
	last := map[gitindex.Ref]int{}
	var kept []render.Object
	for _, o := range all {
		annotations, err := annotationsOf(o.JSON)
		if err != nil {
			return nil, err
		}
		hook, sent := hookOf(annotations)
		if !sent {
			continue
		}
		o.Hook, o.Bare = hook, o.Kind == "CustomResourceDefinition" && o.Group == "apiextensions.k8s.io"
		ref := gitindex.Ref{Group: o.Group, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}
		if ref.Namespace == "" {
			ref.Namespace = b.app.Spec.Destination.Namespace
		}
		if at, twice := last[ref]; twice && o.Name != "" {
			kept[at] = o
			continue
		}
		last[ref] = len(kept)
		kept = append(kept, o)
	}
	return kept, nil
}

func annotationsOf(object []byte) (map[string]string, error) {
	var o struct {
		Metadata struct{ Annotations map[string]any }
	}
	if err := json.Unmarshal(object, &o); err != nil {
		return nil, nil // annotations that are no map mark nothing
	}
	annotations := map[string]string{}
	for name, value := range o.Metadata.Annotations {
		if text, ok := value.(string); ok {
			annotations[name] = text
		}
	}
	return annotations, nil
}

// hookOf reports whether the object is a hook, and whether it is ever sent:
// gitops-engine/pkg/sync/hook and controller/hook.go.
func hookOf(annotations map[string]string) (hook, sent bool) {
	own, isOwn := annotations[argoHook]
	helm, isHelm := annotations[helmHook]
	isHelm = isHelm && helm != "crd-install" // how Helm 2 marked CRDs
	if !isOwn && !isHelm {
		return false, true
	}
	kinds := known(own, "PreSync", "Sync", "PostSync", "SyncFail", "Skip", "PreDelete", "PostDelete")
	if len(known(own, "PreSync", "Sync", "PostSync", "SyncFail", "Skip")) == 0 { // Helm's count only without Argo CD's
		kinds = append(kinds, known(helm, "pre-install", "pre-upgrade", "post-install", "post-upgrade", "pre-delete", "post-delete")...)
	}
	if len(kinds) == 1 && kinds[0] == "Skip" {
		return true, false
	}
	return true, len(kinds) > 0
}

// known are the items of a list, divided by commas, that are among names.
func known(list string, names ...string) []string {
	var found []string
	for item := range strings.SplitSeq(list, ",") {
		if item = strings.TrimSpace(item); slices.Contains(names, item) && !slices.Contains(found, item) {
			found = append(found, item)
		}
	}
	return found
}
