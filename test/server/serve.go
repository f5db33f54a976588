package server

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gitward/gitward/test/install"
)

// Gitward is the program under test as it serves, with a certificate of its own
// and all that it keeps in one directory.
type Gitward struct {
	Process
	Port              int    // of its webhooks
	URL               string // the same: "https://127.0.0.1:9443"
	CA                []byte // PEM, of its certificate
	CertFile, KeyFile string
	StateDir, Records string
}

// New is a Gitward that keeps its files in dir and has the rights of a
// kubeconfig. Further flags are after the usual ones, so that they count.
func New(t testing.TB, dir, kubeconfig string, flags ...string) *Gitward {
	t.Helper()
	port, health := FreePort(t), FreePort(t)
	g := &Gitward{Port: port, URL: fmt.Sprintf("https://127.0.0.1:%d", port),
		CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key"),
		StateDir: filepath.Join(dir, "state"), Records: filepath.Join(dir, "records.jsonl")}
	g.certify(t)
	g.Process = Process{Name: "gitward", Path: Binary(t), Log: filepath.Join(dir, "gitward.log"),
		Args: append([]string{"serve", "--kubeconfig", kubeconfig, "--namespace", install.Namespace,
			"--state-dir", g.StateDir, "--records", g.Records, "--fetch-gap", "20ms",
			"--listen", g.address(), "--health-listen", fmt.Sprintf("127.0.0.1:%d", health),
			"--tls-cert-file", g.CertFile, "--tls-key-file", g.KeyFile}, flags...)}
	return g
}

func (g *Gitward) certify(t testing.TB) {
	t.Helper()
	ca, cert, key, err := install.ServingCertificate("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	g.CA = ca
	for file, data := range map[string][]byte{g.CertFile: cert, g.KeyFile: key} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (g *Gitward) address() string { return fmt.Sprintf("127.0.0.1:%d", g.Port) }

// Serve starts the process and waits until it listens.
func (g *Gitward) Serve(t testing.TB, limit time.Duration) {
	t.Helper()
	g.Start(t)
	g.Await(t, limit, func() error { return Answers(g.address()) })
}
