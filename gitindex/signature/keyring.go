// Package signature answers one question: who signed these bytes?
//
// A Keyring is the set of keys that one Origin trusts. Its Verify reads a raw
// commit with the strict parser of package object, checks the signature over
// exactly the bytes it covers, and says with one Outcome what became of it.
// OpenPGP and SSH signatures are checked; X.509 ones are recognised and refused
// by name.
//
// Times inside a commit are the signer's claim. A key counts if it was valid at
// the time the signature claims and also when the gateway first held the
// commit, so that setting back a clock does not revive an expired key. A
// revocation for compromise counts at once and for all times.
//
// Where this package is stricter than git, on purpose: no MD5, RIPEMD-160 or
// SHA-1 message digests, no DSA, RSA from 2048 bits, one signature per commit,
// no SSH certificates with critical options, no security keys without touch,
// and an OpenPGP key must bind a signing subkey explicitly.
package signature

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Keyring is the set of keys trusted for one Origin. It is immutable and may be
// used by many goroutines. The zero value and nil trust nobody.
type Keyring struct {
	pgp    pgpRing
	ssh    sshRing
	digest string
}

// Key is one trusted key, for listing.
type Key struct {
	Kind        string   // "ssh" or "openpgp"
	Fingerprint string   // "SHA256:…" for SSH, upper-case hex of the primary key for OpenPGP
	Principals  []string // patterns of allowed_signers, the comment of a .pub line, or OpenPGP user ids
	// ValidAfter and ValidBefore bound the key's use; zero means no bound.
	ValidAfter, ValidBefore time.Time
	CertAuthority           bool // an SSH key that signs certificates, and no commits
	Revoked                 bool // listed, and refused
}

// NewKeyring reads a Secret's data in Flux's format, extended by git's files:
//
//   - *.asc: armored OpenPGP public keys, several blocks if need be
//   - *.pub and *.sshpub: lines "keytype base64 [comment]"; the comment is
//     the principal
//   - allowed_signers and *.allowed_signers: git's gpg.ssh.allowedSignersFile
//   - revoked_keys: SSH keys or their SHA256 fingerprints, one a line
//
// Any other name is an error, and so is anything in a file that cannot be read
// in full: half a keyring is not the trust its author wrote down. Errors name
// the data key and the line, and never repeat key material.
//
// A key in several places is trusted if one of them makes it so. Several
// versions of one OpenPGP key are merged as gpg --import does.
func NewKeyring(data map[string][]byte) (*Keyring, error) {
	k := &Keyring{digest: digestOf(data)}
	merge := pgpMerge{}
	for _, name := range slices.Sorted(maps.Keys(data)) {
		if err := k.read(name, data[name], merge); err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
	}
	var err error
	if k.pgp, err = merge.ring(); err != nil {
		return nil, err
	}
	return k, nil
}

func (k *Keyring) read(name string, data []byte, merge pgpMerge) error {
	switch {
	case strings.HasSuffix(name, ".asc"):
		return merge.read(name, data)
	case strings.HasSuffix(name, ".pub"), strings.HasSuffix(name, ".sshpub"):
		return k.ssh.readPlain(data)
	case name == "allowed_signers", strings.HasSuffix(name, ".allowed_signers"):
		return k.ssh.readAllowed(data)
	case name == "revoked_keys":
		return k.ssh.readRevoked(data)
	}
	return fmt.Errorf("not a name for keys: want *.asc, *.pub, *.sshpub, allowed_signers, *.allowed_signers or revoked_keys")
}

// Empty reports whether nobody is trusted.
func (k *Keyring) Empty() bool {
	return k == nil || len(k.pgp.owners) == 0 && len(k.ssh.lines) == 0 && len(k.ssh.plain) == 0
}

// Digest names this trust: "sha256:…" over the files it was read from. Verdicts
// reached under another digest are to be reached anew.
func (k *Keyring) Digest() string {
	if k == nil {
		return ""
	}
	return k.digest
}

// Signers lists the trusted keys, OpenPGP first, in a stable order.
func (k *Keyring) Signers() []Key {
	if k == nil {
		return nil
	}
	return append(k.pgp.list(), k.ssh.list()...)
}

// digestOf writes lengths before texts, so that no two sets of files share a
// digest.
func digestOf(data map[string][]byte) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(data)) {
		for _, part := range [][]byte{[]byte(name), data[name]} {
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
			h.Write(part)
		}
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// eachLine calls read with every line that is neither blank nor a comment.
func eachLine(data []byte, read func(line string) error) error {
	number := 0
	for line := range bytes.Lines(data) {
		number++
		text := strings.Trim(string(line), " \t\r\n")
		if text == "" || text[0] == '#' {
			continue
		}
		if strings.IndexByte(text, 0) >= 0 {
			return fmt.Errorf("line %d: NUL byte", number)
		}
		if err := read(text); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
	}
	return nil
}
