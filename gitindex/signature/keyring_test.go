package signature_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/signature"
)

// Two keys of nobody, and what they are called.
const (
	adaKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
	eveKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEA"
)

func fingerprint(t testing.TB, line string) string {
	t.Helper()
	return ssh.FingerprintSHA256(publicKey(t, line))
}

func TestNewKeyringRefuses(t *testing.T) {
	blob := strings.Fields(adaKey)[1]
	for name, c := range map[string]struct{ file, text, want string }{
		"unknown name":             {"ada.gpg", "x", "reading ada.gpg: not a name for keys"},
		"no name":                  {"known_hosts", adaKey, "reading known_hosts: not a name for keys"},
		"no armor":                 {"ada.asc", "hello\n", "reading ada.asc: no armored OpenPGP key"},
		"empty .asc":               {"ada.asc", "", "reading ada.asc: no armored OpenPGP key"},
		"no END":                   {"ada.asc", "\n\n-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n", "END line"},
		"private key":              {"ada.asc", "hello\n\n-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAAAA\n-----END PGP PRIVATE KEY BLOCK-----\n", "reading ada.asc: line 3: a private key"},
		"a signature":              {"ada.asc", "-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n", "PGP SIGNATURE"},
		"junk in armor":            {"ada.asc", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n", "line 1: key 1 of the block"},
		"empty .pub":               {"ada.pub", "# nobody\n", "reading ada.pub: no SSH key"},
		".pub with options":        {"ada.pub", "\nrestrict " + adaKey, `reading ada.pub: line 2: key type "restrict"`},
		".pub without key":         {"ada.sshpub", "ssh-ed25519", "line 1"},
		".pub of another type":     {"ada.pub", "ssh-rsa " + blob, "not of the type"},
		".pub not base64":          {"ada.pub", "ssh-ed25519 " + blob[:40] + "!", "line 1: the key is not base64"},
		".pub cut off":             {"ada.pub", "ssh-ed25519 " + blob[:40], "line 1: the key cannot be read"},
		"line without key":         {"allowed_signers", "# x\nada@acme.dev\n", "reading allowed_signers: line 2: no key behind the principals"},
		"key without principals":   {"allowed_signers", adaKey, "line 1"},
		"unknown option":           {"allowed_signers", "ada no-pty " + adaKey, `"no-pty" is not known`},
		"option with junk":         {"allowed_signers", `ada namespaces="git"x ` + adaKey, "text behind option"},
		"option unquoted":          {"allowed_signers", "ada namespaces=git " + adaKey, "not quoted"},
		"option not closed":        {"allowed_signers", `ada namespaces="git ` + adaKey, "not closed"},
		"option without value":     {"allowed_signers", "ada namespaces " + adaKey, `"namespaces" is not known`},
		"flag with value":          {"allowed_signers", `ada cert-authority="yes" ` + adaKey, `"cert-authority" is not known`},
		"namespaces twice":         {"allowed_signers", `ada namespaces="git",namespaces="file" ` + adaKey, "twice"},
		"valid-after twice":        {"allowed_signers", `ada valid-after="20240101",valid-after="20250101" ` + adaKey, "twice"},
		"valid-before twice":       {"allowed_signers", `ada valid-before="20240101",valid-before="20250101" ` + adaKey, "twice"},
		"no such time":             {"allowed_signers", `ada valid-after="20240231" ` + adaKey, "valid-after"},
		"time of odd length":       {"allowed_signers", `ada valid-after="2024010112" ` + adaKey, "valid-after"},
		"time in words":            {"allowed_signers", `ada valid-before="tomorrow" ` + adaKey, "valid-before"},
		"time with two zones":      {"allowed_signers", `ada valid-before="20240101UTCZ" ` + adaKey, "valid-before"},
		"bounds crossed":           {"allowed_signers", `ada valid-after="20250101",valid-before="20240101" ` + adaKey, "earlier than"},
		"quote not closed":         {"allowed_signers", `"ada ` + adaKey, "not closed"},
		"options without key":      {"allowed_signers", "ada cert-authority", "no key behind the options"},
		"comma without option":     {"allowed_signers", "ada cert-authority, " + adaKey, "not known"},
		"empty principals":         {"x.allowed_signers", `"" ` + adaKey, "reading x.allowed_signers: line 1: no principals"},
		"NUL":                      {"allowed_signers", "ada\x00 " + adaKey, "NUL"},
		"binary revocation list":   {"revoked_keys", "SSHKRL\n\x00", "binary"},
		"half a fingerprint":       {"revoked_keys", "SHA256:abc", "fingerprint"},
		"revocation of no key":     {"revoked_keys", adaKey + "\nrubbish\n", "line 2"},
		"revocation by MD5":        {"revoked_keys", "MD5:00:11 x", "line 1"},
		"revocation with a serial": {"revoked_keys", "serial: 1", "line 1"},
	} {
		k, err := signature.NewKeyring(map[string][]byte{c.file: []byte(c.text)})
		switch {
		case err == nil || k != nil:
			t.Errorf("%s: accepted", name)
		case !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		case strings.Contains(err.Error(), blob[30:]):
			t.Errorf("%s: key material in %v", name, err)
		}
	}
}

func TestKeyringNobody(t *testing.T) {
	raw := signed(payload("2024-06-01"), "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n")
	for name, k := range map[string]*signature.Keyring{
		"nil":           nil,
		"zero":          {},
		"no files":      ring(t),
		"only comments": ring(t, "allowed_signers", "# nobody yet\n"),
		"only revoked":  ring(t, "revoked_keys", adaKey),
	} {
		if !k.Empty() || len(k.Signers()) != 0 {
			t.Errorf("%s: not empty", name)
		}
		if v := k.Verify(raw, time.Time{}); v.Outcome != gitindex.NotChecked || v.Detail == "" {
			t.Errorf("%s: %+v", name, v)
		}
		if v := k.Verify([]byte(payload("2024-06-01")), time.Time{}); v.Outcome != gitindex.Unsigned || v.Detail == "" {
			t.Errorf("%s: %+v", name, v)
		}
		if v := k.Verify([]byte("junk"), time.Time{}); v.Outcome != gitindex.Malformed || v.Detail == "" {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

func TestDigest(t *testing.T) {
	digests := map[string]string{}
	for name, files := range map[string][]string{
		"none":          {},
		"ada":           {"a.pub", adaKey},
		"ada elsewhere": {"b.pub", adaKey},
		"eve":           {"a.pub", eveKey},
		"both":          {"a.pub", adaKey, "b.pub", eveKey},
		"swapped":       {"a.pub", eveKey, "b.pub", adaKey},
		"revoked":       {"a.pub", adaKey, "revoked_keys", adaKey},
	} {
		d := ring(t, files...).Digest()
		if other, ok := digests[d]; ok || !strings.HasPrefix(d, "sha256:") {
			t.Errorf("%s and %s share digest %s", name, other, d)
		}
		digests[d] = name
		if again := ring(t, files...).Digest(); again != d {
			t.Errorf("%s: digest %s, then %s", name, d, again)
		}
	}
}

func TestSigners(t *testing.T) {
	k := ring(t, "allowed_signers", `ada@acme.dev,*@home.dev valid-after="20240101",valid-before="20250101" `+adaKey+"\n*@acme.dev cert-authority "+eveKey,
		"ada.pub", adaKey+" Ada's laptop\n", "revoked_keys", "SHA256:"+strings.TrimPrefix(fingerprint(t, eveKey), "SHA256:")+" stolen")
	var got []string
	for _, key := range k.Signers() {
		got = append(got, fmt.Sprintf("%s %s %s %s %t %t", key.Fingerprint, strings.Join(key.Principals, "|"),
			key.ValidAfter.Format("2006-01-02"), key.ValidBefore.Format("2006-01-02"), key.CertAuthority, key.Revoked))
	}
	want := map[string]bool{
		fingerprint(t, adaKey) + " ada@acme.dev|*@home.dev 2024-01-01 2025-01-01 false false": true,
		fingerprint(t, adaKey) + " Ada's laptop 0001-01-01 0001-01-01 false false":            true,
		fingerprint(t, eveKey) + " *@acme.dev 0001-01-01 0001-01-01 true true":                true,
	}
	for _, line := range got {
		if !want[line] {
			t.Errorf("unexpected %s", line)
		}
		delete(want, line)
	}
	for line := range want {
		t.Errorf("missing %s", line)
	}
}

// The recorded web-flow keys, one of them in two versions: the newer wins.
func TestSignersOpenPGP(t *testing.T) {
	data := keyFiles(t, "mixed")
	delete(data, "mixed.allowed_signers")
	k, err := signature.NewKeyring(data)
	if err != nil {
		t.Fatal(err)
	}
	keys := k.Signers()
	if len(keys) != 2 {
		t.Fatalf("%d keys, want 2", len(keys))
	}
	for _, key := range keys {
		t.Logf("%+v", key)
		if key.Kind != "openpgp" || len(key.Fingerprint) != 40 || len(key.Principals) == 0 || !key.ValidBefore.IsZero() {
			t.Errorf("key %+v", key)
		}
	}
}

// A .pub file trusts a key for anything, with its comment as principal.
func TestPlainKeys(t *testing.T) {
	l := newLab(t)
	key := l.sshKey("ed", "ed25519")
	p := payload("2024-06-01")
	raw := signed(p, l.sshSign("ed", "git", p))
	for _, c := range []struct {
		name      string
		files     []string
		outcome   gitindex.Outcome
		principal string
	}{
		{"comment", []string{"ada.pub", key + " ada@acme.dev laptop"}, gitindex.Good, "ada@acme.dev laptop"},
		{"no comment", []string{"ada.sshpub", key}, gitindex.Good, ""},
		{"second line", []string{"team.pub", eveKey + " eve\n" + key + " ada"}, gitindex.Good, "ada"},
		{"another's", []string{"ada.pub", adaKey}, gitindex.UnknownSigner, ""},
		{"bounded elsewhere", []string{"ada.pub", key + " ada", "allowed_signers", `ada@acme.dev valid-before="20200101" ` + key}, gitindex.Good, "ada"},
		{"listed elsewhere", []string{"ada.pub", key + " ada", "allowed_signers", "ada@acme.dev " + key}, gitindex.Good, "ada@acme.dev"},
		{"revoked by key", []string{"ada.pub", key + " ada", "revoked_keys", key}, gitindex.SignerRevoked, "ada"},
		{"revoked by fingerprint", []string{"ada.pub", key + " ada", "revoked_keys", fingerprint(t, key)}, gitindex.SignerRevoked, "ada"},
	} {
		v := ring(t, c.files...).Verify(raw, at("2025-06-01"))
		if v.Outcome != c.outcome || v.Signer.Principal != c.principal || v.Signer.Fingerprint != fingerprint(t, key) {
			t.Errorf("%s: %+v", c.name, v)
		}
	}
}

func TestVerifyOtherKinds(t *testing.T) {
	k := ring(t, "ada.pub", adaKey)
	block := func(label, body string) string {
		return "-----BEGIN " + label + "-----\n" + body + "\n-----END " + label + "-----\n"
	}
	for name, c := range map[string]struct {
		armor   string
		outcome gitindex.Outcome
		detail  string
	}{
		"X.509":          {block("SIGNED MESSAGE", "AAAA"), gitindex.UnknownSigner, "X.509 signatures are not supported yet."},
		"PGP message":    {block("PGP MESSAGE", "\nAAAA"), gitindex.BadSignature, "unknown kind"},
		"SSH key":        {block("OPENSSH PRIVATE KEY", "AAAA"), gitindex.BadSignature, "unknown kind"},
		"SSH junk":       {block("SSH SIGNATURE", "AAAA"), gitindex.BadSignature, "cannot be read"},
		"SSH headers":    {block("SSH SIGNATURE", "Comment: x\n\nAAAA"), gitindex.BadSignature, "not base64"},
		"PGP junk":       {block("PGP SIGNATURE", "\nAAAA"), gitindex.BadSignature, "no OpenPGP packet"},
		"PGP checksum":   {block("PGP SIGNATURE", "\nAAAA\n=AAAA"), gitindex.BadSignature, "checksum"},
		"PGP no blank":   {block("PGP SIGNATURE", "AAAA"), gitindex.BadSignature, "no blank line"},
		"PGP key inside": {block("PGP SIGNATURE", "\nmQA="), gitindex.BadSignature, "cannot be read"},
		"PGP version 3":  {block("PGP SIGNATURE", "\niAQDAAEB"), gitindex.BadSignature, "version 3"},
		"PGP MD5":        {block("PGP SIGNATURE", "\niAQEAAEB"), gitindex.SignerNotValid, "MD5"},
		"PGP RIPEMD":     {block("PGP SIGNATURE", "\niAQEAAED"), gitindex.SignerNotValid, "RIPEMD-160"},
		"PGP two":        {block("PGP SIGNATURE", "\niAQEAAEIiAQEAAEI"), gitindex.BadSignature, "more than one packet"},
		"other END":      {"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END PGP SIGNATURE-----\n", gitindex.BadSignature, "END line"},
	} {
		v := k.Verify(signed(payload("2024-06-01"), c.armor), time.Time{})
		if v.Outcome != c.outcome || !strings.Contains(v.Detail, c.detail) {
			t.Errorf("%s: %s %q", name, v.Outcome, v.Detail)
		}
	}
}

// Many goroutines may share a Keyring.
func TestVerifyShared(t *testing.T) {
	records := recorded(t)[:200]
	k, err := signature.NewKeyring(keyFiles(t, records[0].batch))
	if err != nil {
		t.Fatal(err)
	}
	want := make([]gitindex.Verdict, len(records))
	for i, r := range records {
		want[i] = k.Verify(r.raw, time.Time{})
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i, r := range records {
				if v := k.Verify(r.raw, time.Time{}); v != want[i] {
					t.Errorf("%s: %+v, alone %+v", r.id, v, want[i])
				}
			}
		})
	}
	all.Wait()
}
