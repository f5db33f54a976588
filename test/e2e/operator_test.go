package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/server"
)

const databases = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: databases.operator.example.org}
spec:
  group: operator.example.org
  names: {kind: Database, plural: databases, singular: database, listKind: DatabaseList}
  scope: Namespaced
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}}]
`

// TestOperator: what a Gate's derive rule names an operator may make of a declared
// resource, and change; also where the resource's definition comes only after
// the Gate. Everything else that it does, or that others do alike, is refused.
func TestOperator(t *testing.T) {
	l := newLab(t, attackPlane(t))
	ns := "operated"
	l.ensureNamespace(ns)
	operator := l.withToken(ns, "operator")
	tip := l.commit(map[string]string{"crd.yaml": databases,
		"db.yaml": "apiVersion: operator.example.org/v1\nkind: Database\nmetadata: {name: main, namespace: " + ns + "}\nspec: {size: 3}\n"})
	l.installOrigin(nil)
	l.installGate("default", func(g *v1alpha1.Gate) {
		g.Spec.Derive = []v1alpha1.DeriveRule{{Owner: v1alpha1.OwnerKind{Group: "operator.example.org", Kind: "Database"}, Makes: []string{"secrets"},
			Users: []string{"system:serviceaccount:" + ns + ":operator"}}}
	})
	l.awaitAccepted(tip)
	l.remap()
	l.setGated(true)

	l.check(l.apply(databases))
	l.awaitCRD("databases.operator.example.org")
	l.atEnd(func() error {
		return l.dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}).
			Delete(context.Background(), "databases.operator.example.org", metav1.DeleteOptions{})
	})
	l.remap()
	// The schema must have been seen here before anything of its kind can be told.
	server.Await(t, "the declared Database", 30*time.Second, func() error {
		return l.apply("apiVersion: operator.example.org/v1\nkind: Database\nmetadata: {name: main, namespace: " + ns + "}\nspec: {size: 3}\n")
	})
	db, err := l.dynamic.Resource(schema.GroupVersionResource{Group: "operator.example.org", Version: "v1", Resource: "databases"}).Namespace(ns).
		Get(context.Background(), "main", metav1.GetOptions{})
	l.check(err)

	made := func(name string, uid types.UID) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: []metav1.OwnerReference{{APIVersion: "operator.example.org/v1",
			Kind: "Database", Name: "main", UID: uid, Controller: new(true)}}}, StringData: map[string]string{"password": "one"}}
	}
	ctx := context.Background()
	var secret *corev1.Secret
	server.Await(t, "the operator's Secret", 30*time.Second, func() error {
		var err error
		secret, err = operator.CoreV1().Secrets(ns).Create(ctx, made("main-password", db.GetUID()), metav1.CreateOptions{})
		return err
	})
	if got := secret.Annotations[gate.StampCommit]; got != tip {
		t.Errorf("it is stamped %v, want the commit of its Database, %s", secret.Annotations, tip)
	}
	secret.Data = map[string][]byte{"password": []byte("two")}
	secret, err = operator.CoreV1().Secrets(ns).Update(ctx, secret, metav1.UpdateOptions{})
	l.check(err)

	moved := secret.DeepCopy()
	moved.OwnerReferences = nil
	impersonated := must(kubernetes.NewForConfig(nameOnly(l.plane.RESTConfig(controlplane.Admin), "system:serviceaccount:"+ns+":operator")))
	for what, try := range map[string]func() error{
		"an owner that is not live": func() error {
			// It may be one that has not been seen yet, so the client would come again.
			return operator.CoreV1().RESTClient().Post().Namespace(ns).Resource("secrets").MaxRetries(0).
				Body(made("other", "00000000-0000-4000-8000-000000000000")).Do(ctx).Error()
		},
		"no owner any more": func() error {
			_, err := operator.CoreV1().Secrets(ns).Update(ctx, moved, metav1.UpdateOptions{})
			return err
		},
		"another kind than the rule names": func() error {
			s := made("other", db.GetUID())
			_, err := operator.CoreV1().ConfigMaps(ns).Create(ctx, &corev1.ConfigMap{ObjectMeta: s.ObjectMeta}, metav1.CreateOptions{})
			return err
		},
		"the operator's name without its token": func() error {
			_, err := impersonated.CoreV1().Secrets(ns).Create(ctx, made("other", db.GetUID()), metav1.CreateOptions{})
			return err
		},
		"a person": func() error {
			_, err := l.kube.CoreV1().Secrets(ns).Create(ctx, made("other", db.GetUID()), metav1.CreateOptions{})
			return err
		},
		"a person's edit": func() error {
			s := secret.DeepCopy()
			s.Data["password"] = []byte("three")
			_, err := l.kube.CoreV1().Secrets(ns).Update(ctx, s, metav1.UpdateOptions{})
			return err
		},
		"the declared Database itself": func() error {
			u := db.DeepCopy()
			u.Object["spec"] = map[string]any{"size": int64(5)}
			_, err := l.dynamic.Resource(schema.GroupVersionResource{Group: "operator.example.org", Version: "v1", Resource: "databases"}).Namespace(ns).
				Update(ctx, u, metav1.UpdateOptions{})
			return err
		},
	} {
		if err := try(); !server.Refused(err) {
			t.Errorf("%s: %v", what, err)
		} else if strings.Contains(err.Error(), "three") || strings.Contains(err.Error(), "dGhyZWU") {
			t.Errorf("%s: the refusal shows what is secret: %v", what, err)
		}
	}

	// Without the rule the operator is nobody.
	l.setGated(false)
	_, err = l.dynamic.Resource(v1alpha1.GroupVersion.WithResource("gates")).Patch(ctx, "default", types.MergePatchType, []byte(`{"spec":{"derive":null}}`), metav1.PatchOptions{})
	l.check(err)
	l.setGated(true)
	server.Await(t, "the end of the rule", 20*time.Second, func() error {
		_, err := operator.CoreV1().Secrets(ns).Create(ctx, made("late", db.GetUID()), metav1.CreateOptions{DryRun: dryRun})
		if !server.Refused(err) {
			return fmt.Errorf("the answer is %v", err)
		}
		return nil
	})
}

// withToken makes a service account that may do anything, and is somebody who
// holds its token.
func (l *lab) withToken(ns, name string) *kubernetes.Clientset {
	l.t.Helper()
	ctx := context.Background()
	_, err := l.kube.CoreV1().ServiceAccounts(ns).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	l.check(err)
	binding, err := l.kube.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: ns, Name: name}}}, metav1.CreateOptions{})
	l.check(err)
	l.atEnd(func() error {
		return l.kube.RbacV1().ClusterRoleBindings().Delete(ctx, binding.Name, metav1.DeleteOptions{})
	})
	token, err := l.kube.CoreV1().ServiceAccounts(ns).CreateToken(ctx, name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	l.check(err)
	config := rest.AnonymousClientConfig(l.plane.RESTConfig(controlplane.Admin))
	config.BearerToken = token.Status.Token
	return must(kubernetes.NewForConfig(config))
}

// nameOnly is somebody who takes a name, with the rights of system:masters.
func nameOnly(config *rest.Config, user string) *rest.Config {
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:masters"}}
	return config
}
