package controller

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// recreates reports whether Git lets the applier delete an object of the unit
// and make it anew where it cannot be changed in place: for the whole unit in
// its opener, or by a mark on the object.
func (r *rendering) recreates(o *render.Object) bool {
	var opener struct {
		Spec struct {
			Force      bool `json:"force"` // Flux Kustomization
			SyncPolicy struct {
				SyncOptions []string `json:"syncOptions"`
			} `json:"syncPolicy"`
		} `json:"spec"`
	}
	var object struct {
		Metadata struct {
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
	}
	if json.Unmarshal(o.JSON, &object) != nil || r.Unit.Opener != nil && json.Unmarshal(r.Unit.Opener, &opener) != nil {
		return false
	}
	marks := object.Metadata.Annotations
	switch r.Unit.Tool {
	case render.Flux:
		return opener.Spec.Force || strings.EqualFold(marks["kustomize.toolkit.fluxcd.io/force"], "enabled")
	case render.Argo:
		options := append(strings.Split(marks["argocd.argoproj.io/sync-options"], ","), opener.Spec.SyncPolicy.SyncOptions...)
		return slices.ContainsFunc(options, func(option string) bool { return strings.TrimSpace(option) == "Force=true" })
	}
	return false
}

// owner is the object that a controller makes the unit's objects from, and
// names as theirs: an ApplicationSet.
func (r *rendering) owner() *gitindex.Ref {
	if r.Unit.Tool != render.ArgoAppSet {
		return nil
	}
	_, namespaced, _ := strings.Cut(r.Unit.ID, " ")
	namespace, name, _ := strings.Cut(namespaced, "/")
	return &gitindex.Ref{Group: "argoproj.io", Kind: "ApplicationSet", Namespace: namespace, Name: name}
}
