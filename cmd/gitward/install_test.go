package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/charts"
	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/install"
	"github.com/gitward/gitward/webhook/registration"
)

// site is a cluster into which a test installs the chart, with somebody who can
// say yes in Gitward's place.
type site struct {
	t             *testing.T
	plane         *controlplane.ControlPlane
	kube          *kubernetes.Clientset
	address       string
	ca, cert, key []byte
	values        string // file
	asked         atomic.Int64
}

func newSite(t *testing.T) *site {
	s := &site{t: t, plane: controlplane.OwnForTest(t, controlplane.Options{})}
	var err error
	if s.kube, err = kubernetes.NewForConfig(s.plane.RESTConfig(controlplane.Admin)); err != nil {
		t.Fatal(err)
	}
	if s.ca, s.cert, s.key, err = install.ServingCertificate("127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	if s.address, err = freeAddress(); err != nil {
		t.Fatal(err)
	}
	data, err := yaml.Marshal(map[string]any{"webhooks": map[string]any{"url": "https://" + s.address}, "guard": map[string]any{"groups": []any{"system:masters"}},
		"certs": map[string]any{"caBundle": string(s.ca), "cert": string(s.cert), "key": string(s.key)},
		"gate":  map[string]any{"origins": []any{map[string]any{"name": "platform"}}}})
	if err != nil {
		t.Fatal(err)
	}
	s.values = filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(s.values, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// answer says yes to everything until the test ends or stop is called.
func (s *site) answer() (stop func()) {
	s.t.Helper()
	pair, err := tls.X509KeyPair(s.cert, s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	l, err := net.Listen("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
		_ = json.NewEncoder(w).Encode(review)
	})}
	go func() { _ = server.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}})) }()
	s.t.Cleanup(func() { server.Close() })
	return func() { server.Close() }
}

// gitward runs `gitward install`.
func (s *site) gitward(args ...string) (string, error) {
	var out bytes.Buffer
	c := installCommand()
	c.SilenceUsage = true
	c.SetArgs(append([]string{"-f", s.values, "--kubeconfig", s.plane.Kubeconfig(controlplane.Admin)}, args...))
	c.SetOut(&out)
	c.SetErr(&out)
	err := c.ExecuteContext(context.Background())
	return out.String(), err
}

func (s *site) gate() *unstructured.Unstructured {
	s.t.Helper()
	objects, err := dynamic.NewForConfig(s.plane.RESTConfig(controlplane.Admin))
	if err != nil {
		s.t.Fatal(err)
	}
	gate, err := objects.Resource(schema.GroupVersionResource{Group: "gitward.dev", Version: "v1alpha1", Resource: "gates"}).Get(context.Background(), "default", metav1.GetOptions{})
	if err != nil {
		s.t.Errorf("the Gate: %v", err)
		return &unstructured.Unstructured{}
	}
	return gate
}

// A Gitward that does not answer yet, or no more, keeps nobody from installing it:
// what it is asked about waits until it is there.
func TestInstallUnanswered(t *testing.T) {
	s := newSite(t)
	later := time.AfterFunc(4*time.Second, func() { s.answer() })
	defer later.Stop()
	out, err := s.gitward()
	if err != nil || !strings.Contains(out, "Gate default applied\n") || s.asked.Load() == 0 {
		t.Fatalf("the first time: asked %d times, %v\n%s", s.asked.Load(), err, out)
	}
	s.gate()
	announced := func() *corev1.ConfigMap {
		t.Helper()
		cm, err := s.kube.CoreV1().ConfigMaps(install.Namespace).Get(t.Context(), registration.Installation, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return cm
	}
	first := announced()
	if out, err = s.gitward(); err != nil {
		t.Fatalf("the second time: %v\n%s", err, out)
	}
	if announced().UID == first.UID {
		t.Error("the second installation was not announced")
	}
	// What an API server makes of the chart, the doctor knows again.
	c, err := client.New(s.plane.RESTConfig(controlplane.Admin), client.Options{Scheme: readerScheme})
	if err != nil {
		t.Fatal(err)
	}
	r := &doctorResult{}
	r.webhooks(t.Context(), &clusterReader{client: c}, true, time.Now().Add(-time.Minute))
	for _, d := range r.Items {
		if d.Result == checkFail || !strings.Contains(d.Found, "expires") && d.Result != checkOK {
			t.Errorf("the doctor finds %+v", d)
		}
	}
	if len(r.Items) < 5 {
		t.Errorf("the doctor says only %+v", r.Items)
	}
}

func TestInstallDead(t *testing.T) {
	s := newSite(t)
	stop := s.answer()
	if out, err := s.gitward(); err != nil {
		t.Fatalf("the first time: %v\n%s", err, out)
	}
	stop()
	later := time.AfterFunc(5*time.Second, func() { s.answer() })
	defer later.Stop()
	out, err := s.gitward()
	if err != nil || !strings.Contains(out, "CustomResourceDefinition gates.gitward.dev applied\n") {
		t.Errorf("over a dead one: %v\n%s", err, out)
	}
	if strings.Index(out, "Deployment gitward applied") > strings.Index(out, "CustomResourceDefinition gates.gitward.dev applied") {
		t.Errorf("what brings it up waits for what it is asked about:\n%s", out)
	}
}

// No private key is printed, which people are told to commit.
func TestDryRun(t *testing.T) {
	values := "guard: {users: [installer]}\ncerts: "
	for name, c := range map[string]struct {
		certs, says string
		fails       bool
	}{
		"self":         {"{}", "--set certs.mode=cert-manager", true},
		"own pair":     {"{cert: A, key: B, caBundle: C}", "Secret gitward-tls is left out", false},
		"cert-manager": {"{mode: cert-manager}", "", false},
		"secret":       {"{mode: secret, caBundle: '-----BEGIN CERTIFICATE-----'}", "", false},
	} {
		file := filepath.Join(t.TempDir(), "values.yaml")
		if err := os.WriteFile(file, []byte(values+c.certs), 0o600); err != nil {
			t.Fatal(err)
		}
		var out, told bytes.Buffer
		cmd := installCommand()
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		cmd.SetArgs([]string{"--dry-run", "-f", file})
		cmd.SetOut(&out)
		cmd.SetErr(&told)
		err := cmd.Execute()
		says := told.String()
		if err != nil {
			says += err.Error()
		}
		if (err != nil) != c.fails || !strings.Contains(says, c.says) || c.says == "" && says != "" {
			t.Errorf("%s: %v, %q", name, err, says)
		}
		if strings.Contains(out.String(), "kind: Secret\n") || strings.Contains(out.String(), "tls.key:") || (out.Len() == 0) != c.fails {
			t.Errorf("%s: prints a key, or nothing: %d bytes", name, out.Len())
		}
	}
}

// Helm, where there is one: it upgrades and rolls back what a running Gitward
// watches, and after it has taken it out the cluster goes on.
func TestHelm(t *testing.T) {
	helm, err := exec.LookPath("helm")
	if err != nil {
		t.Skip("helm is not installed")
	}
	s := newSite(t)
	home := t.TempDir()
	chart := filepath.Join(home, "gitward")
	if err := os.CopyFS(home, charts.Files); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) {
		t.Helper()
		c := exec.Command(helm, append(args, "-n", install.Namespace, "--kubeconfig", s.plane.Kubeconfig(controlplane.Admin))...)
		c.Env = append(os.Environ(), "HOME="+home)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("helm %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	s.answer()
	run("install", "gitward", chart, "--create-namespace", "-f", s.values)
	gate := s.gate()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	guard := &registration.Guard{Config: s.plane.RESTConfig(controlplane.Admin), Namespace: install.Namespace, StateDir: t.TempDir(), Recorder: unrecorded{},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Settle: time.Second}
	go func() { done <- guard.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	seconds := func(want int32) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(200 * time.Millisecond) {
			cm, err := s.kube.CoreV1().ConfigMaps(install.Namespace).Get(t.Context(), registration.ConfigMap, metav1.GetOptions{})
			if err == nil && strings.Contains(cm.Data["registration.json"], `"timeoutSeconds":`+string('0'+rune(want))) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("a form with %d seconds is not kept: %v", want, err)
			}
		}
		judge, err := s.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(t.Context(), judgeWebhook, metav1.GetOptions{})
		if err != nil || *judge.Webhooks[0].TimeoutSeconds != want {
			t.Errorf("it has not %d seconds: %v", want, err)
		}
	}
	run("upgrade", "gitward", chart, "-f", s.values, "--set", "webhooks.timeoutSeconds=8")
	seconds(8)
	run("upgrade", "gitward", chart, "-f", s.values, "--set", "webhooks.timeoutSeconds=7")
	seconds(7)
	run("rollback", "gitward", "2")
	seconds(8)
	run("rollback", "gitward", "1") // when the Gate was a hook
	if s.gate().GetUID() != gate.GetUID() {
		t.Error("the Gate was made anew: for a moment nothing was judged")
	}
	run("uninstall", "gitward")
	time.Sleep(7 * time.Second)
	if _, err := s.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(t.Context(), judgeWebhook, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("after helm uninstall the judge's configuration: %v", err)
	}
	if _, err := s.kube.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.CreateOptions{}); err != nil {
		t.Errorf("after helm uninstall a write: %v", err)
	}
	run("install", "gitward", chart, "-f", s.values, "--set", "webhooks.timeoutSeconds=9")
	seconds(9)
}

// unrecorded: what is recorded of an installation, the registration's own tests
// say.
type unrecorded struct{}

func (unrecorded) RecordGap(registration.Gap) error { return nil }
