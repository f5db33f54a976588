package elsewhere

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"slices"
	"strings"

	"github.com/gitward/gitward/gitindex"
)

// cosignature is one signature as cosign keeps it: a payload that names a
// manifest, and what signs the payload.
type cosignature struct {
	Payload   []byte `json:"payload"`
	Signature string `json:"signature"` // base64
}

// parseKeys reads PEM public keys: ECDSA, Ed25519, or RSA of 2048 bits and more.
func parseKeys(text []byte) ([]crypto.PublicKey, error) {
	var keys []crypto.PublicKey
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil || block.Type != "PUBLIC KEY" {
			return nil, refused("a PEM block of type %q is no public key", block.Type)
		}
		if !usable(key) {
			return nil, refused("a public key of type %T, or its size, is not supported", key)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, refused("no PEM public key")
	}
	return keys, nil
}

// SecretKeys are the public keys of a Secret that an Origin demands signatures
// by, in Flux's form: each entry that ends in .pub. What cannot be checked is
// refused, never taken for checked.
func SecretKeys(provider string, secret map[string][]byte) ([]byte, error) {
	if provider != "cosign" {
		return nil, refused("signatures of provider %q cannot be checked yet: want cosign, with public keys", gitindex.Clean(provider, 60))
	}
	var all []byte
	for _, name := range slices.Sorted(maps.Keys(secret)) {
		if strings.HasSuffix(name, ".pub") {
			all = append(append(all, secret[name]...), '\n')
		}
	}
	if len(all) == 0 {
		return nil, refused("the Secret has no entry that ends in .pub: keyless signatures cannot be checked yet")
	}
	if _, err := parseKeys(all); err != nil {
		return nil, err
	}
	return all, nil
}

func usable(key crypto.PublicKey) bool {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		return k.Curve.Params().BitSize >= 256
	case ed25519.PublicKey:
		return true
	case *rsa.PublicKey:
		return k.N.BitLen() >= 2048
	}
	return false
}

// signed reports whether one of the keys signed the manifest of the digest
// (sigstore/cosign, specs/SIGNATURE_SPEC.md). Where the content is published
// does not matter: the digest says what it is.
func signed(digest string, signatures []cosignature, keys []crypto.PublicKey) bool {
	for _, s := range signatures {
		signature, err := base64.StdEncoding.DecodeString(s.Signature)
		if err != nil || !names(s.Payload, digest) {
			continue
		}
		for _, key := range keys {
			if verifies(key, s.Payload, signature) {
				return true
			}
		}
	}
	return false
}

// names reports whether a payload speaks of the manifest. Its type is what
// keeps other things that the key signs from being taken for this.
func names(payload []byte, digest string) bool {
	var p struct {
		Critical struct {
			Type  string `json:"type"`
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			} `json:"image"`
		} `json:"critical"`
	}
	return json.Unmarshal(payload, &p) == nil && p.Critical.Type == "cosign container image signature" && p.Critical.Image.Digest == digest
}

func verifies(key crypto.PublicKey, payload, signature []byte) bool {
	sum := sha256.Sum256(payload)
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(k, sum[:], signature)
	case ed25519.PublicKey:
		return ed25519.Verify(k, payload, signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(k, crypto.SHA256, sum[:], signature) == nil
	}
	return false
}
