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

// withoutMarks leaves out what the applier sets to something else.
func withoutMarks(raw []byte, a *gitindex.Applier, hook, bare bool) ([]byte, error) {
	if a == nil {
		return raw, nil
	}
	marks := a.Decorations(gitindex.Ref{}, hook, bare)
	if a.ArgoApplication != "" {
		marks["annotations"][gitindex.ArgoTracking] = "" // differs from object to object
	}
	if !mentions(raw, marks["labels"]) && !mentions(raw, marks["annotations"]) {
		return raw, nil
	}
	var obj map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &obj); err != nil {
		return nil, err
	}
	meta, _ := obj["metadata"].(map[string]any)
	changed := false
	for field, set := range marks {
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
