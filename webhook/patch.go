package webhook

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	kjson "sigs.k8s.io/json"

	"github.com/gitward/gitward/gate"
)

type patchOp struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// stampPatch is the JSON patch that gives the object exactly these gitward.dev
// annotations. It touches nothing else.
func stampPatch(object []byte, stamps map[string]string) ([]byte, error) {
	var o struct {
		Metadata struct {
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(object, &o); err != nil {
		return nil, fmt.Errorf("reading annotations: %w", err)
	}
	have := o.Metadata.Annotations
	var ops []patchOp
	if have == nil {
		ops = append(ops, patchOp{"add", "/metadata/annotations", map[string]string{}})
	}
	for _, k := range sorted(stamps) {
		if v, ok := have[k]; !ok || v != stamps[k] {
			ops = append(ops, patchOp{"add", annotationPath(k), stamps[k]})
		}
	}
	for _, k := range sorted(have) {
		if _, keep := stamps[k]; strings.HasPrefix(k, gate.StampPrefix) && !keep {
			ops = append(ops, patchOp{Op: "remove", Path: annotationPath(k)})
		}
	}
	return json.Marshal(ops)
}

// annotationPath is the JSON pointer (RFC 6901) to an annotation.
func annotationPath(key string) string {
	return "/metadata/annotations/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}

func sorted(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
