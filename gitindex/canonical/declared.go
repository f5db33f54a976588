package canonical

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"

	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"
)

// Declared is Canonical without what Canonical fills in: what Git itself says,
// in the server's spelling. Unknown fields are dropped as the server drops
// them, quantities are canonical, a Secret's stringData is in its data, null
// says nothing. Every field of Declared is in Canonical with the same value.
//
// Across versions a field counts as declared where converting the declared
// fields alone yields the canonical value.
func (s *Schemas) Declared(raw []byte, version string) ([]byte, error) {
	from, err := kindOf(raw)
	if err != nil {
		return nil, err
	}
	said, err := s.declared(raw, from)
	if err != nil {
		return nil, err
	}
	if from.Version != version {
		if said, err = s.declaredAs(raw, said, conversion{from: from, to: from.GroupKind().WithVersion(version)}); err != nil {
			return nil, err
		}
	}
	return json.Marshal(said)
}

// declared is what raw says in its own version: the canonical values at the
// places that raw names.
func (s *Schemas) declared(raw []byte, gvk schema.GroupVersionKind) (map[string]any, error) {
	canonical, err := s.canonical(raw, gvk.Version)
	if err != nil {
		return nil, err
	}
	var named map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &named); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", gvk.Kind, err)
	}
	if gvk.Group == "" && gvk.Kind == "Secret" {
		mergeStringData(named)
	}
	return among(canonical, named).(map[string]any), nil
}

// mergeStringData names the keys of stringData where the server will put them.
func mergeStringData(secret map[string]any) {
	text, _ := secret["stringData"].(map[string]any)
	if len(text) == 0 {
		return
	}
	data, _ := secret["data"].(map[string]any)
	if data == nil {
		data = map[string]any{}
	}
	maps.Copy(data, text)
	secret["data"] = data
}

// among keeps of value what named names. Lists keep their order through
// decoding and defaulting, so items are matched by position; a list that
// changed its length counts as named whole.
func among(value, named any) any {
	switch value := value.(type) {
	case map[string]any:
		named, ok := named.(map[string]any)
		if !ok {
			return value
		}
		kept := make(map[string]any, len(named))
		for key, sub := range named {
			// A null says nothing, unless the server keeps it as a value.
			if v, ok := value[key]; ok && (sub != nil || v == nil) {
				kept[key] = among(v, sub)
			}
		}
		return kept
	case []any:
		named, ok := named.([]any)
		if !ok || len(named) != len(value) {
			return value
		}
		kept := make([]any, len(value))
		for i := range value {
			kept[i] = among(value[i], named[i])
		}
		return kept
	}
	return value
}

// declaredAs converts what was said into another version. Conversion makes
// zero values of what is absent, so only what agrees with the canonical form
// stays.
func (s *Schemas) declaredAs(raw []byte, said map[string]any, change conversion) (map[string]any, error) {
	canonical, err := s.canonical(raw, change.to.Version)
	if err != nil {
		return nil, err
	}
	if s.customFor(change.from.GroupKind()) != nil {
		said["apiVersion"] = change.to.GroupVersion().String()
		return agreed(canonical, said).(map[string]any), nil
	}
	alone, err := json.Marshal(said)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", change.from.Kind, err)
	}
	converted, err := builtinCanonical(alone, change, asDeclared)
	if err != nil {
		return nil, err
	}
	return agreed(canonical, converted).(map[string]any), nil
}

// agreed keeps of value what other has with the same value.
func agreed(value, other any) any {
	switch value := value.(type) {
	case map[string]any:
		other, ok := other.(map[string]any)
		if !ok {
			return value
		}
		kept := map[string]any{}
		for key, v := range value {
			o, ok := other[key]
			if ok && (composite(v) && composite(o) || reflect.DeepEqual(v, o)) {
				kept[key] = agreed(v, o)
			}
		}
		return kept
	case []any:
		other, ok := other.([]any)
		if !ok || len(other) != len(value) {
			return value
		}
		kept := make([]any, len(value))
		for i := range value {
			kept[i] = agreed(value[i], other[i])
		}
		return kept
	}
	return value
}

func composite(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return true
	}
	return false
}
