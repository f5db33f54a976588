package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/gitserver"
	"github.com/gitward/gitward/test/install"
	"github.com/gitward/gitward/test/server"
)

const (
	systemNamespace = "gitward-system"
	origin          = "platform"
)

// lab is one cluster with one repository and one Gitward between them.
type lab struct {
	t       testing.TB
	plane   *controlplane.ControlPlane
	dir     string
	repo    *gitserver.Repo
	server  *gitserver.HTTP
	signer  *gitserver.SSHSigner
	gitward *gitward
	asksAll bool // the webhooks are asked about everything, the recovery set too

	kube    *kubernetes.Clientset
	dynamic dynamic.Interface
	mapper  meta.RESTMapper
}

// newLab starts everything but the webhooks: a control plane with the CRDs, a
// Git server with an empty repository, and a Gitward without an Origin.
func newLab(t testing.TB, plane *controlplane.ControlPlane) *lab {
	t.Helper()
	for _, program := range []string{"git", "go"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is not installed", program)
		}
	}
	l := &lab{t: t, plane: plane, dir: t.TempDir()}
	config := plane.RESTConfig(controlplane.Admin)
	config.WarningHandler = rest.NoWarnings{}
	l.kube = must(kubernetes.NewForConfig(config))
	l.dynamic = must(dynamic.NewForConfig(config))
	l.repo = must(gitserver.NewRepo(filepath.Join(l.dir, "repositories", "platform.git")))
	l.signer = must(gitserver.NewSSHSigner())
	l.server = must(gitserver.NewHTTP(gitserver.HTTPOptions{Root: filepath.Join(l.dir, "repositories"), TLS: true,
		Username: "gitward", Password: "not a secret"}))
	t.Cleanup(func() { l.server.Close() })
	l.ensureNamespace(systemNamespace)
	l.installCRDs()
	l.gitward = newGitward(l)
	t.Cleanup(l.reset)
	return l
}

// reset takes Gitward out of the cluster again.
func (l *lab) reset() {
	l.setGated(false)
	for _, kind := range []string{"gates", "origins"} {
		_ = l.dynamic.Resource(v1alpha1.GroupVersion.WithResource(kind)).DeleteCollection(context.Background(), metav1.DeleteOptions{}, metav1.ListOptions{})
	}
	l.gitward.Kill()
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

func (l *lab) ensureNamespace(name string) {
	l.t.Helper()
	_, err := l.kube.CoreV1().Namespaces().Create(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		l.t.Fatal(err)
	}
}

func (l *lab) installCRDs() {
	l.t.Helper()
	for _, crd := range must(install.CRDs()) {
		l.installCRD(crd)
	}
}

func (l *lab) installCRD(crd *apiextensionsv1.CustomResourceDefinition) {
	l.t.Helper()
	crd.TypeMeta = metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"}
	client := l.dynamic.Resource(apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions"))
	_, err := client.Create(context.Background(), unstructuredOf(crd), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		l.t.Fatal(err)
	}
	l.awaitCRD(crd.Name)
}

func (l *lab) awaitCRD(name string) {
	l.t.Helper()
	client := l.dynamic.Resource(apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions"))
	server.Await(l.t, "CRD "+name, 30*time.Second, func() error {
		u, err := client.Get(context.Background(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !hasCondition(u, "Established") {
			return fmt.Errorf("not established")
		}
		return nil
	})
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

func unstructuredOf(obj any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: must(runtime.DefaultUnstructuredConverter.ToUnstructured(obj))}
	unstructured.RemoveNestedField(u.Object, "status")
	return u
}

// remap asks the API server anew which kinds it knows.
func (l *lab) remap() {
	l.t.Helper()
	groups, err := restmapper.GetAPIGroupResources(discovery.NewDiscoveryClient(l.kube.RESTClient()))
	l.check(err)
	l.mapper = restmapper.NewDiscoveryRESTMapper(groups)
}

// resource is the client for a kind. The namespace is left out for a
// cluster-scoped one.
func (l *lab) resource(gvk schema.GroupVersionKind, namespace string) (dynamic.ResourceInterface, error) {
	mapping, err := l.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return l.dynamic.Resource(mapping.Resource), nil
	}
	return l.dynamic.Resource(mapping.Resource).Namespace(namespace), nil
}

// setGated puts the webhooks into the cluster or takes them out, and waits
// until the API server does as it was told.
func (l *lab) setGated(on bool) {
	l.t.Helper()
	if on {
		l.createWebhooks()
		server.AwaitGated(l.t, l.kube, true)
	} else {
		server.Unregister(l.t, l.kube)
	}
}

func (l *lab) createWebhooks() {
	l.t.Helper()
	ctx, registration := context.Background(), l.kube.AdmissionregistrationV1()
	judge, annotator := install.Webhooks(l.gitward.URL, l.gitward.CA)
	if l.asksAll {
		judge.Webhooks[0].MatchConditions, annotator.Webhooks[0].MatchConditions = nil, nil
	}
	_, err := registration.ValidatingWebhookConfigurations().Create(ctx, judge, metav1.CreateOptions{})
	l.check(err)
	_, err = registration.MutatingWebhookConfigurations().Create(ctx, annotator, metav1.CreateOptions{})
	l.check(err)
}

// commit commits files signed, and returns the commit's id.
func (l *lab) commit(files map[string]string, remove ...string) string {
	l.t.Helper()
	return l.commitAs(l.signer, files, remove...)
}

func (l *lab) commitAs(signer gitserver.Signer, files map[string]string, remove ...string) string {
	l.t.Helper()
	id, err := l.repo.Commit(gitserver.CommitOptions{Files: files, Delete: remove, Signer: signer, Message: "change"})
	l.check(err)
	return id
}

// installOrigin creates the Origin and the Secrets it names.
func (l *lab) installOrigin(change func(*v1alpha1.Origin)) {
	l.t.Helper()
	l.putSecret("platform-signers", map[string]string{"allowed_signers": "ada@example.org " + l.signer.PublicLine + "\n"})
	l.putSecret("platform-git", map[string]string{"username": "gitward", "password": "not a secret", "ca.crt": string(l.server.CA)})
	o := &v1alpha1.Origin{TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Origin"},
		ObjectMeta: metav1.ObjectMeta{Name: origin},
		Spec: v1alpha1.OriginSpec{
			URL: l.server.URL + "/platform.git", Ref: &v1alpha1.GitRef{Branch: "main"},
			Interval:  &metav1.Duration{Duration: time.Second},
			SecretRef: &v1alpha1.LocalRef{Name: "platform-git"},
			Signers:   v1alpha1.Signers{SecretRef: v1alpha1.LocalRef{Name: "platform-signers"}},
		}}
	if change != nil {
		change(o)
	}
	_, err := l.dynamic.Resource(v1alpha1.GroupVersion.WithResource("origins")).Create(context.Background(), unstructuredOf(o), metav1.CreateOptions{})
	l.check(err)
}

func (l *lab) putSecret(name string, data map[string]string) {
	l.t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{}}
	for k, v := range data {
		s.Data[k] = []byte(v)
	}
	secrets := l.kube.CoreV1().Secrets(systemNamespace)
	err := secrets.Delete(context.Background(), name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		l.t.Fatal(err)
	}
	_, err = secrets.Create(context.Background(), s, metav1.CreateOptions{})
	l.check(err)
}

// installGate creates a Gate that denies, and waits until it is in force.
func (l *lab) installGate(name string, change func(*v1alpha1.Gate)) {
	l.t.Helper()
	g := &v1alpha1.Gate{TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Gate"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.GateSpec{Action: v1alpha1.ActionDeny, Origins: []v1alpha1.OriginRef{{Name: origin}}}}
	if change != nil {
		change(g)
	}
	gates := l.dynamic.Resource(v1alpha1.GroupVersion.WithResource("gates"))
	_, err := gates.Create(context.Background(), unstructuredOf(g), metav1.CreateOptions{})
	l.check(err)
	server.Await(l.t, "Gate "+name, 20*time.Second, func() error {
		u, err := gates.Get(context.Background(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !hasCondition(u, "Ready") {
			return fmt.Errorf("its status is %v", u.Object["status"])
		}
		return nil
	})
}

// originStatus is what Gitward says of the Origin.
func (l *lab) originStatus() (v1alpha1.OriginStatus, error) {
	u, err := l.dynamic.Resource(v1alpha1.GroupVersion.WithResource("origins")).Get(context.Background(), origin, metav1.GetOptions{})
	if err != nil {
		return v1alpha1.OriginStatus{}, err
	}
	var o v1alpha1.Origin
	err = runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &o)
	return o.Status, err
}

// awaitAccepted waits until the Origin decides from a commit.
func (l *lab) awaitAccepted(commit string) v1alpha1.OriginStatus {
	l.t.Helper()
	var status v1alpha1.OriginStatus
	server.Await(l.t, "acceptance of "+commit, 90*time.Second, func() (err error) {
		if status, err = l.originStatus(); err == nil && status.AcceptedRevision != commit {
			err = fmt.Errorf("the status is %+v", status)
		}
		return err
	})
	return status
}

// suspendOrigin has Gitward decide from what it has. Otherwise each refusal
// waits for one more look at Git, of which there is one a second at most.
func (l *lab) suspendOrigin() {
	l.t.Helper()
	origins := l.dynamic.Resource(v1alpha1.GroupVersion.WithResource("origins"))
	u, err := origins.Patch(context.Background(), origin, types.MergePatchType, []byte(`{"spec":{"suspend":true}}`), metav1.PatchOptions{})
	l.check(err)
	server.Await(l.t, "suspension", 30*time.Second, func() error {
		status, err := l.originStatus()
		if err == nil && status.ObservedGeneration != u.GetGeneration() {
			err = fmt.Errorf("the status is %+v", status)
		}
		return err
	})
}

// gitward is the program under test, as a process.
type gitward struct {
	*server.Gitward
	lab *lab
}

func newGitward(l *lab) *gitward {
	l.t.Helper()
	g := &gitward{lab: l, Gitward: server.New(l.t, l.dir, l.plane.Kubeconfig(controlplane.Admin), "--guard-registration=false", "--log-level", "debug")}
	g.start()
	return g
}

func (g *gitward) start() {
	g.lab.t.Helper()
	g.Serve(g.lab.t, 20*time.Second)
}

// said is all that the process ever wrote down: its log and its records.
func (g *gitward) said() string {
	var b strings.Builder
	for _, f := range []string{g.Log, g.Records} {
		data, err := os.ReadFile(f)
		g.lab.check(err)
		b.Write(data)
	}
	return b.String()
}

// leaks lists the secrets that text gives away, plain or in base64.
func leaks(text string, secrets []string) []string {
	var out []string
	for _, s := range secrets {
		for _, form := range []string{s, base64.StdEncoding.EncodeToString([]byte(s))} {
			if bytes.Contains([]byte(text), []byte(form)) {
				out = append(out, form)
			}
		}
	}
	return out
}
