package sops

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Value is one decrypted leaf.
type Value struct {
	Type string // str, int, float, bool, bytes, time or comment
	// Plain is what a typed comparison sees: string, int64, float64 or bool.
	Plain any
}

// String and GoString keep the value out of whatever prints one.
func (v Value) String() string { return "a decrypted " + v.Type }

// GoString is String.
func (v Value) GoString() string { return v.String() }

var leafForm = regexp.MustCompile(`^ENC\[AES256_GCM,data:([^,\]]*),iv:([^,\]]+),tag:([^,\]]+),type:([a-z]+)\]$`)

// Open decrypts one leaf, which stands below these names. An empty text is not
// encrypted and stays empty.
func (k *Key) Open(leaf string, names []string) (Value, error) {
	return k.open(leaf, strings.Join(names, ":")+":")
}

func (k *Key) open(leaf, bound string) (Value, error) {
	if leaf == "" {
		return Value{Type: "str", Plain: ""}, nil
	}
	m := leafForm.FindStringSubmatch(leaf)
	if m == nil {
		return Value{}, errors.New("it is not encrypted, and has to be by the document's own rule")
	}
	var parts [3][]byte
	for i := range parts {
		var err error
		if parts[i], err = base64.StdEncoding.DecodeString(m[i+1]); err != nil {
			return Value{}, errors.New("it is not in the form that SOPS writes")
		}
	}
	plain, err := k.decrypt(parts[0], parts[1], parts[2], bound)
	if err != nil {
		return Value{}, err
	}
	return typed(m[4], string(plain))
}

func (k *Key) decrypt(data, iv, tag []byte, bound string) ([]byte, error) {
	block, err := aes.NewCipher(k.data)
	if err != nil {
		return nil, errors.New("the data key is none of AES-256")
	}
	if len(iv) > 64 || len(tag) != 16 {
		return nil, errors.New("it is not in the form that SOPS writes")
	}
	gcm, err := cipher.NewGCMWithNonceSize(block, len(iv))
	if err != nil {
		return nil, errors.New("it is not in the form that SOPS writes")
	}
	plain, err := gcm.Open(nil, iv, append(data, tag...), []byte(bound))
	if err != nil {
		return nil, errors.New("it was not encrypted with the document's key for this place")
	}
	return plain, nil
}

func typed(kind, text string) (v Value, err error) {
	v.Type = kind
	switch kind {
	case "str", "bytes", "comment":
		v.Plain = text
	case "time":
		_, err = time.Parse(time.RFC3339Nano, text)
		v.Plain = text
	case "int":
		v.Plain, err = strconv.ParseInt(text, 10, 64)
	case "float":
		v.Plain, err = strconv.ParseFloat(text, 64)
	case "bool":
		v.Plain, err = strconv.ParseBool(text)
	default:
		return Value{}, errors.New("it has a type that SOPS does not write")
	}
	if err != nil { // which quotes it
		return Value{}, fmt.Errorf("it is no %s when decrypted", kind)
	}
	return v, nil
}
