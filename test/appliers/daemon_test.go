package appliers

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/install"
	"github.com/gitward/gitward/test/server"
)

// daemon is the program under test, as a process.
type daemon struct {
	t       testing.TB
	log     string
	process *exec.Cmd
	ended   chan struct{}
}

// startGitward runs the program until the lab's end.
func (l *lab) startGitward() {
	l.t.Helper()
	ca, cert, key, err := install.ServingCertificate("127.0.0.1")
	l.check(err)
	certFile, keyFile := filepath.Join(l.dir, "tls.crt"), filepath.Join(l.dir, "tls.key")
	l.check(os.WriteFile(certFile, cert, 0o600))
	l.check(os.WriteFile(keyFile, key, 0o600))
	address := fmt.Sprintf("127.0.0.1:%d", server.FreePort(l.t))
	l.ca, l.url = ca, "https://"+address
	l.gitward = &daemon{t: l.t, log: filepath.Join(l.dir, "gitward.log"), ended: make(chan struct{})}
	l.gitward.start(address, "serve", "--kubeconfig", l.plane.Kubeconfig(controlplane.Admin), "--namespace", install.Namespace,
		"--guard-registration=false", "--state-dir", filepath.Join(l.dir, "state"), "--records", filepath.Join(l.dir, "records.jsonl"),
		"--fetch-gap", "20ms", "--listen", address, "--health-listen", fmt.Sprintf("127.0.0.1:%d", server.FreePort(l.t)),
		"--tls-cert-file", certFile, "--tls-key-file", keyFile)
}

func (d *daemon) start(address string, args ...string) {
	d.t.Helper()
	log, err := os.OpenFile(d.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer log.Close()
	d.process = exec.Command(server.Binary(d.t), args...)
	d.process.Stdout, d.process.Stderr = log, log
	if err := d.process.Start(); err != nil {
		d.t.Fatal(err)
	}
	go func() { _ = d.process.Wait(); close(d.ended) }()
	server.Await(d.t, "gitward", 30*time.Second, func() error {
		select {
		case <-d.ended:
			d.t.Fatalf("gitward ended:\n%s", d.tail())
		default:
		}
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err
	})
}

func (d *daemon) stop() {
	_ = d.process.Process.Kill()
	<-d.ended
	if d.t.Failed() {
		d.t.Logf("the end of gitward's log:\n%s", d.tail())
	}
}

func (d *daemon) tail() string {
	data, _ := os.ReadFile(d.log)
	return string(data[max(0, len(data)-3000):])
}

// gated puts the webhooks into the cluster or takes them out, and waits until
// the API server does as it was told.
func (l *lab) gated(on bool) {
	l.t.Helper()
	ctx, registration := context.Background(), l.kube.AdmissionregistrationV1()
	judge, annotator := install.Webhooks(l.url, l.ca)
	if on {
		_, err := registration.ValidatingWebhookConfigurations().Create(ctx, judge, metav1.CreateOptions{})
		l.check(err)
		_, err = registration.MutatingWebhookConfigurations().Create(ctx, annotator, metav1.CreateOptions{})
		l.check(err)
	} else {
		for _, err := range []error{
			registration.ValidatingWebhookConfigurations().Delete(ctx, install.Judge, metav1.DeleteOptions{}),
			registration.MutatingWebhookConfigurations().Delete(ctx, install.Annotator, metav1.DeleteOptions{}),
		} {
			if err != nil && !apierrors.IsNotFound(err) {
				l.t.Fatal(err)
			}
		}
	}
	probe := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "probe-that-is-in-no-repository"}}
	server.Await(l.t, fmt.Sprintf("the webhooks (%v)", on), 30*time.Second, func() error {
		_, err := l.kube.CoreV1().ConfigMaps("default").Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if refused(err) != on {
			return fmt.Errorf("the answer is %v", err)
		}
		return nil
	})
	// The two configurations come by two watches: leave the other its moment.
	time.Sleep(250 * time.Millisecond)
}

// refused reports an error that is Gitward's denial, not anybody else's.
func refused(err error) bool { return err != nil && deniedByGate(err.Error()) }

func deniedByGate(message string) bool {
	return strings.Contains(message, `admission webhook "`+install.Judge+`" denied the request`)
}
