package flux

import (
	"bytes"
	"encoding/base64"
	"regexp"
	"strings"
)

// leaf is one value that SOPS encrypted (https://github.com/getsops/sops,
// aes/cipher.go): only its type is left to see.
var leaf = regexp.MustCompile(`^ENC\[AES256_GCM,data:[^,\]]*,iv:[^,\]]+,tag:[^,\]]+,type:(str|int|float|bool|bytes|time|comment)\]$`)

// markers tell that a Secret's single value is a file that SOPS encrypted; Flux
// decrypts those too (kustomize-controller v1.9.5, internal/decryptor).
var markers = [][]byte{[]byte("\"mac\": \"ENC["), []byte("sops_mac=ENC["), []byte("[sops]"), []byte("mac: ENC[")}

const decryptKey = group + "/decrypt"

func encrypted(object map[string]any) bool {
	sops, _ := object["sops"].(map[string]any)
	mac, ok := sops["mac"]
	return ok && mac != nil
}

// decrypts reports whether Flux decrypts the object before it applies it.
func (k *kustomization) decrypts(object map[string]any) bool {
	if k.Spec.Decryption == nil || k.Spec.Decryption.Provider != "sops" {
		return false
	}
	value, _ := dig(object, []any{"metadata", "annotations", decryptKey})
	text, _ := value.(string)
	return !strings.EqualFold(text, disabled)
}

// opener replaces encrypted values by marks, or by a value of their type where
// that is no text.
type opener struct {
	marks *marks
	found []opening
}

const sopsWhy = "a value that SOPS encrypted"

// decrypt gives the object the form that it has once it is decrypted: the same
// keys, without SOPS's own.
func (o *opener) decrypt(object map[string]any) map[string]any {
	delete(object, "sops")
	opened, _ := o.open(object, nil).(map[string]any)
	return opened
}

func (o *opener) open(v any, steps []any) any {
	switch x := v.(type) {
	case map[string]any:
		for name, value := range x {
			x[name] = o.open(value, append(steps[:len(steps):len(steps)], name))
		}
	case []any:
		for i, value := range x {
			x[i] = o.open(value, append(steps[:len(steps):len(steps)], i))
		}
	case string:
		if m := leaf.FindStringSubmatch(x); m != nil {
			return o.value(m[1], steps)
		}
	}
	return v
}

func (o *opener) value(kind string, steps []any) any {
	var value any
	switch kind {
	case "int", "float":
		value = int64(1)
	case "bool":
		value = true
	default:
		return o.marks.mark(sopsWhy)
	}
	o.found = append(o.found, opening{steps: steps, why: sopsWhy})
	return value
}

// values opens the values of a Secret that are encrypted files.
func (o *opener) values(object map[string]any) (changed bool) {
	data, _ := object["data"].(map[string]any)
	for name, value := range data {
		text, _ := value.(string)
		plain, err := base64.StdEncoding.DecodeString(text)
		if err != nil || !isEncryptedFile(plain) {
			continue
		}
		data[name], changed = o.marks.mark(sopsWhy), true
	}
	return changed
}

func isEncryptedFile(data []byte) bool {
	for _, m := range markers {
		if bytes.Contains(data, m) {
			return true
		}
	}
	return false
}
