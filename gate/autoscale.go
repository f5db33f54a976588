package gate

import (
	"github.com/gitward/gitward/gitindex"
)

// An autoscaler that Git declares may set the number of replicas of its target,
// within its bounds.

var autoscalerUsers = controllers("horizontal-pod-autoscaler")

// isAutoscaled: the number was set by an autoscaler through the scale
// subresource, and this request sends it along as it was.
func isAutoscaled(c *comparison, v values) bool {
	if len(c.path) != 2 || c.path[0].name != "spec" || c.path[1].name != "replicas" || c.tracing == nil {
		return false
	}
	return v.old != absent && equal(v.old, v.new) && c.tracing.autoscaled(c.subject.ref, v.new)
}

// autoscaled reports whether a declared HorizontalPodAutoscaler targets the
// object and the number lies within its bounds.
func (t *tracing) autoscaled(target gitindex.Ref, replicas any) bool {
	n, ok := replicas.(int64)
	if !ok {
		return false
	}
	for i := range t.rule.Origins {
		source := &t.rule.Origins[i]
		snapshot := t.view.Index[source.Origin]
		if snapshot == nil {
			continue
		}
		for _, m := range snapshot.OfKind("autoscaling", "HorizontalPodAutoscaler") {
			if m.Ref.Namespace == target.Namespace && source.Fills(m.Ref) && t.vouched(m, m.Ref) && scales(m, target, n) {
				return true
			}
		}
	}
	return false
}

func scales(m *gitindex.Manifest, target gitindex.Ref, n int64) bool {
	hpa, err := decodeObject(m.Canonical)
	if err != nil || hpa == nil {
		return false
	}
	ref := dig(hpa, "spec", "scaleTargetRef")
	if text(at(ref, "kind")) != target.Kind || text(at(ref, "name")) != target.Name || groupOf(text(at(ref, "apiVersion"))) != target.Group {
		return false
	}
	least, ok := dig(hpa, "spec", "minReplicas").(int64)
	if !ok {
		least = 1
	}
	most, ok := dig(hpa, "spec", "maxReplicas").(int64)
	return ok && least <= n && n <= most
}
