package controller

import (
	"encoding/json"
	"fmt"

	kjson "sigs.k8s.io/json"
)

// withNamespace gives a rendered object the namespace it is applied in, or
// takes it off a cluster-scoped one, as an applier and the API server do.
func withNamespace(raw []byte, declared, namespace string) ([]byte, error) {
	if declared == namespace {
		return raw, nil
	}
	var obj map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &obj); err != nil {
		return nil, fmt.Errorf("reading a rendered object: %w", err)
	}
	meta, ok := obj["metadata"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("metadata is not a mapping")
	}
	if namespace == "" {
		delete(meta, "namespace")
	} else {
		meta["namespace"] = namespace
	}
	return json.Marshal(obj)
}
