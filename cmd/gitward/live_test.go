package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/gitserver"
)

// cliShop is what Git declares in the tests with a cluster.
const cliShop = `apiVersion: v1
kind: Namespace
metadata: {name: cli-shop}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: flags, namespace: cli-shop}
data: {dark: "on"}
---
apiVersion: v1
kind: Secret
metadata: {name: token, namespace: cli-shop}
stringData: {word: hunter2}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: cli-shop}
spec: {selector: {app: web}, ports: [{port: 80}]}
`

// cliWorld is a repository, its configuration in a directory and in a cluster,
// and the cluster itself.
type cliWorld struct {
	t          *testing.T
	cluster    client.Client
	kubeconfig string
	config     string
	namespace  string // in place of cli-shop, and as long
	repo       *gitserver.Repo
	signer     *gitserver.SSHSigner
}

func newCLIWorld(t *testing.T) *cliWorld {
	cp := controlplane.ForTest(t, controlplane.Options{})
	c, err := client.New(cp.RESTConfig(controlplane.Admin), client.Options{Scheme: readerScheme})
	if err != nil {
		t.Fatal(err)
	}
	w := &cliWorld{t: t, cluster: c, kubeconfig: cp.Kubeconfig(controlplane.Admin), config: t.TempDir(), namespace: fmt.Sprintf("cli-%04d", time.Now().UnixNano()/1000%10000)}
	if w.repo, err = gitserver.NewRepo(filepath.Join(t.TempDir(), "platform.git")); err != nil {
		t.Fatal(err)
	}
	if w.signer, err = gitserver.NewSSHSigner(); err != nil {
		t.Fatal(err)
	}
	w.commit(w.named(cliShop))
	config := `apiVersion: gitward.dev/v1alpha1
kind: Origin
metadata: {name: platform}
spec: {url: "file://` + w.repo.Dir + `", ref: {branch: main}, signers: {secretRef: {name: signers}}}
---
apiVersion: gitward.dev/v1alpha1
kind: Gate
metadata: {name: default}
spec: {action: Deny, origins: [{name: platform}]}
---
apiVersion: v1
kind: Secret
metadata: {name: signers, namespace: gitward-system}
stringData: {ada.pub: "` + w.signer.PublicLine + ` ada@acme.dev"}
`
	if err := os.WriteFile(filepath.Join(w.config, "gitward.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

// named gives each test a namespace of its own.
func (w *cliWorld) named(text string) string {
	return strings.ReplaceAll(text, "cli-shop", w.namespace)
}

func (w *cliWorld) commit(manifests string) {
	w.t.Helper()
	if _, err := w.repo.Commit(gitserver.CommitOptions{Files: map[string]string{"shop.yaml": manifests}, Message: "shop", Signer: w.signer}); err != nil {
		w.t.Fatal(err)
	}
}

// apply creates what a YAML text declares, if it is not there yet.
func (w *cliWorld) apply(text string) {
	w.t.Helper()
	for doc := range strings.SplitSeq(text, "\n---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &o.Object); err != nil {
			w.t.Fatal(err)
		}
		if err := w.cluster.Create(w.t.Context(), o); err != nil && !apierrors.IsAlreadyExists(err) {
			w.t.Fatalf("creating %s: %v", o.GetName(), err)
		}
		if o.GetNamespace() != w.namespace && o.GetKind() != "Namespace" {
			w.t.Cleanup(func() { w.remove(o) })
		}
	}
}

// remove leaves the shared control plane as it was: only namespaces stay.
func (w *cliWorld) remove(o client.Object) {
	ctx := context.Background()
	if err := w.cluster.Delete(ctx, o); err != nil {
		w.t.Errorf("removing %s: %v", o.GetName(), err)
	}
	for range 200 {
		if err := w.cluster.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// gitward runs the program in this process.
func (w *cliWorld) gitward(want int, args ...string) (stdout, stderr string) {
	w.t.Helper()
	var out, errs bytes.Buffer
	args = append(append([]string{"gitward"}, args...), "--kubeconfig", w.kubeconfig, "--allow-local-repositories")
	for i := range args {
		args[i] = w.named(args[i])
	}
	if code := run(args, strings.NewReader(""), &out, &errs); code != want {
		w.t.Fatalf("%v: exit code %d, want %d\n%s%s", args, code, want, out.String(), errs.String())
	}
	return strings.ReplaceAll(out.String(), w.namespace, "cli-shop"), errs.String()
}

func mustContain(t *testing.T, text string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}

// TestCLIWithCluster plays trace, diff and doctor against a real API server.
func TestCLIWithCluster(t *testing.T) {
	w := newCLIWorld(t)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	out, _ := w.gitward(1, "diff", "--config", w.config)
	mustContain(t, out, "Service cli-shop/web       ✗ missing", "Namespace cli-shop")
	w.apply(w.named(cliShop))
	out, _ = w.gitward(0, "diff", "--config", w.config)
	mustContain(t, out, "Service cli-shop/web       ✓ same", "Secret cli-shop/token      ✓ same")
	out, _ = w.gitward(0, "trace", "svc/web", "-n", "cli-shop", "--config", w.config)
	mustContain(t, out, "Service cli-shop/web   ✓ traced", "✓ all fields match", "set by the server")

	w.drift()
	out, _ = w.gitward(1, "diff", "-n", "cli-shop", "--config", w.config)
	mustContain(t, out, "ConfigMap cli-shop/flags   ✗ different", "data.dark   Git on   live off", "data.word   Git (")
	for _, secret := range []string{"hunter", "aHVud"} {
		if strings.Contains(out, secret) {
			t.Errorf("a Secret's value is shown:\n%s", out)
		}
	}
	w.gitward(0, "diff", "svc/web", "-n", "cli-shop", "--config", w.config)
	w.gitward(0, "diff", "-n", "cli-shop", "--exit-code=false", "--config", w.config)
	w.gitward(2, "diff", "svc/nothing", "-n", "cli-shop", "--config", w.config)

	out, _ = w.gitward(0, "trace", "cm/flags", "-n", "cli-shop", "--config", w.config, "-o", "json")
	var result traceResult
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		t.Fatal(err)
	}
	if result.State != stateDrifted || len(result.Live.Drift) != 1 || result.Live.Drift[0] != (differenceItem{"data.dark", "on", "off"}) {
		t.Errorf("trace found %s %+v", result.State, result.Live)
	}
}

// drift changes two live objects by hand.
func (w *cliWorld) drift() {
	w.t.Helper()
	ctx, in := w.t.Context(), metav1.ObjectMeta{Namespace: w.namespace}
	flags, token := &corev1.ConfigMap{ObjectMeta: in}, &corev1.Secret{ObjectMeta: in}
	flags.Name, token.Name = "flags", "token"
	for _, o := range []client.Object{flags, token} {
		if err := w.cluster.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			w.t.Fatal(err)
		}
	}
	flags.Data["dark"], token.Data["word"] = "off", []byte("hunter3")
	for _, o := range []client.Object{flags, token} {
		if err := w.cluster.Update(ctx, o); err != nil {
			w.t.Fatal(err)
		}
	}
}

// TestConfigurationFromCluster takes Gitward's installation apart with doctor,
// and reads Origins, Gates and Secrets from the cluster.
func TestConfigurationFromCluster(t *testing.T) {
	w := newCLIWorld(t)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	_, errs := w.gitward(2, "signers", "list")
	mustContain(t, errs, "does not know Origins: Gitward is not installed there", "do    give --config DIR")
	out, _ := w.gitward(1, "doctor", "--config", w.config)
	mustContain(t, out, "✓ ok    cluster", "crd origins.gitward.dev", "it is not installed",
		"no ValidatingWebhookConfiguration has it: nothing is judged")

	w.install()
	out, _ = w.gitward(0, "signers", "list")
	mustContain(t, out, "ada@acme.dev")
	file := filepath.Join(t.TempDir(), "flags.yaml")
	if err := os.WriteFile(file, []byte(w.named(strings.Split(cliShop, "\n---\n")[1])), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ = w.gitward(0, "check", file)
	mustContain(t, out, "ConfigMap cli-shop/flags   ✓ admitted")
	out, _ = w.gitward(1, "doctor")
	mustContain(t, out, "✓ ok    crd origins.gitward.dev", "✓ ok    origin platform",
		"failurePolicy Ignore: while Gitward is away, everything passes, though a Gate denies",
		"its rules leave out DELETE, CONNECT", "it has no caBundle", "it has a namespaceSelector", "there is no such ValidatingAdmissionPolicy")
}

// install puts the CRDs, the configuration and a careless webhook into the
// cluster. They are taken away after the test: the control plane is shared.
func (w *cliWorld) install() {
	w.t.Helper()
	for _, name := range []string{"origins", "gates"} {
		data, err := os.ReadFile("../../charts/gitward/crds/gitward.dev_" + name + ".yaml")
		if err != nil {
			w.t.Fatal(err)
		}
		w.apply(strings.TrimPrefix(string(data), "---\n"))
	}
	w.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: gitward-system}")
	data, err := os.ReadFile(filepath.Join(w.config, "gitward.yaml"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.waitForCRDs()
	w.apply(string(data))

	policy, effects, url := admissionregistrationv1.Ignore, admissionregistrationv1.SideEffectClassNoneOnDryRun, "https://127.0.0.1:1/"
	hooks := &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "gitward"},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{Name: judgeWebhook, FailurePolicy: &policy, SideEffects: &effects,
			AdmissionReviewVersions: []string{"v1"}, ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: &url},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"nobody": "has-this"}},
			Rules: []admissionregistrationv1.RuleWithOperations{{Operations: []admissionregistrationv1.OperationType{"CREATE", "UPDATE"},
				Rule: admissionregistrationv1.Rule{APIGroups: []string{"*"}, APIVersions: []string{"*"}, Resources: []string{"*/*"}}}}}}}
	if err := w.cluster.Create(w.t.Context(), hooks); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { w.remove(hooks) })
}

func (w *cliWorld) waitForCRDs() {
	w.t.Helper()
	for range 100 {
		time.Sleep(50 * time.Millisecond)
		c, err := reachCluster(w.kubeconfig, "")
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err = c.configuration(w.t.Context(), "gitward-system"); err == nil {
			return
		}
	}
	w.t.Fatal("the CRDs are not served")
}
