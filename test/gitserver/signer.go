package gitserver

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/pem"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// Signer makes the armored signature of a commit or tag.
type Signer interface {
	Sign(payload []byte) (armor []byte, err error)
}

// SSHSigner signs as git does with gpg.format=ssh.
type SSHSigner struct {
	// PublicLine is the key as authorized_keys and allowed_signers have it:
	// "ssh-ed25519 AAAA…".
	PublicLine  string
	Fingerprint string // "SHA256:…"
	PrivatePEM  []byte // the key in OpenSSH's form, for an SSH identity
	Key         ssh.Signer
}

// NewSSHSigner makes a fresh Ed25519 key.
func NewSSHSigner() (*SSHSigner, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(crypto.PrivateKey(private), "")
	if err != nil {
		return nil, err
	}
	return &SSHSigner{
		PublicLine:  strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key.PublicKey()))),
		Fingerprint: ssh.FingerprintSHA256(key.PublicKey()),
		PrivatePEM:  pem.EncodeToMemory(block),
		Key:         key,
	}, nil
}

// Sign makes an SSH signature in the namespace "git".
func (s *SSHSigner) Sign(payload []byte) ([]byte, error) {
	sig, err := sshsig.Sign(bytes.NewReader(payload), s.Key, sshsig.HashSHA512, "git")
	if err != nil {
		return nil, err
	}
	return sshsig.Armor(sig), nil
}

// PGPSigner signs as git does with OpenPGP.
type PGPSigner struct {
	PublicKey   []byte // armored
	Fingerprint string // upper-case hex
	Entity      *openpgp.Entity
	// Now is the time of the signature; the real time unless set.
	Now func() time.Time
}

// NewPGPSigner makes a fresh Ed25519 key for a user id. It counts from a day
// before the first commits of a Repo.
func NewPGPSigner(name, email string) (*PGPSigner, error) {
	born := time.Date(2025, 12, 31, 0, 0, 0, 0, time.UTC)
	entity, err := openpgp.NewEntity(name, "", email, &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA,
		Time:      func() time.Time { return born },
	})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w, err := armor.Encode(&b, "PGP PUBLIC KEY BLOCK", nil)
	if err != nil {
		return nil, err
	}
	if err := entity.Serialize(w); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return &PGPSigner{
		PublicKey:   b.Bytes(),
		Fingerprint: strings.ToUpper(hex.EncodeToString(entity.PrimaryKey.Fingerprint)),
		Entity:      entity,
	}, nil
}

// Sign makes a detached binary signature.
func (s *PGPSigner) Sign(payload []byte) ([]byte, error) {
	var b bytes.Buffer
	err := openpgp.ArmoredDetachSign(&b, []*openpgp.Entity{s.Entity}, bytes.NewReader(payload),
		&openpgp.SignParams{Config: &packet.Config{Time: s.Now, DefaultHash: crypto.SHA256}})
	b.WriteByte('\n')
	return b.Bytes(), err
}
