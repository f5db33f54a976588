package chart

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/install"
	"github.com/gitward/gitward/test/server"
)

const (
	mallory  = "mallory"  // a cluster administrator with a grudge
	editor   = "editor"   // may edit Gitward's namespace
	deployer = "deployer" // whom the values trust
	account  = "system:serviceaccount:" + install.Namespace + ":gitward"
)

// guardedPlane is a cluster in which no Gitward runs.
func guardedPlane(t testing.TB) *controlplane.ControlPlane {
	return controlplane.ForTest(t, controlplane.Options{ControllerManager: true, Users: []controlplane.User{{Name: mallory}, {Name: editor}, {Name: deployer}}})
}

// deed is something that must not be done to Gitward.
type deed struct {
	name string
	do   func(kube *kubernetes.Clientset) error
}

// TestGuard: with Gitward dead, or never started, the policy keeps everybody's
// hands off it. Each deed is first done without the policy: what RBAC refuses
// somebody anyway proves nothing, and is no try.
func TestGuard(t *testing.T) {
	plane := guardedPlane(t)
	admin := must(kubernetes.NewForConfig(plane.RESTConfig(controlplane.Admin)))
	prepare(t, plane, admin)
	deeds := deedsAgainst()
	people := map[string]*rest.Config{
		"system:masters":                 plane.RESTConfig(controlplane.Admin),
		"cluster-admin":                  plane.RESTConfig(mallory),
		"editor of the namespace":        plane.RESTConfig(editor),
		"impersonated Gitward":           as(plane.RESTConfig(mallory), account),
		"impersonated controllers":       inGroup(as(plane.RESTConfig(mallory), "system:kube-controller-manager"), "system:masters"),
		"impersonated scheduler":         inGroup(as(plane.RESTConfig(mallory), "system:kube-scheduler"), "system:masters"),
		"impersonated kubelet":           inGroup(as(plane.RESTConfig(mallory), "system:node:n1"), "system:nodes", "system:masters"),
		"impersonated API server":        inGroup(as(plane.RESTConfig(mallory), "system:apiserver"), "system:masters"),
		"impersonated system:controller": as(plane.RESTConfig(mallory), "system:serviceaccount:kube-system:replicaset-controller"),
	}
	possible := map[string][]deed{}
	for who, config := range people {
		for _, d := range deeds {
			switch err := d.do(must(kubernetes.NewForConfig(config))); {
			case err == nil:
				possible[who] = append(possible[who], d)
			case !atRBAC(err):
				t.Errorf("without the policy %s cannot: %s: %v", who, d.name, err)
			}
		}
		if len(possible[who]) == 0 {
			t.Errorf("RBAC lets %s do nothing of it: the test proves nothing", who)
		}
	}
	applyGuard(t, plane, deployer)
	tries := 0
	for who, can := range possible {
		for _, d := range can {
			err := d.do(must(kubernetes.NewForConfig(people[who])))
			if err == nil || !byGuard(err) {
				t.Errorf("%s could: %s (%v)", who, d.name, err)
			}
			tries++
		}
	}
	for _, d := range deeds {
		if strings.Contains(d.name, "stamp") {
			continue // nobody but Gitward
		}
		if err := d.do(must(kubernetes.NewForConfig(plane.RESTConfig(deployer)))); err != nil {
			t.Errorf("whom the values trust cannot: %s: %v", d.name, err)
		}
	}
	t.Logf("%d deeds, %d tries by %d people who could without the policy, all refused by it with no Gitward running", len(deeds), tries, len(people))
}

// atRBAC reports a request that never came as far as admission.
func atRBAC(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), " cannot ")
}

func byGuard(err error) bool {
	return err != nil && strings.Contains(err.Error(), "ValidatingAdmissionPolicy") && !strings.Contains(err.Error(), "expression")
}

func as(config *rest.Config, user string) *rest.Config {
	c := rest.CopyConfig(config)
	c.Impersonate = rest.ImpersonationConfig{UserName: user}
	return c
}

func inGroup(config *rest.Config, groups ...string) *rest.Config {
	config.Impersonate.Groups = groups
	return config
}

func withUID(config *rest.Config) *rest.Config {
	config.Impersonate.UID = "u-1"
	return config
}

var dry = []string{metav1.DryRunAll}

func prepare(t testing.TB, plane *controlplane.ControlPlane, admin *kubernetes.Clientset) {
	t.Helper()
	ctx := context.Background()
	_, err := admin.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: install.Namespace}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	must(admin.RbacV1().RoleBindings(install.Namespace).Create(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "editors"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: editor}}}, metav1.CreateOptions{}))
	for _, user := range []string{mallory, deployer} {
		must(admin.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "admin-" + user},
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
			Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: user}}}, metav1.CreateOptions{}))
	}
	judge, _ := install.Webhooks("https://127.0.0.1:1", nil)
	judge.Webhooks[0].Rules = nil // it is never asked: nobody would answer
	must(admin.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(ctx, judge, metav1.CreateOptions{}))
	client := must(dynamic.NewForConfig(plane.RESTConfig(controlplane.Admin)))
	for _, o := range must(install.Objects("https://127.0.0.1:1", nil, nil)) {
		switch o.GetKind() {
		case "CustomResourceDefinition", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "Deployment":
			create(t, client, o)
		}
	}
}

var resources = map[string]string{"CustomResourceDefinition": "customresourcedefinitions", "ServiceAccount": "serviceaccounts", "ClusterRole": "clusterroles",
	"ClusterRoleBinding": "clusterrolebindings", "Role": "roles", "RoleBinding": "rolebindings", "Deployment": "deployments", "ValidatingAdmissionPolicy": "validatingadmissionpolicies", "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings"}

func create(t testing.TB, client dynamic.Interface, o *unstructured.Unstructured) {
	t.Helper()
	gvr := o.GroupVersionKind().GroupVersion().WithResource(resources[o.GetKind()])
	_, err := client.Resource(gvr).Namespace(o.GetNamespace()).Create(context.Background(), o, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
	}
}

// applyGuard puts the policy in force and waits until it is.
func applyGuard(t testing.TB, plane *controlplane.ControlPlane, users ...string) {
	t.Helper()
	client := must(dynamic.NewForConfig(plane.RESTConfig(controlplane.Admin)))
	for _, o := range must(install.Guard(users...)) {
		create(t, client, o)
	}
	admin := must(kubernetes.NewForConfig(plane.RESTConfig(controlplane.Admin)))
	probes := deedsAgainst()
	server.Await(t, "the policies", time.Minute, func() error {
		for _, d := range probes {
			if err := d.do(admin); err == nil || !strings.Contains(err.Error(), "ValidatingAdmissionPolicy") {
				return fmt.Errorf("%s: %v", d.name, err)
			}
		}
		return nil
	})
}

// deedsAgainst are all dry runs: they are judged like real ones, and leave what
// the next one needs.
func deedsAgainst() []deed {
	ctx := context.Background()
	patch := metav1.PatchOptions{DryRun: dry}
	gone := metav1.DeleteOptions{DryRun: dry}
	ns := install.Namespace
	return []deed{
		{"delete the webhook configuration", func(k *kubernetes.Clientset) error {
			return k.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(ctx, install.Judge, gone)
		}},
		{"delete all webhook configurations", func(k *kubernetes.Clientset) error {
			return k.AdmissionregistrationV1().ValidatingWebhookConfigurations().DeleteCollection(ctx, gone, metav1.ListOptions{})
		}},
		{"have failures ignored", func(k *kubernetes.Clientset) error {
			_, err := k.AdmissionregistrationV1().ValidatingWebhookConfigurations().Patch(ctx, install.Judge, types.JSONPatchType,
				[]byte(`[{"op":"replace","path":"/webhooks/0/failurePolicy","value":"Ignore"}]`), patch)
			return err
		}},
		{"put a configuration of one's own in its place", func(k *kubernetes.Clientset) error {
			_, err := k.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(ctx,
				&admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: install.Annotator}}, metav1.CreateOptions{DryRun: dry})
			return err
		}},
		{"change the image", func(k *kubernetes.Clientset) error {
			_, err := k.AppsV1().Deployments(ns).Patch(ctx, "gitward", types.JSONPatchType,
				[]byte(`[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"evil"}]`), patch)
			return err
		}},
		{"scale to nothing", func(k *kubernetes.Clientset) error {
			_, err := k.AppsV1().Deployments(ns).Patch(ctx, "gitward", types.MergePatchType, []byte(`{"spec":{"replicas":0}}`), patch, "scale")
			return err
		}},
		{"read its Secrets from a Pod", func(k *kubernetes.Clientset) error {
			_, err := k.CoreV1().Pods(ns).Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "spy"}, Spec: corev1.PodSpec{
				ServiceAccountName: "gitward", Containers: []corev1.Container{{Name: "a", Image: "a"}}}}, metav1.CreateOptions{DryRun: dry})
			return err
		}},
		{"trust a key of one's own", func(k *kubernetes.Clientset) error {
			_, err := k.CoreV1().Secrets(ns).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "platform-signers"}}, metav1.CreateOptions{DryRun: dry})
			return err
		}},
		{"widen its role", func(k *kubernetes.Clientset) error {
			_, err := k.RbacV1().ClusterRoles().Patch(ctx, "gitward", types.MergePatchType, []byte(`{"rules":[]}`), patch)
			return err
		}},
		{"delete its definitions", func(k *kubernetes.Clientset) error {
			return k.RESTClient().Delete().AbsPath("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gates.gitward.dev").Param("dryRun", metav1.DryRunAll).Do(ctx).Error()
		}},
		{"forge a stamp through status", func(k *kubernetes.Clientset) error {
			_, err := k.AppsV1().Deployments(ns).Patch(ctx, "gitward", types.MergePatchType,
				[]byte(`{"metadata":{"annotations":{"gitward.dev/commit":"1"}}}`), patch, "status")
			return err
		}},
	}
}
