package signature_test

import (
	"testing"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/object"
	"github.com/gitward/gitward/gitindex/signature"
)

// No change to a commit may turn a verdict into a good one, and none may break
// the verifier.
func FuzzCommitVerify(f *testing.F) {
	k, err := signature.NewKeyring(keyFiles(f, "mixed"))
	if err != nil {
		f.Fatal(err)
	}
	good, seen := map[string]bool{}, map[string]int{}
	for _, r := range recorded(f) {
		if seen[r.kind+r.algorithm+r.git] < 2 {
			f.Add(r.raw)
			seen[r.kind+r.algorithm+r.git]++
		}
		if c, err := object.ParseCommit(r.raw); err == nil && r.git == "G" {
			good[string(c.Payload)] = true
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		v := k.Verify(raw, time.Time{})
		if (v.Detail == "") != (v.Outcome == gitindex.Good) {
			t.Fatalf("%+v", v)
		}
		if v.Outcome != gitindex.Good {
			return
		}
		if c, err := object.ParseCommit(raw); err != nil || !good[string(c.Payload)] {
			t.Fatal("a commit that nobody signed is good")
		}
	})
}

func benchmark(b *testing.B, kind func(l *lab, payload string) (raw []byte, k *signature.Keyring)) {
	l := newLab(b)
	raw, k := kind(l, payload("2024-06-01"))
	if v := k.Verify(raw, time.Time{}); v.Outcome != gitindex.Good {
		b.Fatalf("%+v", v)
	}
	b.ReportAllocs()
	for b.Loop() {
		k.Verify(raw, time.Time{})
	}
}

func BenchmarkVerifySSHEd25519(b *testing.B) {
	benchmark(b, func(l *lab, p string) ([]byte, *signature.Keyring) {
		k := ring(b, "allowed_signers", "ada@acme.dev "+l.sshKey("ed", "ed25519"))
		return signed(p, l.sshSign("ed", "git", p)), k
	})
}

func BenchmarkVerifyPGPRSA4096(b *testing.B) { benchmarkPGP(b, "rsa4096") }
func BenchmarkVerifyPGPEd25519(b *testing.B) { benchmarkPGP(b, "ed25519") }

func benchmarkPGP(b *testing.B, algorithm string) {
	benchmark(b, func(l *lab, p string) ([]byte, *signature.Keyring) {
		key := l.pgpKey("2024-01-01", "Ada <ada@acme.dev>", algorithm, "0")
		return l.pgpSign("2024-06-01", key, p), ring(b, "ada.asc", l.export(key))
	})
}
