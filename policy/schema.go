package policy

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
)

//go:embed schema.json
var schema []byte

// Schema is the JSON schema (draft-07) of what an Input is in JSON.
func Schema() []byte { return slices.Clone(schema) }

// Added are the keys that Gitward adds to every shape of input.
var Added = []string{"provenance", "changes", "derived", "namespace", "time", "reason"}

// SchemaOf is the schema of the input in a shape: review, which is an Input's
// own; gatekeeper, with the review and the parameters; object, where the input is
// the object itself and may have any field.
func SchemaOf(shape string) (map[string]any, error) {
	var whole map[string]any
	if err := json.Unmarshal(schema, &whole); err != nil {
		return nil, fmt.Errorf("reading the schema of the input: %w", err)
	}
	properties, _ := whole["properties"].(map[string]any)
	switch shape {
	case "review":
		return whole, nil
	case "object":
		// What is beside the object is known, but the object is not: a schema that
		// names some properties would rule out all others.
		return map[string]any{"type": "object"}, nil
	case "gatekeeper":
		properties = only(properties, Added)
		properties["review"] = map[string]any{"type": "object"}
		properties["parameters"] = map[string]any{}
		return map[string]any{"$schema": whole["$schema"], "type": "object", "properties": properties, "definitions": whole["definitions"]}, nil
	}
	return nil, fmt.Errorf("there is no shape %q of the input", shape)
}

func only(from map[string]any, keys []string) map[string]any {
	out := map[string]any{}
	for _, key := range keys {
		out[key] = from[key]
	}
	return out
}
