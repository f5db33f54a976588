package signature

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/gitward/gitward/gitindex"
)

const (
	kindSSH = "ssh"
	// namespace is the domain git signs in, so that a signature made for
	// something else is none over a commit.
	namespace  = "git"
	minRSABits = 2048
)

// sshRing holds the trusted SSH keys.
type sshRing struct {
	lines   []allowedLine     // of all allowed_signers files, in order
	plain   map[string]string // from the fingerprints of .pub files to their comments
	revoked map[string]bool   // fingerprints
}

func (r *sshRing) readPlain(data []byte) error {
	found := false
	err := eachLine(data, func(text string) error {
		key, comment, err := parseKeyText(text)
		if err != nil {
			return err
		}
		if r.plain == nil {
			r.plain = map[string]string{}
		}
		id := ssh.FingerprintSHA256(key)
		if r.plain[id] == "" {
			r.plain[id] = comment
		}
		found = true
		return nil
	})
	if err == nil && !found {
		return errors.New("no SSH key")
	}
	return err
}

func (r *sshRing) readAllowed(data []byte) error {
	return eachLine(data, func(text string) error {
		line, err := parseAllowed(text)
		if err != nil {
			return err
		}
		r.lines = append(r.lines, line)
		return nil
	})
}

// readRevoked reads the text form of ssh-keygen's revocation list. The binary
// form (KRL) is refused: reading it as text would revoke nothing.
func (r *sshRing) readRevoked(data []byte) error {
	if bytes.HasPrefix(data, []byte("SSHKRL")) {
		return errors.New("a binary key revocation list: list the keys or their SHA256 fingerprints as text")
	}
	return eachLine(data, func(text string) error {
		id, err := revokedID(text)
		if err != nil {
			return err
		}
		if r.revoked == nil {
			r.revoked = map[string]bool{}
		}
		r.revoked[id] = true
		return nil
	})
}

func revokedID(text string) (string, error) {
	if word, _, _ := strings.Cut(text, " "); strings.HasPrefix(word, "SHA256:") {
		if len(word) != len("SHA256:")+43 {
			return "", errors.New("not a whole SHA256 fingerprint")
		}
		return word, nil
	}
	key, _, err := parseKeyText(text)
	if err != nil {
		return "", err
	}
	return ssh.FingerprintSHA256(key), nil
}

func (r *sshRing) list() []Key {
	var keys []Key
	for _, l := range r.lines {
		keys = append(keys, Key{
			Kind: kindSSH, Fingerprint: l.fingerprint, Principals: strings.Split(l.principals, ","),
			ValidAfter: l.after, ValidBefore: l.before, CertAuthority: l.authority,
			Revoked: r.revoked[l.fingerprint],
		})
	}
	for id, comment := range r.plain {
		key := Key{Kind: kindSSH, Fingerprint: id, Revoked: r.revoked[id]}
		if comment != "" {
			key.Principals = []string{comment}
		}
		keys = append(keys, key)
	}
	slices.SortStableFunc(keys, func(a, b Key) int { return strings.Compare(a.Fingerprint, b.Fingerprint) })
	return keys
}

// sshSigner is the key a signature names, bare or within a certificate.
type sshSigner struct {
	key         ssh.PublicKey    // bare
	cert        *ssh.Certificate // nil for a bare key
	wire        string           // of the key, bare
	fingerprint string           // of the key, bare: so ssh-keygen names a certificate too
}

func signerOf(key ssh.PublicKey) sshSigner {
	s := sshSigner{key: key}
	if cert, ok := key.(*ssh.Certificate); ok {
		s.key, s.cert = cert.Key, cert
	}
	s.wire, s.fingerprint = string(s.key.Marshal()), ssh.FingerprintSHA256(s.key)
	return s
}

// concerns reports whether a line is about this signer: it lists the bare key,
// or the authority that made the certificate.
func (s *sshSigner) concerns(l *allowedLine) bool {
	if s.cert == nil {
		return !l.authority && l.key == s.wire
	}
	return l.authority && l.key == string(s.cert.SignatureKey.Marshal())
}

// verify judges one SSH signature in the order that package's OpenPGP part
// keeps too.
func (r *sshRing) verify(payload, body []byte, at moment) gitindex.Verdict {
	sig, err := parseSSHSig(body)
	if err != nil {
		return by(gitindex.Signer{Kind: kindSSH}, refuse(gitindex.BadSignature, "The SSH signature cannot be read: %v.", err))
	}
	s := signerOf(sig.PublicKey)
	signer := gitindex.Signer{Kind: kindSSH, Fingerprint: s.fingerprint, Principal: r.named(&s)}
	known := r.knows(&s)
	if why := weak(&s, sig); known && why != "" {
		return by(signer, refuse(gitindex.SignerNotValid, "%s", why))
	}
	if err := sshsig.Verify(bytes.NewReader(payload), sig, sig.PublicKey, sig.HashAlgorithm, sig.Namespace); err != nil {
		return by(signer, refuse(gitindex.BadSignature, "The SSH signature does not fit the commit."))
	}
	if !known {
		return by(signer, refuse(gitindex.UnknownSigner, "SSH key %s is not among the trusted signers.", s.fingerprint))
	}
	if sig.Namespace != namespace {
		return by(signer, refuse(gitindex.SignerNotValid, "The SSH signature was made for %q, not for %s.", gitindex.Clean(sig.Namespace, 40), namespace))
	}
	return r.judge(&s, signer, at)
}

// parseSSHSig reads the blob of PROTOCOL.sshsig in its one canonical form. The
// library passes over a reserved field, a hash's alias or padding; what it
// would write itself shows them.
func parseSSHSig(body []byte) (*sshsig.Signature, error) {
	sig, err := sshsig.ParseSignature(body)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(sig.Marshal(), body) {
		return nil, errors.New("not in canonical form")
	}
	if !isSecurityKey(signerOf(sig.PublicKey).key) && len(sig.Signature.Rest) > 0 {
		return nil, errors.New("data behind the signature")
	}
	return sig, nil
}

func isSecurityKey(key ssh.PublicKey) bool {
	return key.Type() == ssh.KeyAlgoSKED25519 || key.Type() == ssh.KeyAlgoSKECDSA256
}

// knows reports whether the key, or its certificate's authority, is listed at
// all.
func (r *sshRing) knows(s *sshSigner) bool {
	if _, ok := r.plain[s.fingerprint]; ok && s.cert == nil {
		return true
	}
	return slices.ContainsFunc(r.lines, func(l allowedLine) bool { return s.concerns(&l) })
}

// named is whom a listed key is said to be, for verdicts that refuse it.
func (r *sshRing) named(s *sshSigner) string {
	for i := range r.lines {
		if l := &r.lines[i]; s.concerns(l) && !l.authority {
			first, _, _ := strings.Cut(l.principals, ",")
			return first
		}
	}
	if s.cert == nil {
		return r.plain[s.fingerprint]
	}
	return ""
}

// weak says why a signature of this form counts from no key.
func weak(s *sshSigner, sig *sshsig.Signature) string {
	if why := weakKey(s.key); why != "" {
		return "The SSH key is " + why
	}
	if s.cert != nil {
		if why := weakKey(s.cert.SignatureKey); why != "" {
			return "The SSH certificate's authority is " + why
		}
		if s.cert.Signature.Format == ssh.KeyAlgoRSA {
			return "The SSH certificate is signed with SHA-1, which is broken."
		}
	}
	if sig.Signature.Format == ssh.KeyAlgoRSA {
		return "The SSH signature is made with SHA-1, which is broken."
	}
	// The flags are the first octet behind the signature (PROTOCOL.u2f); bit 0
	// says that somebody touched the key.
	if rest := sig.Signature.Rest; isSecurityKey(s.key) && (len(rest) == 0 || rest[0]&1 == 0) {
		return "The SSH signature was made without touching the security key."
	}
	return ""
}

func weakKey(key ssh.PublicKey) string {
	bare, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return "of a kind that is not known here."
	}
	switch pub := bare.CryptoPublicKey().(type) {
	case *rsa.PublicKey:
		if bits := pub.N.BitLen(); bits < minRSABits {
			return fmt.Sprintf("an RSA key of %d bits, and %d are wanted.", bits, minRSABits)
		}
		return ""
	case *ecdsa.PublicKey:
		return ""
	}
	if key.Type() == ssh.KeyAlgoED25519 || isSecurityKey(key) {
		return ""
	}
	return "of a kind that is no longer strong enough."
}
