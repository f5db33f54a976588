package object_test

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/gitward/gitward/gitindex/object"
	"github.com/gitward/gitward/test/corpus"
)

const (
	treeID   = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
	parentID = "705446b8d7fbd1040cf662ef2ca12c948da4e821"

	tree      = "tree " + treeID + "\n"
	parent    = "parent " + parentID + "\n"
	author    = "author Ada Lovelace <ada@acme.dev> 1700000000 +0130\n"
	committer = "committer Grace Hopper <grace@acme.dev> 1700000060 -0700\n"
	fixed     = tree + parent + author + committer
	armor     = "-----BEGIN SSH SIGNATURE-----\n U1NIU0lH\n -----END SSH SIGNATURE-----\n"
	gpgsig    = "gpgsig " + armor
	message   = "\nStop the engine\n\nIt runs away.\n"
)

// rebuild puts the signature back where raw has it. It knows only commits
// without a gpgsig-sha256 header.
func rebuild(raw []byte, c *object.Commit) []byte {
	if c.Signature == nil {
		return c.Payload
	}
	lines := strings.ReplaceAll(strings.TrimSuffix(string(c.Signature), "\n"), "\n", "\n ")
	at := bytes.Index(raw, []byte("\ngpgsig ")) + 1
	return []byte(string(c.Payload[:at]) + "gpgsig " + lines + "\n" + string(c.Payload[at:]))
}

func TestParseCommit(t *testing.T) {
	raw := tree + parent + parent + author + committer + "encoding ISO-8859-1\n" +
		"mergetag object " + parentID + "\n type commit\n \n words\n" + gpgsig + "HG:extra branch:default\n" + message
	c, err := object.ParseCommit([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	if c.Tree != treeID || len(c.Parents) != 2 || c.Parents[0] != parentID {
		t.Errorf("tree %s, parents %v", c.Tree, c.Parents)
	}
	if c.Author.Name != "Ada Lovelace" || c.Author.Email != "ada@acme.dev" ||
		c.Author.When.Format("2006-01-02T15:04:05Z07:00") != "2023-11-14T23:43:20+01:30" {
		t.Errorf("author %v at %v", c.Author, c.Author.When)
	}
	if c.Committer.Name != "Grace Hopper" || c.Committer.When.Unix() != 1700000060 {
		t.Errorf("committer %v at %v", c.Committer, c.Committer.When)
	}
	if c.Encoding != "ISO-8859-1" || c.Subject() != "Stop the engine" || c.Message != message[1:] {
		t.Errorf("encoding %q, subject %q, message %q", c.Encoding, c.Subject(), c.Message)
	}
	if want := strings.ReplaceAll(armor, "\n ", "\n"); string(c.Signature) != want {
		t.Errorf("signature %q, want %q", c.Signature, want)
	}
	if want := strings.Replace(raw, gpgsig, "", 1); string(c.Payload) != want {
		t.Errorf("payload %q, want %q", c.Payload, want)
	}
}

// Both kinds of signature header are outside the signed bytes, in any order.
func TestParseCommitPayload(t *testing.T) {
	sha256 := "gpgsig-sha256 " + armor
	for _, headers := range []string{"", gpgsig, gpgsig + sha256, sha256 + gpgsig, sha256, sha256 + "x y\n" + gpgsig} {
		c, err := object.ParseCommit([]byte(fixed + headers + message))
		if err != nil {
			t.Errorf("%q: %v", headers, err)
			continue
		}
		extra := ""
		if strings.Contains(headers, "x y") {
			extra = "x y\n"
		}
		if got, want := string(c.Payload), fixed+extra+message; got != want {
			t.Errorf("%q: payload %q", headers, got)
		}
		if (c.Signature != nil) != strings.Contains(headers, gpgsig) {
			t.Errorf("%q: signature %q", headers, c.Signature)
		}
	}
}

func TestParseCommitAccepts(t *testing.T) {
	for name, raw := range map[string]string{
		"root":               tree + author + committer + message,
		"empty message":      fixed + "\n",
		"no name":            tree + "author <a@b> 1 +0000\ncommitter <a@b> 1 +0000\n\n",
		"no name, one space": tree + "author  <a@b> 1 +0000\ncommitter  <> 0 +0000\n\n",
		"GitHub's blank end": fixed + strings.TrimSuffix(gpgsig, "\n") + "\n \n" + message,
		"64 parents":         tree + strings.Repeat(parent, 64) + author + committer + message,
	} {
		c, err := object.ParseCommit([]byte(raw))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !bytes.Equal(rebuild([]byte(raw), c), []byte(raw)) {
			t.Errorf("%s: payload and signature do not make up the commit", name)
		}
	}
}

// evil commits show different readers different things, or are one signed
// commit under another id.
var evil = map[string]string{
	"nothing":                        "",
	"no tree":                        parent + author + committer + message,
	"second author":                  tree + author + "author Eve <eve@evil.dev> 1700000000 +0000\n" + committer + message,
	"second author at the end":       fixed + author + message,
	"second committer":               fixed + committer + message,
	"author after gpgsig":            tree + parent + gpgsig + author + committer + message,
	"gpgsig first":                   gpgsig + fixed + message,
	"second tree":                    tree + tree + author + committer + message,
	"second tree at the end":         fixed + tree + message,
	"late parent":                    fixed + parent + message,
	"parent after author":            tree + author + parent + committer + message,
	"no author":                      tree + parent + committer + message,
	"committer before author":        tree + committer + author + message,
	"two gpgsig":                     fixed + gpgsig + gpgsig + message,
	"two gpgsig-sha256":              fixed + gpgsig + "gpgsig-sha256 " + armor + "gpgsig-sha256 " + armor + message,
	"gpgsig-sha256 with junk":        fixed + gpgsig + "gpgsig-sha256 junk\n" + message,
	"a third kind of gpgsig":         fixed + gpgsig + "gpgsig-sha512 junk\n" + message,
	"gpgsigjunk":                     fixed + "gpgsigjunk junk\n" + message,
	"two armors in one header":       fixed + gpgsig + " " + armor + message,
	"junk before the armor":          fixed + "gpgsig junk\n " + armor + message,
	"junk behind the armor":          fixed + gpgsig + " junk\n" + message,
	"armor without end":              fixed + "gpgsig -----BEGIN SSH SIGNATURE-----\n U1NI\n" + message,
	"empty gpgsig":                   fixed + "gpgsig \n" + message,
	"two encodings":                  fixed + "encoding a\nencoding b\n" + message,
	"folded encoding":                fixed + "encoding a\n b\n" + message,
	"NUL in author":                  tree + "author Ada\x00 <a@b> 1 +0000\n" + committer + message,
	"NUL in message":                 fixed + "\nfine\x00Signed-off-by: Eve\n",
	"65 parents":                     tree + strings.Repeat(parent, 65) + author + committer + message,
	"upper-case id":                  strings.ToUpper(treeID) + author + committer + message,
	"upper-case tree":                "tree " + strings.ToUpper(treeID) + "\n" + author + committer + message,
	"long id":                        "tree " + treeID + "00\n" + author + committer + message,
	"short id":                       "tree " + treeID[:39] + "\n" + author + committer + message,
	"space behind the id":            "tree " + treeID + " \n" + author + committer + message,
	"continued tree":                 tree + " x\n" + author + committer + message,
	"continued committer":            fixed + " x\n" + message,
	"header without value":           fixed + "junk\n" + message,
	"header without name":            fixed + gpgsig + "\tjunk x\n" + message,
	"no blank line":                  fixed,
	"no newline":                     strings.TrimSuffix(fixed, "\n"),
	"CRLF":                           strings.ReplaceAll(fixed+message, "\n", "\r\n"),
	"author with two pairs":          tree + "author Ada <ada@acme.dev> <eve@evil.dev> 1 +0000\n" + committer + message,
	"author with a bracket":          tree + "author Ada > <ada@acme.dev> 1 +0000\n" + committer + message,
	"author with bracket behind":     tree + "author Ada <ada@acme.dev> 1 +0000>\n" + committer + message,
	"author with nested bracket":     tree + "author Ada <<ada@acme.dev> 1 +0000\n" + committer + message,
	"author without e-mail":          tree + "author Ada 1 +0000\n" + committer + message,
	"author without time":            tree + "author Ada <ada@acme.dev>\n" + committer + message,
	"name grown to the e-mail":       tree + "author Ada<ada@acme.dev> 1 +0000\n" + committer + message,
	"time with leading zero":         tree + "author Ada <ada@acme.dev> 01 +0000\n" + committer + message,
	"negative time":                  tree + "author Ada <ada@acme.dev> -1 +0000\n" + committer + message,
	"time of the year 10000":         tree + "author Ada <ada@acme.dev> 253402300800 +0000\n" + committer + message,
	"time that overflows":            tree + "author Ada <ada@acme.dev> 18446744073709551617 +0000\n" + committer + message,
	"zone without sign":              tree + "author Ada <ada@acme.dev> 1 0000\n" + committer + message,
	"zone of six digits":             tree + "author Ada <ada@acme.dev> 1 +051800\n" + committer + message,
	"something behind the zone":      tree + "author Ada <ada@acme.dev> 1 +0000 x\n" + committer + message,
	"two spaces before the time":     tree + "author Ada <ada@acme.dev>  1 +0000\n" + committer + message,
	"two blanks behind the keyword":  "tree  " + treeID + "\n" + author + committer + message,
	"keyword in capitals":            strings.Replace(fixed, "author", "Author", 1) + message,
	"the header's length before all": "commit 120\x00" + fixed + message,
}

func TestParseCommitRefuses(t *testing.T) {
	for name, raw := range evil {
		if c, err := object.ParseCommit([]byte(raw)); !errors.Is(err, object.ErrMalformed) || c != nil {
			t.Errorf("%s: got %v, %v", name, c, err)
		}
	}
}

// The refusals above must bite: git itself reads some of these commits, and
// not as a person would.
func TestGitReadsEvilCommits(t *testing.T) {
	corpus.Programs(t, "git")
	repo := t.TempDir()
	git := func(stdin string, args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", repo}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("", "init", "-q", "--bare")
	for name, want := range map[string]string{
		"second author":       "Eve",          // git shows the last of two
		"author after gpgsig": "Ada Lovelace", // with go-git there is no author
		"second tree":         "Ada Lovelace",
		"two gpgsig":          "Ada Lovelace",
	} {
		id := git(strings.ReplaceAll(evil[name], parent, ""), "hash-object", "-t", "commit", "-w", "--stdin", "--literally")
		if got := git("", "show", "-s", "--format=%an", id); got != want {
			t.Errorf("%s: git names author %q, want %q", name, got, want)
		}
	}
}

func FuzzCommitParse(f *testing.F) {
	f.Add([]byte(fixed + message))
	f.Add([]byte(fixed + gpgsig + message))
	f.Add([]byte(fixed + "encoding x\n" + gpgsig + "gpgsig-sha256 " + armor + message))
	for _, raw := range evil {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		c, err := object.ParseCommit(raw)
		if !bytes.Equal(before, raw) {
			t.Fatal("the input was changed")
		}
		if err != nil {
			if !errors.Is(err, object.ErrMalformed) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		head, _, _ := bytes.Cut(raw, []byte("\n\n"))
		if bytes.Contains(head, []byte("\ngpgsig-sha256 ")) {
			return
		}
		if !bytes.Equal(rebuild(raw, c), raw) {
			t.Fatal("payload and signature do not make up the commit")
		}
		again, err := object.ParseCommit(c.Payload)
		if err != nil || again.Signature != nil || again.Tree != c.Tree || again.Message != c.Message {
			t.Fatalf("the payload reads differently from the commit: %v", err)
		}
	})
}

func BenchmarkParseCommit(b *testing.B) {
	raw := []byte(fixed + gpgsig + message)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := object.ParseCommit(raw); err != nil {
			b.Fatal(err)
		}
	}
}
