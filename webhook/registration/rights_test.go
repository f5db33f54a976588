package registration

import (
	"context"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/install"
)

// The rights that the chart gives are enough: to restore in any case, to stand
// aside for an installation, to name writes where it is asked to give those.
func TestChartsRights(t *testing.T) {
	t.Run("readAll", func(t *testing.T) { chartsRights(t, true, "") })
	t.Run("not readAll", func(t *testing.T) { chartsRights(t, false, "no right to watch: ") })
}

func chartsRights(t *testing.T, readAll bool, lacks string) {
	l := newLab(t)
	l.window = 4 * time.Second
	account := rest.CopyConfig(controlplane.ForTest(t, controlplane.Options{}).RESTConfig(controlplane.Admin))
	account.Impersonate.UserName = "system:serviceaccount:" + install.Namespace + ":gitward"
	l.grant(readAll)
	l.startAs(account)
	l.adopted()
	l.remove()
	l.await("restoration", limit, func() bool { return l.judge() != nil })
	if g := l.gap(); !g.Restored || !strings.HasPrefix(g.Incomplete, lacks) || lacks == "" && g.Incomplete != "" {
		t.Errorf("the gap is %+v", g)
	}
	l.update(oneSecond)
	if g := l.gap(); !g.Restored || g.What != "changed: webhooks[0].timeoutSeconds" {
		t.Errorf("the gap is %+v", g)
	}
	l.announce()
	l.remove()
	time.Sleep(l.window - time.Second)
	if l.judge() != nil {
		t.Error("put back while an installation is under way")
	}
	l.await("restoration", limit, func() bool { return l.judge() != nil })
}

// grant makes the chart's roles and bindings, with this test's namespace in
// place of Gitward's.
func (l *lab) grant(readAll bool) {
	l.t.Helper()
	client := must(dynamic.NewForConfig(controlplane.ForTest(l.t, controlplane.Options{}).RESTConfig(controlplane.Admin)))
	for _, o := range must(install.Objects("https://127.0.0.1:1", l.ca, map[string]any{"gaps": map[string]any{"readAll": readAll}})) {
		resource := map[string]string{"ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings", "Role": "roles", "RoleBinding": "rolebindings"}[o.GetKind()]
		if resource == "" {
			continue
		}
		r := client.Resource(schema.GroupVersionResource{Group: rbacv1.GroupName, Version: "v1", Resource: resource})
		var at dynamic.ResourceInterface = r
		if o.GetNamespace() != "" {
			o.SetNamespace(l.ns)
			at = r.Namespace(l.ns)
		}
		unstructured.RemoveNestedField(o.Object, "metadata", "ownerReferences")
		must(at.Create(context.Background(), o, metav1.CreateOptions{}))
		l.t.Cleanup(func() { _ = at.Delete(context.Background(), o.GetName(), metav1.DeleteOptions{}) })
	}
}

// Without any right a Guard says so, ends when told to, and breaks nothing.
func TestNoRights(t *testing.T) {
	l := newLab(t)
	nobody := rest.CopyConfig(controlplane.ForTest(t, controlplane.Options{}).RESTConfig(controlplane.Admin))
	nobody.Impersonate.UserName = "nobody"
	stop := l.startAs(nobody)
	l.remove()
	time.Sleep(pollEvery + time.Second)
	stop()
	if len(l.gaps) > 0 || l.judge() != nil {
		t.Errorf("%d gaps", len(l.gaps))
	}
}
