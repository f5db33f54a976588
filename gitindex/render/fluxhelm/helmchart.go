package fluxhelm

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// helmChart is the object that helm-controller applies for spec.chart, so that
// source-controller fetches the chart: buildHelmChartFromTemplate of
// internal/reconcile/helmchart_template.go. It has the labels of the origin, as
// CRDs have, and none of Helm's.
func (hr *helmRelease) helmChart() (*render.Object, error) {
	t := hr.Spec.Chart
	if t == nil {
		return nil, nil
	}
	interval := t.Spec.Interval
	if interval == "" {
		interval = hr.Spec.Interval
	}
	every, err := time.ParseDuration(interval)
	if err != nil {
		return nil, fmt.Errorf("%q is no interval", gitindex.Clean(interval, 40))
	}
	spec := map[string]any{
		"chart": t.Spec.Chart, "interval": every.String(),
		"sourceRef": map[string]any{"kind": t.Spec.SourceRef.Kind, "name": t.Spec.SourceRef.Name},
	}
	for name, value := range map[string]string{"version": t.Spec.Version, "reconcileStrategy": t.Spec.ReconcileStrategy} {
		if value != "" {
			spec[name] = value
		}
	}
	if len(t.Spec.ValuesFiles) > 0 {
		spec["valuesFiles"] = t.Spec.ValuesFiles
	}
	if t.Spec.IgnoreMissingValuesFiles {
		spec["ignoreMissingValuesFiles"] = true
	}
	if v := t.Spec.Verify; v != nil {
		spec["verify"] = v
	}
	name, namespace := hr.Metadata.Namespace+"-"+hr.Metadata.Name, hr.source("", t.Spec.SourceRef.Namespace, "").Namespace
	meta := map[string]any{"name": name, "namespace": namespace}
	for field, values := range map[string]map[string]string{"labels": t.Metadata.Labels, "annotations": t.Metadata.Annotations} {
		if len(values) > 0 {
			meta[field] = values
		}
	}
	raw, err := json.Marshal(map[string]any{"apiVersion": SourceGroup + "/v1", "kind": "HelmChart", "metadata": meta, "spec": spec})
	return &render.Object{Group: SourceGroup, Version: "v1", Kind: "HelmChart", Namespace: namespace, Name: name, JSON: raw, Bare: true}, err
}

// verification is spec.chart.spec.verify, which is passed on.
type verification struct {
	Provider  string `json:"provider"`
	SecretRef *struct {
		Name string `json:"name"`
	} `json:"secretRef,omitempty"`
}
