package policy

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/rego"
)

// full sets every field of a value to something that is not its zero.
func full(v reflect.Value) {
	switch {
	case v.Type() == reflect.TypeFor[json.RawMessage]():
		v.SetBytes([]byte(`{"kind": "Pod", "metadata": {"name": "web"}}`))
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(1, 0).UTC()))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			full(v.Field(i))
		}
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		full(v.Elem())
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		full(v.Index(0))
	case v.Kind() == reflect.Map:
		value := reflect.New(v.Type().Elem()).Elem()
		full(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("a"), value)
	case v.Kind() == reflect.String:
		v.SetString("CREATE")
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.Kind() == reflect.Int:
		v.SetInt(1)
	default:
		panic(v.Type())
	}
}

// against holds a document against a schema, as OPA's own validator sees them.
func against(t *testing.T, schema any, document string) (valid bool, why string) {
	t.Helper()
	var d any
	if err := json.Unmarshal([]byte(document), &d); err != nil {
		t.Fatal(err)
	}
	results, err := rego.New(rego.Query("[valid, why] = json.match_schema(input.document, input.schema)"),
		rego.Input(map[string]any{"document": d, "schema": schema})).Eval(context.Background())
	if err != nil || len(results) != 1 {
		t.Fatal(err, results)
	}
	return results[0].Bindings["valid"].(bool), fmt.Sprint(results[0].Bindings["why"])
}

func TestInputIsAsTheSchemaSays(t *testing.T) {
	whole, err := SchemaOf("review")
	if err != nil {
		t.Fatal(err)
	}
	var all Input
	full(reflect.ValueOf(&all).Elem())
	for name, in := range map[string]Input{"full": all, "bare": {Request: Request{Operation: "DELETE"}, Provenance: &Provenance{}}} {
		text, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		if valid, why := against(t, whole, string(text)); !valid {
			t.Errorf("%s: %s", name, why)
		}
	}
	if valid, _ := against(t, whole, `{"apiVersion": "", "kind": "", "time": "", "request": {}, "extra": 1}`); valid {
		t.Error("what is no input is valid")
	}
}

// TestSchemaKnowsEveryField holds the schema against the Go types, both ways.
func TestSchemaKnowsEveryField(t *testing.T) {
	var whole map[string]any
	if err := json.Unmarshal(Schema(), &whole); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	paths(reflect.TypeFor[Input](), "input", got)
	want := map[string]string{}
	described(t, whole, whole, "input", want)
	for path, kind := range got {
		if want[path] != kind {
			t.Errorf("%s is %s in Go, %q in the schema", path, kind, want[path])
		}
	}
	for path := range want {
		if got[path] == "" {
			t.Errorf("%s is in the schema, not in Go", path)
		}
	}
	if len(got) < 60 {
		t.Errorf("only %d fields", len(got))
	}
}

// paths are the fields of a type, with "required" or "optional".
func paths(t reflect.Type, at string, out map[string]string) {
	switch t.Kind() {
	case reflect.Pointer:
		paths(t.Elem(), at, out)
	case reflect.Slice:
		if t != reflect.TypeFor[json.RawMessage]() {
			paths(t.Elem(), at+"[]", out)
		}
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range t.NumField() {
			name, options, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			kind := "required"
			if strings.Contains(options, "omitempty") {
				kind = "optional"
			}
			out[at+"."+name] = kind
			paths(t.Field(i).Type, at+"."+name, out)
		}
	}
}

func described(t *testing.T, whole, s map[string]any, at string, out map[string]string) {
	t.Helper()
	if ref, ok := s["$ref"].(string); ok {
		s = whole["definitions"].(map[string]any)[strings.TrimPrefix(ref, "#/definitions/")].(map[string]any)
	}
	if items, ok := s["items"].(map[string]any); ok {
		described(t, whole, items, at+"[]", out)
	}
	properties, ok := s["properties"].(map[string]any)
	if !ok {
		return
	}
	if s["additionalProperties"] != false {
		t.Errorf("%s may have any property", at)
	}
	required, _ := s["required"].([]any)
	for name, value := range properties {
		out[at+"."+name] = "optional"
		if slices.Contains(required, any(name)) {
			out[at+"."+name] = "required"
		}
		described(t, whole, value.(map[string]any), at+"."+name, out)
	}
}

func TestSchemaOf(t *testing.T) {
	for _, shape := range []string{"review", "object", "gatekeeper"} {
		s, err := SchemaOf(shape)
		if err != nil {
			t.Fatal(err)
		}
		if valid, why := against(t, s, `{"review": {}, "parameters": {}}`); valid != (shape != "review") {
			t.Errorf("%s: %v %s", shape, valid, why)
		}
	}
	if _, err := SchemaOf("round"); err == nil {
		t.Error("a shape that there is not")
	}
}
