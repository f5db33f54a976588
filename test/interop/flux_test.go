package interop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/gitward/gitward/test/interop/tools"
)

const (
	fluxNamespace = "flux-system"
	kustomizer    = "system:serviceaccount:flux-system:kustomize-controller"
	sourcer       = "system:serviceaccount:flux-system:source-controller"
)

// flux is Flux in the lab: its two controllers that the stories need.
type flux struct {
	*lab
	source, kustomize *daemon
}

// components is what `flux bootstrap` commits as gotk-components.yaml, but for
// the Deployments, which no kubelet here would run.
func components(l *lab) string {
	l.t.Helper()
	docs := []string{"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: " + fluxNamespace + "\n"}
	for _, tool := range []tools.Tool{tools.SourceController, tools.KustomizeController} {
		dir, err := tool.Sources(context.Background())
		l.check(err)
		files, err := filepath.Glob(filepath.Join(dir, "config", "crd", "bases", "*.yaml"))
		l.check(err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			l.check(err)
			docs = append(docs, strings.TrimPrefix(string(text), "---\n"))
		}
		docs = append(docs, fmt.Sprintf("apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: %s\n  namespace: %s\n", tool.Name, fluxNamespace))
	}
	docs = append(docs, `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: cluster-reconciler
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: cluster-admin
subjects:
- {kind: ServiceAccount, name: kustomize-controller, namespace: flux-system}
- {kind: ServiceAccount, name: source-controller, namespace: flux-system}
`)
	return strings.Join(docs, "---\n")
}

// gotkSync is what `flux bootstrap` commits as gotk-sync.yaml.
func gotkSync(l *lab, path string) string {
	return fmt.Sprintf(`apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata:
  name: flux-system
  namespace: flux-system
spec:
  interval: 2s
  ref:
    branch: main
  secretRef:
    name: flux-system
  url: %s
---
%s`, l.repoURL(), kustomization("flux-system", path, ""))
}

// kustomization is a Flux Kustomization with more fields of its spec, each line
// indented by two spaces.
func kustomization(name, path, more string) string {
	return fmt.Sprintf(`apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata:
  name: %s
  namespace: flux-system
spec:
  interval: 3s
  retryInterval: 2s
  path: ./%s
  prune: true
  sourceRef:
    kind: GitRepository
    name: flux-system
%s`, name, path, more)
}

// bootstrap puts into the cluster what a person brings there once: Flux's own
// definitions and accounts, and the two objects that everything begins with.
func (f *flux) bootstrap(sync string) {
	f.t.Helper()
	f.putYAML(components(f.lab))
	f.secret(fluxNamespace, "flux-system", map[string]string{"ca.crt": string(f.server.CA)})
	f.putYAML(sync)
}

// newFlux makes the controllers ready to start, each as its ServiceAccount.
func newFlux(l *lab) *flux {
	f := &flux{lab: l}
	storage, health := freePort(l.t), freePort(l.t)
	address := fmt.Sprintf("127.0.0.1:%d", storage)
	f.source = f.controller(tools.SourceController, "--storage-path="+l.dirOf("artifacts"), "--storage-addr="+address, "--storage-adv-addr="+address,
		fmt.Sprintf("--health-addr=127.0.0.1:%d", health))
	health2 := freePort(l.t)
	f.kustomize = f.controller(tools.KustomizeController, fmt.Sprintf("--health-addr=127.0.0.1:%d", health2), "--requeue-dependency=2s")
	f.source.health, f.kustomize.health = fmt.Sprintf("http://127.0.0.1:%d/readyz", health), fmt.Sprintf("http://127.0.0.1:%d/readyz", health2)
	return f
}

func (l *lab) dirOf(name string) string {
	l.t.Helper()
	dir := filepath.Join(l.dir, name)
	l.check(os.MkdirAll(dir, 0o755))
	return dir
}

func (f *flux) controller(tool tools.Tool, args ...string) *daemon {
	f.t.Helper()
	// As Flux's own Deployments have it, but for the election of a leader, which
	// asks for a file that only a Pod has; the metrics' port is anyone's.
	args = append([]string{"--watch-all-namespaces", "--log-level=info", "--log-encoding=json",
		"--metrics-addr=127.0.0.1:0"}, args...)
	return &daemon{t: f.t, name: tool.Name, path: program(f.t, tool), args: args, log: filepath.Join(f.dir, tool.Name+".log"),
		env: []string{"RUNTIME_NAMESPACE=" + fluxNamespace, "KUBECONFIG=" + filepath.Join(f.dir, tool.Name+".kubeconfig"),
			"TUF_ROOT=" + f.dirOf("tuf"), "HOME=" + f.dirOf("home"), "TMPDIR=" + f.dirOf("tmp")}}
}

// account lets the program be a ServiceAccount, with a token that is bound to a
// Pod as a kubelet's are: so the requests say the same as in a cluster.
func (l *lab) account(d *daemon, namespace, name, kubeconfig string) {
	l.t.Helper()
	ctx := context.Background()
	pod := map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": name, "namespace": namespace},
		"spec": map[string]any{"serviceAccountName": name, "containers": []any{map[string]any{"name": "manager", "image": "registry.example.org/" + name}}}}
	l.put(pod)
	live, err := l.kube.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	l.check(err)
	hours := int64(6 * 3600)
	token, err := l.kube.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &hours,
			BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: name, UID: live.UID}}}, metav1.CreateOptions{})
	l.check(err)
	config := clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"lab": {Server: l.plane.Host, CertificateAuthorityData: l.plane.CA}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: {Token: token.Status.Token}},
		Contexts:       map[string]*clientcmdapi.Context{"lab": {Cluster: "lab", AuthInfo: name, Namespace: namespace}},
		CurrentContext: "lab",
	}
	l.check(clientcmd.WriteToFile(config, kubeconfig))
	d.token = token.Status.Token
}

// accounts gives both controllers their accounts, which bootstrap created.
func (f *flux) accounts() {
	f.t.Helper()
	for _, d := range []*daemon{f.source, f.kustomize} {
		f.account(d, fluxNamespace, d.name, filepath.Join(f.dir, d.name+".kubeconfig"))
	}
}

// run starts both controllers.
func (f *flux) run() {
	f.t.Helper()
	for _, d := range []*daemon{f.source, f.kustomize} {
		d.start()
		d.ready(d.health)
	}
}

// reconciled waits until every named Kustomization has applied a commit.
func (f *flux) reconciled(commit string, names ...string) error {
	for _, name := range names {
		u, err := f.get("kustomize.toolkit.fluxcd.io/v1 Kustomization " + name)
		if err != nil {
			return err
		}
		applied, _, _ := unstructured.NestedString(u.Object, "status", "lastAppliedRevision")
		if !strings.HasSuffix(applied, ":"+commit) || !hasCondition(u, "Ready") {
			return fmt.Errorf("%s applied %q, not %s; it says %v", name, applied, commit, condition(u, "Ready"))
		}
	}
	return nil
}

const patience = 90 * time.Second
