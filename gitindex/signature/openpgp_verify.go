package signature

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"time"

	_ "crypto/sha1" // self-signatures of old keys; never over a commit
	_ "crypto/sha256"
	_ "crypto/sha3"
	_ "crypto/sha512"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/gitward/gitward/gitindex"
)

const kindPGP = "openpgp"

// The octets of RFC 9580 that are looked at before the library sees them.
const (
	tagSignature  = 2
	hashMD5       = 1
	hashRIPEMD160 = 3
)

// verify judges one OpenPGP signature, from what is cheapest to know to what
// is most telling: who claims to sign, is that key trusted, is the signature
// fit for use, does it hold, and was the key valid.
func (r *pgpRing) verify(payload, body []byte, at moment) gitindex.Verdict {
	head, err := frame(body)
	if err != nil {
		return by(gitindex.Signer{Kind: kindPGP}, refuse(gitindex.BadSignature, "The OpenPGP signature cannot be read: %v.", err))
	}
	if name := brokenHash(head[3]); name != "" {
		return by(gitindex.Signer{Kind: kindPGP}, refuse(gitindex.SignerNotValid, "The OpenPGP signature is made with %s, which is broken.", name))
	}
	sig, err := readSignature(body)
	if err != nil {
		return by(gitindex.Signer{Kind: kindPGP}, refuse(gitindex.BadSignature, "The OpenPGP signature cannot be read: %v.", err))
	}
	keys := r.issuers(sig)
	if len(keys) == 0 {
		return unknownIssuer(sig)
	}
	// Two keys may share a key id; the one that made the signature counts.
	var v gitindex.Verdict
	for _, key := range keys {
		if v = key.verify(payload, sig, at); v.Outcome != gitindex.BadSignature {
			break
		}
	}
	return v
}

// frame wants exactly one packet, a signature of version 4 or 6 with a definite
// length, and returns its first four octets: version, type, key algorithm and
// hash.
func frame(body []byte) ([]byte, error) {
	tag, size, rest, ok := packetHeader(body)
	switch {
	case !ok:
		return nil, errors.New("no OpenPGP packet")
	case tag != tagSignature:
		return nil, fmt.Errorf("a packet of type %d where a signature is wanted", tag)
	case size > uint64(len(rest)):
		return nil, errors.New("truncated")
	case size < uint64(len(rest)):
		return nil, errors.New("more than one packet")
	case size < 4:
		return nil, errors.New("too short")
	case rest[0] != 4 && rest[0] != 6:
		return nil, fmt.Errorf("version %d", rest[0])
	}
	return rest[:4], nil
}

// packetHeader reads the header of a packet of definite length, old or new
// format.
func packetHeader(b []byte) (tag byte, size uint64, rest []byte, ok bool) {
	if len(b) < 2 || b[0]&0x80 == 0 {
		return 0, 0, nil, false
	}
	octets := 0 // of the length that follow, big-endian
	switch {
	case b[0]&0x40 == 0:
		tag = b[0] >> 2 & 15
		octets, rest = 1<<(b[0]&3), b[1:]
		if octets == 8 { // indeterminate
			return 0, 0, nil, false
		}
	case b[1] < 192:
		return b[0] & 63, uint64(b[1]), b[2:], true
	case b[1] < 224 && len(b) > 2:
		return b[0] & 63, uint64(b[1]-192)<<8 + uint64(b[2]) + 192, b[3:], true
	case b[1] == 255:
		tag, octets, rest = b[0]&63, 4, b[2:]
	default: // partial
		return 0, 0, nil, false
	}
	if len(rest) < octets {
		return 0, 0, nil, false
	}
	for _, c := range rest[:octets] {
		size = size<<8 | uint64(c)
	}
	return tag, size, rest[octets:], true
}

// brokenHash names hashes that the library does not even read.
func brokenHash(id byte) string {
	switch id {
	case hashMD5:
		return "MD5"
	case hashRIPEMD160:
		return "RIPEMD-160"
	}
	return ""
}

func readSignature(body []byte) (*packet.Signature, error) {
	p, err := packet.Read(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	sig, ok := p.(*packet.Signature)
	if !ok {
		return nil, errors.New("not a signature")
	}
	return sig, nil
}

// issuers are the trusted keys that the signature may be from. What a signature
// says of its issuer is a hint; only the arithmetic proves it.
func (r *pgpRing) issuers(sig *packet.Signature) []*pgpKey {
	if sig.IssuerKeyId == nil {
		return nil
	}
	var keys []*pgpKey
	for _, key := range r.byID[*sig.IssuerKeyId] {
		if sig.CheckKeyIdOrFingerprint(key.pub) {
			keys = append(keys, key)
		}
	}
	return keys
}

func unknownIssuer(sig *packet.Signature) gitindex.Verdict {
	if sig.IssuerKeyId == nil {
		return by(gitindex.Signer{Kind: kindPGP}, refuse(gitindex.UnknownSigner, "The OpenPGP signature does not say which key made it."))
	}
	id := fmt.Sprintf("%016X", *sig.IssuerKeyId)
	if len(sig.IssuerFingerprint) > 0 {
		id = fmt.Sprintf("%X", sig.IssuerFingerprint)
	}
	return by(gitindex.Signer{Kind: kindPGP, Fingerprint: id}, refuse(gitindex.UnknownSigner, "OpenPGP key %s is not among the trusted signers.", id))
}

func (k *pgpKey) verify(payload []byte, sig *packet.Signature, at moment) gitindex.Verdict {
	signer := gitindex.Signer{Kind: kindPGP, Fingerprint: k.owner.fingerprint(), Principal: k.owner.principal}
	if why := unfit(sig, k.pub); why != "" {
		return by(signer, refuse(gitindex.SignerNotValid, "%s", why))
	}
	if why := k.broken(payload, sig); why != "" {
		return by(signer, refuse(gitindex.BadSignature, "%s", why))
	}
	if v := k.judge(sig, at); v.Outcome != gitindex.Good {
		return by(signer, v)
	}
	return good(signer)
}

// unfit says why a signature of this form counts from no key.
func unfit(sig *packet.Signature, pub *packet.PublicKey) string {
	switch {
	case sig.Hash == crypto.SHA1:
		return "The OpenPGP signature is made with SHA-1, which is broken."
	case sig.SigType == packet.SigTypeText:
		return "The OpenPGP signature is one over text, which does not cover line endings."
	case pub.PubKeyAlgo == packet.PubKeyAlgoDSA:
		return "The OpenPGP key is a DSA key, which is no longer strong enough."
	}
	if rsa := pub.PubKeyAlgo == packet.PubKeyAlgoRSA || pub.PubKeyAlgo == packet.PubKeyAlgoRSASignOnly; rsa {
		if bits, err := pub.BitLength(); err != nil || bits < minRSABits {
			return fmt.Sprintf("The OpenPGP key is an RSA key of %d bits, and %d are wanted.", bits, minRSABits)
		}
	}
	return ""
}

// broken says why a signature does not hold for payload.
func (k *pgpKey) broken(payload []byte, sig *packet.Signature) string {
	if sig.SigType != packet.SigTypeBinary {
		return fmt.Sprintf("The OpenPGP signature is of type 0x%02x, which is not one over a commit.", uint8(sig.SigType))
	}
	for _, n := range sig.Notations {
		if n.IsCritical {
			return "The OpenPGP signature has a critical notation that is not known here."
		}
	}
	h, err := sig.PrepareVerify()
	if err != nil {
		return "The OpenPGP signature uses a hash that is not known here."
	}
	h.Write(payload)
	if err := k.pub.VerifySignature(h, sig); err != nil {
		return "The OpenPGP signature does not fit the commit."
	}
	return ""
}

// judge asks whether the key was valid when it signed and when the commit was
// first seen.
func (k *pgpKey) judge(sig *packet.Signature, at moment) gitindex.Verdict {
	times := []time.Time{sig.CreationTime, at.seen}
	for _, key := range []*pgpKey{k.owner.primary, k} {
		if v := key.judgeRevocations(times); v.Outcome != gitindex.Good {
			return v
		}
	}
	if sig.CreationTime.Before(k.pub.CreationTime) {
		return refuse(gitindex.SignerExpired, "The signature is dated %s, before its key was made on %s.", day(sig.CreationTime), day(k.pub.CreationTime))
	}
	if end := lifetime(sig.CreationTime, sig.SigLifetimeSecs); !end.IsZero() && !at.seen.Before(end) {
		return refuse(gitindex.SignerExpired, "The signature itself expired on %s.", day(end))
	}
	for _, key := range []*pgpKey{k.owner.primary, k} {
		if v := key.judgeExpiry(times, key == k); v.Outcome != gitindex.Good {
			return v
		}
	}
	return good(gitindex.Signer{})
}

func (k *pgpKey) judgeRevocations(times []time.Time) gitindex.Verdict {
	for _, r := range k.revocations {
		if r.hard {
			return refuse(gitindex.SignerRevoked, "The OpenPGP %s was revoked on %s, for all times.", k.noun(), day(r.made))
		}
		for _, t := range times {
			if !t.Before(r.made) {
				return refuse(gitindex.SignerRevoked, "The OpenPGP %s was retired on %s.", k.noun(), day(r.made))
			}
		}
	}
	return good(gitindex.Signer{})
}

func (k *pgpKey) judgeExpiry(times []time.Time, signs bool) gitindex.Verdict {
	for _, t := range times {
		b, ok := k.bindingAt(t)
		if !ok {
			return refuse(gitindex.SignerExpired, "The OpenPGP %s has no self-signature that was valid on %s.", k.noun(), day(t))
		}
		if signs && !b.signs {
			return refuse(gitindex.SignerNotValid, "The OpenPGP %s is not for signing.", k.noun())
		}
		if !b.expires.IsZero() && !t.Before(b.expires) {
			return refuse(gitindex.SignerExpired, "The OpenPGP %s expired on %s.", k.noun(), day(b.expires))
		}
	}
	return good(gitindex.Signer{})
}

func (k *pgpKey) noun() string {
	if k.isPrimary() {
		return "key"
	}
	return fmt.Sprintf("subkey %X", k.pub.Fingerprint)
}
