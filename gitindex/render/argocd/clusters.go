package argocd

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// clusters are those that Argo CD knows. Git says so where it declares their
// Secrets; else only the cluster that Argo CD runs in is sure, which has no
// labels and is therefore left out as soon as there is a selector.
func (e *expansion) clusters(raw json.RawMessage, _ int) ([]map[string]any, error) {
	var g struct {
		Selector metav1.LabelSelector
		Values   map[string]string
		FlatList bool
	}
	if err := json.Unmarshal(raw, &g); err != nil {
		return nil, err
	}
	selector, err := metav1.LabelSelectorAsSelector(&g.Selector)
	if err != nil {
		return nil, fmt.Errorf("the selector: %s", gitindex.Clean(err.Error(), 200))
	}
	selective := len(g.Selector.MatchLabels)+len(g.Selector.MatchExpressions) > 0
	known, err := e.known(selective)
	if err != nil {
		return nil, err
	}
	var all []map[string]any
	local := false
	for _, c := range known {
		if !selector.Matches(labels.Set(c.Labels)) {
			continue
		}
		local = local || c.Server == InClusterServer
		all = append(all, c.params(e.set.Spec.GoTemplate))
	}
	if !selective && !local {
		all = append(all, map[string]any{"name": InClusterName, "nameNormalized": InClusterName, "server": InClusterServer, "project": ""})
	}
	for _, params := range all {
		if err := e.values(g.Values, params); err != nil {
			return nil, err
		}
	}
	if g.FlatList {
		return []map[string]any{{"clusters": all}}, nil
	}
	return all, nil
}

func (e *expansion) known(selective bool) ([]Cluster, error) {
	if hub, ok := e.src.(Hub); ok {
		if clusters, said := hub.Clusters(); said {
			clusters = slices.Clone(clusters)
			slices.SortFunc(clusters, func(a, b Cluster) int { return strings.Compare(a.Name, b.Name) })
			return clusters, nil
		}
	}
	if selective {
		return nil, &render.NeedsError{What: "the clusters that Argo CD knows by labels", Why: "the Origin lists none",
			Do: "list them under spec.cluster.argocd of the Origin"}
	}
	return nil, nil
}

func (c Cluster) params(goTemplate bool) map[string]any {
	params := map[string]any{"name": c.Name, "nameNormalized": normalize(c.Name), "server": c.Server, "project": c.Project}
	if goTemplate {
		metadata := map[string]any{}
		if len(c.Annotations) > 0 {
			metadata["annotations"] = maps.Clone(c.Annotations)
		}
		if len(c.Labels) > 0 {
			metadata["labels"] = maps.Clone(c.Labels)
		}
		params["metadata"] = metadata
		return params
	}
	for key, value := range c.Annotations {
		params["metadata.annotations."+key] = value
	}
	for key, value := range c.Labels {
		params["metadata.labels."+key] = value
	}
	return params
}
