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
// equal, within this process, and that is all that can be told.
var hiding = func() (key [32]byte) {
	if _, err := rand.Read(key[:]); err != nil {
		panic(fmt.Sprintf("making a key: %v", err))
	}
	return key
}()

func pseudonym(value string) string {
	mac := hmac.New(sha256.New, hiding[:])
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
				masked[k] = pseudonym(fmt.Sprint(v))
			}
			out[field] = masked
		}
	}
	if m, ok := o["metadata"].(map[string]any); ok {
		out["metadata"] = withoutCopies(m)
	}
	text, err := json.Marshal(out)
	if err != nil {
		return json.RawMessage("null")
	}
	return text
}

// withoutCopies is metadata whose annotations are names and hashes: some hold
// the whole object.
func withoutCopies(m map[string]any) map[string]any {
	out := maps.Clone(m)
	delete(out, "managedFields")
	if annotations, ok := m["annotations"].(map[string]any); ok {
		kept := map[string]any{}
		for k, v := range annotations {
			if s, ok := v.(string); ok && len(s) > 256 || strings.HasSuffix(k, "/last-applied-configuration") {
				kept[k] = pseudonym(s)
				continue
			}
			kept[k] = v
		}
		out["annotations"] = kept
	}
	return out
}
