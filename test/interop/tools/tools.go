// Package tools answers one question: where is the program of a real applier,
// Flux's controllers or Argo CD, in the version that the tests name? Each has a
// module of its own beside this directory, from which it is built once and then
// kept in the user's cache.
package tools

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Tool is one program to build.
type Tool struct {
	Name   string // of the program, and in the cache
	Set    string // of programs that one make target needs
	Dir    string // of the module that builds it, from test/interop
	Module string // whose version is the program's
	Pkg    string // that is built
}

// The programs of the interoperability tests.
var (
	SourceController = Tool{Name: "source-controller", Set: "flux", Dir: "flux/source-controller",
		Module: "github.com/fluxcd/source-controller", Pkg: "github.com/fluxcd/source-controller"}
	KustomizeController = Tool{Name: "kustomize-controller", Set: "flux", Dir: "flux/kustomize-controller",
		Module: "github.com/fluxcd/kustomize-controller", Pkg: "github.com/fluxcd/kustomize-controller"}
	ArgoCD = Tool{Name: "argocd", Set: "argocd", Dir: "argocd",
		Module: "github.com/argoproj/argo-cd/v3", Pkg: "."}
	ApplicationSets = Tool{Name: "argocd-applicationset-controller", Set: "argocd", Dir: "argocd",
		Module: "github.com/argoproj/argo-cd/v3", Pkg: "./applicationset"}
	// Argo CD's repo server calls these two.
	Kustomize = Tool{Name: "kustomize", Set: "argocd", Dir: "../bench/render/kustomize",
		Module: "sigs.k8s.io/kustomize/kustomize/v5", Pkg: "sigs.k8s.io/kustomize/kustomize/v5"}
	Helm = Tool{Name: "helm", Set: "argocd", Dir: "../bench/render/helm",
		Module: "helm.sh/helm/v4", Pkg: "helm.sh/helm/v4/cmd/helm"}
)

// All are the programs there are.
var All = []Tool{SourceController, KustomizeController, ArgoCD, ApplicationSets, Kustomize, Helm}

// Version is what the tool's go.mod requires: "v1.9.1".
func (t Tool) Version() (string, error) {
	dir, err := t.moduleDir()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) >= 2 && fields[0] == t.Module {
			return fields[1], nil
		}
	}
	return "", fmt.Errorf("%s/go.mod does not require %s", dir, t.Module)
}

// Path is where the program is, or would be, in the user's cache.
func (t Tool) Path() (string, error) {
	version, err := t.Version()
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "gitward", "interop", t.Name+"-"+version), nil
}

// Sources is the directory with the tool's own source: its CRDs are there.
func (t Tool) Sources(ctx context.Context) (string, error) {
	out, err := t.run(ctx, io.Discard, "list", "-m", "-f", "{{.Dir}}", t.Module)
	return strings.TrimSpace(out), err
}

// Ensure has the program in the cache, building it if it is not there, and
// tells w how that goes.
func (t Tool) Ensure(ctx context.Context, w io.Writer) (string, error) {
	path, err := t.Path()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	if err := t.build(ctx, w, path); err != nil {
		return "", fmt.Errorf("building %s: %w", t.Name, err)
	}
	return path, nil
}

// build compiles beside path and then puts the program in its place: nobody
// ever runs half of it.
func (t Tool) build(ctx context.Context, w io.Writer, path string) error {
	temp, err := os.MkdirTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	started := time.Now()
	fmt.Fprintf(w, "%s: building, which takes minutes once\n", filepath.Base(path))
	show := &progress{w: w, name: filepath.Base(path), next: started.Add(tick)}
	built := filepath.Join(temp, t.Name)
	if _, err := t.run(ctx, show, "build", "-v", "-ldflags", "-s -w", "-o", built, t.Pkg); err != nil {
		return err
	}
	fmt.Fprintf(w, "%s: built in %v\n", filepath.Base(path), time.Since(started).Round(time.Second))
	return os.Rename(built, path)
}

// run runs the go command in the tool's module. The flags that decide what the
// build cache holds are never left to the user's taste.
func (t Tool) run(ctx context.Context, errs io.Writer, args ...string) (string, error) {
	dir, err := t.moduleDir()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off", "GOOS=", "GOARCH=", "CGO_ENABLED=0")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, io.MultiWriter(&said, errs)
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		return "", fmt.Errorf("go %s: %w\n%s", args[0], err, strings.Join(lines[max(0, len(lines)-20):], "\n"))
	}
	return out.String(), nil
}

// moduleDir finds the tool's module in the checkout that the process runs in.
func (t Tool) moduleDir() (string, error) {
	here, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := here; ; dir = filepath.Dir(dir) {
		module := filepath.Join(dir, "test", "interop", filepath.FromSlash(t.Dir))
		if _, err := os.Stat(filepath.Join(module, "go.mod")); err == nil {
			return module, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is in no checkout of Gitward, which has test/interop/%s", here, t.Dir)
		}
	}
}

// progress counts the packages that the go command names, and tells them now
// and then.
type progress struct {
	w        io.Writer
	name     string
	next     time.Time
	packages int
}

const tick = 10 * time.Second

func (p *progress) Write(text []byte) (int, error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if !strings.ContainsAny(lines.Text(), " \t") {
			p.packages++
		}
	}
	if now := time.Now(); now.After(p.next) {
		p.next = now.Add(tick)
		fmt.Fprintf(p.w, "%s: %d packages compiled\n", p.name, p.packages)
	}
	return len(text), nil
}
