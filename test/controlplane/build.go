package controlplane

import (
	"bufio"
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

//go:embed modules
var moduleFiles embed.FS

// module is one of the embedded Go modules.
type module struct {
	name string // directory under modules
	path string // of the module whose version is ours
}

// The API server pins another etcd than the one it should run on, so there is
// a module, with a graph of its own, for each.
var (
	kubernetesModule = module{name: "kubernetes", path: "k8s.io/kubernetes"}
	etcdModule       = module{name: "etcd", path: "go.etcd.io/etcd/server/v3"}
)

// version is what the module's go.mod requires: "v1.37.2".
func (m module) version() string {
	text, err := moduleFiles.ReadFile("modules/" + m.name + "/go.mod.txt")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "require" && fields[1] == m.path {
			return fields[2]
		}
	}
	return ""
}

// unpack writes the module's files into dir, without their .txt.
func (m module) unpack(dir string) error {
	entries, err := moduleFiles.ReadDir("modules/" + m.name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, entry := range entries {
		text, err := moduleFiles.ReadFile("modules/" + m.name + "/" + entry.Name())
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, strings.TrimSuffix(entry.Name(), ".txt")), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// program is one command to build.
type program struct {
	name, pkg, ldflags string
	module             module
}

func programs() []program {
	return []program{
		{name: Etcd, module: etcdModule, pkg: "go.etcd.io/etcd/server/v3"},
		{name: APIServer, module: kubernetesModule, pkg: "k8s.io/kubernetes/cmd/kube-apiserver", ldflags: kubernetesFlags()},
		{name: ControllerManager, module: kubernetesModule, pkg: "k8s.io/kubernetes/cmd/kube-controller-manager", ldflags: kubernetesFlags()},
	}
}

// kubernetesFlags stamps the version: without it /version answers
// "v0.0.0-master+$Format:%H$", which Helm, Flux and others cannot parse.
// The date is constant, so that two builds are the same.
func kubernetesFlags() string {
	version := kubernetesModule.version()
	numbers := strings.Split(strings.TrimPrefix(version, "v"), ".")
	flags := "-s -w"
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		for _, set := range []string{"gitVersion=" + version, "gitMajor=" + numbers[0], "gitMinor=" + numbers[1],
			"gitTreeState=clean", "buildDate=1970-01-01T00:00:00Z"} {
			flags += " -X " + pkg + "." + set
		}
	}
	return flags
}

// buildAll compiles every program into dir.
func buildAll(ctx context.Context, w io.Writer, dir string) error {
	tool, err := exec.LookPath("go")
	if err != nil {
		return errors.New("building the control plane takes Go 1.26 or later, which is not on PATH: install it from https://go.dev/dl, or point KUBEBUILDER_ASSETS at a directory with etcd, kube-apiserver and kube-controller-manager")
	}
	src, err := os.MkdirTemp("", "gitward-controlplane-src-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(src)
	for _, m := range []module{etcdModule, kubernetesModule} {
		if err := m.unpack(filepath.Join(src, m.name)); err != nil {
			return fmt.Errorf("unpacking the module for %s: %w", m.name, err)
		}
	}
	for _, p := range programs() {
		b := builder{tool: tool, src: filepath.Join(src, p.module.name), show: newMeter(w, p.name+" "+p.module.version())}
		if err := b.build(ctx, p, filepath.Join(dir, p.name)); err != nil {
			return fmt.Errorf("building %s: %w", p.name, err)
		}
	}
	return nil
}

type builder struct {
	tool, src string
	show      *meter
}

// build compiles one program. Go tells what it compiles, and beforehand what
// it will have to: together that is a progress bar that does not lie.
func (b builder) build(ctx context.Context, p program, out string) error {
	b.show.begin("listing packages")
	stale, err := b.stale(ctx, p.pkg)
	if err != nil {
		return err
	}
	b.show.expect(stale)
	args := []string{"build", "-v"}
	if p.ldflags != "" {
		args = append(args, "-ldflags", p.ldflags)
	}
	_, err = b.run(ctx, append(args, "-o", out, p.pkg)...)
	b.show.end(err)
	return err
}

// stale counts the packages that Go's build cache does not have yet.
func (b builder) stale(ctx context.Context, pkg string) (int, error) {
	out, err := b.run(ctx, "list", "-deps", "-f", "{{if .Stale}}{{.ImportPath}}{{end}}", pkg)
	return bytes.Count(out, []byte("\n")), err
}

// run runs the go command and feeds what it tells to the meter. When ctx ends,
// the command ends with everything it started.
func (b builder) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, b.tool, args...)
	cmd.Dir, cmd.Env = b.src, buildEnv(os.Environ())
	ownGroup(cmd)
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) }
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout = &out
	reader, writer := io.Pipe()
	cmd.Stderr = writer
	said := make(chan string)
	go func() { said <- b.listen(reader) }()
	err := cmd.Run()
	writer.Close()
	complaint := <-said
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", args[0], err, complaint)
	}
	return out.Bytes(), nil
}

// listen counts the packages as they are named, and returns the last lines
// that were no package: the complaint, if there is one.
func (b builder) listen(r io.Reader) string {
	var rest []string
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "go: downloading "):
			b.show.fetched()
		case line != "" && !strings.ContainsAny(line, " \t"):
			b.show.compiled()
		default:
			rest = append(rest, line)
		}
	}
	io.Copy(io.Discard, r) // a line past the buffer must not block the build
	return strings.Join(rest[max(0, len(rest)-20):], "\n")
}

// buildEnv is the environment of every build. The flags that decide what the
// build cache holds are never left to the user's taste: other flags miss the
// whole cache and cost the minutes again.
func buildEnv(environ []string) []string {
	var env []string
	for _, entry := range environ {
		switch name, _, _ := strings.Cut(entry, "="); name {
		case "GOFLAGS", "GOWORK", "GOOS", "GOARCH", "CGO_ENABLED":
		default:
			env = append(env, entry)
		}
	}
	return append(env, "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0")
}
