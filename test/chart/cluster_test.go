package chart

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/install"
	"github.com/gitward/gitward/test/server"
)

// TestInstall: `gitward install` puts the whole chart into a real cluster, twice;
// with the rights that the chart gives it becomes ready; its webhooks are asked
// and answer; its Pods are admitted where Pod security is restricted.
func TestInstall(t *testing.T) {
	plane := controlplane.OwnForTest(t, controlplane.Options{ControllerManager: true})
	dir := t.TempDir()
	ca, cert, key, err := install.ServingCertificate("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	port := server.FreePort(t)
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
		out, err := exec.Command(server.Build(t), "install", "--kubeconfig", plane.Kubeconfig(controlplane.Admin), "-f", filepath.Join(dir, "values.yaml")).CombinedOutput()
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
	// It has to see that an installation is under way, and reads no other's ConfigMaps.
	config := must(clientcmd.BuildConfigFromFlags("", kubeconfigOf(t, plane, install.Namespace, "gitward", dir)))
	own := must(kubernetes.NewForConfig(config)).CoreV1().ConfigMaps(install.Namespace)
	if _, err := own.Get(context.Background(), "gitward-installation", metav1.GetOptions{}); err != nil {
		t.Errorf("Gitward cannot see that it is installed: %v", err)
	}
	if _, err := own.Get(context.Background(), "kube-root-ca.crt", metav1.GetOptions{}); err == nil || !atRBAC(err) {
		t.Errorf("Gitward reads any ConfigMap: %v", err)
	}
	server.Await(t, "a Pod that is restricted", time.Minute, func() error {
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
	server.Await(t, "a refusal", 30*time.Second, func() error {
		err := kube.CoreV1().RESTClient().Post().Namespace("default").Resource("configmaps").MaxRetries(0).Param("dryRun", "All").
			Body([]byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}}`)).Do(context.Background()).Error()
		if !server.Refused(err) {
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

// kubeconfigOf makes a file with a token of a service account.
func kubeconfigOf(t *testing.T, plane *controlplane.ControlPlane, namespace, name, dir string) string {
	t.Helper()
	config := must(clientcmd.LoadFromFile(plane.Kubeconfig(controlplane.Admin)))
	for _, a := range config.AuthInfos {
		a.Token = tokenOf(t, plane.RESTConfig(controlplane.Admin), namespace, name)
	}
	file := filepath.Join(dir, name+".kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

func tokenOf(t *testing.T, config *rest.Config, namespace, name string) string {
	t.Helper()
	answer, err := must(kubernetes.NewForConfig(config)).CoreV1().ServiceAccounts(namespace).
		CreateToken(context.Background(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("a token of %s/%s: %v", namespace, name, err)
	}
	return answer.Status.Token
}

// serve runs the process as the chart's own account, with the certificate in dir,
// until the test ends.
func serve(t *testing.T, plane *controlplane.ControlPlane, dir string, port int) {
	t.Helper()
	health := fmt.Sprintf("127.0.0.1:%d", server.FreePort(t))
	gitward := &server.Process{Name: "gitward", Path: server.Build(t), Log: filepath.Join(dir, "log"),
		Args: []string{"serve", "--kubeconfig", kubeconfigOf(t, plane, install.Namespace, "gitward", dir), "--state-dir", filepath.Join(dir, "state"),
			"--listen", fmt.Sprintf("127.0.0.1:%d", port), "--health-listen", health, "--namespace", install.Namespace, "--records", filepath.Join(dir, "records"),
			"--tls-cert-file", filepath.Join(dir, "tls.crt"), "--tls-key-file", filepath.Join(dir, "tls.key")}}
	gitward.Start(t)
	t.Cleanup(func() { gitward.KillAndTell(t) })
	gitward.Await(t, 30*time.Second, func() error { return server.Answers("http://" + health + "/readyz") })
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
	pod := func(mode string, change func(*corev1.PodSpec)) error {
		var d appsv1.Deployment
		for _, o := range render(t, modes[mode]) {
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
	for mode := range modes {
		if err := pod(mode, func(*corev1.PodSpec) {}); err != nil {
			t.Errorf("%s: refused: %v", mode, err)
		}
		if pod(mode, func(s *corev1.PodSpec) { s.Containers[0].SecurityContext = nil }) == nil {
			t.Errorf("%s: Pod security refuses nothing here: the test proves nothing", mode)
		}
	}
}

// define makes cert-manager's own definitions known.
func define(t *testing.T, client dynamic.Interface, names ...string) {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cert-manager/cert-manager").Output()
	if err != nil {
		t.Fatalf("finding cert-manager's module: %v", err)
	}
	for _, name := range names {
		data := must(os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "deploy/crds/cert-manager.io_"+name+".yaml")))
		crd := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(data, &crd.Object); err != nil {
			t.Fatal(err)
		}
		create(t, client, crd)
	}
}

// TestCertManagerCRDs: the API server takes the chart's Certificate and Issuers
// by cert-manager's own definitions.
func TestCertManagerCRDs(t *testing.T) {
	plane := guardedPlane(t)
	client := must(dynamic.NewForConfig(plane.RESTConfig(controlplane.Admin)))
	ctx := context.Background()
	define(t, client, "certificates", "issuers")
	applied := 0
	for _, o := range render(t, modes["cert-manager"]) {
		if o.GroupVersionKind().Group != "cert-manager.io" {
			continue
		}
		o.SetNamespace("default")
		gvr := o.GroupVersionKind().GroupVersion().WithResource(strings.ToLower(o.GetKind()) + "s")
		data := must(json.Marshal(o.Object))
		server.Await(t, o.GetKind(), 30*time.Second, func() error {
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

// allowAll answers every review with yes, so that what is refused was refused by
// the API server itself.
func allowAll(t *testing.T, dir string) (url string) {
	t.Helper()
	ca, cert, key, err := install.ServingCertificate("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "ca.crt"), ca)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
		review.Request = nil
		_ = json.NewEncoder(w).Encode(&review)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{must(tls.X509KeyPair(cert, key))}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

// TestStatic: what stands on the API server's disk nobody takes away through the
// API, whoever they are or say they are. All of it could be done before.
func TestStatic(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a real API server, which -short leaves out")
	}
	dir := t.TempDir()
	url := allowAll(t, dir)
	admission := filepath.Join(dir, "admission")
	if err := os.Mkdir(admission, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(admission, "admission.yaml"), []byte("apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins: []\n"))
	plane := controlplane.OwnForTest(t, controlplane.Options{Users: []controlplane.User{{Name: mallory}},
		ExtraAPIServerArgs: []string{"--admission-control-config-file=" + filepath.Join(admission, "admission.yaml")}})
	write(t, filepath.Join(dir, "values.yaml"), must(yaml.Marshal(map[string]any{
		"webhooks": map[string]any{"url": url}, "guard": map[string]any{"groups": []any{"system:masters"}},
		"certs": map[string]any{"mode": "secret", "caBundle": string(must(os.ReadFile(filepath.Join(dir, "ca.crt"))))}})))
	if out, err := exec.Command(server.Build(t), "install", "--kubeconfig", plane.Kubeconfig(controlplane.Admin), "-f", filepath.Join(dir, "values.yaml")).CombinedOutput(); err != nil {
		t.Fatalf("gitward install: %v\n%s", err, out)
	}
	ctx := context.Background()
	kube := must(kubernetes.NewForConfig(plane.RESTConfig(controlplane.Admin)))
	must(kube.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "admin-" + mallory},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: mallory}}}, metav1.CreateOptions{}))
	// The policy in the API would refuse the stamp too, and hide who does.
	must(kube.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Patch(ctx, "stamps.guard.gitward.dev", types.MergePatchType,
		[]byte(`{"spec":{"validationActions":["Audit"]}}`), metav1.PatchOptions{}))

	people := map[string]*rest.Config{
		"system:masters":           plane.RESTConfig(controlplane.Admin),
		"impersonated Gitward":     withUID(inGroup(as(plane.RESTConfig(mallory), account), "system:masters", "system:serviceaccounts:"+install.Namespace)),
		"impersonated API server":  withUID(inGroup(as(plane.RESTConfig(mallory), "system:apiserver"), "system:masters")),
		"impersonated controllers": inGroup(as(plane.RESTConfig(mallory), "system:kube-controller-manager"), "system:masters"),
	}
	type try struct {
		name string
		do   func(dynamic.Interface) error
	}
	var tries []try
	seen := map[string]bool{}
	for _, o := range must(install.Objects(url, nil, map[string]any{"guard": map[string]any{"groups": []any{"system:masters"}}})) {
		if o.GroupVersionKind().Group != "admissionregistration.k8s.io" {
			continue
		}
		gvr := o.GroupVersionKind().GroupVersion().WithResource(strings.Replace(strings.ToLower(o.GetKind())+"s", "policys", "policies", 1))
		tries = append(tries,
			try{"update " + o.GetKind() + " " + o.GetName(), func(c dynamic.Interface) error {
				_, err := c.Resource(gvr).Patch(ctx, o.GetName(), types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{DryRun: dry})
				return err
			}},
			try{"delete " + o.GetKind() + " " + o.GetName(), func(c dynamic.Interface) error {
				return c.Resource(gvr).Delete(ctx, o.GetName(), metav1.DeleteOptions{DryRun: dry})
			}})
		if !seen[gvr.Resource] {
			seen[gvr.Resource] = true
			tries = append(tries, try{"delete all " + gvr.Resource, func(c dynamic.Interface) error {
				return c.Resource(gvr).DeleteCollection(ctx, metav1.DeleteOptions{DryRun: dry}, metav1.ListOptions{})
			}})
		}
	}
	if len(tries) != 8*2+4 {
		t.Fatalf("%d tries, want each of 8 objects updated and deleted, and 4 collections", len(tries))
	}
	forge := func(kube *kubernetes.Clientset) error {
		_, err := kube.AppsV1().Deployments(install.Namespace).Patch(ctx, "gitward", types.MergePatchType,
			[]byte(`{"metadata":{"annotations":{"gitward.dev/commit":"1"}}}`), metav1.PatchOptions{DryRun: dry}, "status")
		return err
	}
	server.Await(t, "a stamp that is only audited", 30*time.Second, func() error { return forge(kube) })
	possible := map[string]map[string]bool{}
	for who, config := range people {
		possible[who] = map[string]bool{}
		for _, d := range tries {
			possible[who][d.name] = d.do(must(dynamic.NewForConfig(config))) == nil
		}
	}
	for _, d := range tries {
		if !possible["system:masters"][d.name] {
			t.Errorf("without the files system:masters cannot: %s", d.name)
		}
	}

	if out, err := exec.Command(server.Build(t), "static-manifest", "--url", url, "--ca-file", filepath.Join(dir, "ca.crt"),
		"-o", admission, "--target", admission).CombinedOutput(); err != nil {
		t.Fatalf("gitward static-manifest: %v\n%s", err, out)
	}
	limit, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := plane.RestartAPIServer(limit); err != nil {
		t.Fatal(err)
	}
	count := 0
	for who, config := range people {
		for _, d := range tries {
			if err := d.do(must(dynamic.NewForConfig(config))); err == nil || !strings.Contains(err.Error(), "on the API server's own disk") {
				t.Errorf("%s: %s: %v", who, d.name, err)
			}
			if possible[who][d.name] {
				count++
			}
		}
		if err := forge(must(kubernetes.NewForConfig(config))); err == nil || !strings.Contains(err.Error(), "stamps.guard.gitward.dev.static.k8s.io") {
			t.Errorf("%s: a forged stamp through status: %v", who, err)
		}
	}
	if _, err := kube.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.CreateOptions{DryRun: dry}); err != nil {
		t.Errorf("what Gitward allows: %v", err)
	}
	t.Logf("%d tries by %d people refused, %d of them possible without the files", len(tries)*len(people), len(people), count)
}
