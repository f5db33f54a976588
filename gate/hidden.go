package gate

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
)

// hiding is the key by which policies see the values of Secrets: equal ones are
// equal, within one entry of one Secret and this process, and that is all that
// can be told: a guess in another Secret has another hash.
var hiding = func() (key [32]byte) {
	if _, err := rand.Read(key[:]); err != nil {
		panic(fmt.Sprintf("making a key: %v", err))
	}
	return key
}()

func pseudonym(value string, entry ...string) string {
	mac := hmac.New(sha256.New, hiding[:])
	fmt.Fprintf(mac, "%q\n", entry)
	mac.Write([]byte(value))
	return "hmac-sha256:" + hex.EncodeToString(mac.Sum(nil))
}

// hidden is an object for policies: of a Secret no value, and no copy of one in
// what kubectl last applied.
func hidden(req *Request, object []byte) json.RawMessage {
	if len(object) == 0 {
		return json.RawMessage("null")
	}
	if req.Group != "" || req.Kind != "Secret" {
		return object
	}
	o, err := decodeObject(object)
	if err != nil || o == nil {
		return json.RawMessage("null")
	}
	out := maps.Clone(o)
	for _, field := range []string{"data", "stringData"} {
		if values, ok := o[field].(map[string]any); ok {
			masked := map[string]any{}
			for k, v := range values {
				masked[k] = pseudonym(fmt.Sprint(v), req.Namespace, req.Name, k)
			}
			out[field] = masked
		}
	}
	if m, ok := o["metadata"].(map[string]any); ok {
		out["metadata"] = withoutCopies(req, m)
	}
	text, err := json.Marshal(out)
	if err != nil {
		return json.RawMessage("null")
	}
	return text
}

// withoutCopies is metadata whose annotations are hashes too: some tools keep the
// whole object there, however small it is.
func withoutCopies(req *Request, m map[string]any) map[string]any {
	out := maps.Clone(m)
	delete(out, "managedFields")
	if annotations, ok := m["annotations"].(map[string]any); ok {
		kept := map[string]any{}
		for k, v := range annotations {
			if !strings.HasPrefix(k, StampPrefix) {
				v = pseudonym(fmt.Sprint(v), req.Namespace, req.Name, "annotation", k)
			}
			kept[k] = v
		}
		out["annotations"] = kept
	}
	return out
}
