package signature

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// pgpRing holds the trusted OpenPGP keys. All self-signatures are checked when
// it is made; the library's own entities check them lazily, keep the results,
// and so must not be shared by goroutines.
type pgpRing struct {
	owners []*pgpOwner // by fingerprint
	byID   map[uint64][]*pgpKey
}

// pgpOwner is one OpenPGP key as people speak of it: a primary key with user
// ids and subkeys.
type pgpOwner struct {
	primary   *pgpKey
	principal string   // the primary user id
	userIDs   []string // those not revoked
}

func (o *pgpOwner) fingerprint() string { return fmt.Sprintf("%X", o.primary.pub.Fingerprint) }

// pgpKey is one key packet that can sign.
type pgpKey struct {
	pub         *packet.PublicKey
	owner       *pgpOwner
	bindings    []binding // verified, newest first
	revocations []revocation
}

func (k *pgpKey) isPrimary() bool { return k.owner.primary == k }

// binding is what one verified self-signature says about a key.
type binding struct {
	made    time.Time
	until   time.Time // end of the self-signature itself; zero means none
	expires time.Time // end of the key; zero means none
	signs   bool
}

// revocation is one verified revocation of a key. Hard ones, for compromise or
// for no stated reason, hold for all times: whoever has the key can set back
// the clock. Superseded and retired keys are only revoked from then on.
type revocation struct {
	made time.Time
	hard bool
}

func bindingOf(pub *packet.PublicKey, sig *packet.Signature) binding {
	b := binding{
		made:    sig.CreationTime,
		until:   lifetime(sig.CreationTime, sig.SigLifetimeSecs),
		expires: lifetime(pub.CreationTime, sig.KeyLifetimeSecs),
		signs:   sig.FlagSign,
	}
	if cross := sig.EmbeddedSignature; cross != nil {
		b.until = earlier(b.until, lifetime(cross.CreationTime, cross.SigLifetimeSecs))
	}
	return b
}

// lifetime is start plus seconds; none or 0 seconds means without end.
func lifetime(start time.Time, seconds *uint32) time.Time {
	if seconds == nil || *seconds == 0 {
		return time.Time{}
	}
	return start.Add(time.Duration(*seconds) * time.Second)
}

// earlier is the first of two ends, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func revocationOf(sig *packet.Signature) revocation {
	soft := sig.RevocationReason != nil &&
		(*sig.RevocationReason == packet.KeySuperseded || *sig.RevocationReason == packet.KeyRetired)
	return revocation{made: sig.CreationTime, hard: !soft}
}

// bindingAt is the newest self-signature that has not itself expired. As in
// gpg, the newest counts for times before it was made too: an extended expiry
// also covers what was signed in between.
func (k *pgpKey) bindingAt(t time.Time) (binding, bool) {
	for _, b := range k.bindings {
		if b.until.IsZero() || t.Before(b.until) {
			return b, true
		}
	}
	return binding{}, false
}

// pgpMerge gathers the versions of each key, by fingerprint.
type pgpMerge map[string]*pgpParts

type pgpParts struct {
	from     string // the data key and line it was first read from
	versions []*openpgp.Entity
}

// read adds the keys of an .asc file. Text between the blocks is comment, as
// for gpg.
func (m pgpMerge) read(name string, data []byte) error {
	found := false
	for start, rest := 0, data; ; {
		at := indexLine(rest, armorBegin)
		if at < 0 {
			break
		}
		end := indexLine(rest[at:], armorEnd)
		if end < 0 {
			return errors.New("an armored block without an END line")
		}
		line := 1 + bytes.Count(data[:start+at], []byte("\n"))
		end += at
		if nl := bytes.IndexByte(rest[end:], '\n'); nl >= 0 {
			end += nl + 1
		} else {
			end = len(rest)
		}
		if err := m.readBlock(rest[at:end], fmt.Sprintf("%s line %d", name, line)); err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
		found = true
		start, rest = start+end, rest[end:]
	}
	if !found {
		return errors.New("no armored OpenPGP key")
	}
	return nil
}

// indexLine finds a line that begins with mark.
func indexLine(text, mark []byte) int {
	if bytes.HasPrefix(text, mark) {
		return 0
	}
	if at := bytes.Index(text, append([]byte("\n"), mark...)); at >= 0 {
		return at + 1
	}
	return -1
}

func (m pgpMerge) readBlock(block []byte, from string) error {
	label, body, err := dearmor(block)
	if err != nil {
		return err
	}
	switch label {
	case "PGP PUBLIC KEY BLOCK":
	case "PGP PRIVATE KEY BLOCK":
		return errors.New("a private key: this file is for public keys only, and the private key may now be known to others")
	default:
		return fmt.Errorf("a %q block where a public key is wanted", label)
	}
	packets := packet.NewReader(bytes.NewReader(body))
	for count := 0; ; count++ {
		entity, err := openpgp.ReadEntity(packets)
		if err == io.EOF && count > 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("key %d of the block cannot be read: %w", count+1, err)
		}
		if entity.PrivateKey != nil {
			return errors.New("a private key in a public key block")
		}
		id := string(entity.PrimaryKey.Fingerprint)
		if m[id] == nil {
			m[id] = &pgpParts{from: from}
		}
		m[id].versions = append(m[id].versions, entity)
	}
}

// ring checks the self-signatures of all keys gathered.
func (m pgpMerge) ring() (pgpRing, error) {
	ring := pgpRing{byID: map[uint64][]*pgpKey{}}
	for _, id := range slices.Sorted(maps.Keys(m)) {
		keys, err := m[id].check()
		if err != nil {
			return pgpRing{}, fmt.Errorf("reading %s: OpenPGP key %X: %w", m[id].from, id, err)
		}
		ring.owners = append(ring.owners, keys[0].owner)
		for _, key := range keys {
			ring.byID[key.pub.KeyId] = append(ring.byID[key.pub.KeyId], key)
		}
	}
	return ring, nil
}

// check makes one key of its versions: the primary key and its subkeys.
func (p *pgpParts) check() ([]*pgpKey, error) {
	primary := &pgpKey{pub: p.versions[0].PrimaryKey}
	owner := &pgpOwner{primary: primary}
	primary.owner = owner
	if err := p.checkRevocations(primary); err != nil {
		return nil, err
	}
	p.checkUserIDs(owner)
	p.checkDirect(primary)
	if len(primary.bindings) == 0 {
		return nil, errors.New("no valid self-signature")
	}
	primary.sortBindings()
	return append([]*pgpKey{primary}, p.checkSubkeys(owner)...), nil
}

// sortBindings puts the newest first. Of two made in the same second the one
// read last wins, as in gpg: GitHub's first web-flow key is about in two
// versions of one date, with and without an expiry.
func (k *pgpKey) sortBindings() {
	slices.Reverse(k.bindings)
	slices.SortStableFunc(k.bindings, func(a, b binding) int { return b.made.Compare(a.made) })
}

// checkRevocations wants every revocation to be the key's own. One made by
// another key may be a designated revoker's; it cannot be checked here, and
// must not be passed over.
func (p *pgpParts) checkRevocations(primary *pgpKey) error {
	for _, version := range p.versions {
		for _, r := range version.Revocations {
			if !r.Packet.CheckKeyIdOrFingerprint(primary.pub) {
				return errors.New("a revocation by another key, which cannot be checked: revoke the key itself or remove it")
			}
			if primary.pub.VerifyRevocationSignature(r.Packet) == nil {
				primary.revocations = append(primary.revocations, revocationOf(r.Packet))
			}
		}
	}
	return nil
}

// checkUserIDs takes the bindings of all user ids that are not revoked. The
// principal is the user id marked primary, or else the one certified last.
func (p *pgpParts) checkUserIDs(owner *pgpOwner) {
	var best *packet.Signature
	for _, name := range p.userIDs() {
		var newest *packet.Signature
		for _, sig := range p.certifications(owner.primary.pub, name) {
			if newest == nil || !sig.CreationTime.Before(newest.CreationTime) {
				newest = sig
			}
		}
		if newest == nil || newest.SigType == packet.SigTypeCertificationRevocation {
			continue
		}
		owner.primary.bindings = append(owner.primary.bindings, primaryBinding(owner.primary.pub, newest))
		owner.userIDs = append(owner.userIDs, name)
		if best == nil || preferred(newest, best) {
			best, owner.principal = newest, name
		}
	}
}

func (p *pgpParts) userIDs() []string {
	names := map[string]bool{}
	for _, version := range p.versions {
		for name := range version.Identities {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// certifications are the verified self-certifications of a user id and their
// revocations, over all versions of the key. Those read last win over others of
// the same second, and revocations stand behind all certifications.
func (p *pgpParts) certifications(pub *packet.PublicKey, name string) []*packet.Signature {
	var sigs []*packet.Signature
	add := func(candidates []*packet.VerifiableSignature) {
		for _, c := range candidates {
			if pub.VerifyUserIdSignature(name, pub, c.Packet) == nil {
				sigs = append(sigs, c.Packet)
			}
		}
	}
	for _, version := range p.versions {
		if id := version.Identities[name]; id != nil {
			add(id.SelfCertifications)
		}
	}
	for _, version := range p.versions {
		if id := version.Identities[name]; id != nil {
			add(id.Revocations)
		}
	}
	return sigs
}

func preferred(a, b *packet.Signature) bool {
	first := func(s *packet.Signature) bool { return s.IsPrimaryId != nil && *s.IsPrimaryId }
	if first(a) != first(b) {
		return first(a)
	}
	return a.CreationTime.After(b.CreationTime)
}

// checkDirect takes the self-signatures on the key itself.
func (p *pgpParts) checkDirect(primary *pgpKey) {
	for _, version := range p.versions {
		for _, d := range version.DirectSignatures {
			if primary.pub.VerifyDirectKeySignature(d.Packet) == nil {
				primary.bindings = append(primary.bindings, primaryBinding(primary.pub, d.Packet))
			}
		}
	}
}

// primaryBinding lets a primary key without key flags sign, as gpg does: there
// were none before RFC 4880.
func primaryBinding(pub *packet.PublicKey, sig *packet.Signature) binding {
	b := bindingOf(pub, sig)
	b.signs = b.signs || !sig.FlagsValid
	return b
}

// checkSubkeys returns the subkeys with a verified binding. For one that signs
// the library demands the subkey's own signature over the primary key too, so
// nobody can claim another's subkey.
func (p *pgpParts) checkSubkeys(owner *pgpOwner) []*pgpKey {
	found := map[string]*pgpKey{}
	for _, version := range p.versions {
		for _, sub := range version.Subkeys {
			id := string(sub.PublicKey.Fingerprint)
			if found[id] == nil {
				found[id] = &pgpKey{pub: sub.PublicKey, owner: owner}
			}
			found[id].addSubkey(sub)
		}
	}
	var keys []*pgpKey
	for _, id := range slices.Sorted(maps.Keys(found)) {
		if key := found[id]; len(key.bindings) > 0 && key.pub.CanSign() {
			key.sortBindings()
			keys = append(keys, key)
		}
	}
	return keys
}

func (k *pgpKey) addSubkey(sub openpgp.Subkey) {
	primary := k.owner.primary.pub
	for _, b := range sub.Bindings {
		if primary.VerifyKeySignature(k.pub, b.Packet) == nil {
			k.bindings = append(k.bindings, bindingOf(k.pub, b.Packet))
		}
	}
	for _, r := range sub.Revocations {
		if primary.VerifySubkeyRevocationSignature(r.Packet, k.pub) == nil {
			k.revocations = append(k.revocations, revocationOf(r.Packet))
		}
	}
}

func (r *pgpRing) list() []Key {
	var keys []Key
	for _, owner := range r.owners {
		key := Key{
			Kind:        kindPGP,
			Fingerprint: owner.fingerprint(),
			Principals:  slices.Clone(owner.userIDs),
			ValidAfter:  owner.primary.pub.CreationTime,
			Revoked:     len(owner.primary.revocations) > 0,
		}
		if len(owner.primary.bindings) > 0 {
			key.ValidBefore = owner.primary.bindings[0].expires
		}
		keys = append(keys, key)
	}
	return keys
}
