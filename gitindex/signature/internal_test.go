package signature

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"time"
)

func TestMatchPattern(t *testing.T) {
	for _, c := range []struct {
		text, list string
		want       bool
	}{
		{"ada@acme.dev", "ada@acme.dev", true},
		{"ada@acme.dev", "*", true},
		{"ada@acme.dev", "*@acme.dev", true},
		{"ada@acme.dev", "ada@*", true},
		{"ada@acme.dev", "a?a@acme.d*v", true},
		{"ada@acme.dev", "*a*a*e*", true},
		{"ada@acme.dev", "*@acme.de", false},
		{"ada@acme.dev", "Ada@acme.dev", false},
		{"ada@acme.dev", "ada@acme.dev?", false},
		{"ada@acme.dev", "", false},
		{"", "*", true},
		{"", "?", false},
		{"ada@acme.dev", "*@home.dev,*@acme.dev", true},
		{"ada@acme.dev", "*@acme.dev,!ada@*", false},
		{"ada@acme.dev", "!ada@*,*@acme.dev", false},
		{"ada@acme.dev", "!eve@*,*@acme.dev", true},
		{"ada@acme.dev", "!eve@*", false},
	} {
		if got := matchList(c.text, c.list); got != c.want {
			t.Errorf("%q with %q: %t", c.text, c.list, got)
		}
	}
}

// A pattern of many stars must not take exponential time.
func TestMatchPatternTime(t *testing.T) {
	start := time.Now()
	if matchPattern(strings.Repeat("a", 5000), strings.Repeat("*a", 500)+"b") {
		t.Error("matched")
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %s", took)
	}
}

func FuzzAllowedSigners(f *testing.F) {
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
	for _, line := range []string{
		"ada " + key, `"ada l" ` + key + " comment", `ada namespaces="git",valid-after="20240101Z" ` + key,
		`*@x,!y cert-authority,valid-before="20240101000000" ` + key, `a"b c"d ` + key, "ada cert-authority", `ada namespaces="\"" ` + key,
	} {
		f.Add(line, "ada@acme.dev")
	}
	f.Fuzz(func(t *testing.T, text, who string) {
		line, err := parseAllowed(strings.Trim(text, " \t\r\n"))
		if err != nil {
			if strings.Contains(err.Error(), key[40:]) {
				t.Fatalf("key material in %v", err)
			}
			return
		}
		if line.principals == "" || line.key == "" || line.fingerprint == "" {
			t.Fatalf("%q: half a line: %+v", text, line)
		}
		if !line.after.IsZero() && !line.before.IsZero() && line.before.Before(line.after) {
			t.Fatalf("%q: crossed bounds", text)
		}
		matchList(who, line.principals)
		if _, err := NewKeyring(map[string][]byte{"allowed_signers": []byte(text)}); err != nil && !strings.ContainsAny(text, "\n\x00#") {
			t.Fatalf("%q: a line is read alone but not in a file: %v", text, err)
		}
	})
}

func FuzzSSHSig(f *testing.F) {
	f.Add([]byte("SSHSIG\x00\x00\x00\x01"))
	for _, armor := range recordedArmors(f, labelSSH) {
		f.Add(armor)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		sig, err := parseSSHSig(body)
		if err != nil {
			return
		}
		if !bytes.Equal(sig.Marshal(), body) {
			t.Fatal("an accepted signature has another form")
		}
		s := signerOf(sig.PublicKey)
		weak(&s, sig)
		// Trusting the key must not make the signature hold.
		ring := sshRing{plain: map[string]string{s.fingerprint: ""}}
		if v := ring.verify([]byte("not what was signed"), body, moment{}); v.Outcome.Trusted() {
			t.Fatal("a signature holds for anything")
		}
	})
}

func FuzzPGPArmor(f *testing.F) {
	f.Add([]byte("-----BEGIN PGP SIGNATURE-----\nVersion: x\n\nAAAA\n=wkaI\n-----END PGP SIGNATURE-----\n"))
	f.Add([]byte("-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"))
	for _, body := range recordedArmors(f, labelPGP) {
		f.Add([]byte("-----BEGIN PGP SIGNATURE-----\n\n" + base64.StdEncoding.EncodeToString(body) + "\n-----END PGP SIGNATURE-----\n"))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		label, body, err := dearmor(text)
		if err != nil {
			return
		}
		again := "-----BEGIN " + label + "-----\n"
		if strings.HasPrefix(label, "PGP ") {
			again += "\n"
		}
		again += base64.StdEncoding.EncodeToString(body) + "\n-----END " + label + "-----\n"
		label2, body2, err := dearmor([]byte(again))
		if len(again) <= maxArmor && (err != nil || label2 != label || !bytes.Equal(body, body2)) {
			t.Fatalf("read again as %q: %v", label2, err)
		}
		if _, err := frame(body); err == nil {
			readSignature(body)
		}
		pgpMerge{}.read("fuzz.asc", text)
	})
}
