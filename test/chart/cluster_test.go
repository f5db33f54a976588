package chart

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/charts"
	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/install"
)

func freePort(t testing.TB) int {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// TestInstall: `gitward install` puts the whole chart into a real cluster, twice;
// its webhooks are asked and answer; its Pods are admitted where Pod security is
// restricted.
func TestInstall(t *testing.T) {
	plane := controlplane.OwnForTest(t, controlplane.Options{ControllerManager: true})
	dir := t.TempDir()
	ca, cert, key, err := install.ServingCertificate("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	values := map[string]any{"replicas": 1, "webhooks": map[string]any{"url": fmt.Sprintf("https://127.0.0.1:%d", port)},
		"certs": map[string]any{"caBundle": string(ca), "cert": string(cert), "key": string(key)}, "guard": map[string]any{"groups": []any{"system:masters"}}}
	write(t, filepath.Join(dir, "values.yaml"), must(yaml.Marshal(values)))
	write(t, filepath.Join(dir, "tls.crt"), cert)
	write(t, filepath.Join(dir, "tls.key"), key)
	kube := must(kubernetes.NewForConfig(plane.RESTConfig(controlplane.Admin)))
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: install.Namespace, Labels: map[string]string{
		"pod-security.kubernetes.io/enforce": "restricted"}}}
	must(kube.CoreV1().Namespaces().Create(context.Background(), namespace, metav1.CreateOptions{}))

	// The process is outside the cluster, for want of a kubelet; nothing else
	// differs.
	setUp := func() string {
		out, err := exec.Command(binary(t), "install", "--kubeconfig", plane.Kubeconfig(controlplane.Admin), "-f", filepath.Join(dir, "values.yaml")).CombinedOutput()
		if err != nil {
			t.Fatalf("gitward install: %v\n%s", err, out)
		}
		return string(out)
	}
	first := setUp()
	serve(t, plane, dir, port)
	second := setUp()
	if first != second {
		t.Errorf("the second time it says\n%s\nand the first\n%s", second, first)
	}
	await(t, "a Pod that is restricted", time.Minute, func() error {
		pods, err := kube.CoreV1().Pods(install.Namespace).List(context.Background(), metav1.ListOptions{})
		if err == nil && len(pods.Items) == 0 {
			err = fmt.Errorf("no Pod yet: %v", replicaSetSays(kube))
		}
		return err
	})
	asked(t, plane, kube)
	t.Logf("installed %d objects twice", strings.Count(first, " applied\n"))
}

func replicaSetSays(kube *kubernetes.Clientset) any {
	list, err := kube.AppsV1().ReplicaSets(install.Namespace).List(context.Background(), metav1.ListOptions{})
	if err != nil || len(list.Items) == 0 {
		return err
	}
	return list.Items[0].Status.Conditions
}

// asked makes a Gate in Deny without any Origin that has anything, and sees that
// the API server asks.
func asked(t *testing.T, plane *controlplane.ControlPlane, kube *kubernetes.Clientset) {
	t.Helper()
	client := must(dynamic.NewForConfig(plane.RESTConfig(controlplane.Admin)))
	gate := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "gitward.dev/v1alpha1", "kind": "Gate", "metadata": map[string]any{"name": "default"},
		"spec": map[string]any{"action": "Deny", "origins": []any{map[string]any{"name": "none"}}}}}
	must(client.Resource(schema.GroupVersionResource{Group: "gitward.dev", Version: "v1alpha1", Resource: "gates"}).Create(context.Background(), gate, metav1.CreateOptions{}))
	await(t, "a refusal", 30*time.Second, func() error {
		err := kube.CoreV1().RESTClient().Post().Namespace("default").Resource("configmaps").MaxRetries(0).Param("dryRun", "All").
			Body([]byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}}`)).Do(context.Background()).Error()
		if err == nil || !strings.Contains(err.Error(), `admission webhook "`+install.Judge+`" denied the request`) {
			return fmt.Errorf("the answer is %v", err)
		}
		return nil
	})
}

func write(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// serve runs the process with the certificate in dir, until the test ends.
func serve(t *testing.T, plane *controlplane.ControlPlane, dir string, port int) {
	t.Helper()
	logs := must(os.Create(filepath.Join(dir, "log")))
	c := exec.Command(binary(t), "serve", "--kubeconfig", plane.Kubeconfig(controlplane.Admin), "--state-dir", filepath.Join(dir, "state"),
		"--listen", fmt.Sprintf("127.0.0.1:%d", port), "--health-listen", "0", "--records", filepath.Join(dir, "records"),
		"--tls-cert-file", filepath.Join(dir, "tls.crt"), "--tls-key-file", filepath.Join(dir, "tls.key"))
	c.Stdout, c.Stderr = logs, logs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if t.Failed() {
			data, _ := os.ReadFile(logs.Name())
			t.Logf("gitward says\n%s", data[max(0, len(data)-3000):])
		}
	})
	await(t, "gitward", 20*time.Second, func() error {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			conn.Close()
		}
		return err
	})
}

// TestRestricted: the chart's Pod, in every mode, is one that restricted Pod
// security takes.
func TestRestricted(t *testing.T) {
	plane := guardedPlane(t)
	kube := must(kubernetes.NewForConfig(plane.RESTConfig(controlplane.Admin)))
	ctx := context.Background()
	_, err := kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "restricted",
		Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	_, err = kube.CoreV1().ServiceAccounts("restricted").Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "gitward"}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	pod := func(change func(*corev1.PodSpec)) error {
		var d appsv1.Deployment
		for _, o := range render(t, nil) {
			if o.GetKind() == "Deployment" {
				if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &d); err != nil {
					t.Fatal(err)
				}
			}
		}
		change(&d.Spec.Template.Spec)
		_, err := kube.CoreV1().Pods("restricted").Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "gitward"}, Spec: d.Spec.Template.Spec}, metav1.CreateOptions{DryRun: dry})
		return err
	}
	if err := pod(func(*corev1.PodSpec) {}); err != nil {
		t.Errorf("refused: %v", err)
	}
	if pod(func(s *corev1.PodSpec) { s.Containers[0].SecurityContext = nil }) == nil {
		t.Error("Pod security refuses nothing here: the test proves nothing")
	}
}

// TestCertManagerCRDs: the API server takes the chart's Certificate and Issuers
// by cert-manager's own definitions.
func TestCertManagerCRDs(t *testing.T) {
	plane := guardedPlane(t)
	client := must(dynamic.NewForConfig(plane.RESTConfig(controlplane.Admin)))
	ctx := context.Background()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cert-manager/cert-manager").Output()
	if err != nil {
		t.Fatalf("finding cert-manager's module: %v", err)
	}
	for _, name := range []string{"certificates", "issuers"} {
		data := must(os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "deploy/crds/cert-manager.io_"+name+".yaml")))
		crd := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(data, &crd.Object); err != nil {
			t.Fatal(err)
		}
		create(t, client, crd)
	}
	applied := 0
	for _, o := range render(t, modes["cert-manager"]) {
		if o.GroupVersionKind().Group != "cert-manager.io" {
			continue
		}
		o.SetNamespace("default")
		gvr := o.GroupVersionKind().GroupVersion().WithResource(strings.ToLower(o.GetKind()) + "s")
		data := must(json.Marshal(o.Object))
		await(t, o.GetKind(), 30*time.Second, func() error {
			_, err := client.Resource(gvr).Namespace("default").Patch(ctx, o.GetName(), types.ApplyPatchType, data,
				metav1.PatchOptions{FieldManager: "test", FieldValidation: "Strict", DryRun: dry})
			return err
		})
		applied++
	}
	if applied != 4 {
		t.Errorf("%d objects, want 4", applied)
	}
}

// TestStatic: what stands on the API server's disk nobody takes away through the
// API, whoever they are or say they are.
func TestStatic(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a real API server, which -short leaves out")
	}
	dir := t.TempDir()
	ca, cert, key, err := install.ServingCertificate("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "ca.crt"), ca)
	write(t, filepath.Join(dir, "tls.crt"), cert)
	write(t, filepath.Join(dir, "tls.key"), key)
	port := freePort(t)
	admission := filepath.Join(dir, "admission")
	out, err := exec.Command(binary(t), "static-manifest", "--url", fmt.Sprintf("https://127.0.0.1:%d", port), "--ca-file", filepath.Join(dir, "ca.crt"),
		"-o", admission, "--target", admission).CombinedOutput()
	if err != nil {
		t.Fatalf("gitward static-manifest: %v\n%s", err, out)
	}
	plane := controlplane.OwnForTest(t, controlplane.Options{
		Users:              []controlplane.User{{Name: mallory}},
		ExtraAPIServerArgs: []string{"--admission-control-config-file=" + filepath.Join(admission, "admission.yaml")}})
	kube := must(kubernetes.NewForConfig(plane.RESTConfig(controlplane.Admin)))
	probe := func() error {
		return kube.CoreV1().RESTClient().Post().Namespace("default").Resource("configmaps").MaxRetries(0).Param("dryRun", "All").
			Body([]byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}}`)).Do(context.Background()).Error()
	}
	if err := probe(); err == nil || !strings.Contains(err.Error(), install.Judge+".static.k8s.io") {
		t.Fatalf("with no Gitward running a write ends with %v", err)
	}
	for _, o := range must(charts.Release{Name: "gitward", Namespace: install.Namespace, Values: modes["secret"]}.Objects()) {
		if o.GetKind() == "ValidatingAdmissionPolicyBinding" {
			if err := kube.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Delete(context.Background(), o.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) && !strings.Contains(err.Error(), "ValidatingAdmissionPolicy") {
				t.Errorf("deleting a binding: %v", err)
			}
		}
	}
	for _, as := range []string{"", "system:serviceaccount:" + install.Namespace + ":gitward", "system:apiserver", "system:kube-controller-manager"} {
		config := plane.RESTConfig(controlplane.Admin)
		config.Impersonate.UserName = as
		if as != "" {
			config.Impersonate.Groups = []string{"system:masters"}
		}
		k := must(kubernetes.NewForConfig(config))
		judge, _ := install.Webhooks("https://127.0.0.1:1", nil)
		if _, err := k.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(context.Background(), judge, metav1.CreateOptions{DryRun: dry}); err == nil ||
			!strings.Contains(err.Error(), "on the API server's own disk") {
			t.Errorf("as %q: a configuration of Gitward's name: %v", as, err)
		}
	}
}
