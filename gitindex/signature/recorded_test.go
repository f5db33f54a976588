package signature_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/signature"
	"github.com/gitward/gitward/test/corpus"
)

// record is one commit of the corpus with git's verdict on it.
type record struct {
	batch, id, kind, algorithm, git string
	raw                             []byte
}

// recorded reads the signed-commits corpus.
func recorded(t testing.TB) []record {
	t.Helper()
	dir := corpus.Dir(t, "signed-commits")
	index, err := os.ReadFile(filepath.Join(dir, "index.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	raws := map[string]map[string][]byte{}
	var all []record
	for i, line := range strings.Split(strings.TrimSpace(string(index)), "\n") {
		f := strings.Split(line, "\t")
		if i == 0 {
			continue
		}
		if raws[f[0]] == nil {
			raws[f[0]] = readBatch(t, filepath.Join(dir, f[0]+".batch"))
		}
		all = append(all, record{f[0], f[2], f[3], f[4], f[6], raws[f[0]][f[2]]})
	}
	return all
}

// readBatch reads the form of git cat-file --batch.
func readBatch(t testing.TB, file string) map[string][]byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	commits := map[string][]byte{}
	in := bufio.NewReader(bytes.NewReader(data))
	for {
		line, err := in.ReadString('\n')
		if err == io.EOF {
			return commits
		}
		var id, kind string
		var size int
		if _, err := fmt.Sscanf(strings.TrimSpace(line), "%s %s %d", &id, &kind, &size); err != nil {
			t.Fatalf("%s: line %q: %v", file, line, err)
		}
		raw := make([]byte, size+1)
		if _, err := io.ReadFull(in, raw); err != nil {
			t.Fatal(err)
		}
		commits[id] = raw[:size]
	}
}

// keyFiles are the keys git was given for a batch.
func keyFiles(t testing.TB, batch string) map[string][]byte {
	t.Helper()
	dir := filepath.Join(corpus.Dir(t, "signed-commits"), "keys")
	allowed := "mixed.allowed_signers"
	if batch == "heartwood" {
		allowed = "heartwood.allowed_signers"
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.asc"))
	if err != nil {
		t.Fatal(err)
	}
	data := map[string][]byte{}
	for _, file := range append(files, filepath.Join(dir, allowed)) {
		if data[filepath.Base(file)], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	return data
}

// sameAs is what git's %G? letter is called here.
var sameAs = map[string]gitindex.Outcome{
	"G":        gitindex.Good,
	"N":        gitindex.Unsigned,
	"E":        gitindex.UnknownSigner, // no public key
	"U":        gitindex.UnknownSigner, // SSH: no principal
	"chain-ok": gitindex.UnknownSigner, // X.509, not checked here
}

// explained are the classes of commits on which this package and git differ,
// by kind, algorithm, git's letter and our outcome. There are none.
var explained = map[string]string{}

// Every commit of the corpus gets the verdict that git gave it.
func TestVerifyRecorded(t *testing.T) {
	rings := map[string]*signature.Keyring{}
	total, agree, classes := 0, 0, map[string]int{}
	for _, r := range recorded(t) {
		if rings[r.batch] == nil {
			ring, err := signature.NewKeyring(keyFiles(t, r.batch))
			if err != nil {
				t.Fatal(err)
			}
			rings[r.batch] = ring
		}
		v := rings[r.batch].Verify(r.raw, time.Time{})
		// None of these keys is over yet, so a late first sight changes nothing.
		if late := rings[r.batch].Verify(r.raw, at("2027-01-01")); late != v {
			t.Errorf("%s %s: %+v, seen late %+v", r.batch, r.id, v, late)
		}
		total++
		class := fmt.Sprintf("%s %s git=%s ours=%s", r.kind, r.algorithm, r.git, v.Outcome)
		classes[class]++
		switch {
		case v.Outcome == sameAs[r.git]:
			agree++
		case explained[class] == "":
			t.Errorf("%s %s: %s: %s", r.batch, r.id, class, v.Detail)
		}
		if (v.Detail == "") != (v.Outcome == gitindex.Good) {
			t.Errorf("%s %s: outcome %s with detail %q", r.batch, r.id, v.Outcome, v.Detail)
		}
	}
	for _, class := range slices.Sorted(maps.Keys(classes)) {
		t.Logf("%5d %s %s", classes[class], class, explained[class])
	}
	t.Logf("%d commits, %d agree with git, %d differ", total, agree, total-agree)
	if total < 5000 {
		t.Errorf("only %d commits in the corpus", total)
	}
}

// A changed byte makes every good commit bad, wherever it stands.
func TestVerifyRecordedTampered(t *testing.T) {
	rings, seen := map[string]*signature.Keyring{}, map[string]int{}
	for _, r := range recorded(t) {
		if r.git != "G" || seen[r.batch+r.algorithm] == 10 {
			continue
		}
		seen[r.batch+r.algorithm]++
		if rings[r.batch] == nil {
			rings[r.batch], _ = signature.NewKeyring(keyFiles(t, r.batch))
		}
		for name, raw := range map[string][]byte{
			"message": append(bytes.Clone(r.raw), '!'),
			"tree":    flip(r.raw, len("tree ")),
			"author":  flip(r.raw, bytes.Index(r.raw, []byte("\nauthor "))+8),
		} {
			if v := rings[r.batch].Verify(raw, time.Time{}); v.Outcome != gitindex.BadSignature {
				t.Errorf("%s %s: changed %s: %s %s", r.batch, r.id, name, v.Outcome, v.Detail)
			}
		}
	}
}

// flip changes one character into another that is as good for the grammar.
func flip(raw []byte, at int) []byte {
	out := bytes.Clone(raw)
	if out[at] = 'a'; raw[at] == 'a' {
		out[at] = 'b'
	}
	return out
}

// git, asked again about some commits of each kind, says what was recorded.
func TestVerifyRecordedLive(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds: left out with -short")
	}
	l := newLab(t)
	for name, data := range keyFiles(t, "mixed") {
		if strings.HasSuffix(name, ".asc") && !strings.Contains(name, "expires") {
			l.must(string(data), "gpg", "--quiet", "--batch", "--import")
		}
	}
	rings, asked, seen := map[string]*signature.Keyring{}, 0, map[string]int{}
	for _, r := range recorded(t) {
		class := r.batch + r.kind + r.algorithm + r.git
		if r.kind == "x509" || seen[class] == 2 { // gpgsm is not asked
			continue
		}
		seen[class]++
		files := keyFiles(t, r.batch)
		if rings[r.batch] == nil {
			rings[r.batch], _ = signature.NewKeyring(files)
		}
		allowed := "mixed.allowed_signers"
		if r.batch == "heartwood" {
			allowed = "heartwood.allowed_signers"
		}
		rc, out := l.gitVerify(r.raw, "gpg.ssh.allowedSignersFile="+l.write("allowed", string(files[allowed])))
		asked++
		if v := rings[r.batch].Verify(r.raw, time.Time{}); (rc == 0) != (v.Outcome == gitindex.Good) {
			t.Errorf("%s %s: git %d %s, ours %+v", r.batch, r.id, rc, out, v)
		}
	}
	t.Logf("git agrees on all of %d commits", asked)
}
