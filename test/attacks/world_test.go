package attacks

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitward/gitward/test/server"
)

// world is what one test plays in: the same objects in a namespace that the
// Gate is about and in one where a naive webhook decides.
type world struct {
	t         testing.TB
	lab       *lab
	ns, naive string
	files     map[string]string // the namespace is $NS
	shown     map[string]string // by attack: the naive webhook's mistake that lets it through

	mu    sync.Mutex
	tries map[string]int // that reached Gitward, by identity
}

// worlds counts how often each test was played: what one leaves behind is not
// for the next.
var worlds = map[string]int{}

// newWorld commits the files, signed, and brings the objects to both
// namespaces. A file whose name begins with "late" is in Git only.
func newWorld(t testing.TB, files map[string]string) *world {
	t.Helper()
	ns := strings.ToLower(strings.TrimPrefix(t.Name(), "Test"))
	if worlds[ns]++; worlds[ns] > 1 { // under -count
		ns = fmt.Sprintf("%s-%d", ns, worlds[ns])
	}
	w := &world{t: t, lab: theLab(t), ns: ns, naive: "naive-" + ns, shown: map[string]string{}, tries: map[string]int{}, files: map[string]string{
		"0-namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: $NS}\n",
		"1-editor.yaml": `apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: editor, namespace: $NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: eddy}]
`,
	}}
	t.Cleanup(w.allReached)
	maps.Copy(w.files, files)
	w.commit(files)
	for _, ns := range []string{w.ns, w.naive} {
		w.bring(ns)
	}
	for _, ns := range []string{w.ns, w.naive} {
		server.Await(t, "the ServiceAccount default in "+ns, 30*time.Second, func() error {
			_, err := w.lab.kube.CoreV1().ServiceAccounts(ns).Get(context.Background(), "default", metav1.GetOptions{})
			return err
		})
	}
	return w
}

// commit brings the files, or some more, to Git.
func (w *world) commit(more map[string]string) string {
	w.t.Helper()
	maps.Copy(w.files, more)
	in := map[string]string{}
	for name, text := range w.files {
		in[w.ns+"/"+strings.TrimSuffix(name, ".yaml")+".yaml"] = strings.ReplaceAll(text, "$NS", w.ns)
	}
	return w.lab.commit(w.t, in)
}

// bring applies what is not late to a namespace, in the order of the names.
func (w *world) bring(ns string) {
	w.t.Helper()
	admin := w.lab.client(whoIs("system:masters"))
	for _, name := range slices.Sorted(maps.Keys(w.files)) {
		if strings.HasPrefix(name, "late") {
			continue
		}
		for _, text := range documents(w.files[name]) {
			if err := apply(itself(text), text).do(admin, ns); err != nil {
				w.t.Fatalf("bringing %s to %s: %v", name, ns, err)
			}
		}
	}
}

func (w *world) documents() []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(w.files)) {
		all = append(all, documents(w.files[name])...)
	}
	return all
}

func documents(text string) []string { return strings.Split(text, "---\n") }

// watched are the kinds that the state of a namespace consists of.
var watched = []schema.GroupVersionResource{
	{Version: "v1", Resource: "configmaps"}, {Version: "v1", Resource: "secrets"}, {Version: "v1", Resource: "pods"},
	{Version: "v1", Resource: "serviceaccounts"}, {Version: "v1", Resource: "services"}, {Version: "v1", Resource: "persistentvolumeclaims"},
	{Group: "apps", Version: "v1", Resource: "deployments"}, {Group: "apps", Version: "v1", Resource: "replicasets"},
	{Group: "apps", Version: "v1", Resource: "statefulsets"}, {Group: "apps", Version: "v1", Resource: "daemonsets"},
	{Group: "batch", Version: "v1", Resource: "jobs"}, {Group: "batch", Version: "v1", Resource: "cronjobs"},
	{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"},
	{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}, {Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"},
	{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"}, {Version: "v1", Resource: "limitranges"},
	{Version: "v1", Resource: "resourcequotas"}, {Version: "v1", Resource: "podtemplates"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"}, {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
	{Group: "example.org", Version: "v1", Resource: "widgets"}, {Group: "example.org", Version: "v1", Resource: "gadgets"},
}

// state is all that a namespace holds, one object a line, without what
// controllers go on writing by themselves.
func (w *world) state(ns string) []string {
	w.t.Helper()
	var all []string
	for _, kind := range watched {
		list, err := w.lab.dynamic.Resource(kind).Namespace(ns).List(context.Background(), metav1.ListOptions{})
		check(w.t, err)
		for _, item := range list.Items {
			if item.GetName() == "kube-root-ca.crt" { // Kubernetes makes it again when it goes
				continue
			}
			item.SetManagedFields(nil)
			item.SetResourceVersion("")
			delete(item.Object, "status")
			all = append(all, asJSON(item.Object))
		}
	}
	namespace, err := w.lab.kube.CoreV1().Namespaces().Get(context.Background(), ns, metav1.GetOptions{})
	check(w.t, err)
	return append(all, fmt.Sprint(namespace.Labels, namespace.Annotations, namespace.DeletionTimestamp))
}

// settle waits until the controllers have done what there was to do.
func (w *world) settle() []string { return w.settleIn(w.ns) }

func (w *world) settleIn(ns string) []string {
	w.t.Helper()
	before := w.state(ns)
	for range 40 {
		time.Sleep(400 * time.Millisecond)
		now := w.state(ns)
		if slices.Equal(before, now) {
			return now
		}
		before = now
	}
	w.t.Fatalf("namespace %s does not come to rest", ns)
	return nil
}

// unchanged holds a namespace against what it was.
func (w *world) unchanged(before []string) {
	w.t.Helper()
	after := w.state(w.ns)
	for _, line := range after {
		if !slices.Contains(before, line) {
			w.t.Errorf("this was not there before:\n%s", line)
		}
	}
	for _, line := range before {
		if !slices.Contains(after, line) {
			w.t.Errorf("this is not there any more:\n%s", line)
		}
	}
}
