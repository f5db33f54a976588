package elsewhere

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"testing"
)

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func publicKey(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// payloadFor is what cosign signs (sigstore/cosign, specs/SIGNATURE_SPEC.md).
func payloadFor(digest string) []byte {
	return fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":"ghcr.io/acme/redis"},"image":{"docker-manifest-digest":"%s"},"type":"cosign container image signature"},"optional":null}`, digest)
}

func sign(t testing.TB, key crypto.Signer, payload []byte) string {
	t.Helper()
	message, hash := payload, crypto.Hash(0)
	if _, plain := key.(ed25519.PrivateKey); !plain {
		sum := sha256.Sum256(payload)
		message, hash = sum[:], crypto.SHA256
	}
	signature, err := key.Sign(rand.Reader, message, hash)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(signature)
}

// cosign keeps signatures beside the manifest of a digest.
func (o *oci) cosign(t testing.TB, digest string, signatures ...cosignature) {
	var layers []layer
	for _, s := range signatures {
		layers = append(layers, layer{MediaType: cosignLayer, Digest: o.blob(s.Payload), Annotations: map[string]string{"dev.cosignproject.cosign/signature": s.Signature}})
	}
	o.manifest(t, strings.Replace(digest, ":", "-", 1)+".sig", "application/vnd.oci.image.config.v1+json", layers...)
}

func TestSignatureDemanded(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := newKey(t), newKey(t)
	o := newOCI(t, "charts/redis")
	digest, other := o.push(t, "1.0.0", chartOf(t, "1.0.0")), o.push(t, "2.0.0", chartOf(t, "2.0.0"))
	good := cosignature{payloadFor(digest), sign(t, ours, payloadFor(digest))}
	attestation := []byte(strings.Replace(string(payloadFor(digest)), "cosign container image signature", "something else", 1))
	for name, test := range map[string]struct {
		key        crypto.Signer
		signatures []cosignature
		good       bool
	}{
		"ours":                  {ours, []cosignature{good}, true},
		"ours beside theirs":    {ours, []cosignature{{payloadFor(digest), sign(t, theirs, payloadFor(digest))}, good}, true},
		"Ed25519":               {ed, []cosignature{{payloadFor(digest), sign(t, ed, payloadFor(digest))}}, true},
		"RSA":                   {long, []cosignature{{payloadFor(digest), sign(t, long, payloadFor(digest))}}, true},
		"none":                  {ours, nil, false},
		"theirs":                {theirs, []cosignature{good}, false},
		"of another":            {ours, []cosignature{{payloadFor(other), sign(t, ours, payloadFor(other))}}, false},
		"moved to this":         {ours, []cosignature{{payloadFor(digest), sign(t, ours, payloadFor(other))}}, false},
		"of something else":     {ours, []cosignature{{attestation, sign(t, ours, attestation)}}, false},
		"not base64":            {ours, []cosignature{{payloadFor(digest), "***"}}, false},
		"of a digest in a text": {ours, []cosignature{{[]byte(`"` + digest + `"`), sign(t, ours, []byte(`"`+digest+`"`))}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			o.cosign(t, digest, test.signatures...)
			entry := o.entry()
			entry.Keys = publicKey(t, test.key)
			s := store(t, entry)
			s.FirstUse = firstUse{}
			_, _, err := s.Chart(o.ref("1.0.0"))
			if (err == nil) != test.good {
				t.Errorf("%v", err)
			}
			if !test.good {
				mustSay(t, err, "no signature by a key of", digest)
				if len(s.FirstUse.(firstUse)) > 0 {
					t.Error("it is recorded all the same")
				}
			}
		})
	}
	// A demand that comes later holds for what is kept.
	o.cosign(t, digest, good)
	s := store(t, o.entry())
	s.FirstUse = firstUse{}
	must(t, s, o.ref("1.0.0"))
	s.Fetcher.Hosts[0].Keys = publicKey(t, theirs)
	_, _, err = s.Chart(o.ref("1.0.0"))
	mustSay(t, err, "no signature by a key of")
	s.Fetcher.Hosts[0].Keys = publicKey(t, ours)
	must(t, s, o.ref("1.0.0"))
	o.Close() // the signatures are kept too
	must(t, s, o.ref("1.0.0"))
	for name, text := range map[string]string{"spoilt": "[]", "moved": `[{"payload":"e30=","signature":"AA=="}]`} {
		if err := os.WriteFile(s.Cache.path(digest)+".signatures", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Chart(o.ref("1.0.0")); err == nil {
			t.Errorf("signatures that were %s are taken", name)
		}
	}
	// What cannot be signed is refused where signatures are demanded.
	h := newHost(t)
	h.publish(t, "1.0.0")
	entry := h.entry()
	entry.Keys = publicKey(t, ours)
	s = store(t, entry)
	s.FirstUse = firstUse{}
	_, _, err = s.Chart(h.redis("1.0.0"))
	mustSay(t, err, "only OCI content")
}

func TestKeys(t *testing.T) {
	good := publicKey(t, newKey(t))
	if keys, err := SecretKeys("cosign", map[string][]byte{"a.pub": good, "b.pub": publicKey(t, newKey(t)), "other": []byte("x")}); err != nil {
		t.Error(err)
	} else if list, err := parseKeys(keys); err != nil || len(list) != 2 {
		t.Error(len(list), err)
	}
	for name, test := range map[string]struct {
		provider string
		secret   map[string][]byte
		say      string
	}{
		"notation":     {"notation", map[string][]byte{"a.pub": good}, "cannot be checked yet"},
		"none":         {"", map[string][]byte{"a.pub": good}, "cannot be checked yet"},
		"keyless":      {"cosign", nil, "keyless signatures cannot be checked yet"},
		"no key":       {"cosign", map[string][]byte{"a.pub": []byte("x")}, "no PEM public key"},
		"half a key":   {"cosign", map[string][]byte{"a.pub": []byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")}, "no public key"},
		"a secret key": {"cosign", map[string][]byte{"a.pub": bytes.ReplaceAll(good, []byte("PUBLIC"), []byte("PRIVATE"))}, "no public key"},
	} {
		if _, err := SecretKeys(test.provider, test.secret); err == nil || !strings.Contains(err.Error(), test.say) {
			t.Errorf("%s: %v", name, err)
		}
	}
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skip(err) // Go itself refuses to make one
	}
	if _, err := parseKeys(publicKey(t, short)); err == nil {
		t.Error("an RSA key of 1024 bits is taken")
	}
}
