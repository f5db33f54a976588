package argocd

import (
	"fmt"
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitward/gitward/gitindex"
)

// selected are the sets of parameters that a generator's selector lets through.
// Unlike for labels any value may stand in it: applicationset/utils/selector.go.
func selected(s *metav1.LabelSelector, sets []map[string]any) ([]map[string]any, error) {
	if s == nil {
		return sets, nil
	}
	for _, r := range s.MatchExpressions {
		if err := sound(r); err != nil {
			return nil, err
		}
	}
	var kept []map[string]any
	for _, set := range sets {
		if selects(s, flat(set)) {
			kept = append(kept, set)
		}
	}
	return kept, nil
}

func sound(r metav1.LabelSelectorRequirement) error {
	listed := r.Operator == metav1.LabelSelectorOpIn || r.Operator == metav1.LabelSelectorOpNotIn
	bare := r.Operator == metav1.LabelSelectorOpExists || r.Operator == metav1.LabelSelectorOpDoesNotExist
	if !listed && !bare || listed && len(r.Values) == 0 || bare && len(r.Values) > 0 {
		return fmt.Errorf("the selector's requirement on %s is none", gitindex.Clean(r.Key, 100))
	}
	return nil
}

func selects(s *metav1.LabelSelector, params map[string]string) bool {
	for key, value := range s.MatchLabels {
		if have, there := params[key]; !there || have != value {
			return false
		}
	}
	for _, r := range s.MatchExpressions {
		have, there := params[r.Key]
		met := there
		switch r.Operator {
		case metav1.LabelSelectorOpIn:
			met = there && slices.Contains(r.Values, have)
		case metav1.LabelSelectorOpNotIn:
			met = !there || !slices.Contains(r.Values, have)
		case metav1.LabelSelectorOpDoesNotExist:
			met = !there
		}
		if !met {
			return false
		}
	}
	return true
}

// flat joins the keys of nested maps and the positions of lists by dots. What
// is empty has no key.
func flat(params map[string]any) map[string]string {
	out := map[string]string{}
	for key, value := range params {
		flatten(out, key, value)
	}
	return out
}

func flatten(out map[string]string, key string, value any) {
	switch x := value.(type) {
	case map[string]any:
		for k, v := range x {
			flatten(out, key+"."+k, v)
		}
	case map[string]string:
		for k, v := range x {
			out[key+"."+k] = v
		}
	case []any:
		for i, v := range x {
			flatten(out, key+"."+strconv.Itoa(i), v)
		}
	default:
		out[key] = fmt.Sprint(value)
	}
}
