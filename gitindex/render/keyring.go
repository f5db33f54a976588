package render

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Keyring is what Sources may be as well: those of an Origin that was given keys
// for what its files hold encrypted. They are asked for only when such a file
// is rendered, and never part of a Unit, which is kept.
type Keyring interface {
	Keys() (Keys, error)
}

// Keys are an Origin's.
type Keys struct {
	Identities []string // age identities, as age-keygen writes them
	// Digest is the key under which values are compared with what Git has. It
	// follows from the identities and the Origin's name, so that it is stored
	// nowhere: who reads a digest on a disk can try no value against it.
	Digest []byte
}

const digestPurpose = "gitward.dev: digest of a decrypted value, 1: "

// NewKeys makes the keys of an Origin; none of no identities.
func NewKeys(origin string, identities []string) (Keys, error) {
	if len(identities) == 0 {
		return Keys{}, nil
	}
	sorted := slices.Sorted(slices.Values(identities))
	key, err := hkdf.Key(sha256.New, []byte(strings.Join(sorted, "\x00")), nil, digestPurpose+origin, sha256.Size)
	if err != nil {
		return Keys{}, fmt.Errorf("deriving the key for digests: %w", err)
	}
	return Keys{Identities: sorted, Digest: key}, nil
}

// None reports that no keys were given.
func (k Keys) None() bool { return len(k.Identities) == 0 || len(k.Digest) == 0 }

// Sum is the digest of a value; empty without keys.
func (k Keys) Sum(value []byte) string {
	if k.None() {
		return ""
	}
	mac := hmac.New(sha256.New, k.Digest)
	mac.Write(value)
	return hex.EncodeToString(mac.Sum(nil))
}

// String and GoString keep the keys out of whatever prints them.
func (k Keys) String() string { return fmt.Sprintf("%d age identities", len(k.Identities)) }

// GoString is String.
func (k Keys) GoString() string { return k.String() }

// KeysOf are the keys that sources have; none where they have no keyring.
func KeysOf(src Sources) (Keys, error) {
	if k, ok := src.(Keyring); ok {
		return k.Keys()
	}
	return Keys{}, nil
}
