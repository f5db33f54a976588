package controller

import (
	"bytes"
	"encoding/json"

	kjson "sigs.k8s.io/json"

	"github.com/gitward/gitward/gitindex"
)

// Appliers set their own labels and annotations over whatever Git has there: an
// object that was copied out of a cluster commonly carries another one's. Such a
// value never arrives, so it is no part of what is declared; what the applier
// sets instead, the gate computes.

// marks are the labels and annotations that an applier sets, with the value
// where it is the same for all objects of the unit.
func marks(a *gitindex.Applier, hook, bare bool) (labels, annotations map[string]string) {
	labels, annotations = map[string]string{}, map[string]string{}
	if a.FluxName != "" {
		labels["kustomize.toolkit.fluxcd.io/name"] = a.FluxName
		labels["kustomize.toolkit.fluxcd.io/namespace"] = a.FluxNamespace
	}
	if a.FluxHelmName != "" {
		labels["helm.toolkit.fluxcd.io/name"] = a.FluxHelmName
		labels["helm.toolkit.fluxcd.io/namespace"] = a.FluxHelmNamespace
	}
	if a.HelmRelease != "" && !hook && !bare {
		labels["app.kubernetes.io/managed-by"] = "Helm"
		annotations["meta.helm.sh/release-name"] = a.HelmRelease
		annotations["meta.helm.sh/release-namespace"] = a.HelmNamespace
	}
	if a.ArgoApplication != "" {
		annotations["argocd.argoproj.io/tracking-id"] = ""
		if a.ArgoInstallationID != "" {
			annotations["argocd.argoproj.io/installation-id"] = a.ArgoInstallationID
		}
		if a.ArgoInstanceLabel != "" {
			labels[a.ArgoInstanceLabel] = a.ArgoApplication
		}
	}
	return labels, annotations
}

// withoutMarks leaves out what the applier sets to something else.
func withoutMarks(raw []byte, a *gitindex.Applier, hook, bare bool) ([]byte, error) {
	if a == nil {
		return raw, nil
	}
	labels, annotations := marks(a, hook, bare)
	if !mentions(raw, labels) && !mentions(raw, annotations) {
		return raw, nil
	}
	var obj map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &obj); err != nil {
		return nil, err
	}
	meta, _ := obj["metadata"].(map[string]any)
	changed := false
	for field, set := range map[string]map[string]string{"labels": labels, "annotations": annotations} {
		declared, _ := meta[field].(map[string]any)
		for key, value := range set {
			if old, ok := declared[key]; ok && old != any(value) {
				delete(declared, key)
				changed = true
			}
		}
	}
	if !changed {
		return raw, nil
	}
	return json.Marshal(obj)
}

func mentions(raw []byte, keys map[string]string) bool {
	for key := range keys {
		if bytes.Contains(raw, []byte(key)) {
			return true
		}
	}
	return false
}
