package attacks

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/gitward/gitward/audit"
	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/install"
	"github.com/gitward/gitward/test/server"
)

// gitward is the program under test, as a process.
type gitward struct {
	plane         *controlplane.ControlPlane
	dir           string
	port, health  int
	records, logs string
	ca            []byte // of its certificate
	extra         []string
	process       *exec.Cmd
	ended         chan struct{}
}

func newGitward(t testing.TB, plane *controlplane.ControlPlane, dir string, extra ...string) *gitward {
	t.Helper()
	g := &gitward{plane: plane, dir: dir, records: filepath.Join(dir, "records.jsonl"), logs: filepath.Join(dir, "gitward.log"), extra: extra}
	ca, cert, key, err := install.ServingCertificate("127.0.0.1")
	check(t, err)
	g.ca = ca
	check(t, os.WriteFile(filepath.Join(dir, "tls.crt"), cert, 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "tls.key"), key, 0o600))
	g.port, g.health = server.FreePort(t), server.FreePort(t)
	g.start(t)
	return g
}

func (g *gitward) url() string { return fmt.Sprintf("https://127.0.0.1:%d", g.port) }

// start runs the process and waits until it listens.
func (g *gitward) start(t testing.TB) {
	t.Helper()
	logs, err := os.OpenFile(g.logs, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	check(t, err)
	defer logs.Close()
	args := append([]string{"serve", "--kubeconfig", g.plane.Kubeconfig(ownUser), "--namespace", systemNamespace,
		"--state-dir", filepath.Join(g.dir, "state"), "--records", g.records, "--fetch-gap", "20ms",
		"--listen", fmt.Sprintf("127.0.0.1:%d", g.port), "--health-listen", fmt.Sprintf("127.0.0.1:%d", g.health),
		"--tls-cert-file", filepath.Join(g.dir, "tls.crt"), "--tls-key-file", filepath.Join(g.dir, "tls.key")}, g.extra...)
	g.process = exec.Command(server.Binary(t), args...)
	g.process.Stdout, g.process.Stderr = logs, logs
	check(t, g.process.Start())
	process, ended := g.process, make(chan struct{})
	g.ended = ended
	go func() { _ = process.Wait(); close(ended) }()
	server.Await(t, "gitward", 20*time.Second, func() error {
		select {
		case <-ended:
			t.Fatalf("gitward ended:\n%s", g.tail())
		default:
		}
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", g.port))
		if err == nil {
			c.Close()
		}
		return err
	})
}

// kill ends the process as a power cut does.
func (g *gitward) kill() {
	if g.process != nil && g.process.Process != nil {
		_ = g.process.Process.Kill()
		<-g.ended
	}
}

func (g *gitward) tail() string {
	data, _ := os.ReadFile(g.logs)
	return string(data[max(0, len(data)-4000):])
}

var decisionForm = regexp.MustCompile(`decision (d-[0-9A-Z]+)`)

// recordOf finds the record of the decision that a refusal names.
func (g *gitward) recordOf(refusal error) (audit.Record, error) {
	var r audit.Record
	m := decisionForm.FindStringSubmatch(refusal.Error())
	if m == nil {
		return r, fmt.Errorf("the refusal names no decision: %w", refusal)
	}
	data, err := os.ReadFile(g.records)
	if err != nil {
		return r, err
	}
	at := bytes.LastIndex(data, []byte(`"decision":"`+m[1]+`"`))
	if at < 0 {
		return r, fmt.Errorf("decision %s is in no record", m[1])
	}
	start := bytes.LastIndexByte(data[:at], '\n') + 1
	line, _, _ := bytes.Cut(data[start:], []byte("\n"))
	return r, json.Unmarshal(line, &r)
}

// size is how much was recorded so far, in lines and bytes.
func (g *gitward) size(t testing.TB) (lines, bytes int) {
	t.Helper()
	f, err := os.Open(g.records)
	check(t, err)
	defer f.Close()
	for r := bufio.NewScanner(f); r.Scan(); lines++ {
		bytes += len(r.Bytes()) + 1
	}
	return lines, bytes
}

// deniedSince counts the denials in the records from a line on, one by one and
// folded.
func (g *gitward) deniedSince(t testing.TB, line int) (n int64) {
	t.Helper()
	data, err := os.ReadFile(g.records)
	check(t, err)
	for _, text := range bytes.Split(bytes.TrimSpace(data), []byte("\n"))[line:] {
		var r struct {
			Operation string
			Allowed   bool
			Count     int64
		}
		check(t, json.Unmarshal(text, &r))
		switch {
		case r.Operation == "FOLDED":
			n += r.Count
		case !r.Allowed:
			n++
		}
	}
	return n
}

// recordsSince reads the records from a line on.
func (g *gitward) recordsSince(t testing.TB, line int) []audit.Record {
	t.Helper()
	data, err := os.ReadFile(g.records)
	check(t, err)
	var all []audit.Record
	for _, text := range bytes.Split(bytes.TrimSpace(data), []byte("\n"))[line:] {
		var r audit.Record
		check(t, json.Unmarshal(text, &r))
		all = append(all, r)
	}
	return all
}
