package attack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/test/gitserver"
)

// wants tells what the forge's gate says of each value of the ConfigMap.
func (f *forge) wants(s *gitindex.Snapshot, good string, evil ...string) {
	f.t.Helper()
	c := f.cluster(s)
	c.rules[0].Lag = 0
	f.now = f.now.Add(time.Second)
	g := c.gate()
	g.Now = func() time.Time { return f.now }
	decide := func(value string) gate.Decision { return g.Decide(context.Background(), write(f.t, "", cm(value))) }
	if good != "" {
		admitted(f.t, decide(good))
	}
	for _, value := range evil {
		if d := decide(value); d.Allowed {
			f.t.Errorf("%q is admitted, from %s", value, d.Manifest.Commit.Verdict.Outcome)
		}
	}
	if d := g.Decide(context.Background(), removal(f.t, cm(good))); d.Allowed == (good != "") {
		f.t.Errorf("deletion admitted: %v", d.Allowed)
	}
}

// tree is what the tip holds, as somebody who trusts the tip would read it.
func (f *forge) tip(path string) string {
	f.t.Helper()
	out, err := f.repo.Git("show", "main:"+path)
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

func TestUntrustedCommitsChangeNothing(t *testing.T) {
	for name, attack := range map[string]func(f *forge){
		"an edit":          func(f *forge) { f.put(nil, "a.yaml", cm("evil")) },
		"a stranger's key": func(f *forge) { f.put(f.eve, "a.yaml", cm("evil")) },
		"a second file":    func(f *forge) { f.put(nil, "b.yaml", cm("evil")) },
		"under a signed commit that touches another file": func(f *forge) {
			f.put(nil, "a.yaml", cm("evil"))
			f.put(f.ada, "other.yaml", "{}")
		},
		"a directory in place of the file": func(f *forge) {
			f.commit(gitserver.CommitOptions{Delete: []string{"a.yaml"}})
			f.commit(gitserver.CommitOptions{Files: map[string]string{"a.yaml/a.yaml": cm("evil")}})
			f.put(f.ada, "other.yaml", "{}")
		},
		"a link in place of the file": func(f *forge) {
			f.commit(gitserver.CommitOptions{Files: map[string]string{"a.yaml": "b.yaml"}, Modes: map[string]uint32{"a.yaml": 0o120000}})
			f.put(nil, "b.yaml", cm("evil"))
		},
		"a merge of an unsigned branch by nobody": func(f *forge) {
			side := f.commit(gitserver.CommitOptions{Ref: "refs/heads/side", Parents: []string{f.repo.Ref("refs/heads/main")},
				Files: map[string]string{"a.yaml": cm("evil")}, Signer: nil})
			f.commit(gitserver.CommitOptions{Parents: []string{f.repo.Ref("refs/heads/main"), side}, Files: map[string]string{"a.yaml": cm("evil")}})
		},
		"a signature taken from another commit": func(f *forge) {
			signed, err := f.repo.Git("cat-file", "commit", "main")
			if err != nil {
				f.t.Fatal(err)
			}
			f.put(nil, "a.yaml", cm("evil"))
			plain, _ := f.repo.Git("cat-file", "commit", "main")
			from, to := strings.Index(signed, "gpgsig "), strings.Index(signed, "-----END SSH SIGNATURE-----\n")+len("-----END SSH SIGNATURE-----\n")
			forged := strings.Replace(plain, "\n\n", "\n"+signed[from:to]+"\n", 1)
			id, err := f.repo.Object("commit", []byte(forged))
			if err != nil {
				f.t.Fatal(err)
			}
			if err := f.repo.SetRef("refs/heads/main", id); err != nil {
				f.t.Fatal(err)
			}
		},
		"a renderer's marker":            func(f *forge) { f.put(nil, "kustomization.yaml", "resources: []\n") },
		"a deletion":                     func(f *forge) { f.commit(gitserver.CommitOptions{Delete: []string{"a.yaml"}}) },
		"a document that does not parse": func(f *forge) { f.put(nil, "a.yaml", cm("1")+"---\n\t:") },
	} {
		t.Run(name, func(t *testing.T) {
			f := newForge(t)
			f.put(f.ada, "a.yaml", cm("1"))
			f.sync()
			attack(f)
			f.wants(f.sync(), "1", "evil")
			// Read afresh, without what was seen on the way, it is the same.
			again := *f
			again.settings.Dir, again.tracker = t.TempDir(), nil
			again.wants(again.sync(), "1", "evil")
		})
	}
}

// A revert by a trusted hand, and a later signed merge, bring back what was
// there and nothing else.
func TestTrustedCommitsAfterUntrustedOnes(t *testing.T) {
	f := newForge(t)
	first := f.put(f.ada, "a.yaml", cm("1"))
	f.sync()
	f.put(nil, "a.yaml", cm("evil"))
	f.put(f.ada, "a.yaml", cm("1"))
	f.wants(f.sync(), "1", "evil")
	f.put(nil, "a.yaml", cm("evil"))
	f.put(nil, "a.yaml", cm("worse"))
	// A merge whose own change is elsewhere does not vouch for the edit below it.
	side := f.commit(gitserver.CommitOptions{Ref: "refs/heads/side", Parents: []string{first}, Files: map[string]string{"c.yaml": "{}"}, Signer: f.ada})
	f.commit(gitserver.CommitOptions{Parents: []string{f.repo.Ref("refs/heads/main"), side}, Files: map[string]string{"c.yaml": "{}"}, Signer: f.ada})
	if got := f.tip("a.yaml"); !strings.Contains(got, "worse") {
		t.Fatalf("the tip should hold the attack: %s", got)
	}
	f.wants(f.sync(), "1", "evil", "worse")
	// A signed octopus, too.
	other := f.commit(gitserver.CommitOptions{Ref: "refs/heads/other", Parents: []string{first}, Files: map[string]string{"a.yaml": cm("evil")}})
	f.commit(gitserver.CommitOptions{Parents: []string{f.repo.Ref("refs/heads/main"), side, other}, Files: map[string]string{"d.yaml": "{}"}, Signer: f.ada})
	f.wants(f.sync(), "1", "evil", "worse")
}

// The accepted revision moves forward along first parents or not at all.
func TestHistoryIsNotRewritten(t *testing.T) {
	for name, attack := range map[string]func(f *forge, first, second string){
		"back": func(f *forge, first, _ string) { f.repo.SetRef("refs/heads/main", first) },
		"another root": func(f *forge, _, _ string) {
			f.commit(gitserver.CommitOptions{Parents: []string{}, Files: map[string]string{"a.yaml": cm("1")}, Signer: f.ada})
		},
		"beside": func(f *forge, first, _ string) {
			f.commit(gitserver.CommitOptions{Parents: []string{first}, Files: map[string]string{"b.yaml": "{}"}, Signer: f.ada})
		},
		"a merge the wrong way round, signed": func(f *forge, first, second string) {
			side := f.commit(gitserver.CommitOptions{Ref: "refs/heads/side", Parents: []string{first}, Files: map[string]string{"a.yaml": cm("1")}})
			f.commit(gitserver.CommitOptions{Parents: []string{side, second}, Files: map[string]string{"a.yaml": cm("1")}, Signer: f.ada})
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newForge(t)
			first := f.put(f.ada, "a.yaml", cm("1"))
			second := f.put(f.ada, "a.yaml", cm("2"))
			f.sync()
			attack(f, first, second)
			s := f.sync()
			if s.Frozen == "" {
				t.Error("the Origin is not frozen")
			}
			f.wants(s, "2", "1")
			// And so after a restart, with the index and without it.
			if err := f.tracker.Save(); err != nil {
				t.Fatal(err)
			}
			f.tracker.Close()
			f.open()
			f.wants(f.sync(), "2", "1")
			fresh := *f
			fresh.settings.Dir, fresh.tracker, fresh.settings.HighWater = t.TempDir(), nil, second
			if s := fresh.sync(); s.Accepted != nil && name != "a merge the wrong way round, signed" {
				t.Error("without its index the replica accepts a ref that lacks the high-water mark")
			}
			// When the ref is put back, it follows again.
			f.repo.SetRef("refs/heads/main", second)
			f.put(f.ada, "a.yaml", cm("3"))
			f.wants(f.sync(), "3", "1")
		})
	}
}

// Head and History: neither lets a commit in that nobody trusted vouches for.
func TestOtherWaysToTrust(t *testing.T) {
	f := newForge(t)
	f.settings.Spec.Signers.Require = v1alpha1.RequireHead
	f.put(f.ada, "a.yaml", cm("1"))
	f.put(nil, "a.yaml", cm("evil"))
	f.wants(f.sync(), "1", "evil")

	f = newForge(t)
	anchor := f.put(nil, "a.yaml", cm("0"))
	f.settings.Spec.Signers.Require, f.settings.Spec.Signers.After = v1alpha1.RequireHistory, anchor
	f.put(f.ada, "a.yaml", cm("1"))
	side := f.commit(gitserver.CommitOptions{Ref: "refs/heads/side", Parents: []string{anchor}, Files: map[string]string{"b.yaml": "{}"}})
	f.commit(gitserver.CommitOptions{Parents: []string{f.repo.Ref("refs/heads/main"), side}, Files: map[string]string{"a.yaml": cm("2"), "b.yaml": "{}"}, Signer: f.ada})
	f.put(f.ada, "a.yaml", cm("3"))
	f.wants(f.sync(), "1", "2", "3")
}

// A trusted rename vouches for what it moves: that is what signing it says.
func TestSignedRenameVouches(t *testing.T) {
	f := newForge(t)
	f.put(f.ada, "other.yaml", "{}")
	f.put(nil, "a.yaml", cm("theirs"))
	f.wants(f.sync(), "", "theirs")
	f.commit(gitserver.CommitOptions{Delete: []string{"a.yaml"}, Files: map[string]string{"b.yaml": cm("theirs")}, Signer: f.ada})
	f.wants(f.sync(), "theirs")
}

// A file that Git would read one way and others another belongs to nobody.
func TestMalformedTrees(t *testing.T) {
	f := newForge(t)
	f.put(f.ada, "a.yaml", cm("1"))
	f.sync()
	blob := func(content string) []byte {
		id, err := f.repo.Object("blob", []byte(content))
		if err != nil {
			t.Fatal(err)
		}
		return unhex(t, id)
	}
	raw := append(append([]byte("100644 a.yaml\x00"), blob(cm("evil"))...), append([]byte("100644 a.yaml\x00"), blob(cm("1"))...)...)
	tree, err := f.repo.Object("tree", raw)
	if err != nil {
		t.Fatal(err)
	}
	f.commit(gitserver.CommitOptions{Tree: tree, Signer: f.ada})
	f.wants(f.sync(), "1", "evil")
}

func unhex(t *testing.T, id string) []byte {
	t.Helper()
	out := make([]byte, 0, 20)
	for i := 0; i+1 < len(id); i += 2 {
		out = append(out, nibble(id[i])<<4|nibble(id[i+1]))
	}
	return out
}

func nibble(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

// An index that somebody edited is built anew, not believed.
func TestPersistedIndexIsNotBelieved(t *testing.T) {
	f := newForge(t)
	f.put(f.ada, "a.yaml", cm("goodone"))
	f.put(nil, "a.yaml", cm("evilone"))
	f.sync()
	if err := f.tracker.Save(); err != nil {
		t.Fatal(err)
	}
	f.tracker.Close()
	file := filepath.Join(f.settings.Dir, "index")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	edited := bytes.ReplaceAll(data, []byte("goodone"), []byte("evilone"))
	if bytes.Equal(edited, data) || sha256.Sum256(edited) == sha256.Sum256(data) {
		t.Fatal("the index does not hold the value: edit something else")
	}
	for name, broken := range map[string][]byte{"edited": edited, "cut": data[:len(data)/2], "empty": {}, "other": []byte("gitward index 1\nx")} {
		if err := os.WriteFile(file, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		f.tracker = nil
		f.open()
		if s := f.tracker.Snapshot(); s != nil {
			t.Errorf("%s: published", name)
		}
		f.wants(f.sync(), "goodone", "evilone")
		f.tracker.Close()
	}
}

// Clocks that jump let nothing old in again after a superseded state was
// refused, and break nothing.
func TestClocks(t *testing.T) {
	f := newForge(t)
	f.put(f.ada, "a.yaml", cm("1"))
	f.sync()
	f.put(f.ada, "a.yaml", cm("2"))
	s := f.sync()
	c := f.cluster(s)
	for _, at := range []time.Duration{16 * time.Minute, 24 * time.Hour, 50 * 365 * 24 * time.Hour} {
		g := c.gate()
		g.Now = func() time.Time { return noon.Add(at) }
		refused(t, g.Decide(t.Context(), write(t, "", cm("1"))), gate.Outdated)
	}
	// A commit's own time says nothing.
	f.commit(gitserver.CommitOptions{Files: map[string]string{"a.yaml": cm("evil")}, When: noon.Add(100 * time.Hour)})
	f.commit(gitserver.CommitOptions{Files: map[string]string{"a.yaml": cm("worse")}, When: noon.Add(-100 * time.Hour)})
	f.wants(f.sync(), "2", "evil", "worse")
}
