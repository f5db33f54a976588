package interop

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/install"
	"github.com/gitward/gitward/test/server"
)

// daemon is a program that runs until it is ended.
type daemon struct {
	t       testing.TB
	name    string
	log     string
	env     []string // beside the environment
	args    []string
	path    string
	health  string // a page or an address that answers when it is ready
	token   string // of its account
	process *exec.Cmd
	ended   chan struct{}
}

// start runs the program. Whoever makes a daemon has it end with the test.
func (d *daemon) start() {
	d.t.Helper()
	log, err := os.OpenFile(d.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer log.Close()
	d.process = exec.Command(d.path, d.args...)
	d.process.Env = append(os.Environ(), d.env...)
	d.process.Stdout, d.process.Stderr = log, log
	if err := d.process.Start(); err != nil {
		d.t.Fatal(err)
	}
	process, ended := d.process, make(chan struct{})
	d.ended = ended
	go func() { _ = process.Wait(); close(ended) }()
}

// stop ends the program, by force if it does not heed a word.
func (d *daemon) stop() {
	if d.process == nil {
		return
	}
	_ = d.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.ended:
	case <-time.After(5 * time.Second):
		_ = d.process.Process.Kill()
		<-d.ended
	}
}

// ready waits until the program answers, or fails with what it said.
func (d *daemon) ready() {
	d.t.Helper()
	server.Await(d.t, d.name, time.Minute, func() error {
		select {
		case <-d.ended:
			d.t.Fatalf("%s ended:\n%s", d.name, d.tail())
		default:
		}
		return answers(d.health)
	})
}

// answers asks for a page, or for a connection where there is no page.
func answers(address string) error {
	if !strings.Contains(address, "://") {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err
	}
	response, err := http.Get(address)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", address, response.Status)
	}
	return nil
}

func (d *daemon) tail() string {
	data, _ := os.ReadFile(d.log)
	return string(data[max(0, len(data)-6000):])
}

// startGitward runs the program under test.
func (l *lab) startGitward() {
	l.t.Helper()
	ca, cert, key, err := install.ServingCertificate("127.0.0.1")
	l.check(err)
	certFile, keyFile := filepath.Join(l.dir, "tls.crt"), filepath.Join(l.dir, "tls.key")
	l.check(os.WriteFile(certFile, cert, 0o600))
	l.check(os.WriteFile(keyFile, key, 0o600))
	port, health := server.FreePort(l.t), server.FreePort(l.t)
	l.ca, l.url, l.records = ca, fmt.Sprintf("https://127.0.0.1:%d", port), filepath.Join(l.dir, "records.jsonl")
	l.gitward = &daemon{t: l.t, name: "gitward", path: server.Binary(l.t), log: filepath.Join(l.dir, "gitward.log"),
		args: []string{"serve", "--kubeconfig", l.plane.Kubeconfig(controlplane.Admin), "--namespace", install.Namespace,
			"--guard-registration=false", "--state-dir", filepath.Join(l.dir, "state"), "--records", l.records, "--fetch-gap", "20ms",
			"--listen", fmt.Sprintf("127.0.0.1:%d", port), "--health-listen", fmt.Sprintf("127.0.0.1:%d", health),
			"--tls-cert-file", certFile, "--tls-key-file", keyFile}}
	l.t.Cleanup(l.gitward.stop)
	l.gitward.health = fmt.Sprintf("127.0.0.1:%d", port)
	l.gitward.start()
	l.gitward.ready()
}

const patience = 90 * time.Second
