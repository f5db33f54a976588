// Package demo plays the demo as CI does, with the binary that people get, and
// holds every scene to its outcome.
package demo

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gitward/gitward/test/controlplane"
)

// story is what has to be seen, in this order, in either way of playing it.
var story = map[string][]string{
	"1": {"Ada ", "SSH", "Ben ", "OpenPGP", "Mallory", "a stranger", "git commit -S", "https://127.0.0.1:"},
	"3": {"namespace/shop serverside-applied", "--dry-run=server", "deployment.apps/web serverside-applied (server dry run)",
		"deployment.apps/web serverside-applied", "✓ admitted", "gitward.dev/author: Ben Okri <ben@shop.example>", "gitward.dev/commit: ",
		"gitward.dev/origin: platform", "gitward.dev/path: apps/web.yaml", "gitward.dev/signer: openpgp:"},
	"4": {"kubectl edit deployment", "Deployment shop/web differs from Git: spec.template.spec.containers[web].image", "web:1.8.2", "web:1.8.3-hotfix",
		"✗ refused", "kubectl scale", "differs from Git: spec.replicas", "✗ refused", "kubectl delete", "is still in Git", "cannot be deleted here", "✗ refused"},
	"5": {"mallory $ git commit -S", "Deployment shop/web comes from commit", "by Mallory", "signed by a key that is not trusted here", "✗ refused",
		"git commit --no-gpg-sign", "ConfigMap shop/banner comes from commit", "which is not signed", "✗ refused", "registry.shop.example/web:1.8.2", "✓ unharmed"},
	"6": {"cat policies/images.rego", "deny contains", "git commit -S", `breaks policy "images"`, "policies/images.rego:", "name a version", "✗ refused", "✓ unharmed"},
	"9": {"records.jsonl", "allow  Git", "deny   Differs", "deny   UnknownSigner"},
}

func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a real API server, which -short leaves out")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Minute)
	defer cancel()
	if _, err := controlplane.Ensure(ctx, os.Stderr); err != nil {
		t.Fatal(err)
	}
	scenes := play(t, "--exit")
	check(t, scenes)
	inOrder(t, "2", scenes["2"], "run, at https://127.0.0.1:", "origins.gitward.dev created", "kind: Origin", "kind: Gate", "gitward decides at",
		"kubectl get origins", "True", "kubectl get gates", "Deny", "from-git.gitward.dev created", "the API server asks gitward", "failurePolicy: Fail")
	for _, n := range []string{"4", "5"} {
		inOrder(t, n, scenes[n], `Error from server (Forbidden): admission webhook "from-git.gitward.dev" denied the request:`)
	}
	inOrder(t, "2", scenes["2"], "registration.guard.gitward.dev created", "changes gitward itself")
	inOrder(t, "7", scenes["7"], "KIND", "ReplicaSet", "Pod", "Pod", "Pod", "✓ admitted", "an ownerReference proves nothing", "✗ refused",
		"horizontalpodautoscaler.autoscaling/web serverside-applied", "✓ the autoscaler scaled web to 4", "differs from Git: spec.replicas", "✗ refused")
	inOrder(t, "8", scenes["8"], "gitward.dev/break-glass: INC-1234", "deployment.apps/web patched", "✓ admitted", "gitward breakglass list", "grace",
		"web:1.8.3-hotfix", "deployment.apps/web serverside-applied", "✓ unharmed", "delete validatingwebhookconfiguration", "ValidatingAdmissionPolicy", "✗ refused")
	inOrder(t, "9", scenes["9"], "gitward trace deployment/web -n shop", "Deployment shop/web", "traced", "apps/web.yaml", "Ben Okri",
		"gitward coverage -n shop", "100%", "records.jsonl")
}

func TestDemoWithoutCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds: left out with -short")
	}
	scenes := play(t, "--exit", "--no-cluster")
	check(t, scenes)
	inOrder(t, "2", scenes["2"], "kind: Origin", "kind: Gate", "gitward decides at")
	inOrder(t, "4", scenes["4"], "allowed: false, 403 Forbidden")
}

// Without --exit the demo stays, tells how to play on, and leaves nothing
// behind when it is told to go.
func TestDemoStays(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds: left out with -short")
	}
	temp := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := command(ctx, t, temp, "--no-cluster")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var seen bytes.Buffer
	part := make([]byte, 4096)
	for !strings.Contains(seen.String(), "Ctrl-C ends everything") {
		n, err := out.Read(part)
		seen.Write(part[:n])
		if err != nil {
			t.Fatalf("%v after\n%s", err, seen.String())
		}
	}
	dirs, err := filepath.Glob(filepath.Join(temp, "gitward-demo-*", "ada", "apps", "web.yaml"))
	if err != nil || len(dirs) != 1 {
		t.Errorf("no clone to play with: %v %v", dirs, err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	go seen.ReadFrom(out)
	if err := cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
	nothingLeft(t, temp)
}

var heading = regexp.MustCompile(`(?m)^── (\S+) ── .*$`)

// play runs the demo and returns what it showed, by scene.
func play(t *testing.T, args ...string) map[string]string {
	t.Helper()
	temp := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := command(ctx, t, temp, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("gitward demo %v: %v\n%s\n%s", args, err, out, stderr.String())
	}
	if stderr.Len() > 0 {
		t.Errorf("stderr: %s", stderr.String())
	}
	nothingLeft(t, temp)
	plain(t, string(out))
	scenes := map[string]string{}
	heads := heading.FindAllStringSubmatchIndex(string(out), -1)
	for i, h := range heads {
		end := len(out)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		scenes[string(out[h[2]:h[3]])] = string(out[h[0]:end])
	}
	if !strings.Contains(string(out), "All scenes went as told") {
		t.Errorf("no word of success in\n%s", out)
	}
	return scenes
}

func command(ctx context.Context, t *testing.T, temp string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(ctx, binary(t), append([]string{"demo"}, args...)...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	return cmd
}

var built string

// binary builds gitward once.
func binary(t *testing.T) string {
	t.Helper()
	if built != "" {
		return built
	}
	file := filepath.Join(buildDir, "gitward")
	cmd := exec.Command("go", "build", "-o", file, "github.com/gitward/gitward/cmd/gitward")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	built = file
	return file
}

var buildDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "gitward-demo-test-")
	if err != nil {
		panic(err)
	}
	buildDir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func check(t *testing.T, scenes map[string]string) {
	t.Helper()
	for n, words := range story {
		inOrder(t, n, scenes[n], words...)
	}
}

// inOrder looks for words one after the other, wherever lines were broken.
func inOrder(t *testing.T, scene, text string, words ...string) {
	t.Helper()
	rest := flat(text)
	for _, w := range words {
		_, after, ok := strings.Cut(rest, flat(w))
		if !ok {
			t.Errorf("scene %s does not say %q (in this place):\n%s", scene, w, text)
			return
		}
		rest = after
	}
}

func flat(s string) string { return strings.Join(strings.Fields(s), " ") }

// plain: no colours where there is no terminal, and never too wide.
func plain(t *testing.T, out string) {
	t.Helper()
	if strings.ContainsAny(out, "\x1b\r") {
		t.Error("control characters without a terminal")
	}
	for l := range strings.SplitSeq(out, "\n") {
		if n := utf8.RuneCountInString(l); n > 100 {
			t.Errorf("%d columns: %s", n, l)
		}
	}
}

func nothingLeft(t *testing.T, temp string) {
	t.Helper()
	left, err := os.ReadDir(temp)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		t.Errorf("left behind: %s", e.Name())
	}
}
