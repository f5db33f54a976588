package appliers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/gitserver"
	"github.com/gitward/gitward/test/install"
	"github.com/gitward/gitward/test/server"
)

// The Origin and the Gate of every story.
const origin, gateName = "platform", "everything"

// lab is one story's repository, its checkout, and a Gitward of its own before
// the cluster that all stories share.
type lab struct {
	t      *testing.T
	plane  *controlplane.ControlPlane
	dir    string
	tree   string // the checkout of main, for tools that read files
	files  map[string]string
	repo   *gitserver.Repo
	server *gitserver.HTTP
	signer *gitserver.SSHSigner

	gitward *server.Gitward

	kube    *kubernetes.Clientset // as the administrator
	dynamic dynamic.Interface
	mapper  meta.RESTMapper
}

// newLab is a lab before the cluster that all stories share.
func newLab(t *testing.T) *lab {
	t.Helper()
	return newLabIn(t, controlplane.ForTest(t, controlplane.Options{ControllerManager: true}))
}

// newLabIn starts all but the webhooks. The Gate is to deny whatever the Origin
// does not declare, everywhere.
func newLabIn(t *testing.T, plane *controlplane.ControlPlane) *lab {
	t.Helper()
	l := &lab{t: t, plane: plane, dir: t.TempDir(), files: map[string]string{}}
	config := l.plane.RESTConfig(controlplane.Admin)
	config.WarningHandler = rest.NoWarnings{}
	l.kube, l.dynamic = must(kubernetes.NewForConfig(config)), must(dynamic.NewForConfig(config))
	l.tree = filepath.Join(l.dir, "checkout")
	l.repo = must(gitserver.NewRepo(filepath.Join(l.dir, "repositories", "platform.git")))
	l.signer = must(gitserver.NewSSHSigner())
	l.server = must(gitserver.NewHTTP(gitserver.HTTPOptions{Root: filepath.Join(l.dir, "repositories"), TLS: true}))
	t.Cleanup(l.server.Close)
	l.namespace(install.Namespace)
	for _, crd := range must(install.CRDs()) {
		crd.APIVersion, crd.Kind = "apiextensions.k8s.io/v1", "CustomResourceDefinition"
		l.put(string(must(yaml.Marshal(crd))))
	}
	l.gitward = server.New(t, l.dir, plane.Kubeconfig(controlplane.Admin), "--guard-registration=false")
	l.gitward.Serve(t, 30*time.Second)
	t.Cleanup(l.reset)
	return l
}

// reset takes Gitward out of the cluster again.
func (l *lab) reset() {
	l.gated(false)
	for _, kind := range []string{"gates", "origins"} {
		_ = l.dynamic.Resource(v1alpha1.GroupVersion.WithResource(kind)).DeleteCollection(context.Background(), metav1.DeleteOptions{}, metav1.ListOptions{})
	}
	l.gitward.KillAndTell(l.t)
}

// gated puts the webhooks into the cluster or takes them out, and waits until
// the API server does as it was told.
func (l *lab) gated(on bool) {
	l.t.Helper()
	if on {
		l.gitward.Register(l.t, l.kube)
	} else {
		server.Unregister(l.t, l.kube)
	}
}

// chapter is a subtest; failures inside are told of it.
func (l *lab) chapter(name string, tell func(t *testing.T)) bool {
	outer := l.t
	defer func() { l.t = outer }()
	return outer.Run(name, func(t *testing.T) {
		l.t = t
		tell(t)
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// check ends the test if err is one.
func (l *lab) check(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// trust is what the first commit makes of the cluster: an Origin that follows
// main, with what it renders, and a Gate that denies all else. Then the
// webhooks are put in.
func (l *lab) trust(render ...v1alpha1.Render) {
	l.t.Helper()
	l.trustWith(func(o *v1alpha1.Origin) { o.Spec.Render = render }, func(*v1alpha1.Gate) {})
}

func (l *lab) trustWith(ofOrigin func(*v1alpha1.Origin), ofGate func(*v1alpha1.Gate)) {
	l.t.Helper()
	l.secret("platform-signers", map[string]string{"allowed_signers": "ada@example.org " + l.signer.PublicLine + "\n"})
	l.secret("platform-git", map[string]string{"ca.crt": string(l.server.CA)})
	o := &v1alpha1.Origin{TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Origin"},
		ObjectMeta: metav1.ObjectMeta{Name: origin},
		Spec: v1alpha1.OriginSpec{
			URL: l.repoURL(), Ref: &v1alpha1.GitRef{Branch: "main"}, Interval: &metav1.Duration{Duration: time.Second},
			SecretRef: &v1alpha1.LocalRef{Name: "platform-git"},
			Signers:   v1alpha1.Signers{SecretRef: v1alpha1.LocalRef{Name: "platform-signers"}},
		}}
	g := &v1alpha1.Gate{TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Gate"},
		ObjectMeta: metav1.ObjectMeta{Name: gateName},
		Spec:       v1alpha1.GateSpec{Action: v1alpha1.ActionDeny, Origins: []v1alpha1.OriginRef{{Name: origin}}}}
	ofOrigin(o)
	ofGate(g)
	l.put(string(must(yaml.Marshal(o))))
	l.put(string(must(yaml.Marshal(g))))
	l.accepted()
	server.Await(l.t, "the Gate", 20*time.Second, func() error {
		u, err := l.get("gitward.dev/v1alpha1 Gate " + gateName)
		if err == nil && !hasCondition(u, "Ready") {
			err = fmt.Errorf("its status is %v", u.Object["status"])
		}
		return err
	})
	l.gated(true)
}

func (l *lab) repoURL() string { return l.server.URL + "/platform.git" }

// commit commits files signed, brings the checkout up to date, and waits until
// Gitward decides from the commit, if it runs already.
func (l *lab) commit(files map[string]string, remove ...string) string {
	l.t.Helper()
	id := must(l.repo.Commit(gitserver.CommitOptions{Files: files, Delete: remove, Signer: l.signer, Message: "change"}))
	l.checkOut(files, remove...)
	if _, err := l.get("gitward.dev/v1alpha1 Origin " + origin); err == nil {
		l.accepted()
	}
	return id
}

func (l *lab) checkOut(files map[string]string, remove ...string) {
	l.t.Helper()
	maps.Copy(l.files, files)
	for _, name := range remove {
		delete(l.files, name)
		l.check(os.RemoveAll(l.path(name)))
	}
	for name, text := range files {
		l.write(l.path(name), text)
	}
}

// path is where a file of the repository lies in the checkout.
func (l *lab) path(name string) string { return filepath.Join(l.tree, filepath.FromSlash(name)) }

// beside writes a file that is not in the repository.
func (l *lab) beside(name, text string) string {
	l.t.Helper()
	path := filepath.Join(l.dir, "beside", filepath.FromSlash(name))
	l.write(path, text)
	return path
}

func (l *lab) write(path, text string) {
	l.t.Helper()
	l.check(os.MkdirAll(filepath.Dir(path), 0o755))
	l.check(os.WriteFile(path, []byte(text), 0o644))
}

// accepted waits until Gitward decides from main's tip.
func (l *lab) accepted() {
	l.t.Helper()
	tip := l.repo.Ref(gitserver.MainRef)
	server.Await(l.t, "acceptance of "+tip, 90*time.Second, func() error {
		u, err := l.get("gitward.dev/v1alpha1 Origin " + origin)
		if err != nil {
			return err
		}
		if at, _, _ := unstructured.NestedString(u.Object, "status", "acceptedRevision"); at != tip {
			return fmt.Errorf("its status is %v", u.Object["status"])
		}
		return nil
	})
}

// noProblems fails if Gitward sees any in the repository.
func (l *lab) noProblems() {
	l.t.Helper()
	u, err := l.get("gitward.dev/v1alpha1 Origin " + origin)
	l.check(err)
	objects, _, _ := unstructured.NestedInt64(u.Object, "status", "objects")
	problems, _, _ := unstructured.NestedStringSlice(u.Object, "status", "problems")
	l.t.Logf("Gitward knows %d objects", objects)
	if len(problems) > 0 {
		l.t.Fatalf("problems: %s", strings.Join(problems, "\n"))
	}
}

func (l *lab) secret(name string, data map[string]string) {
	l.t.Helper()
	l.put(string(must(yaml.Marshal(map[string]any{"apiVersion": "v1", "kind": "Secret",
		"metadata": map[string]any{"namespace": install.Namespace, "name": name}, "stringData": data}))))
}

// put applies the documents of a text as the administrator, as whoever sets a
// cluster up does.
func (l *lab) put(text string) {
	l.t.Helper()
	for _, u := range parse(l.t, text) {
		delete(u.Object, "status")
		unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
		client, err := l.client(l.dynamic, u)
		l.check(err)
		_, err = client.Apply(context.Background(), u.GetName(), u, metav1.ApplyOptions{FieldManager: "setup", Force: true})
		l.check(err)
		if u.GetKind() == "CustomResourceDefinition" {
			l.awaitCRD(u.GetName())
		}
	}
}

// namespace is created, not applied: of a bare one server-side apply would own
// nothing, which Flux takes for what was before it.
func (l *lab) namespace(name string) {
	l.t.Helper()
	_, err := l.kube.CoreV1().Namespaces().Create(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		l.t.Fatal(err)
	}
}

func (l *lab) awaitCRD(name string) {
	l.t.Helper()
	server.Await(l.t, "CRD "+name, 30*time.Second, func() error {
		u, err := l.get("apiextensions.k8s.io/v1 CustomResourceDefinition " + name)
		if err == nil && !hasCondition(u, "Established") {
			err = errors.New("it is not established")
		}
		return err
	})
	l.mapper = nil
}

// parse reads the documents of a text that hold something.
func parse(t testing.TB, text string) []*unstructured.Unstructured {
	t.Helper()
	var out []*unstructured.Unstructured
	for _, document := range strings.Split("\n"+text, "\n---") {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatalf("%v in:\n%s", err, document)
		}
		if object != nil {
			out = append(out, &unstructured.Unstructured{Object: object})
		}
	}
	return out
}

// remap asks the API server anew which kinds it knows.
func (l *lab) remap() {
	l.t.Helper()
	groups, err := restmapper.GetAPIGroupResources(discovery.NewDiscoveryClient(l.kube.RESTClient()))
	l.check(err)
	l.mapper = restmapper.NewDiscoveryRESTMapper(groups)
}

// client is how an object of this kind and namespace is reached.
func (l *lab) client(as dynamic.Interface, u *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	kind := u.GroupVersionKind()
	if l.mapper == nil {
		l.remap()
	}
	mapping, err := l.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		l.remap()
		mapping, err = l.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return as.Resource(mapping.Resource), nil
	}
	return as.Resource(mapping.Resource).Namespace(u.GetNamespace()), nil
}

// ref is an object to look for: "apps/v1 Deployment shop/web", or without the
// namespace.
func ref(text string) *unstructured.Unstructured {
	fields := strings.Fields(text)
	namespace, name, namespaced := strings.Cut(fields[2], "/")
	if !namespaced {
		namespace, name = "", namespace
	}
	u := &unstructured.Unstructured{}
	u.SetAPIVersion(fields[0])
	u.SetKind(fields[1])
	u.SetNamespace(namespace)
	u.SetName(name)
	return u
}

func (l *lab) get(text string) (*unstructured.Unstructured, error) {
	u := ref(text)
	client, err := l.client(l.dynamic, u)
	if err != nil {
		return nil, err
	}
	return client.Get(context.Background(), u.GetName(), metav1.GetOptions{})
}

// exists says whether an object is there.
func (l *lab) exists(text string) bool {
	l.t.Helper()
	_, err := l.get(text)
	if err != nil && !apierrors.IsNotFound(err) {
		l.t.Fatal(err)
	}
	return err == nil
}

func hasCondition(u *unstructured.Unstructured, kind string) bool {
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == kind && m["status"] == "True" {
			return true
		}
	}
	return false
}

// administrator binds users to all rights that RBAC has, so that nobody but
// Gitward stands in their way.
func (l *lab) administrator(users ...string) {
	l.t.Helper()
	for _, user := range users {
		b := rbacv1.ClusterRoleBinding{TypeMeta: metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRoleBinding"},
			ObjectMeta: metav1.ObjectMeta{Name: "appliers-" + strings.ReplaceAll(user, ":", "-")},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}}}
		l.put(string(must(yaml.Marshal(must(runtime.DefaultUnstructuredConverter.ToUnstructured(&b))))))
	}
}
