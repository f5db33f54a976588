package signature_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/signature"
	"github.com/gitward/gitward/test/corpus"
)

// lab is a place with an empty repository, a GnuPG home and SSH keys, in which
// git is asked for its verdict.
type lab struct {
	t    testing.TB
	dir  string
	gpgs string // GNUPGHOME
}

func newLab(t testing.TB) *lab {
	t.Helper()
	corpus.Programs(t, "git", "gpg", "gpgconf", "ssh-keygen")
	// The agent's socket must have a short path, so not t.TempDir.
	home, err := os.MkdirTemp("", "gw")
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, dir: t.TempDir(), gpgs: home}
	t.Cleanup(func() {
		l.run("", "gpgconf", "--kill", "all")
		os.RemoveAll(home)
	})
	l.must("", "git", "init", "-q", "--bare", l.dir+"/repo")
	return l
}

func (l *lab) command(stdin string, args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = l.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + l.dir, "GNUPGHOME=" + l.gpgs, "TZ=UTC", "LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1"}
	cmd.Stdin = strings.NewReader(stdin)
	return cmd
}

// run returns the exit code and all that was printed.
func (l *lab) run(stdin string, args ...string) (int, string) {
	cmd := l.command(stdin, args...)
	out, _ := cmd.CombinedOutput()
	return cmd.ProcessState.ExitCode(), string(out)
}

// must returns what was printed to standard output.
func (l *lab) must(stdin string, args ...string) string {
	l.t.Helper()
	cmd := l.command(stdin, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		l.t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, errs.String())
	}
	return string(out)
}

func (l *lab) write(name, text string) string {
	l.t.Helper()
	path := filepath.Join(l.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return path
}

func (l *lab) read(name string) string {
	l.t.Helper()
	data, err := os.ReadFile(filepath.Join(l.dir, name))
	if err != nil {
		l.t.Fatal(err)
	}
	return string(data)
}

// at reads 2024-06-01, noon UTC.
func at(text string) time.Time {
	t, err := time.Parse("2006-01-02", text)
	if err != nil {
		panic(err)
	}
	return t.Add(12 * time.Hour)
}

// payload is an unsigned commit of the given day.
func payload(day string) string {
	who := fmt.Sprintf("Ada Lovelace <ada@acme.dev> %d +0000", at(day).Unix())
	return "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor " + who + "\ncommitter " + who + "\n\nStop the engine\n"
}

// signed puts an armored signature into a commit, as git does.
func signed(payload, armor string) []byte {
	head, message, _ := strings.Cut(payload, "\n\n")
	armor = strings.ReplaceAll(strings.TrimSuffix(armor, "\n"), "\n", "\n ")
	return []byte(head + "\ngpgsig " + armor + "\n\n" + message)
}

// gitVerify asks git verify-commit.
func (l *lab) gitVerify(raw []byte, config ...string) (int, string) {
	l.t.Helper()
	id := strings.TrimSpace(l.must(string(raw), "git", "-C", "repo", "hash-object", "-t", "commit", "-w", "--stdin"))
	args := []string{"git", "-C", "repo"}
	for _, c := range config {
		args = append(args, "-c", c)
	}
	return l.run("", append(args, "verify-commit", "--raw", id)...)
}

func ring(t testing.TB, files ...string) *signature.Keyring {
	t.Helper()
	data := map[string][]byte{}
	for i := 0; i < len(files); i += 2 {
		data[files[i]] = []byte(files[i+1])
	}
	k, err := signature.NewKeyring(data)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// gpg runs with the clock frozen at noon of a day.
func (l *lab) gpg(day, stdin string, args ...string) string {
	l.t.Helper()
	clock := at(day).Format("20060102T150405") + "!"
	return l.must(stdin, append([]string{"gpg", "--quiet", "--batch", "--yes", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", "",
		"--faked-system-time", clock}, args...)...)
}

// pgpKey makes a key and returns its fingerprint.
func (l *lab) pgpKey(day, user, algorithm, expire string) string {
	l.t.Helper()
	l.gpg(day, "", "--quick-gen-key", user, algorithm, "sign", expire)
	for line := range strings.Lines(l.must("", "gpg", "--batch", "--with-colons", "--list-keys", "="+user)) {
		if f := strings.Split(line, ":"); f[0] == "fpr" {
			return f[9]
		}
	}
	l.t.Fatalf("no fingerprint for %s", user)
	return ""
}

func (l *lab) pgpSign(day, key, payload string, options ...string) []byte {
	l.t.Helper()
	return signed(payload, l.gpg(day, payload, append(options, "-u", key, "--armor", "--detach-sign")...))
}

func (l *lab) export(key string) string {
	l.t.Helper()
	return l.must("", "gpg", "--batch", "--armor", "--export", key)
}

// statusWord is the word of gpg's status lines that tells the verdict.
func statusWord(out string) string {
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "[GNUPG:]" {
			continue
		}
		switch f[1] {
		case "GOODSIG", "BADSIG", "ERRSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG":
			return f[1]
		}
	}
	return "none"
}

// beside is one case that git and this package both judged.
type beside struct {
	name    string
	git     int    // exit code of git verify-commit
	said    string // and what it said
	outcome gitindex.Outcome
	why     string // where only one of them accepts
}

func (b beside) check(t *testing.T, rc int, said string, v gitindex.Verdict) {
	t.Helper()
	t.Logf("%-46s git %d %-22s ours %-15s %s %s", b.name, rc, said, v.Outcome, v.Detail, b.why)
	if rc != b.git || said != b.said {
		t.Errorf("%s: git says %d %s, want %d %s", b.name, rc, said, b.git, b.said)
	}
	if v.Outcome != b.outcome {
		t.Errorf("%s: outcome %s (%s), want %s", b.name, v.Outcome, v.Detail, b.outcome)
	}
	if differ := (rc == 0) != (v.Outcome == gitindex.Good); differ != (b.why != "") {
		t.Errorf("%s: git %d, ours %s, explained %q", b.name, rc, v.Outcome, b.why)
	}
	if (v.Detail == "") != (v.Outcome == gitindex.Good) {
		t.Errorf("%s: outcome %s with detail %q", b.name, v.Outcome, v.Detail)
	}
}
