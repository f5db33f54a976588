package controlplane

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

func TestMain(m *testing.M) { os.Exit(Run(m)) }

var everything = Options{
	ControllerManager: true,
	AuditLog:          true,
	Users:             []User{{Name: "ada", Groups: []string{"team:shop", "oncall"}}, {Name: "oci:bob"}},
}

func clientOf(t *testing.T, cp *ControlPlane, user string) *kubernetes.Clientset {
	t.Helper()
	client, err := kubernetes.NewForConfig(cp.RESTConfig(user))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func TestVersionIsStamped(t *testing.T) {
	cp := ForTest(t, everything)
	version, err := clientOf(t, cp, Admin).ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	if version.GitVersion != kubernetesModule.version() || version.Major != "1" || version.GitTreeState != "clean" {
		t.Errorf("/version says %+v, want %s", version, kubernetesModule.version())
	}
}

func TestForTestShares(t *testing.T) {
	first, second := ForTest(t, everything), ForTest(t, everything)
	if first != second {
		t.Error("the same options got two control planes")
	}
}

// What a token user may do is for RBAC alone to say.
func TestUserNeedsRBAC(t *testing.T) {
	cp, ctx := ForTest(t, everything), t.Context()
	ada := clientOf(t, cp, "ada")
	_, err := ada.CoreV1().Namespaces().Create(ctx, namespace("of-ada"), metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `User "ada"`) {
		t.Fatalf("without RBAC: %v, want a 403 that names ada", err)
	}
	admin := clientOf(t, cp, Admin)
	if _, err := admin.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "namespaces"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"create"}}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "namespaces"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "namespaces"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: "oncall"}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ada makes a namespace", func() error {
		_, err := ada.CoreV1().Namespaces().Create(ctx, namespace("of-ada"), metav1.CreateOptions{})
		return err
	})
	_, err = clientOf(t, cp, "oci:bob").CoreV1().Namespaces().Create(ctx, namespace("of-bob"), metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("bob is in no group: %v, want a 403", err)
	}
	_, err = clientOf(t, cp, "nobody").CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err == nil || !strings.Contains(err.Error(), "system:anonymous") {
		t.Errorf("an unknown user: %v, want a refusal of system:anonymous", err)
	}
}

func TestControllerManagerWorks(t *testing.T) {
	cp, ctx := ForTest(t, everything), t.Context()
	admin := clientOf(t, cp, Admin)
	if _, err := admin.CoreV1().Namespaces().Create(ctx, namespace("controllers"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the default ServiceAccount", func() error {
		_, err := admin.CoreV1().ServiceAccounts("controllers").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	// Under its own account, not as system:kube-controller-manager.
	eventually(t, "the audit log", func() error {
		text, err := os.ReadFile(cp.path("audit.log"))
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			var event struct {
				Verb string
				User struct{ Username string }
				Ref  struct{ Resource, Namespace string } `json:"objectRef"`
			}
			if err := json.Unmarshal([]byte(line), &event); err != nil {
				continue // the line is still being written
			}
			if event.Verb == "create" && event.Ref.Resource == "serviceaccounts" && event.Ref.Namespace == "controllers" {
				if event.User.Username != "system:serviceaccount:kube-system:service-account-controller" {
					t.Errorf("made by %s", event.User.Username)
				}
				return nil
			}
		}
		return os.ErrNotExist
	})
}

func TestKubeconfig(t *testing.T) {
	cp := ForTest(t, everything)
	for _, user := range []string{Admin, "ada", "oci:bob"} {
		config, err := clientcmd.BuildConfigFromFlags("", cp.Kubeconfig(user))
		if err != nil {
			t.Fatal(err)
		}
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.ServerVersion(); err != nil {
			t.Errorf("%s: %v", user, err)
		}
	}
}

// A control plane of its own: restarted, killed, stopped.
func TestRestartAndStop(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a real API server, which -short leaves out")
	}
	ctx, dir := t.Context(), t.TempDir()
	began := time.Now()
	cp, err := Start(ctx, Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cp.Stop)
	t.Logf("ready after %v", time.Since(began).Round(time.Millisecond))
	admin := clientOf(t, cp, Admin)
	if _, err := admin.CoreV1().Namespaces().Create(ctx, namespace("kept"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	before := cp.Processes()
	if len(before) != 2 {
		t.Fatalf("processes %v, want etcd and kube-apiserver", before)
	}

	// A crash that nobody announced, then a restart at the same address.
	if err := killGroup(before[APIServer]); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	if err := cp.RestartAPIServer(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("back after %v", time.Since(began).Round(time.Millisecond))
	if _, err := admin.CoreV1().Namespaces().Get(ctx, "kept", metav1.GetOptions{}); err != nil {
		t.Errorf("after the restart: %v", err)
	}
	after := cp.Processes()
	if after[APIServer] == before[APIServer] || after[Etcd] != before[Etcd] {
		t.Errorf("processes %v became %v", before, after)
	}

	bystander := exec.Command("sleep", "60")
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { bystander.Process.Kill(); bystander.Wait() }()
	began = time.Now()
	cp.Stop()
	t.Logf("stopped in %v", time.Since(began).Round(time.Millisecond))
	cp.Stop()
	for program, pid := range after {
		if alive(pid) {
			t.Errorf("%s still runs as %d", program, pid)
		}
	}
	if !alive(bystander.Process.Pid) {
		t.Error("Stop ended a process that is not its own")
	}
	if _, err := os.Stat(cp.Log(APIServer)); err != nil {
		t.Errorf("the log is gone: %v", err)
	}
	if err := cp.RestartAPIServer(ctx); err == nil {
		t.Error("a stopped control plane was restarted")
	}
}

// What the API server said must be in the error: there is nowhere else to look
// in a test's output.
func TestErrorQuotesTheLog(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a real API server, which -short leaves out")
	}
	cp, err := Start(t.Context(), Options{Dir: t.TempDir(), ExtraAPIServerArgs: []string{"--no-such-flag"}})
	if err == nil {
		cp.Stop()
		t.Fatal("an unknown flag was taken")
	}
	if !strings.Contains(err.Error(), "unknown flag: --no-such-flag") {
		t.Errorf("the error does not say why: %v", err)
	}
}

// The directory of a test binary that was killed goes, that of one that runs
// stays.
func TestSweep(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	short := exec.Command("true")
	if err := short.Run(); err != nil {
		t.Fatal(err)
	}
	gone := filepath.Join(os.TempDir(), fmt.Sprintf("%s%d-1", tempPrefix, short.Process.Pid))
	here := filepath.Join(os.TempDir(), fmt.Sprintf("%s%d-1", tempPrefix, os.Getpid()))
	for _, dir := range []string{gone, here} {
		if err := os.MkdirAll(filepath.Join(dir, "etcd"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	sweep()
	if _, err := os.Stat(gone); !os.IsNotExist(err) {
		t.Errorf("%s was left: %v", gone, err)
	}
	if _, err := os.Stat(here); err != nil {
		t.Errorf("%s: %v", here, err)
	}
}

func TestUsersAreChecked(t *testing.T) {
	for _, users := range [][]User{{{}}, {{Name: Admin}}, {{Name: "ada"}, {Name: "ada"}}} {
		if err := checkUsers(withHouse(users)); err == nil {
			t.Errorf("%v was taken", users)
		}
	}
	if err := checkUsers(withHouse([]User{{Name: "ada"}, {Name: "bob"}})); err != nil {
		t.Error(err)
	}
}

// eventually waits for what controllers and caches do in their own time.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
