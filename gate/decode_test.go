package gate

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/json"
)

// FuzzDecode holds the quick decoder against the API server's own.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` {"a" : [1,-2, 0, {"b":null,"c":true,"d":false}] } `, `{"a":"\"\\\/\b\f\n\r\t\u00e9\u0000"}`, `{"a":"é","a":2}`,
		`{"a":1.5,"b":1e3,"c":12345678901234567890,"d":-0}`, `{"a":"\ud83d\ude00"}`, "{\"a\":\"\xff\"}", `{"a":01}`, `{"a":1,}`, `{"a":[1,]}`, `{"a":"`, `null`, `[]`,
		`{"metadata":{"managedFields":[{"fieldsV1":{"f:a":{"k:{\"b\":\"]\"}":{}}}}],"name":"x"}}`, `{"metadata":{"managedFields":[}}`, `{"a":{"managedFields":[1]}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var want map[string]any
		wantErr := json.UnmarshalCaseSensitivePreserveInts(data, &want)
		got, err := decodeJSON(data)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%q: %v, want %v", data, err, wantErr)
		}
		if diff := cmp.Diff(want, got); err == nil && diff != "" {
			t.Fatalf("%q: %s", data, diff)
		}
		live, err := decodeLive(data)
		if wantErr != nil {
			return // inside what is skipped, an error is found later
		}
		if err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		if meta, ok := live["metadata"].(map[string]any); ok {
			if u, ok := meta["managedFields"].(unread); ok {
				meta["managedFields"] = u.read()
			}
		}
		if diff := cmp.Diff(want, live); diff != "" {
			t.Fatalf("%q: %s", data, diff)
		}
	})
}
