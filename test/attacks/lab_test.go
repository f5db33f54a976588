package attacks

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/gitserver"
	"github.com/gitward/gitward/test/install"
	"github.com/gitward/gitward/test/server"
)

const (
	systemNamespace = "gitward-system"
	origin          = "platform"
	// ownUser is Gitward itself, outside of the cluster that it guards.
	ownUser = "gitward"
	// lag is the Gate's: short, so that a test can outwait it.
	lag = 2 * time.Second
)

// lab is what all attacks share: one cluster with its controllers, two
// repositories, and one Gitward between them that denies. Each attack has two
// namespaces: one that the Gate is about, and one that it excludes and where a
// naive webhook decides instead.
type lab struct {
	plane         *controlplane.ControlPlane
	dir           string
	repo, staging *gitserver.Repo
	server        *gitserver.HTTP
	signer        *gitserver.SSHSigner
	gitward       *gitward
	naives        *naiveServer
	stolen        string // a token of the applier

	kube    *kubernetes.Clientset
	dynamic dynamic.Interface

	mu      sync.Mutex
	clients map[string]*rest.RESTClient // by person
}

var shared struct {
	sync.Mutex
	lab    *lab
	failed bool
}

// theLab is the one lab of this package.
func theLab(t testing.TB) *lab {
	t.Helper()
	plane := controlplane.ForTest(t, controlplane.Options{ControllerManager: true, Users: []controlplane.User{{Name: editor}, {Name: mallory}, {Name: ownUser, Groups: masters}}})
	shared.Lock()
	defer shared.Unlock()
	if shared.lab != nil {
		return shared.lab
	}
	if shared.failed {
		t.Fatal("the lab could not be set up: see the first test")
	}
	shared.failed = true
	shared.lab = newLab(t, plane)
	shared.failed = false
	return shared.lab
}

func newLab(t testing.TB, plane *controlplane.ControlPlane) *lab {
	t.Helper()
	l := &lab{plane: plane, dir: must(os.MkdirTemp("", "gitward-attacks-")), clients: map[string]*rest.RESTClient{}}
	config := l.config(whoIs("system:masters"))
	l.kube, l.dynamic = must(kubernetes.NewForConfig(config)), must(dynamic.NewForConfig(config))
	repositories := filepath.Join(l.dir, "repositories")
	l.repo = must(gitserver.NewRepo(filepath.Join(repositories, origin+".git")))
	l.staging = must(gitserver.NewRepo(filepath.Join(repositories, "staging.git")))
	l.signer = must(gitserver.NewSSHSigner())
	l.server = must(gitserver.NewHTTP(gitserver.HTTPOptions{Root: repositories, TLS: true, Username: "gitward", Password: "not a secret"}))
	l.naives = newNaiveServer()
	l.furnish(t)
	l.gitward = newGitward(t, plane, l.dir)
	l.trust(t)
	l.gitward.Register(t, l.kube)
	return l
}

func (l *lab) close() {
	l.gitward.Kill()
	l.server.Close()
	l.naives.close()
	os.RemoveAll(l.dir)
}

// furnish puts into the cluster what is there before Gitward is.
func (l *lab) furnish(t testing.TB) {
	t.Helper()
	for _, crd := range must(install.CRDs()) {
		crd.TypeMeta = metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"}
		l.put(t, string(must(yaml.Marshal(crd))))
	}
	for _, text := range []string{widgets, gadgets} {
		l.put(t, text)
	}
	for _, name := range []string{systemNamespace, applierNamespace} {
		l.put(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+name+"}\n")
	}
	for _, subject := range []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: mallory},
		{Kind: "ServiceAccount", Namespace: applierNamespace, Name: applierName}} {
		l.put(t, string(must(yaml.Marshal(&rbacv1.ClusterRoleBinding{TypeMeta: metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRoleBinding"},
			ObjectMeta: metav1.ObjectMeta{Name: "admin-" + subject.Name}, Subjects: []rbacv1.Subject{subject},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"}}))))
	}
	l.put(t, strings.ReplaceAll(workload("apps/v1", "Deployment", "gitward", "gitward", "replicas: 0"), "$NS", systemNamespace))
	check(t, post("/apis/certificates.k8s.io/v1/certificatesigningrequests", evilRequest).do(l.client(whoIs("system:masters")), ""))
	l.put(t, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: "+applierName+", namespace: "+applierNamespace+"}\n")
	token, err := l.kube.CoreV1().ServiceAccounts(applierNamespace).CreateToken(context.Background(), applierName, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	check(t, err)
	l.stolen = token.Status.Token
	server.Await(t, "the custom resources", 30*time.Second, func() error {
		for _, path := range []string{"/apis/example.org/v1/widgets", "/apis/example.org/v1/gadgets", "/apis/gitward.dev/v1alpha1/gates", "/apis/gitward.dev/v1alpha1/origins"} {
			if err := l.kube.RESTClient().Get().AbsPath(path).Do(context.Background()).Error(); err != nil {
				return err
			}
		}
		return nil
	})
}

// trust tells Gitward its repositories and its Gate, and waits until it decides
// from them. The Gate is in Git too, so that attacks on it are refused as any.
func (l *lab) trust(t testing.TB) {
	t.Helper()
	l.putSecret(t, "signers", map[string]string{"allowed_signers": "ada@example.org " + l.signer.PublicLine + "\n"})
	l.putSecret(t, "git", map[string]string{"username": "gitward", "password": "not a secret", "ca.crt": string(l.server.CA)})
	l.commit(t, map[string]string{"guard/gate.yaml": gateText("")})
	must(l.staging.Commit(gitserver.CommitOptions{Files: map[string]string{"README.md": "what staging runs\n"}, Signer: l.signer, Message: "begin"}))
	for _, name := range []string{origin, "staging"} {
		l.put(t, fmt.Sprintf(`apiVersion: gitward.dev/v1alpha1
kind: Origin
metadata: {name: %s}
spec:
  url: %s/%s.git
  ref: {branch: main}
  interval: 1s
  secretRef: {name: git}
  signers: {secretRef: {name: signers}}
`, name, l.server.URL, name))
	}
	l.put(t, gateText(""))
	gates := l.dynamic.Resource(gateResource)
	server.Await(t, "the Gate", 60*time.Second, func() error {
		u, err := gates.Get(context.Background(), "everything", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !strings.Contains(asJSON(u.Object["status"]), `"status":"True","type":"Ready"`) {
			return fmt.Errorf("its status is %v", u.Object["status"])
		}
		return nil
	})
}

// gateText denies everything, but for the namespaces of the naive. More is added to
// its exclusions.
func gateText(more string) string {
	return `apiVersion: gitward.dev/v1alpha1
kind: Gate
metadata: {name: everything}
spec:
  action: Deny
  lag: ` + lag.String() + `
  origins:
  - {name: platform}
  - {name: staging, namespaces: ["staging-*"]}
  exclude:
  - {namespaces: ["naive-*"], reason: "a naive webhook decides there"}
` + more
}

func (l *lab) putSecret(t testing.TB, name string, data map[string]string) {
	t.Helper()
	l.put(t, string(must(yaml.Marshal(&corev1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: systemNamespace}, StringData: data}))))
}

// put brings one document to the cluster as the administrator.
func (l *lab) put(t testing.TB, text string) {
	t.Helper()
	check(t, l.apply(text))
}

func (l *lab) apply(text string) error {
	return apply(collection(text)+"/"+objectOf(text).GetName(), text).do(l.client(whoIs("system:masters")), "")
}

// commit commits files signed, and returns the commit's id.
func (l *lab) commit(t testing.TB, files map[string]string, remove ...string) string {
	t.Helper()
	return l.commitAs(t, l.signer, files, remove...)
}

func (l *lab) commitAs(t testing.TB, signer gitserver.Signer, files map[string]string, remove ...string) string {
	t.Helper()
	id, err := l.repo.Commit(gitserver.CommitOptions{Files: files, Delete: remove, Signer: signer, Message: "change"})
	check(t, err)
	return id
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
