package signature_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gitward/gitward/gitindex"
)

// Keys and commits made with gpg at frozen clocks, judged by git now and by
// this package at a chosen first sight.
func TestOpenPGPBesideGit(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds: left out with -short")
	}
	l := newLab(t)
	user := "Ada Lovelace <ada@acme.dev>"
	rsa := l.pgpKey("2024-01-01", user, "rsa3072", "0")
	weak := l.pgpKey("2024-01-01", "Weak <weak@acme.dev>", "rsa1024", "0")
	dsa := l.pgpKey("2024-01-01", "Dsa <dsa@acme.dev>", "dsa2048", "0")
	p384 := l.pgpKey("2024-01-01", "Curve <curve@acme.dev>", "nistp384", "0")
	ed := l.pgpKey("2024-01-01", "Ed <ed@acme.dev>", "ed25519", "0")
	short := l.pgpKey("2024-01-01", "Short <short@acme.dev>", "ed25519", "2024-07-01")
	renewed := l.pgpKey("2024-01-01", "Renewed <renewed@acme.dev>", "ed25519", "2024-07-01")
	hard := l.pgpKey("2024-01-01", "Hard <hard@acme.dev>", "ed25519", "0")
	soft := l.pgpKey("2024-01-01", "Soft <soft@acme.dev>", "ed25519", "0")
	team := l.pgpKey("2024-01-01", "Team <team@acme.dev>", "ed25519", "0")
	gone := l.pgpKey("2024-01-01", "Gone <gone@acme.dev>", "ed25519", "0")
	lapsing := l.pgpKey("2024-01-01", "Lapsing <lapsing@acme.dev>", "ed25519", "0")
	retired := l.pgpKey("2024-01-01", "Retired <retired@acme.dev>", "ed25519", "0")
	for _, key := range []string{team, gone, retired} {
		l.gpg("2024-01-02", "", "--quick-add-key", key, "ed25519", "sign", "0")
	}
	l.gpg("2024-01-02", "", "--quick-add-key", lapsing, "ed25519", "sign", "2024-07-01")
	stranger := l.pgpKey("2024-01-01", "Stranger <eve@evil.dev>", "ed25519", "0")

	const early, late = "2024-06-01", "2025-06-01"
	p := payload(early)
	commits := map[string][]byte{
		"rsa3072":               l.pgpSign(early, rsa, p),
		"ed25519":               l.pgpSign(early, ed, p),
		"nistp384":              l.pgpSign(early, p384, p),
		"key of a stranger":     l.pgpSign(early, stranger, p),
		"RSA of 1024 bits":      l.pgpSign(early, weak, p),
		"DSA":                   l.pgpSign(early, dsa, p),
		"SHA-1 digest":          l.pgpSign(early, rsa, p, "--digest-algo", "SHA1"),
		"SHA-224 digest":        l.pgpSign(early, rsa, p, "--digest-algo", "SHA224"),
		"text mode":             l.pgpSign(early, ed, p, "--textmode"),
		"critical notation":     l.pgpSign(early, ed, p, "--sig-notation", "!seal@acme.dev=1"),
		"notation":              l.pgpSign(early, ed, p, "--sig-notation", "seal@acme.dev=1"),
		"two signatures":        l.pgpSign(early, rsa, p, "-u", ed),
		"signature expired":     l.pgpSign(early, ed, p, "--default-sig-expire", "1d"),
		"signed before expiry":  l.pgpSign(early, short, p),
		"clock set back":        l.pgpSign(early, short, payload(late)),
		"key renewed":           l.pgpSign(early, renewed, p),
		"signed, then revoked":  l.pgpSign(early, hard, p),
		"signed, then retired":  l.pgpSign(early, soft, p),
		"signed after retiring": l.pgpSign(late, soft, payload(late)),
		"subkey":                l.pgpSign(early, team, p),
		"subkey, then revoked":  l.pgpSign(early, gone, p),
		"subkey, then retired":  l.pgpSign(early, retired, p),
		"subkey before expiry":  l.pgpSign(early, lapsing, p),
		"payload of another":    []byte(strings.Replace(string(l.pgpSign(early, ed, p)), "Stop", "Stab", 1)),
	}

	// What happened to the keys afterwards.
	old := l.export(renewed)
	l.gpg("2025-01-01", "", "--quick-set-expire", renewed, "0")
	l.must("", "gpg", "--batch", "--yes", "--import", l.revocation(hard))
	l.edit("2025-01-01", "y\n3\n\ny\n", "--output", "retire.asc", "--gen-revoke", soft)
	l.must("", "gpg", "--batch", "--yes", "--import", "retire.asc")
	l.edit("2025-01-01", "key 1\nrevkey\ny\n1\n\ny\nsave\n", "--edit-key", gone)
	l.edit("2025-01-01", "key 1\nrevkey\ny\n3\n\ny\nsave\n", "--edit-key", retired)

	var ours []string
	for _, key := range []string{rsa, weak, dsa, p384, ed, short, renewed, hard, soft, team, gone, retired, lapsing} {
		ours = append(ours, l.export(key))
	}
	all := ring(t, "team.asc", strings.Join(ours, ""), "before.asc", old)
	l.gpg("2024-01-01", "", "--delete-secret-and-public-key", stranger)

	for _, c := range []beside{
		{"rsa3072", 0, "GOODSIG", gitindex.Good, ""},
		{"ed25519", 0, "GOODSIG", gitindex.Good, ""},
		{"nistp384", 0, "GOODSIG", gitindex.Good, ""},
		{"SHA-224 digest", 0, "GOODSIG", gitindex.Good, ""},
		{"notation", 0, "GOODSIG", gitindex.Good, ""},
		{"subkey", 0, "GOODSIG", gitindex.Good, ""},
		{"key renewed", 0, "GOODSIG", gitindex.Good, ""},
		{"payload of another", 1, "BADSIG", gitindex.BadSignature, ""},
		{"key of a stranger", 1, "ERRSIG", gitindex.UnknownSigner, ""},
		{"two signatures", 1, "GOODSIG", gitindex.BadSignature, ""},
		{"critical notation", 1, "BADSIG", gitindex.BadSignature, ""},
		{"clock set back", 1, "EXPKEYSIG", gitindex.SignerExpired, ""},
		{"signature expired", 1, "EXPSIG", gitindex.Good, "at first sight it had not expired; git judges now"},
		{"signed before expiry", 1, "EXPKEYSIG", gitindex.Good, "the key was valid at first sight; git judges now"},
		{"subkey before expiry", 1, "EXPKEYSIG", gitindex.Good, "the key was valid at first sight; git judges now"},
		{"signed, then revoked", 1, "REVKEYSIG", gitindex.SignerRevoked, ""},
		{"subkey, then revoked", 1, "REVKEYSIG", gitindex.SignerRevoked, ""},
		{"subkey, then retired", 1, "REVKEYSIG", gitindex.Good, "retired keys count for what was seen before; git knows no difference"},
		{"signed, then retired", 1, "REVKEYSIG", gitindex.Good, "retired keys count for what was seen before; git knows no difference"},
		{"signed after retiring", 1, "REVKEYSIG", gitindex.SignerRevoked, ""},
		{"RSA of 1024 bits", 0, "GOODSIG", gitindex.SignerNotValid, "stricter: RSA from 2048 bits"},
		{"DSA", 0, "GOODSIG", gitindex.SignerNotValid, "stricter: no DSA"},
		{"SHA-1 digest", 0, "GOODSIG", gitindex.SignerNotValid, "stricter: no SHA-1 digests"},
		{"text mode", 0, "GOODSIG", gitindex.SignerNotValid, "stricter: only signatures over bytes"},
	} {
		raw := commits[c.name]
		rc, out := l.gitVerify(raw)
		v := all.Verify(raw, time.Time{})
		c.check(t, rc, statusWord(out), v)
		if v.Outcome == gitindex.Good && (v.Signer.Kind != "openpgp" || len(v.Signer.Fingerprint) != 40 || v.Signer.Principal == "") {
			t.Errorf("%s: signer %+v", c.name, v.Signer)
		}
	}

	// What a set-back clock says does not count when the commit turns up late.
	for name, want := range map[string]gitindex.Outcome{
		"ed25519":              gitindex.Good,
		"key renewed":          gitindex.Good,
		"signed before expiry": gitindex.SignerExpired,
		"subkey before expiry": gitindex.SignerExpired,
		"signature expired":    gitindex.SignerExpired,
		"signed, then retired": gitindex.SignerRevoked,
		"subkey, then retired": gitindex.SignerRevoked,
		"signed, then revoked": gitindex.SignerRevoked,
	} {
		if v := all.Verify(commits[name], at(early)); (v.Outcome == gitindex.Good) != (name != "signed, then revoked") {
			t.Errorf("%s, seen early: %s %s", name, v.Outcome, v.Detail)
		}
		if v := all.Verify(commits[name], at(late)); v.Outcome != want {
			t.Errorf("%s, seen late: %s %s, want %s", name, v.Outcome, v.Detail, want)
		}
	}
	if v := ring(t, "before.asc", old).Verify(commits["key renewed"], at(late)); v.Outcome != gitindex.SignerExpired {
		t.Errorf("the key as it was before it was renewed: %s %s", v.Outcome, v.Detail)
	}
	if v := ring(t, "before.asc", old).Verify(commits["ed25519"], time.Time{}); v.Outcome != gitindex.UnknownSigner {
		t.Errorf("another Origin's key: %s %s", v.Outcome, v.Detail)
	}
	subkey := all.Verify(commits["subkey"], time.Time{}).Signer
	if subkey.Fingerprint != team || subkey.Principal != "Team <team@acme.dev>" {
		t.Errorf("a subkey's signer is %v, want the primary key %s", subkey, team)
	}
}

// revocation is the file gpg makes with each key, with its safety catch taken
// off.
func (l *lab) revocation(key string) string {
	l.t.Helper()
	text := l.must("", "cat", l.gpgs+"/openpgp-revocs.d/"+key+".rev")
	return l.write(key+".rev", strings.Replace(text, ":-----BEGIN", "-----BEGIN", 1))
}

// edit answers gpg's questions.
func (l *lab) edit(day, answers string, args ...string) {
	l.t.Helper()
	clock := at(day).Format("20060102T150405") + "!"
	l.must(answers, append([]string{"gpg", "--yes", "--no-tty", "--expert", "--command-fd", "0", "--pinentry-mode", "loopback", "--passphrase", "",
		"--faked-system-time", clock}, args...)...)
}
