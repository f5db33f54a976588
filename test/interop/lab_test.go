package interop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
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

const (
	origin = "fleet"
	person = "eve"
)

// lab is one cluster of its own, with real controllers, one repository, and one
// Gitward. Eve may do all that RBAC can allow: only Gitward stands in her way.
type lab struct {
	t       *testing.T
	plane   *controlplane.ControlPlane
	dir     string
	repo    *gitserver.Repo
	server  *gitserver.HTTP
	signer  *gitserver.SSHSigner
	gitward *server.Gitward
	cluster *v1alpha1.Cluster // what the Origin says of it

	kube    *kubernetes.Clientset // as the administrator
	dynamic dynamic.Interface
	eve     dynamic.Interface
	mapper  meta.RESTMapper
}

// newLab starts all but the webhooks and the tools.
func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, dir: t.TempDir()}
	policy := filepath.Join(l.dir, "audit-policy.yaml")
	l.check(os.WriteFile(policy, []byte(auditPolicy), 0o600))
	l.plane = controlplane.OwnForTest(t, controlplane.Options{ControllerManager: true, AuditLog: true,
		Users: []controlplane.User{{Name: person}}, ExtraAPIServerArgs: []string{"--audit-policy-file=" + policy}})
	config := l.plane.RESTConfig(controlplane.Admin)
	config.WarningHandler = rest.NoWarnings{}
	l.kube = must(kubernetes.NewForConfig(config))
	l.dynamic = must(dynamic.NewForConfig(config))
	hers := l.plane.RESTConfig(person)
	hers.WarningHandler = rest.NoWarnings{}
	l.eve = must(dynamic.NewForConfig(hers))
	l.repo = must(gitserver.NewRepo(filepath.Join(l.dir, "repositories", "fleet.git")))
	l.signer = must(gitserver.NewSSHSigner())
	l.server = must(gitserver.NewHTTP(gitserver.HTTPOptions{Root: filepath.Join(l.dir, "repositories"), TLS: true}))
	t.Cleanup(l.server.Close)
	l.bindAdmin("eve", map[string]any{"kind": "User", "name": person, "apiGroup": "rbac.authorization.k8s.io"})
	l.namespace(install.Namespace)
	for _, crd := range must(install.CRDs()) {
		l.put(must(runtime.DefaultUnstructuredConverter.ToUnstructured(crd)))
	}
	l.gitward = server.New(t, l.dir, l.plane.Kubeconfig(controlplane.Admin), "--guard-registration=false")
	t.Cleanup(l.gitward.Stop)
	l.gitward.Serve(t, time.Minute)
	return l
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

func (l *lab) bindAdmin(name string, subject map[string]any) {
	l.t.Helper()
	l.put(map[string]any{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": map[string]any{"name": name},
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
		"subjects": []any{subject}})
}

func (l *lab) namespace(name string) {
	l.t.Helper()
	l.put(map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name}})
	server.Await(l.t, "the account of namespace "+name, 30*time.Second, func() error {
		_, err := l.kube.CoreV1().ServiceAccounts(name).Get(context.Background(), "default", metav1.GetOptions{})
		return err
	})
}

// put applies an object as the administrator, as whoever sets a cluster up does.
func (l *lab) put(object map[string]any) {
	l.t.Helper()
	u := &unstructured.Unstructured{Object: object}
	delete(u.Object, "status")
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	if _, known := u.Object["apiVersion"]; !known {
		u.SetAPIVersion("apiextensions.k8s.io/v1")
		u.SetKind("CustomResourceDefinition")
	}
	var client dynamic.ResourceInterface
	server.Await(l.t, "the kind "+u.GetKind(), 30*time.Second, func() (err error) { // a new one takes a moment to be told of
		client, err = l.client(l.dynamic, u)
		return err
	})
	_, err := client.Apply(context.Background(), u.GetName(), u, metav1.ApplyOptions{FieldManager: "setup", Force: true})
	l.check(err)
	if u.GetKind() == "CustomResourceDefinition" {
		server.Await(l.t, "CRD "+u.GetName(), 30*time.Second, func() error {
			live, err := client.Get(context.Background(), u.GetName(), metav1.GetOptions{})
			if err == nil && !hasCondition(live, "Established") {
				err = errors.New("it is not established")
			}
			return err
		})
		l.mapper = nil
	}
}

// putYAML applies every document of a text.
func (l *lab) putYAML(text string) {
	l.t.Helper()
	for _, object := range parse(l.t, text) {
		l.put(object)
	}
}

// parse reads the documents of a text that hold something.
func parse(t testing.TB, text string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for _, document := range strings.Split("\n"+text, "\n---") {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatalf("%v in:\n%s", err, document)
		}
		if object != nil {
			out = append(out, object)
		}
	}
	return out
}

// client is how an object of this kind and namespace is reached.
func (l *lab) client(as dynamic.Interface, u *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	kind := u.GroupVersionKind()
	if l.mapper == nil {
		groups, err := restmapper.GetAPIGroupResources(discovery.NewDiscoveryClient(l.kube.RESTClient()))
		if err != nil {
			return nil, err
		}
		l.mapper = restmapper.NewDiscoveryRESTMapper(groups)
	}
	mapping, err := l.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		l.mapper = nil // what is not known may come
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

// gone waits until an object is there no more.
func (l *lab) gone(text string, limit time.Duration) {
	l.t.Helper()
	server.Await(l.t, "the end of "+text, limit, func() error {
		_, err := l.get(text)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is still there: %v", err)
	})
}

// patch is a merge patch of an object by somebody.
func (l *lab) patch(as dynamic.Interface, text, change string) error {
	u := ref(text)
	client, err := l.client(as, u)
	if err != nil {
		return err
	}
	_, err = client.Patch(context.Background(), u.GetName(), types.MergePatchType, []byte(change), metav1.PatchOptions{FieldManager: "kubectl-edit"})
	return err
}

func (l *lab) delete(as dynamic.Interface, text string) error {
	u := ref(text)
	client, err := l.client(as, u)
	if err != nil {
		return err
	}
	return client.Delete(context.Background(), u.GetName(), metav1.DeleteOptions{})
}

func hasCondition(u *unstructured.Unstructured, kind string) bool {
	c := condition(u, kind)
	return c["status"] == "True"
}

func condition(u *unstructured.Unstructured, kind string) map[string]any {
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == kind {
			return m
		}
	}
	return nil
}

// commit commits files signed, and returns the commit's id.
func (l *lab) commit(files map[string]string, remove ...string) string {
	l.t.Helper()
	return l.commitAs(l.signer, files, remove...)
}

func (l *lab) commitAs(signer gitserver.Signer, files map[string]string, remove ...string) string {
	l.t.Helper()
	return must(l.repo.Commit(gitserver.CommitOptions{Files: files, Delete: remove, Signer: signer, Message: "change"}))
}

// trust creates the Origin and a Gate that denies everything else, and waits
// until Gitward decides from the commit.
func (l *lab) trust(commit string, render []v1alpha1.Render) {
	l.t.Helper()
	l.secret(install.Namespace, "signers", map[string]string{"allowed_signers": "ada@example.org " + l.signer.PublicLine + "\n"})
	l.secret(install.Namespace, "git", map[string]string{"ca.crt": string(l.server.CA)})
	o := &v1alpha1.Origin{TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Origin"},
		ObjectMeta: metav1.ObjectMeta{Name: origin},
		Spec: v1alpha1.OriginSpec{
			URL: l.repoURL(), Ref: &v1alpha1.GitRef{Branch: "main"}, Interval: &metav1.Duration{Duration: time.Second},
			SecretRef: &v1alpha1.LocalRef{Name: "git"}, Render: render, Cluster: l.cluster,
			Signers: v1alpha1.Signers{SecretRef: v1alpha1.LocalRef{Name: "signers"}},
		}}
	g := &v1alpha1.Gate{TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Gate"},
		ObjectMeta: metav1.ObjectMeta{Name: "everything"},
		Spec:       v1alpha1.GateSpec{Action: v1alpha1.ActionDeny, Origins: []v1alpha1.OriginRef{{Name: origin}}}}
	l.put(must(runtime.DefaultUnstructuredConverter.ToUnstructured(o)))
	l.put(must(runtime.DefaultUnstructuredConverter.ToUnstructured(g)))
	l.accepted(commit)
	server.Await(l.t, "the Gate", 20*time.Second, func() error {
		u, err := l.get("gitward.dev/v1alpha1 Gate everything")
		if err == nil && !hasCondition(u, "Ready") {
			err = fmt.Errorf("its status is %v", u.Object["status"])
		}
		return err
	})
}

func (l *lab) repoURL() string { return l.server.URL + "/fleet.git" }

// accepted waits until Gitward decides from a commit.
func (l *lab) accepted(commit string) {
	l.t.Helper()
	server.Await(l.t, "acceptance of "+commit, 60*time.Second, func() error {
		u, err := l.get("gitward.dev/v1alpha1 Origin " + origin)
		if err != nil {
			return err
		}
		if at, _, _ := unstructured.NestedString(u.Object, "status", "acceptedRevision"); at != commit {
			return fmt.Errorf("its status is %v", u.Object["status"])
		}
		return nil
	})
}

// tellOrigin prints what Gitward itself says of the repository.
func (l *lab) tellOrigin(t *testing.T) {
	if u, err := l.get("gitward.dev/v1alpha1 Origin " + origin); err == nil {
		status, _ := yaml.Marshal(u.Object["status"])
		t.Logf("the Origin's status:\n%s", status)
	}
}

func (l *lab) secret(namespace, name string, data map[string]string) {
	l.t.Helper()
	stringData := map[string]any{}
	for k, v := range data {
		stringData[k] = v
	}
	l.put(map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"namespace": namespace, "name": name}, "stringData": stringData})
}

// gated puts the webhooks into the cluster or takes them out, and waits until
// the API server does as it was told.
func (l *lab) gated(on bool) {
	l.t.Helper()
	if on {
		l.gitward.Register(l.t, l.kube)
		return
	}
	ctx, registration := context.Background(), l.kube.AdmissionregistrationV1()
	l.check(registration.ValidatingWebhookConfigurations().Delete(ctx, install.Judge, metav1.DeleteOptions{}))
	l.check(registration.MutatingWebhookConfigurations().Delete(ctx, install.Annotator, metav1.DeleteOptions{}))
	server.AwaitGated(l.t, l.kube, false)
}
