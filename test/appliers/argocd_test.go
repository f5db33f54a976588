package appliers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/csaupgrade"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/test/server"
)

// What Argo CD sends, after gitops-engine/pkg/sync/sync_context.go,
// pkg/utils/kube/resource_ops.go and util/argo/resource_tracking.go of v3.5.7:
// kubectl's own library, under a manager of its own, of objects that it has
// marked.
const (
	argoManager    = "argocd-controller"
	argoController = "system:serviceaccount:argocd:argocd-application-controller"
	argoServer     = "system:serviceaccount:argocd:argocd-server"
	trackingID     = "argocd.argoproj.io/tracking-id"
	hookFinalizer  = "argocd.argoproj.io/hook-finalizer"
	syncOptions    = "argocd.argoproj.io/sync-options"
)

// application is how Argo CD syncs one Application.
type application struct {
	by                  *actor
	name, destination   string
	serverSide, replace bool
	create              bool // the namespace
	labels, annotations map[string]string
	label, installation string // set in other modes of tracking than the default
	render              func() string
	started             int64 // the sync's, in the names of its hooks
}

// objects are what is rendered, each in its namespace and with its tracking id.
func (a *application) objects(t testing.TB, text string) []*unstructured.Unstructured {
	objects := parse(t, text)
	for _, u := range objects {
		if !clusterScoped(u.GetKind()) && u.GetNamespace() == "" {
			u.SetNamespace(a.destination)
		}
		a.track(u, a.name)
	}
	slices.SortStableFunc(objects, func(x, y *unstructured.Unstructured) int { return rank(x.GetKind()) - rank(y.GetKind()) })
	return objects
}

func (a *application) track(u *unstructured.Unstructured, app string) {
	if u.GetKind() == "CustomResourceDefinition" {
		return
	}
	namespace := u.GetNamespace()
	if namespace == "" {
		namespace = a.destination
	}
	kind := u.GroupVersionKind()
	annotations := merged(u.GetAnnotations())
	annotations[trackingID] = fmt.Sprintf("%s:%s/%s:%s/%s", app, kind.Group, kind.Kind, namespace, u.GetName())
	if a.installation != "" {
		annotations["argocd.argoproj.io/installation-id"] = a.installation
	}
	u.SetAnnotations(annotations)
	if a.label != "" {
		u.SetLabels(merged(u.GetLabels(), map[string]string{a.label: app}))
	}
}

func clusterScoped(kind string) bool {
	return slices.Contains([]string{"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}, kind)
}

// rank is the order of kinds in a wave, the first ones.
func rank(kind string) int {
	order := []string{"Namespace", "ServiceAccount", "Secret", "ConfigMap", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding",
		"Role", "RoleBinding", "Service", "Deployment"}
	if i := slices.Index(order, kind); i >= 0 {
		return i
	}
	return len(order)
}

// sync brings all objects of a commit to the cluster: the namespace, hooks
// before, objects, hooks after.
func (a *application) sync(revision string) error {
	t := a.by.lab.t
	a.started++
	objects := a.objects(t, a.render())
	if err := a.syncNamespace(objects); err != nil {
		return err
	}
	for _, phase := range []string{"PreSync", "Sync", "PostSync"} {
		for _, u := range objects {
			hooks := hooksOf(u)
			if len(hooks) == 0 && phase == "Sync" {
				if err := a.apply(u); err != nil {
					return err
				}
			}
			if slices.Contains(hooks, phase) {
				if err := a.hook(u.DeepCopy(), phase, revision); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// hooksOf are the phases that an object is a hook of; "none" for hooks that
// Argo CD does not know.
func hooksOf(u *unstructured.Unstructured) []string {
	annotations := u.GetAnnotations()
	if own := annotations["argocd.argoproj.io/hook"]; own != "" {
		return strings.Split(own, ",")
	}
	phases := map[string]string{"pre-install": "PreSync", "pre-upgrade": "PreSync", "post-install": "PostSync", "post-upgrade": "PostSync"}
	var out []string
	for _, h := range strings.Split(annotations["helm.sh/hook"], ",") {
		switch phase := phases[h]; {
		case h == "":
		case phase == "":
			out = append(out, "none")
		case !slices.Contains(out, phase):
			out = append(out, phase)
		}
	}
	return out
}

// syncNamespace makes the destination's namespace, without a mark, unless it is
// among the objects.
func (a *application) syncNamespace(objects []*unstructured.Unstructured) error {
	declared := slices.ContainsFunc(objects, func(u *unstructured.Unstructured) bool {
		return u.GetKind() == "Namespace" && u.GetName() == a.destination
	})
	managed := a.labels != nil || a.annotations != nil
	if !a.create || declared || !managed && a.by.lab.exists("v1 Namespace "+a.destination) {
		return nil
	}
	ns := must(yaml.Marshal(&corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: a.destination}}))
	u := parse(a.by.lab.t, string(ns))[0]
	if managed {
		u.SetLabels(a.labels)
		u.SetAnnotations(merged(a.annotations, map[string]string{syncOptions: "ServerSideApply=true"}))
	}
	return a.apply(u)
}

// apply is applyObject: replace, server-side or client-side apply.
func (a *application) apply(u *unstructured.Unstructured) error {
	l := a.by.lab
	file := l.beside(fmt.Sprintf("argocd/%s-%s-%s.yaml", u.GetKind(), u.GetNamespace(), u.GetName()), string(must(yaml.Marshal(u.Object))))
	serverSide := a.serverSide || strings.Contains(u.GetAnnotations()[syncOptions], "ServerSideApply=true")
	args := []string{"-f", file}
	if u.GetNamespace() != "" {
		args = append(args, "-n", u.GetNamespace())
	}
	if a.replace || strings.Contains(u.GetAnnotations()[syncOptions], "Replace=true") {
		return a.replaces(u, args)
	}
	if serverSide {
		if err := a.migrate(u); err != nil {
			return err
		}
		_, err := a.by.kubectl(append([]string{"apply", "--server-side", "--force-conflicts", "--field-manager=" + argoManager}, args...)...)
		return err
	}
	if u.GetAPIVersion() == "rbac.authorization.k8s.io/v1" {
		if _, err := a.by.kubectl(append([]string{"auth", "reconcile"}, args...)...); err != nil {
			return err
		}
	}
	_, err := a.by.kubectl(append([]string{"apply", "--field-manager=" + argoManager}, args...)...)
	return err
}

// replaces is Replace=true: kubectl replace, or an update of what that would
// make anew, or a creation.
func (a *application) replaces(u *unstructured.Unstructured, args []string) error {
	client, err := a.client(u)
	if err != nil {
		return err
	}
	live, err := client.Get(context.Background(), u.GetName(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = client.Create(context.Background(), u, metav1.CreateOptions{})
	case err != nil:
	case u.GetKind() == "CustomResourceDefinition" || u.GetKind() == "Namespace":
		update := u.DeepCopy()
		update.SetResourceVersion(live.GetResourceVersion())
		_, err = client.Update(context.Background(), update, metav1.UpdateOptions{})
	default:
		_, err = a.by.kubectl(append([]string{"replace"}, args...)...)
	}
	return err
}

// migrate hands what kubectl's client-side apply owns to Argo CD's server-side
// apply.
func (a *application) migrate(u *unstructured.Unstructured) error {
	const from = "kubectl-client-side-apply"
	client, err := a.client(u)
	if err != nil {
		return err
	}
	live, err := client.Get(context.Background(), u.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(live.GetManagedFields(), func(f metav1.ManagedFieldsEntry) bool {
		return f.Manager == from && f.Operation == metav1.ManagedFieldsOperationUpdate
	}) {
		return nil
	}
	patch, err := csaupgrade.UpgradeManagedFieldsPatch(live, sets.New(from), argoManager)
	if err != nil || patch == nil {
		return err
	}
	_, err = client.Patch(context.Background(), u.GetName(), types.JSONPatchType, patch, metav1.PatchOptions{})
	return err
}

// hook makes an object anew for one phase, and holds it by a finalizer; then,
// done, lets it go.
func (a *application) hook(u *unstructured.Unstructured, phase, revision string) error {
	if u.GetName() == "" {
		u.SetName(fmt.Sprintf("%s%s-%s-%d", u.GetGenerateName(), revision[:7], strings.ToLower(phase), 1700000000+a.started))
	}
	u.SetFinalizers(append(u.GetFinalizers(), hookFinalizer))
	if err := a.remove(u); err != nil {
		return err
	}
	return a.apply(u)
}

// remove takes a hook away: first the finalizer, then the object.
func (a *application) remove(u *unstructured.Unstructured) error {
	client, err := a.client(u)
	if err != nil {
		return err
	}
	live, err := client.Get(context.Background(), u.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	live.SetFinalizers(slices.DeleteFunc(live.GetFinalizers(), func(f string) bool { return f == hookFinalizer }))
	if _, err := client.Update(context.Background(), live, metav1.UpdateOptions{}); err != nil {
		return err
	}
	return a.prune(live)
}

// prune deletes an object in the foreground, and waits until it is gone.
func (a *application) prune(u *unstructured.Unstructured) error {
	client, err := a.client(u)
	if err != nil {
		return err
	}
	foreground := metav1.DeletePropagationForeground
	if err := client.Delete(context.Background(), u.GetName(), metav1.DeleteOptions{PropagationPolicy: &foreground}); err != nil {
		return err
	}
	server.Await(a.by.lab.t, "the end of "+u.GetName(), 30*time.Second, func() error {
		_, err := client.Get(context.Background(), u.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is still there: %v", err)
	})
	return nil
}
