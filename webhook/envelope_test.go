package webhook

import (
	"encoding/json"
	"reflect"
	"testing"
)

// FuzzEnvelope holds the cut against encoding/json alone: what that reads, the
// cut reads in the same way.
func FuzzEnvelope(f *testing.F) {
	for _, seed := range []string{
		`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"1","object":{"a":"}\"]"},"oldObject":null,"dryRun":true}}`,
		`{"request":{"Object":{},"object":[1,{"b":2}]}}`, `{"request":{"object":1,"uid":"x"},"Request":{"uid":"y"}}`, `{"request":{"object":{]}}`,
		`{"request":null}`, `{"request":{}}`, `{}`, ` { "request" : { "object" : "s" , "name" : "n" } } `, `{"request":{"o\u0062ject":{}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var want, got review
		if json.Unmarshal(body, &want) != nil {
			return
		}
		if err := decodeEnvelope(body, &got); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %+v, want %+v", body, got.Request, want.Request)
		}
	})
}
