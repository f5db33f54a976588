package interop

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/gitward/gitward/test/interop/tools"
	"github.com/gitward/gitward/test/server"
)

const (
	fluxNamespace = "flux-system"
	kustomizer    = "system:serviceaccount:flux-system:kustomize-controller"
	sourcer       = "system:serviceaccount:flux-system:source-controller"
)

const (
	fluxKustomization = "kustomize.toolkit.fluxcd.io/v1 Kustomization "
	gitRepository     = "source.toolkit.fluxcd.io/v1 GitRepository "
)

// flux is Flux in the lab: its two controllers that the stories need.
type flux struct {
	*lab
	source, kustomize *daemon
	kustomizations    []string // with their namespace
	contested         []string // objects that two of them have, which each writes anew
}

func (f *flux) users() []string                { return []string{kustomizer, sourcer} }
func (f *flux) programs() (*daemon, []*daemon) { return f.kustomize, []*daemon{f.source} }
func (f *flux) manager() string                { return "kustomize-controller" }
func (f *flux) strict() bool                   { return true }

// patience grows with what Flux has to look at.
func (f *flux) patience() time.Duration {
	return patience + time.Duration(len(f.kustomizations))*5*time.Second
}

func (f *flux) mark(u *unstructured.Unstructured) {
	_, name, _ := strings.Cut(f.kustomizations[len(f.kustomizations)-1], "/")
	u.SetLabels(map[string]string{"kustomize.toolkit.fluxcd.io/name": name, "kustomize.toolkit.fluxcd.io/namespace": fluxNamespace})
}

func (f *flux) edits() map[string][]string {
	edits := map[string][]string{gitRepository + fluxNamespace + "/flux-system": {`{"spec":{"url":"https://git.example.org/other.git"}}`, `{"spec":{"ref":{"branch":"other"}}}`}}
	for _, name := range f.kustomizations {
		pruned, _, _ := unstructured.NestedBool(must(f.get(fluxKustomization+name)).Object, "spec", "prune")
		edits[fluxKustomization+name] = []string{`{"spec":{"path":"./elsewhere"}}`, `{"spec":{"suspend":true}}`, fmt.Sprintf(`{"spec":{"prune":%v}}`, !pruned),
			`{"metadata":{"annotations":{"kustomize.toolkit.fluxcd.io/reconcile":"disabled"}}}`}
	}
	return edits
}

func (f *flux) astray() (object, edit string) {
	return fluxKustomization + f.kustomizations[len(f.kustomizations)-1], `{"spec":{"path":"./elsewhere"}}`
}

// adopted: Flux takes its own first write out of the managedFields of a
// Namespace that was there before it, and applies once more.
func (f *flux) adopted(object string) int {
	if object == "namespaces "+fluxNamespace+"/"+fluxNamespace {
		return 2
	}
	return 0
}

// again: each reconciliation is one dry run of each object.
func (f *flux) again(since mark, times int) map[string]*tally {
	f.t.Helper()
	var tallies map[string]*tally
	server.Await(f.t, "more reconciliations", f.patience(), func() error {
		tallies = f.tallies(since.requests, kustomizer)
		maps.DeleteFunc(tallies, func(object string, c *tally) bool {
			return strings.Contains(object, "/status") || slices.Contains(f.contested, object) && c.denied == 0
		})
		if len(tallies) < len(f.kustomizations) {
			return fmt.Errorf("only %d objects were asked for", len(tallies))
		}
		for object, c := range tallies {
			if c.dryRuns < times {
				return fmt.Errorf("%s was dry run %d times", object, c.dryRuns)
			}
		}
		return nil
	})
	return tallies
}

// fluxStage brings Flux into a new cluster, as a person does once, with a
// repository of the story's files and Flux's own. Nothing runs yet.
func fluxStage(t *testing.T, s story) (*stage, string) {
	l := newLab(t)
	files := maps.Clone(s.files)
	files["clusters/test/flux-system/gotk-components.yaml"] = components(l)
	files["clusters/test/flux-system/gotk-sync.yaml"] = gotkSync(l, "clusters/test")
	f := newFlux(l)
	for _, name := range append([]string{"flux-system"}, s.units...) {
		f.kustomizations = append(f.kustomizations, fluxNamespace+"/"+name)
	}
	f.bootstrap(files["clusters/test/flux-system/gotk-sync.yaml"])
	f.accounts()
	return &stage{lab: l, applier: f, story: s, files: files}, l.commit(files)
}

// playFlux plays a story with Flux.
func playFlux(t *testing.T, s story) {
	need(t, "flux")
	on, tip := fluxStage(t, s)
	on.trust(tip, s.render)
	on.gated(true)
	on.play(t, tip)
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
	storage, health := server.FreePort(l.t), server.FreePort(l.t)
	address := fmt.Sprintf("127.0.0.1:%d", storage)
	f.source = f.controller(tools.SourceController, "--storage-path="+l.dirOf("artifacts"), "--storage-addr="+address, "--storage-adv-addr="+address,
		fmt.Sprintf("--health-addr=127.0.0.1:%d", health))
	health2 := server.FreePort(l.t)
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
	d := &daemon{Process: server.Process{Name: tool.Name, Path: program(f.t, tool), Args: args, Log: filepath.Join(f.dir, tool.Name+".log"),
		Env: []string{"RUNTIME_NAMESPACE=" + fluxNamespace, "KUBECONFIG=" + filepath.Join(f.dir, tool.Name+".kubeconfig"),
			"TUF_ROOT=" + f.dirOf("tuf"), "HOME=" + f.dirOf("home"), "TMPDIR=" + f.dirOf("tmp")}}}
	f.t.Cleanup(d.Stop)
	return d
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
		f.account(d, fluxNamespace, d.Name, filepath.Join(f.dir, d.Name+".kubeconfig"))
	}
}

// reconciled reports whether every Kustomization has applied a commit.
func (f *flux) reconciled(commit string) error {
	for _, name := range f.kustomizations {
		if err := f.applied(name, commit); err != nil {
			return err
		}
	}
	return nil
}

func (f *flux) applied(name, commit string) error {
	u, err := f.get(fluxKustomization + name)
	if err != nil {
		return err
	}
	applied, _, _ := unstructured.NestedString(u.Object, "status", "lastAppliedRevision")
	if !strings.HasSuffix(applied, ":"+commit) || !hasCondition(u, "Ready") {
		return fmt.Errorf("%s applied %q, not %s; it says %v", name, applied, commit, condition(u, "Ready"))
	}
	return nil
}
