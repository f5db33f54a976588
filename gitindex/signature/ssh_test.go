package signature_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/gitward/gitward/gitindex"
)

// sshKey makes a key file and returns its public line without comment.
func (l *lab) sshKey(name string, kind ...string) string {
	l.t.Helper()
	l.must("", append([]string{"ssh-keygen", "-q", "-N", "", "-C", "", "-f", name, "-t"}, kind...)...)
	return strings.TrimSpace(l.read(name + ".pub"))
}

// sshSign returns the armored signature of a key file.
func (l *lab) sshSign(key, namespace, payload string, options ...string) string {
	l.t.Helper()
	file := l.write("payload", payload)
	os.Remove(file + ".sig")
	args := []string{"ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", key}
	l.must("", append(append(args, options...), file)...)
	return l.read("payload.sig")
}

// certify has an authority sign a key, and returns the certificate.
func (l *lab) certify(authority, key string, options ...string) ssh.PublicKey {
	l.t.Helper()
	args := append([]string{"ssh-keygen", "-q", "-s", authority, "-I", "test"}, options...)
	l.must("", append(args, key+".pub")...)
	cert, _, _, _, err := ssh.ParseAuthorizedKey([]byte(l.read(key + "-cert.pub")))
	if err != nil {
		l.t.Fatal(err)
	}
	return cert
}

// under puts another public key, such as a certificate, into a signature. The
// signature does not cover it.
func under(t testing.TB, key ssh.PublicKey, armor string) string {
	t.Helper()
	sig, err := sshsig.Unarmor([]byte(armor))
	if err != nil {
		t.Fatal(err)
	}
	sig.PublicKey = key
	return string(sshsig.Armor(sig))
}

var goodSSH = regexp.MustCompile(`Good "git" signature for (.*) with`)

// sshSaid is the principal git names, or what it complains of.
func sshSaid(out string) string {
	if m := goodSSH.FindStringSubmatch(out); m != nil {
		return m[1]
	}
	for _, words := range []string{"No principal matched", "Could not verify signature"} {
		if strings.Contains(out, words) {
			return words
		}
	}
	return "refused"
}

// Keys, certificates and signatures made with ssh-keygen, judged by git and by
// this package with the same allowed_signers file.
func TestSSHBesideGit(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds: left out with -short")
	}
	l := newLab(t)
	const day = "2024-06-01"
	p := payload(day)
	key := map[string]string{}
	for name, kind := range map[string][]string{
		"ed": {"ed25519"}, "eve": {"ed25519"}, "ca": {"ed25519"}, "ca2": {"ed25519"}, "user": {"ed25519"},
		"p256": {"ecdsa", "-b", "256"}, "p521": {"ecdsa", "-b", "521"},
		"rsa": {"rsa", "-b", "3072"}, "weak": {"rsa", "-b", "1024"}, "weakca": {"rsa", "-b", "1024"},
	} {
		key[name] = l.sshKey(name, kind...)
	}
	byKey := map[string]string{}
	for name := range key {
		byKey[name] = l.sshSign(name, "git", p)
	}
	ed, user := byKey["ed"], byKey["user"]
	cert := func(authority string, options ...string) string {
		return under(t, l.certify(authority, "user", options...), user)
	}
	const always = "-Valways:forever"
	inTime, past := "-V20240101:20250101", "-V20230101:20240101"
	adas := cert("ca", "-n", "ada@acme.dev", inTime)

	type situation struct {
		beside
		armor, allowed, revoked string
		principal               string
	}
	cases := []situation{
		{beside{"ed25519", 0, "ada@acme.dev", gitindex.Good, ""}, ed, "ada@acme.dev {ed}", "", ""},
		{beside{"ecdsa p256", 0, "ada@acme.dev", gitindex.Good, ""}, byKey["p256"], "ada@acme.dev {p256} a comment", "", ""},
		{beside{"ecdsa p521", 0, "ada@acme.dev", gitindex.Good, ""}, byKey["p521"], "ada@acme.dev {p521}", "", ""},
		{beside{"rsa3072", 0, "ada@acme.dev", gitindex.Good, ""}, byKey["rsa"], "ada@acme.dev {rsa}", "", ""},
		{beside{"sha256 of the message", 0, "ada@acme.dev", gitindex.Good, ""}, l.sshSign("ed", "git", p, "-O", "hashalg=sha256"), "ada@acme.dev {ed}", "", ""},
		{beside{"stranger", 1, "No principal matched", gitindex.UnknownSigner, ""}, byKey["eve"], "ada@acme.dev {ed}", "", ""},
		{beside{"stranger under a trusted key", 1, "Could not verify signature", gitindex.BadSignature, ""}, under(t, publicKey(t, key["ed"]), byKey["eve"]), "ada@acme.dev {ed}", "", ""},
		{beside{"comments and blank lines", 0, "ada@acme.dev", gitindex.Good, ""}, ed, "# Ada\n\n  \t\nada@acme.dev {ed}\n", "", ""},
		{beside{"quoted principals", 0, "Ada Lovelace", gitindex.Good, ""}, ed, `"Ada Lovelace" {ed}`, "", ""},
		{beside{"first of two principals", 0, "ada@acme.dev", gitindex.Good, ""}, ed, "ada@acme.dev,ada@home.dev {ed}", "", ""},
		{beside{"wildcard", 0, "*@acme.dev", gitindex.Good, ""}, ed, "*@acme.dev {ed}", "", ""},
		{beside{"wildcard, negated behind", 0, "*@acme.dev", gitindex.Good, ""}, ed, "*@acme.dev,!eve@acme.dev {ed}", "", ""},
		{beside{"wildcard, negated before", 0, "!eve@acme.dev", gitindex.Good, ""}, ed, "!eve@acme.dev,*@acme.dev {ed}", "", ""},
		{beside{"negated only", 1, "Could not verify signature", gitindex.SignerNotValid, ""}, ed, "!eve@acme.dev {ed}", "", ""},
		{beside{"negates itself", 0, "*@acme.dev", gitindex.Good, ""}, ed, "ada@acme.dev,*@acme.dev,!ada@acme.dev {ed}", "", ""},
		{beside{"namespaces with git", 0, "ada@acme.dev", gitindex.Good, ""}, ed, `ada@acme.dev namespaces="file,git" {ed}`, "", ""},
		{beside{"namespaces with a wildcard", 0, "ada@acme.dev", gitindex.Good, ""}, ed, `ada@acme.dev namespaces="g?t" {ed}`, "", ""},
		{beside{"namespaces without git", 1, "Could not verify signature", gitindex.SignerNotValid, ""}, ed, `ada@acme.dev namespaces="file" {ed}`, "", ""},
		{beside{"namespaces empty", 1, "Could not verify signature", gitindex.SignerNotValid, ""}, ed, `ada@acme.dev namespaces="" {ed}`, "", ""},
		{beside{"second line with git, same principal", 0, "ada@acme.dev", gitindex.Good, ""}, ed, "ada@acme.dev namespaces=\"file\" {ed}\nada@acme.dev {ed}", "", ""},
		{beside{"second line with git, other principal", 1, "Could not verify signature", gitindex.SignerNotValid, ""}, ed, "ada@acme.dev namespaces=\"file\" {ed}\nada@home.dev {ed}", "", ""},
		{beside{"made for files", 1, "Could not verify signature", gitindex.SignerNotValid, ""}, l.sshSign("ed", "file", p), "ada@acme.dev {ed}", "", ""},
		{beside{"valid-after passed", 0, "ada@acme.dev", gitindex.Good, ""}, ed, `ada@acme.dev valid-after="20240601115959Z" {ed}`, "", ""},
		{beside{"valid-after to the second", 0, "ada@acme.dev", gitindex.Good, ""}, ed, `ada@acme.dev valid-after="20240601120000" {ed}`, "", ""},
		{beside{"valid-after to come", 1, "No principal matched", gitindex.SignerExpired, ""}, ed, `ada@acme.dev valid-after="20240601120001Z" {ed}`, "", ""},
		{beside{"valid-before to come", 0, "ada@acme.dev", gitindex.Good, ""}, ed, `ada@acme.dev VALID-BEFORE="20240602" {ed}`, "", ""},
		{beside{"valid-before to the second", 0, "ada@acme.dev", gitindex.Good, ""}, ed, `ada@acme.dev valid-before="202406011200UTC" {ed}`, "", ""},
		{beside{"valid-before passed", 1, "No principal matched", gitindex.SignerExpired, ""}, ed, `ada@acme.dev valid-before="20240601115959z" {ed}`, "", ""},
		{beside{"second line still valid", 0, "ada@home.dev", gitindex.Good, ""}, ed, "ada@acme.dev valid-before=\"20240101\" {ed}\nada@home.dev {ed}", "", ""},
		{beside{"all options", 0, "ada@acme.dev", gitindex.Good, ""}, ed, `ada@acme.dev namespaces="git",valid-after="20240101",valid-before="20250101" {ed} note`, "", ""},
		{beside{"revoked", 1, "Could not verify signature", gitindex.SignerRevoked, ""}, ed, "ada@acme.dev {ed}", "# gone\n{ed} ada", ""},
		{beside{"another is revoked", 0, "ada@acme.dev", gitindex.Good, ""}, ed, "ada@acme.dev {ed}", "{eve}", ""},
		{beside{"authority's own key signs", 1, "No principal matched", gitindex.UnknownSigner, ""}, byKey["ca"], "*@acme.dev cert-authority {ca}", "", ""},

		{beside{"certificate", 0, "ada@acme.dev", gitindex.Good, ""}, adas, "*@acme.dev cert-authority {ca}", "", ""},
		{beside{"certificate without end", 0, "ada@acme.dev", gitindex.Good, ""}, cert("ca", "-n", "ada@acme.dev", always), "ada@acme.dev cert-authority {ca}", "", ""},
		{beside{"certificate of another authority", 1, "No principal matched", gitindex.UnknownSigner, ""}, adas, "*@acme.dev cert-authority {ca2}", "", ""},
		{beside{"certificate, authority without option", 1, "No principal matched", gitindex.UnknownSigner, ""}, adas, "*@acme.dev {ca}", "", ""},
		{beside{"certificate, its bare key listed", 1, "No principal matched", gitindex.UnknownSigner, ""}, adas, "ada@acme.dev {user}", "", ""},
		{beside{"certificate for others", 1, "No principal matched", gitindex.SignerNotValid, ""}, adas, "*@home.dev cert-authority {ca}", "", ""},
		{beside{"certificate, second authority line", 0, "ada@acme.dev", gitindex.Good, ""}, adas, "*@home.dev cert-authority {ca}\n*@acme.dev cert-authority {ca}", "", ""},
		{beside{"certificate of two principals", 0, "ada@acme.dev", gitindex.Good, ""}, cert("ca", "-n", "root@home.dev,ada@acme.dev", inTime), "*@acme.dev cert-authority {ca}", "", ""},
		{beside{"certificate, principal negated", 1, "Could not verify signature", gitindex.SignerNotValid, ""}, adas, "*@acme.dev,!ada@acme.dev cert-authority {ca}", "", ""},
		{beside{"certificate without principals", 1, "No principal matched", gitindex.SignerNotValid, ""}, cert("ca", inTime), "* cert-authority {ca}", "", ""},
		{beside{"certificate for hosts", 1, "No principal matched", gitindex.SignerNotValid, ""}, cert("ca", "-h", "-n", "ada@acme.dev", inTime), "* cert-authority {ca}", "", ""},
		{beside{"certificate expired", 1, "No principal matched", gitindex.SignerExpired, ""}, cert("ca", "-n", "ada@acme.dev", past), "* cert-authority {ca}", "", ""},
		{beside{"certificate to come", 1, "No principal matched", gitindex.SignerExpired, ""}, cert("ca", "-n", "ada@acme.dev", "-V20250101:20260101"), "* cert-authority {ca}", "", ""},
		{beside{"certificate, line expired", 1, "No principal matched", gitindex.SignerExpired, ""}, adas, `*@acme.dev cert-authority,valid-before="20240101" {ca}`, "", ""},
		{beside{"certificate, namespaces without git", 1, "Could not verify signature", gitindex.SignerNotValid, ""}, adas, `*@acme.dev cert-authority,namespaces="file" {ca}`, "", ""},
		{beside{"certificate, its key revoked", 1, "Could not verify signature", gitindex.SignerRevoked, ""}, adas, "*@acme.dev cert-authority {ca}", "{user}", ""},
		{beside{"certificate, authority revoked", 1, "Could not verify signature", gitindex.SignerRevoked, ""}, adas, "*@acme.dev cert-authority {ca}", "{ca}", ""},
		{beside{"certificate with a forged name", 1, "No principal matched", gitindex.UnknownSigner, ""}, forged(t, adas), "* cert-authority {ca}", "", ""},

		{beside{"RSA of 1024 bits", 0, "ada@acme.dev", gitindex.SignerNotValid, "stricter: RSA from 2048 bits"}, byKey["weak"], "ada@acme.dev {weak}", "", ""},
		{beside{"authority of 1024 bits", 0, "ada@acme.dev", gitindex.SignerNotValid, "stricter: RSA from 2048 bits"}, cert("weakca", "-n", "ada@acme.dev", inTime), "*@acme.dev cert-authority {weakca}", "", ""},
		{beside{"certificate with forced command", 0, "ada@acme.dev", gitindex.SignerNotValid, "stricter: no critical options"}, cert("ca", "-n", "ada@acme.dev", inTime, "-O", "force-command=true"), "*@acme.dev cert-authority {ca}", "", ""},
		{beside{"certificate for one address", 0, "ada@acme.dev", gitindex.SignerNotValid, "stricter: no critical options"}, cert("ca", "-n", "ada@acme.dev", inTime, "-O", "source-address=10.0.0.0/8"), "*@acme.dev cert-authority {ca}", "", ""},
	}
	touched, line := securityKey(t, p, 1)
	untouched, line2 := securityKey(t, p, 0)
	key["sk"], key["sk2"] = line, line2
	cases = append(cases,
		situation{beside{"security key", 0, "ada@acme.dev", gitindex.Good, ""}, touched, "ada@acme.dev {sk}", "", ""},
		situation{beside{"security key, not touched", 0, "ada@acme.dev", gitindex.SignerNotValid, "stricter: somebody must have touched it"}, untouched, "ada@acme.dev {sk2}", "", ""},
	)

	var names []string
	for name := range key {
		names = append(names, "{"+name+"}", key[name])
	}
	fill := strings.NewReplacer(names...)
	for _, c := range cases {
		allowed, revoked := fill.Replace(c.allowed), fill.Replace(c.revoked)
		files := []string{"allowed_signers", allowed}
		config := []string{"gpg.ssh.allowedSignersFile=" + l.write("allowed", allowed)}
		if revoked != "" {
			files = append(files, "revoked_keys", revoked)
			config = append(config, "gpg.ssh.revocationFile="+l.write("revoked", revoked))
		}
		raw := signed(p, c.armor)
		rc, out := l.gitVerify(raw, config...)
		v := ring(t, files...).Verify(raw, time.Time{})
		c.check(t, rc, sshSaid(out), v)
		if rc == 0 && v.Outcome == gitindex.Good && v.Signer.Principal != c.said {
			t.Errorf("%s: principal %q, git names %q", c.name, v.Signer.Principal, c.said)
		}
		if strings.Contains(out, "SHA256:") && v.Signer.Fingerprint != "" && !strings.Contains(out, v.Signer.Fingerprint) {
			t.Errorf("%s: fingerprint %s, git says %s", c.name, v.Signer.Fingerprint, out)
		}
	}
}

// The attack of a backdated commit: git takes an expired certificate, and a key
// whose time is over, at the commit's own word.
func TestSSHBackdated(t *testing.T) {
	l := newLab(t)
	ca, user := l.sshKey("ca", "ed25519"), l.sshKey("user", "ed25519")
	p := payload("2024-06-01") // made today, says the attacker's clock
	armor := l.sshSign("user", "git", p)
	cert := under(t, l.certify("ca", "user", "-n", "ada@acme.dev", "-V20240101:20250101"), armor)
	for _, c := range []struct{ name, armor, allowed string }{
		{"expired certificate", cert, "*@acme.dev cert-authority " + ca},
		{"key trusted until 2025", armor, `ada@acme.dev valid-before="20250101Z" ` + user},
	} {
		raw := signed(p, c.armor)
		rc, out := l.gitVerify(raw, "gpg.ssh.allowedSignersFile="+l.write("allowed", c.allowed))
		if rc != 0 {
			t.Errorf("%s: the attack no longer works on git: %s", c.name, out)
		}
		k := ring(t, "allowed_signers", c.allowed)
		if v := k.Verify(raw, at("2024-06-02")); v.Outcome != gitindex.Good {
			t.Errorf("%s, seen in time: %s %s", c.name, v.Outcome, v.Detail)
		}
		if v := k.Verify(raw, at("2026-01-01")); v.Outcome != gitindex.SignerExpired {
			t.Errorf("%s, seen late: %s %s", c.name, v.Outcome, v.Detail)
		}
	}
}

// Without a Z, ssh-keygen takes its machine's zone; here it is UTC.
func TestSSHBoundWithoutZone(t *testing.T) {
	l := newLab(t)
	key := l.sshKey("ed", "ed25519")
	p := payload("2024-06-01") // noon UTC, 8:00 in New York
	raw := signed(p, l.sshSign("ed", "git", p))
	allowed := `ada@acme.dev valid-after="202406011000" ` + key
	l.write("allowed", allowed)
	id := strings.TrimSpace(l.must(string(raw), "git", "-C", "repo", "hash-object", "-t", "commit", "-w", "--stdin"))
	cmd := l.command("", "git", "-C", "repo", "-c", "gpg.ssh.allowedSignersFile="+l.dir+"/allowed", "verify-commit", "--raw", id)
	cmd.Env = append(cmd.Env, "TZ=EST5EDT,M3.2.0,M11.1.0")
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("git in New York accepts: %s", out)
	}
	if v := ring(t, "allowed_signers", allowed).Verify(raw, time.Time{}); v.Outcome != gitindex.Good {
		t.Errorf("ours: %s %s", v.Outcome, v.Detail)
	}
}

func publicKey(t testing.TB, line string) ssh.PublicKey {
	t.Helper()
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// forged is a signature whose certificate names another principal than its
// authority signed.
func forged(t testing.TB, armor string) string {
	t.Helper()
	sig, err := sshsig.Unarmor([]byte(armor))
	if err != nil {
		t.Fatal(err)
	}
	cert := *sig.PublicKey.(*ssh.Certificate)
	cert.ValidPrincipals = []string{"root@acme.dev"}
	return under(t, &cert, armor)
}

// securityKey signs as a FIDO token does (PROTOCOL.u2f), with the given flags.
func securityKey(t testing.TB, payload string, flags byte) (armor, line string) {
	t.Helper()
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	blob := ssh.Marshal(struct {
		Kind        string
		Key         []byte
		Application string
	}{ssh.KeyAlgoSKED25519, pub, "ssh:"})
	key, err := ssh.ParsePublicKey(blob)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha512.Sum512([]byte(payload))
	covered := append([]byte("SSHSIG"), ssh.Marshal(struct{ Namespace, Reserved, Hash, Digest string }{"git", "", "sha512", string(digest[:])})...)
	application, message := sha256.Sum256([]byte("ssh:")), sha256.Sum256(covered)
	counter := binary.BigEndian.AppendUint32([]byte{flags}, 7)
	signature := ed25519.Sign(private, append(append(application[:], counter...), message[:]...))
	sig := sshsig.Signature{
		Version: 1, PublicKey: key, Namespace: "git", HashAlgorithm: sshsig.HashSHA512,
		Signature: &ssh.Signature{Format: key.Type(), Blob: signature, Rest: counter},
	}
	return string(sshsig.Armor(&sig)), fmt.Sprintf("%s %s", key.Type(), base64.StdEncoding.EncodeToString(blob))
}
