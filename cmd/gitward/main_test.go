package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/corpus"
	"github.com/gitward/gitward/test/gitserver"
)

var update = flag.Bool("update", false, "write what programs print into the scripts that want it")

// suite is this package's tests, with the control planes stopped after them.
type suite struct{ m *testing.M }

func (s suite) Run() int { return controlplane.Run(s.m) }

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == rendererWord || os.Args[1] == fetchWord || os.Args[1] == courtWord) {
		main() // a server that runs in this process starts its children so
	}
	testscript.Main(suite{m}, map[string]func(){"gitward": main, "kubectl-gitward": main})
}

// TestScripts plays the stories of testdata/script: the program itself, on
// repositories with really signed commits. See story for their commands.
func TestScripts(t *testing.T) {
	corpus.Programs(t, "git")
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			e.Values[storyKey{}] = &story{repos: map[string]*gitserver.Repo{}, keys: map[string]*gitserver.SSHSigner{}}
			home := filepath.Join(e.WorkDir, ".home")
			e.Setenv("HOME", home)
			e.Setenv("XDG_CACHE_HOME", filepath.Join(home, ".cache"))
			e.Setenv("KUBECONFIG", filepath.Join(e.WorkDir, "no-kubeconfig"))
			e.Setenv("LANG", "C.UTF-8")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"commit": commitCommand, "configure": configureCommand, "exits": exitsCommand, "steady": steadyCommand,
		},
	})
}

// story is what one script works on.
type story struct {
	repos map[string]*gitserver.Repo
	keys  map[string]*gitserver.SSHSigner
}

type storyKey struct{}

func storyOf(ts *testscript.TestScript) *story { return ts.Value(storyKey{}).(*story) }

// key is a person's key, made when they are first named.
func (s *story) key(person string) (*gitserver.SSHSigner, error) {
	var err error
	if s.keys[person] == nil {
		s.keys[person], err = gitserver.NewSSHSigner()
	}
	return s.keys[person], err
}

// commitCommand makes a commit on main of a bare repository, and sets $tip and
// $short to its id:
//
//	commit REPO SIGNER|unsigned MESSAGE [PATH=FILE | -PATH]...
func commitCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: commit REPO SIGNER|unsigned MESSAGE [PATH=FILE | -PATH]...")
	}
	s, name, signer := storyOf(ts), args[0], args[1]
	if s.repos[name] == nil {
		repo, err := gitserver.NewRepo(ts.MkAbs(name))
		ts.Check(err)
		s.repos[name] = repo
	}
	who := signer
	if signer == "unsigned" {
		who = "mallory"
	}
	o := gitserver.CommitOptions{Message: args[2], Files: map[string]string{},
		Author: gitindex.Person{Name: strings.ToUpper(who[:1]) + who[1:], Email: who + "@acme.dev"}}
	o.Committer = o.Author
	if signer != "unsigned" {
		key, err := s.key(signer)
		ts.Check(err)
		o.Signer = key
	}
	for _, arg := range args[3:] {
		if path, removed := strings.CutPrefix(arg, "-"); removed {
			o.Delete = append(o.Delete, path)
			continue
		}
		path, file, _ := strings.Cut(arg, "=")
		o.Files[path] = ts.ReadFile(file)
	}
	id, err := s.repos[name].Commit(o)
	ts.Check(err)
	ts.Setenv("tip", id)
	ts.Setenv("short", gitindex.Short(id))
}

// configureCommand writes DIR/origin.yaml: an Origin of the name "platform",
// and the Secret with its signers. Options stand as in allowed_signers:
//
//	configure DIR REPO [require=WHAT] [spec=FILE] [SIGNER[,OPTION...]]...
func configureCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: configure DIR REPO [SIGNER[,OPTION...]]...")
	}
	var signers strings.Builder
	required, more := "Change", ""
	for _, arg := range args[2:] {
		if what, ok := strings.CutPrefix(arg, "require="); ok {
			required = what
			continue
		}
		if file, ok := strings.CutPrefix(arg, "spec="); ok {
			more = ts.ReadFile(file)
			continue
		}
		person, options, _ := strings.Cut(arg, ",")
		key, err := storyOf(ts).key(person)
		ts.Check(err)
		fmt.Fprintf(&signers, "    %s@acme.dev %s %s\n", person, options, key.PublicLine)
	}
	ts.Check(os.MkdirAll(ts.MkAbs(args[0]), 0o755))
	text := fmt.Sprintf(`apiVersion: gitward.dev/v1alpha1
kind: Origin
metadata: {name: platform}
spec:
  url: %s
  ref: {branch: main}
  signers: {require: %s, secretRef: {name: platform-signers}}
%s---
apiVersion: v1
kind: Secret
metadata: {name: platform-signers}
stringData:
  allowed_signers: |
    # who may sign
%s`, ts.MkAbs(args[1]), required, more, signers.String())
	ts.Check(os.WriteFile(filepath.Join(ts.MkAbs(args[0]), "origin.yaml"), []byte(text), 0o644))
}

// exitsCommand runs a program and wants an exit code:
//
//	exits CODE PROGRAM ARG...
func exitsCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG...")
	}
	code, err := 0, ts.Exec(args[1], args[2:]...)
	if exit, ok := err.(*exec.ExitError); ok {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// steadyCommand writes what the last program printed to a file, without what is
// another with every run: durations, and ids of commits.
//
//	steady FILE
func steadyCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: steady FILE")
	}
	text := ts.ReadFile("stdout")
	for _, s := range unsteady {
		text = s.form.ReplaceAllString(text, s.by)
	}
	if short := ts.Getenv("short"); short != "" {
		text = strings.ReplaceAll(strings.ReplaceAll(text, ts.Getenv("tip"), "TIP"), short, "SHORT")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}

var unsteady = []struct {
	form *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`time="[0-9.]+"`), `time="0"`},
	{regexp.MustCompile(`"duration": [0-9]+`), `"duration": 0`},
	{regexp.MustCompile(`SHA256:[A-Za-z0-9+/]{43}`), `SHA256:KEY`},
}
