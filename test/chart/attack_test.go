package chart

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/install"
	"github.com/gitward/gitward/test/server"
)

const (
	flux        = "system:serviceaccount:flux-system:kustomize-controller"
	certManager = "system:serviceaccount:cert-manager:cert-manager"
)

// attack is a deed of somebody in particular. An honest one has to go on working.
type attack struct {
	name   string
	who    *rest.Config
	honest bool
	do     func(*kubernetes.Clientset) error
}

// meet tries them all: what is honest passes, and the rest is refused by whom it
// should be.
func meet(t *testing.T, attacks []attack, refusedBy func(error) bool) (refused, honest int) {
	t.Helper()
	for _, a := range attacks {
		switch err := a.do(must(kubernetes.NewForConfig(a.who))); {
		case a.honest && err != nil:
			t.Errorf("honest: %s: %v", a.name, err)
		case a.honest:
			honest++
		case !refusedBy(err):
			t.Errorf("attack: %s: %v", a.name, err)
		default:
			refused++
		}
	}
	return refused, honest
}

func second[T any](_ T, err error) error { return err }

// stamped is what Gitward alone writes.
var stamped = map[string]string{"gitward.dev/commit": "forged"}

// exists is content with what somebody else made before.
func exists(t testing.TB, err error) {
	t.Helper()
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

// grant gives somebody a role, in a namespace that it makes or everywhere.
func grant(t testing.TB, admin *kubernetes.Clientset, role, namespace string, s rbacv1.Subject) {
	t.Helper()
	ctx := context.Background()
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}
	if namespace == "" {
		must(admin.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}, RoleRef: ref, Subjects: []rbacv1.Subject{s}}, metav1.CreateOptions{}))
		return
	}
	_, err := admin.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	exists(t, err)
	must(admin.RbacV1().RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}, RoleRef: ref, Subjects: []rbacv1.Subject{s}}, metav1.CreateOptions{}))
}

func person(name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: name}
}

// robot makes a service account with every right, and is its real token: only the
// guard stands in its way.
func robot(t *testing.T, plane *controlplane.ControlPlane, admin *kubernetes.Clientset, namespace, name string) *rest.Config {
	t.Helper()
	ctx := context.Background()
	_, err := admin.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	exists(t, err)
	_, err = admin.CoreV1().ServiceAccounts(namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	exists(t, err)
	grant(t, admin, "cluster-admin", "", rbacv1.Subject{Kind: "ServiceAccount", Namespace: namespace, Name: name})
	config := rest.AnonymousClientConfig(plane.RESTConfig(controlplane.Admin))
	config.BearerToken = tokenOf(t, plane.RESTConfig(controlplane.Admin), namespace, name)
	config.QPS = -1
	return config
}

// TestGuardAttacks: names that are put on, tokens that were stolen, stamps where
// nobody is asked. Each attack succeeds without the guard and is refused by it;
// what has to go on, goes on.
func TestGuardAttacks(t *testing.T) {
	plane := controlplane.OwnForTest(t, controlplane.Options{ControllerManager: true, Users: []controlplane.User{{Name: mallory}, {Name: editor}, {Name: deployer}}})
	admin := must(kubernetes.NewForConfig(plane.RESTConfig(controlplane.Admin)))
	prepare(t, plane, admin)
	ctx := context.Background()
	for _, ns := range []string{"flux-system", "team"} {
		grant(t, admin, "edit", ns, person(editor))
	}
	must(admin.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, metav1.CreateOptions{}))
	must(admin.CoordinationV1().Leases("team").Create(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "old", Annotations: stamped}}, metav1.CreateOptions{}))
	must(admin.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "declared", Annotations: stamped}}, metav1.CreateOptions{}))
	var pod *corev1.Pod
	server.Await(t, "a Pod of Gitward's", time.Minute, func() error {
		list, err := admin.CoreV1().Pods(install.Namespace).List(ctx, metav1.ListOptions{})
		if err == nil && len(list.Items) == 0 {
			err = fmt.Errorf("none yet")
		}
		if err == nil {
			pod = &list.Items[0]
		}
		return err
	})
	attacks := slices.Concat(attacksByName(t, plane, admin), attacksOnStamps(plane), attacksOnPods(plane, pod), attacksOfRobots(t, plane, admin))
	for _, a := range attacks {
		if err := a.do(must(kubernetes.NewForConfig(a.who))); err != nil {
			t.Errorf("without the guard: %s: %v", a.name, err)
		}
	}
	client := must(dynamic.NewForConfig(plane.RESTConfig(controlplane.Admin)))
	for _, o := range must(install.Objects("https://127.0.0.1:1", nil, map[string]any{"certs": map[string]any{"mode": "cert-manager"},
		"guard": map[string]any{"users": []any{deployer, flux}}})) {
		if strings.HasPrefix(o.GetKind(), "ValidatingAdmissionPolicy") {
			create(t, client, o)
		}
	}
	server.Await(t, "the policies", time.Minute, func() error {
		for _, d := range deedsAgainst() {
			if err := d.do(admin); !byGuard(err) {
				return fmt.Errorf("%s: %v", d.name, err)
			}
		}
		return nil
	})
	refused, honest := meet(t, attacks, byGuard)
	t.Logf("%d attacks succeed without the guard and are refused by it; %d honest deeds pass", refused, honest)
}

func deleteJudge(k *kubernetes.Clientset) error {
	return k.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(context.Background(), install.Judge, metav1.DeleteOptions{DryRun: dry})
}

func patchJudge(patch string) func(*kubernetes.Clientset) error {
	return func(k *kubernetes.Clientset) error {
		return second(k.AdmissionregistrationV1().ValidatingWebhookConfigurations().Patch(context.Background(), install.Judge, types.JSONPatchType, []byte(patch), metav1.PatchOptions{DryRun: dry}))
	}
}

func changeImage(k *kubernetes.Clientset) error {
	return second(k.AppsV1().Deployments(install.Namespace).Patch(context.Background(), "gitward", types.JSONPatchType,
		[]byte(`[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"evil"}]`), metav1.PatchOptions{DryRun: dry}))
}

func clusterRole(name string) func(*kubernetes.Clientset) error {
	return func(k *kubernetes.Clientset) error {
		return second(k.RbacV1().ClusterRoles().Create(context.Background(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{DryRun: dry}))
	}
}

// attacksByName put on the name of whom the values trust. An editor of a
// namespace may do so with the service accounts there.
func attacksByName(t *testing.T, plane *controlplane.ControlPlane, admin *kubernetes.Clientset) []attack {
	applier := robot(t, plane, admin, "flux-system", "kustomize-controller")
	puton := as(plane.RESTConfig(editor), flux)
	other := withUID(inGroup(as(plane.RESTConfig(mallory), flux), "system:masters"))
	return []attack{
		{"an editor as the applier deletes the webhook configuration", puton, false, deleteJudge},
		{"an editor as the applier changes the image", puton, false, changeImage},
		{"the applier's name and a uid, without its group", inGroup(other, "system:masters", "system:serviceaccounts"), false, changeImage},
		{"the applier itself deletes the webhook configuration", applier, true, deleteJudge},
		{"the applier itself changes the image", applier, true, changeImage},
		{"mallory makes the role gitward-metadata", plane.RESTConfig(mallory), false, clusterRole("gitward-metadata")},
		{"mallory makes a role gitwardens", plane.RESTConfig(mallory), true, clusterRole("gitwardens")},
		{"mallory makes a Role gitward elsewhere", plane.RESTConfig(mallory), true, func(k *kubernetes.Clientset) error {
			return second(k.RbacV1().Roles("team").Create(context.Background(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "gitward"}}, metav1.CreateOptions{DryRun: dry}))
		}},
	}
}

// attacksOnStamps forge them on what is never asked about.
func attacksOnStamps(plane *controlplane.ControlPlane) []attack {
	ctx, create, patch := context.Background(), metav1.CreateOptions{DryRun: dry}, metav1.PatchOptions{DryRun: dry}
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name, Annotations: stamped} }
	ed := plane.RESTConfig(editor)
	kubelet := func(node string) *rest.Config {
		return inGroup(as(plane.RESTConfig(mallory), "system:node:"+node), "system:nodes", "system:masters")
	}
	controllers := inGroup(as(plane.RESTConfig(mallory), "system:kube-controller-manager"), "system:masters")
	node := func(name, change string) func(*kubernetes.Clientset) error {
		return func(k *kubernetes.Clientset) error {
			return second(k.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, []byte(change), patch))
		}
	}
	const forged, plain = `{"metadata":{"annotations":{"gitward.dev/commit":"other"}}}`, `{"metadata":{"labels":{"a":"b"}}}`
	return []attack{
		{"an editor's Lease", ed, false, func(k *kubernetes.Clientset) error {
			return second(k.CoordinationV1().Leases("team").Create(ctx, &coordinationv1.Lease{ObjectMeta: meta("l")}, create))
		}},
		{"an editor's Lease that has another stamp", ed, false, func(k *kubernetes.Clientset) error {
			return second(k.CoordinationV1().Leases("team").Patch(ctx, "old", types.MergePatchType, []byte(forged), patch))
		}},
		{"an editor's Lease that loses its stamp", ed, false, func(k *kubernetes.Clientset) error {
			return second(k.CoordinationV1().Leases("team").Patch(ctx, "old", types.MergePatchType, []byte(`{"metadata":{"annotations":null}}`), patch))
		}},
		{"a Lease that is renewed", ed, true, func(k *kubernetes.Clientset) error {
			return second(k.CoordinationV1().Leases("team").Patch(ctx, "old", types.MergePatchType, []byte(`{"spec":{"holderIdentity":"me"}}`), patch))
		}},
		{"an Event", plane.RESTConfig(mallory), false, func(k *kubernetes.Clientset) error {
			return second(k.CoreV1().Events("team").Create(ctx, &corev1.Event{ObjectMeta: meta("e"), InvolvedObject: corev1.ObjectReference{Namespace: "team"}}, create))
		}},
		{"a kubelet's Node", kubelet("n1"), false, node("n1", forged)},
		{"a kubelet's CSINode", kubelet("n1"), false, func(k *kubernetes.Clientset) error {
			return second(k.StorageV1().CSINodes().Create(ctx, &storagev1.CSINode{ObjectMeta: meta("n1")}, create))
		}},
		{"a kubelet's certificate request", kubelet("n1"), false, func(k *kubernetes.Clientset) error {
			return second(k.CertificatesV1().CertificateSigningRequests().Create(ctx, &certificatesv1.CertificateSigningRequest{ObjectMeta: meta("c"),
				Spec: certificatesv1.CertificateSigningRequestSpec{Request: signingRequest(), SignerName: "example.com/a", Usages: []certificatesv1.KeyUsage{"client auth"}}}, create))
		}},
		{"a kubelet's mirror Pod", kubelet("n1"), false, func(k *kubernetes.Clientset) error {
			return second(k.CoreV1().Pods("team").Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "m", Annotations: map[string]string{
				"gitward.dev/commit": "forged", "kubernetes.io/config.mirror": "1"}}, Spec: corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "a", Image: "a"}}}}, create))
		}},
		{"the controllers' Node", controllers, false, node("n1", forged)},
		{"the controllers' Node that has another stamp", controllers, false, node("declared", forged)},
		{"a kubelet's Node that is declared", kubelet("declared"), true, node("declared", plain)},
		{"the controllers' Node that is declared", controllers, true, node("declared", plain)},
		{"the controllers' hand on Gitward's own Deployment", controllers, false, func(k *kubernetes.Clientset) error {
			return second(k.AppsV1().Deployments(install.Namespace).Patch(ctx, "gitward", types.MergePatchType, []byte(forged), patch))
		}},
		{"the word to adopt the registration anew", plane.RESTConfig(deployer), true, func(k *kubernetes.Clientset) error {
			return second(k.CoreV1().ConfigMaps(install.Namespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "gitward-registration",
				Annotations: map[string]string{"gitward.dev/adopt": "true"}}}, create))
		}},
		{"a stamp on the registration", plane.RESTConfig(deployer), false, func(k *kubernetes.Clientset) error {
			return second(k.CoreV1().ConfigMaps(install.Namespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: meta("gitward-registration")}, create))
		}},
		// The webhook is asked about these, and judges their stamps.
		{"the applier's Node", plane.RESTConfig(deployer), true, node("n1", forged)},
		{"an account's ConfigMap", plane.RESTConfig(mallory), true, func(k *kubernetes.Clientset) error {
			return second(k.CoreV1().ConfigMaps("team").Create(ctx, &corev1.ConfigMap{ObjectMeta: meta("c")}, create))
		}},
	}
}

func signingRequest() []byte {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	der := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "a"}}, key))
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// attacksOnPods have Kubernetes' controllers run something else in Gitward's
// namespace, in Gitward's clothes.
func attacksOnPods(plane *controlplane.ControlPlane, ours *corev1.Pod) []attack {
	controllers := inGroup(as(plane.RESTConfig(mallory), "system:kube-controller-manager"), "system:masters")
	var attacks []attack
	with := func(name string, honest bool, change func(p *corev1.PodSpec, c *corev1.Container)) {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "again", Labels: ours.Labels}, Spec: *ours.Spec.DeepCopy()}
		pod.Spec.NodeName = ""
		change(&pod.Spec, &pod.Spec.Containers[0])
		attacks = append(attacks, attack{"a Pod with " + name, controllers, honest, func(k *kubernetes.Clientset) error {
			return second(k.CoreV1().Pods(install.Namespace).Create(context.Background(), pod, metav1.CreateOptions{DryRun: dry}))
		}})
	}
	yes := true
	shell := corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/bin/sh"}}}
	with("nothing new", true, func(*corev1.PodSpec, *corev1.Container) {})
	with("another version of Gitward", true, func(_ *corev1.PodSpec, c *corev1.Container) { c.Image = "gitward/gitward:0.0.1" })
	with("another image", false, func(_ *corev1.PodSpec, c *corev1.Container) { c.Image = "gitward/gitward-evil:1" })
	with("a hook", false, func(_ *corev1.PodSpec, c *corev1.Container) {
		c.Lifecycle = &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{Exec: shell.Exec}}
	})
	with("a privileged container", false, func(_ *corev1.PodSpec, c *corev1.Container) {
		c.SecurityContext = &corev1.SecurityContext{Privileged: &yes}
	})
	with("a capability", false, func(_ *corev1.PodSpec, c *corev1.Container) {
		c.SecurityContext.Capabilities.Add = []corev1.Capability{"SYS_ADMIN"}
	})
	with("no security context", false, func(_ *corev1.PodSpec, c *corev1.Container) { c.SecurityContext = nil })
	with("the Node's IPC", false, func(p *corev1.PodSpec, _ *corev1.Container) { p.HostIPC = true })
	with("the Node's network", false, func(p *corev1.PodSpec, _ *corev1.Container) { p.HostNetwork = true })
	with("a liveness probe that runs a command", false, func(_ *corev1.PodSpec, c *corev1.Container) { c.LivenessProbe.ProbeHandler = shell })
	with("a readiness probe that runs a command", false, func(_ *corev1.PodSpec, c *corev1.Container) { c.ReadinessProbe.ProbeHandler = shell })
	with("a startup probe that runs a command", false, func(_ *corev1.PodSpec, c *corev1.Container) { c.StartupProbe = &corev1.Probe{ProbeHandler: shell} })
	with("another API server", false, func(_ *corev1.PodSpec, c *corev1.Container) {
		c.Env = append(c.Env, corev1.EnvVar{Name: "KUBERNETES_SERVICE_HOST", Value: "evil.example.com"})
	})
	with("an environment from a Secret", false, func(_ *corev1.PodSpec, c *corev1.Container) {
		c.EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "any"}}}}
	})
	with("another command", false, func(_ *corev1.PodSpec, c *corev1.Container) { c.Command = []string{"/bin/sh"} })
	with("another subcommand", false, func(_ *corev1.PodSpec, c *corev1.Container) { c.Args[0] = "demo" })
	with("another configuration", false, func(_ *corev1.PodSpec, c *corev1.Container) { c.Args = append(c.Args, "--config=/nothing") })
	with("no records", false, func(_ *corev1.PodSpec, c *corev1.Container) { c.Args = append(c.Args, "--records=/dev/null") })
	with("another kubeconfig", false, func(_ *corev1.PodSpec, c *corev1.Container) { c.Args = append(c.Args, "--kubeconfig=/tmp/x") })
	with("a second container", false, func(p *corev1.PodSpec, _ *corev1.Container) {
		p.Containers = append(p.Containers, corev1.Container{Name: "b", Image: "b"})
	})
	with("any Secret", false, func(p *corev1.PodSpec, _ *corev1.Container) {
		p.Volumes = append(p.Volumes, corev1.Volume{Name: "s", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "any"}}})
	})
	with("any Secret, projected", false, func(p *corev1.PodSpec, _ *corev1.Container) {
		p.Volumes = append(p.Volumes, corev1.Volume{Name: "s", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "any"}}}}}}})
	})
	with("the Node's disk", false, func(p *corev1.PodSpec, _ *corev1.Container) {
		p.Volumes = append(p.Volumes, corev1.Volume{Name: "s", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}})
	})
	// Whoever may drain a Node, may here too.
	return append(attacks, attack{"an eviction", plane.RESTConfig(editor), true, func(k *kubernetes.Clientset) error {
		return k.PolicyV1().Evictions(install.Namespace).Evict(context.Background(), &policyv1.Eviction{
			ObjectMeta: metav1.ObjectMeta{Name: ours.Name, Namespace: install.Namespace}, DeleteOptions: &metav1.DeleteOptions{DryRun: dry}})
	}})
}

// attacksOfRobots are done with real tokens: of Gitward, and of cert-manager.
func attacksOfRobots(t *testing.T, plane *controlplane.ControlPlane, admin *kubernetes.Clientset) []attack {
	ctx, create := context.Background(), metav1.CreateOptions{DryRun: dry}
	gitward := rest.AnonymousClientConfig(plane.RESTConfig(controlplane.Admin))
	gitward.BearerToken = tokenOf(t, plane.RESTConfig(controlplane.Admin), install.Namespace, "gitward")
	issuer := robot(t, plane, admin, "cert-manager", "cert-manager")
	injector := robot(t, plane, admin, "cert-manager", "cert-manager-cainjector")
	puton := as(plane.RESTConfig(mallory), certManager)
	secret := func(meta metav1.ObjectMeta) func(*kubernetes.Clientset) error {
		return func(k *kubernetes.Clientset) error {
			return second(k.CoreV1().Secrets(install.Namespace).Create(ctx, &corev1.Secret{ObjectMeta: meta}, create))
		}
	}
	next := map[string]string{"cert-manager.io/next-private-key": "true"}
	must(admin.CoreV1().Secrets(install.Namespace).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "gitward-signers"}}, metav1.CreateOptions{}))
	must(admin.CoreV1().Secrets(install.Namespace).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "gitward-x7k2p", Labels: next}}, metav1.CreateOptions{}))
	deleteSecret := func(name string) func(*kubernetes.Clientset) error {
		return func(k *kubernetes.Clientset) error {
			return k.CoreV1().Secrets(install.Namespace).Delete(ctx, name, metav1.DeleteOptions{DryRun: dry})
		}
	}
	// cert-manager's kinds, at their paths: there is no typed client for them here.
	const kinds = "/apis/cert-manager.io/v1/namespaces/" + install.Namespace + "/"
	client := must(dynamic.NewForConfig(plane.RESTConfig(controlplane.Admin)))
	define(t, client, "certificates", "certificaterequests")
	post := func(path, object string, dryRun bool) func(*kubernetes.Clientset) error {
		return func(k *kubernetes.Clientset) error {
			r := k.RESTClient().Post().AbsPath(kinds + path).Body([]byte(object))
			if dryRun {
				r.Param("dryRun", metav1.DryRunAll)
			}
			return r.Do(ctx).Error()
		}
	}
	merge := func(path, object string) func(*kubernetes.Clientset) error {
		return func(k *kubernetes.Clientset) error {
			return k.RESTClient().Patch(types.MergePatchType).AbsPath(kinds+path).Param("dryRun", metav1.DryRunAll).Body([]byte(object)).Do(ctx).Error()
		}
	}
	certificate := `{"apiVersion":"cert-manager.io/v1","kind":"Certificate","metadata":{"name":"gitward"},"spec":{"secretName":"gitward-tls","issuerRef":{"name":"gitward"}}}`
	ask := `{"apiVersion":"cert-manager.io/v1","kind":"CertificateRequest","metadata":{"name":"gitward-1"},"spec":{"request":"` +
		base64.StdEncoding.EncodeToString(signingRequest()) + `","issuerRef":{"name":"gitward"}}}`
	server.Await(t, "cert-manager's kinds", time.Minute, func() error {
		err := post("certificates", certificate, false)(admin)
		if apierrors.IsAlreadyExists(err) {
			err = nil
		}
		return errors.Join(err, post("certificaterequests", ask, true)(admin))
	})
	const bundle = `{"op":"replace","path":"/webhooks/0/clientConfig/caBundle","value":"bm90aGluZw=="}`
	return []attack{
		{"Gitward's token: a webhook that stops every write", gitward, false, func(k *kubernetes.Clientset) error {
			return second(k.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(ctx, &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "down"}}, create))
		}},
		{"Gitward's token: a webhook whose name is made", gitward, false, func(k *kubernetes.Clientset) error {
			return second(k.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(ctx, &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{GenerateName: install.Judge}}, create))
		}},
		{"Gitward's token: a webhook that is sent every Secret", gitward, false, func(k *kubernetes.Clientset) error {
			return second(k.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(ctx, &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "spy"}}, create))
		}},
		{"Gitward makes its annotator anew", gitward, true, func(k *kubernetes.Clientset) error {
			return second(k.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(ctx, &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: install.Annotator}}, create))
		}},
		{"mallory's own webhook configuration", plane.RESTConfig(mallory), true, func(k *kubernetes.Clientset) error {
			return second(k.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(ctx, &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "mesh"}}, create))
		}},

		{"cert-manager makes the certificate's Secret", issuer, true, secret(metav1.ObjectMeta{Name: "gitward-tls"})},
		{"cert-manager makes the authority's Secret", issuer, true, secret(metav1.ObjectMeta{Name: "gitward-authority"})},
		{"cert-manager makes the next key", issuer, true, secret(metav1.ObjectMeta{GenerateName: "gitward-", Labels: next})},
		{"cert-manager deletes the key before", issuer, true, deleteSecret("gitward-x7k2p")},
		{"cert-manager asks for a certificate", issuer, true, post("certificaterequests", ask, true)},
		{"cert-manager says how the certificate is", issuer, true, merge("certificates/gitward/status", `{"status":{"revision":2}}`)},
		{"cert-manager wants another certificate", issuer, false, merge("certificates/gitward", `{"spec":{"secretName":"platform-signers"}}`)},
		{"cert-manager makes a certificate", issuer, false, post("certificates", strings.ReplaceAll(certificate, `"gitward"}`, `"more"}`), true)},
		{"mallory as cert-manager asks for a certificate", puton, false, post("certificaterequests", ask, true)},
		{"cert-manager makes a Secret of other people's", issuer, false, secret(metav1.ObjectMeta{Name: "platform-signers"})},
		{"cert-manager makes a key of another name", issuer, false, secret(metav1.ObjectMeta{Name: "platform-signers", Labels: next})},
		{"cert-manager deletes a Secret of other people's", issuer, false, deleteSecret("gitward-signers")},
		{"cert-manager makes a Secret of other people's its key", issuer, false, func(k *kubernetes.Clientset) error {
			return second(k.CoreV1().Secrets(install.Namespace).Patch(ctx, "gitward-signers", types.MergePatchType,
				[]byte(`{"metadata":{"labels":{"cert-manager.io/next-private-key":"true"}}}`), metav1.PatchOptions{DryRun: dry}))
		}},
		{"cert-manager changes the image", issuer, false, changeImage},
		{"cert-manager makes the role gitward-metadata", issuer, false, clusterRole("gitward-metadata")},
		{"cert-manager deletes the webhook configuration", issuer, false, deleteJudge},
		{"cert-manager changes the authority there", issuer, false, patchJudge(`[` + bundle + `]`)},
		{"mallory as cert-manager makes the certificate's Secret", puton, false, secret(metav1.ObjectMeta{Name: "gitward-tls"})},

		{"the injector injects", injector, true, patchJudge(`[` + bundle + `]`)},
		{"the injector injects where there was none", injector, true, patchJudge(`[{"op":"remove","path":"/webhooks/0/clientConfig/caBundle"}]`)},
		{"the injector has failures ignored", injector, false, patchJudge(`[` + bundle + `,{"op":"replace","path":"/webhooks/0/failurePolicy","value":"Ignore"}]`)},
		{"the injector sends it elsewhere", injector, false, patchJudge(`[{"op":"replace","path":"/webhooks/0/clientConfig/url","value":"https://127.0.0.1:2/"}]`)},
		{"the injector adds a condition", injector, false, patchJudge(`[{"op":"add","path":"/webhooks/0/matchConditions/-","value":{"name":"never","expression":"false"}}]`)},
		{"the injector takes the conditions away", injector, false, patchJudge(`[{"op":"remove","path":"/webhooks/0/matchConditions"}]`)},
		{"the injector leaves namespaces out", injector, false, patchJudge(`[{"op":"add","path":"/webhooks/0/namespaceSelector","value":{"matchLabels":{"a":"b"}}}]`)},
		{"the injector takes the webhook away", injector, false, patchJudge(`[{"op":"remove","path":"/webhooks/0"}]`)},
		{"the injector is told another Secret", injector, false, patchJudge(`[{"op":"add","path":"/metadata/annotations","value":{"cert-manager.io/inject-ca-from":"team/evil"}}]`)},
		{"the injector deletes the webhook configuration", injector, false, deleteJudge},
		{"the injector makes the certificate's Secret", injector, false, secret(metav1.ObjectMeta{Name: "gitward-tls"})},
	}
}

// naive is how the conditions were at first: names, and no uid; any Pod; any
// subject that begins with system:.
var naive = []admissionregistrationv1.MatchCondition{
	{Name: "no-rights-and-leases", Expression: `!(request.resource.group in ["coordination.k8s.io", "authentication.k8s.io", "authorization.k8s.io"]) && request.resource.resource != "events"`},
	{Name: "no-status", Expression: `request.?subResource.orValue("") != "status"`},
	{Name: "no-bootstrap", Expression: `!(request.userInfo.username == "system:apiserver" && request.resource.group == "rbac.authorization.k8s.io" && request.operation != "DELETE" &&
		object.metadata.?labels["kubernetes.io/bootstrapping"].orValue("") == "rbac-defaults" && object.?subjects.orValue([]).all(s, s.name.startsWith("system:")))`},
	{Name: "no-readiness", Expression: `!(request.resource.resource == "nodes" && request.userInfo.username == "system:serviceaccount:kube-system:node-controller")`},
	{Name: "recovery", Expression: `!(request.?namespace.orValue("") == "kube-system" && request.resource.resource == "pods" &&
		request.userInfo.username in ["system:kube-controller-manager", "system:kube-scheduler", "system:serviceaccount:kube-system:daemon-set-controller", "system:serviceaccount:kube-system:replicaset-controller"])`},
}

// dead registers a webhook at which nobody answers, and waits until it is asked
// by its name of now.
func dead(t *testing.T, admin *kubernetes.Clientset, name string, conditions []admissionregistrationv1.MatchCondition) {
	t.Helper()
	ctx := context.Background()
	judge, _ := install.Webhooks("https://127.0.0.1:1", nil)
	judge.Webhooks[0].Name, judge.Webhooks[0].ClientConfig.CABundle, judge.Webhooks[0].MatchConditions = name, nil, conditions
	configurations := admin.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	if old, err := configurations.Get(ctx, judge.Name, metav1.GetOptions{}); err == nil {
		judge.ResourceVersion = old.ResourceVersion
		must(configurations.Update(ctx, judge, metav1.UpdateOptions{}))
	} else {
		must(configurations.Create(ctx, judge, metav1.CreateOptions{}))
	}
	server.Await(t, "the webhook", time.Minute, func() error {
		_, err := admin.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.CreateOptions{DryRun: dry})
		if !unanswered(err) || !strings.Contains(err.Error(), `"`+name+`"`) {
			return fmt.Errorf("the answer is %v", err)
		}
		return nil
	})
}

// unanswered reports that Gitward was asked, and was dead.
func unanswered(err error) bool {
	return err != nil && strings.Contains(err.Error(), "failed calling webhook")
}

// conditions are the chart's, with kube-system as a recovery namespace.
func conditions(t *testing.T) []admissionregistrationv1.MatchCondition {
	t.Helper()
	judge := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	for _, o := range render(t, map[string]any{"webhooks": map[string]any{"recoveryNamespaces": []any{"kube-system"}}}) {
		if o.GetName() == install.Judge {
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, judge); err != nil {
				t.Fatal(err)
			}
		}
	}
	return judge.Webhooks[0].MatchConditions
}

// TestNamesPutOn: what is never asked about is not to be had by a name. Each
// attack passes a dead Gitward whose conditions are naive, and none the chart's;
// what has to work while Gitward is dead, works.
func TestNamesPutOn(t *testing.T) {
	plane := controlplane.OwnForTest(t, controlplane.Options{ControllerManager: true, Users: []controlplane.User{{Name: mallory}, {Name: editor}}})
	admin := must(kubernetes.NewForConfig(plane.RESTConfig(controlplane.Admin)))
	ctx := context.Background()
	grant(t, admin, "cluster-admin", "", person(mallory))
	grant(t, admin, "edit", "kube-system", person(editor))
	must(admin.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, metav1.CreateOptions{}))
	labels := map[string]string{"app": "dns"}
	must(admin.AppsV1().Deployments("kube-system").Create(ctx, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "dns"}, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "a"}}}}}}, metav1.CreateOptions{}))
	dns := func(other types.UID) (pod *corev1.Pod) {
		server.Await(t, "a Pod of the Deployment", time.Minute, func() error {
			list, err := admin.CoreV1().Pods("kube-system").List(ctx, metav1.ListOptions{LabelSelector: "app=dns"})
			if err != nil {
				return err
			}
			for i := range list.Items {
				if pod = &list.Items[i]; pod.UID != other {
					return nil
				}
			}
			return fmt.Errorf("%d Pods", len(list.Items))
		})
		return pod
	}
	before := dns("")
	attacks := attacksOnConditions(plane, before)

	dead(t, admin, "naive.gitward.dev", naive)
	for _, a := range attacks {
		if err := a.do(must(kubernetes.NewForConfig(a.who))); err != nil && !a.honest {
			t.Errorf("with naive conditions: %s: %v", a.name, err)
		}
	}
	dead(t, admin, install.Judge, conditions(t))
	refused, honest := meet(t, attacks, unanswered)
	// The real controllers, each with a token of its own.
	scheduler := must(kubernetes.NewForConfig(inGroup(as(plane.RESTConfig(mallory), "system:kube-scheduler"), "system:masters")))
	if err := scheduler.CoreV1().Pods("kube-system").Delete(ctx, before.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
		t.Fatal(err)
	}
	after := dns(before.UID)
	t.Logf("%d attacks pass naive conditions and none the chart's; %d honest deeds pass; %s was made in place of %s with Gitward dead", refused, honest, after.Name, before.Name)
}

func attacksOnConditions(plane *controlplane.ControlPlane, ours *corev1.Pod) []attack {
	ctx, create, patch := context.Background(), metav1.CreateOptions{DryRun: dry}, metav1.PatchOptions{DryRun: dry}
	account := func(config *rest.Config, name string) *rest.Config {
		return as(config, "system:serviceaccount:kube-system:"+name)
	}
	ed, evil := plane.RESTConfig(editor), plane.RESTConfig(mallory)
	// With its uid it is what the API server takes for the account itself.
	real := func(name string) *rest.Config {
		return withUID(inGroup(account(evil, name), "system:masters"))
	}
	taint := func(k *kubernetes.Clientset) error {
		return second(k.CoreV1().Nodes().Patch(ctx, "n1", types.MergePatchType, []byte(`{"metadata":{"labels":{"x":"y"}},"spec":{"taints":[{"key":"k","effect":"NoExecute"}]}}`), patch))
	}
	pod := func(owners []metav1.OwnerReference) func(*kubernetes.Clientset) error {
		return func(k *kubernetes.Clientset) error {
			return second(k.CoreV1().Pods("kube-system").Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "evil", OwnerReferences: owners}, Spec: corev1.PodSpec{HostPID: true,
				Containers: []corev1.Container{{Name: "a", Image: "evil"}}}}, create))
		}
	}
	image := func(k *kubernetes.Clientset) error {
		return second(k.CoreV1().Pods("kube-system").Patch(ctx, ours.Name, types.JSONPatchType, []byte(`[{"op":"replace","path":"/spec/containers/0/image","value":"evil"}]`), patch))
	}
	yes := true
	owner := func(kind string) []metav1.OwnerReference {
		return []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: kind, Name: "o", UID: "o", Controller: &yes}}
	}
	api := func(config *rest.Config) *rest.Config {
		return inGroup(as(config, "system:apiserver"), "system:masters")
	}
	boot := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, Labels: map[string]string{"kubernetes.io/bootstrapping": "rbac-defaults"}}
	}
	binding := func(role string, subjects ...rbacv1.Subject) func(*kubernetes.Clientset) error {
		return func(k *kubernetes.Clientset) error {
			return second(k.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: boot("system:test"), Subjects: subjects,
				RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}}, create))
		}
	}
	group := func(name string) rbacv1.Subject {
		return rbacv1.Subject{Kind: "Group", APIGroup: rbacv1.GroupName, Name: name}
	}
	robot := rbacv1.Subject{Kind: "ServiceAccount", Namespace: "kube-system", Name: "x"}
	rules := func(role string, rule rbacv1.PolicyRule) func(*kubernetes.Clientset) error {
		return func(k *kubernetes.Clientset) error {
			data := must(json.Marshal(map[string]any{"rules": []rbacv1.PolicyRule{rule}}))
			return second(k.RbacV1().ClusterRoles().Patch(ctx, role, types.MergePatchType, data, patch))
		}
	}
	everything := rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}
	return []attack{
		{"an editor as node-controller taints a Node", account(ed, "node-controller"), false, taint},
		{"mallory as node-controller taints a Node", inGroup(account(evil, "node-controller"), "system:masters"), false, taint},
		{"node-controller taints a Node", real("node-controller"), true, taint},
		{"an editor as daemon-set-controller makes a Pod", account(ed, "daemon-set-controller"), false, pod(nil)},
		{"an editor as daemon-set-controller makes a DaemonSet's Pod", account(ed, "daemon-set-controller"), false, pod(owner("DaemonSet"))},
		{"daemon-set-controller makes a Pod that nobody owns", real("daemon-set-controller"), false, pod(nil)},
		{"daemon-set-controller makes a ReplicaSet's Pod", real("daemon-set-controller"), false, pod(owner("ReplicaSet"))},
		{"replicaset-controller makes a Job's Pod", real("replicaset-controller"), false, pod([]metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "o", UID: "o", Controller: &yes}})},
		{"replicaset-controller makes the Pod of an owner that is no controller", real("replicaset-controller"), false, pod([]metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "o", UID: "o"}})},
		{"replicaset-controller changes an image", real("replicaset-controller"), false, image},
		{"kube-scheduler makes a Pod", inGroup(as(evil, "system:kube-scheduler"), "system:masters"), false, pod(owner("ReplicaSet"))},
		{"kube-controller-manager makes a Pod that nobody owns", inGroup(as(evil, "system:kube-controller-manager"), "system:masters"), false, pod(nil)},
		{"daemon-set-controller makes a DaemonSet's Pod", real("daemon-set-controller"), true, pod(owner("DaemonSet"))},
		{"replicaset-controller makes a ReplicaSet's Pod", real("replicaset-controller"), true, pod(owner("ReplicaSet"))},

		{"the API server without a uid", api(evil), false, binding("system:discovery", group("system:authenticated"))},
		{"the API server", withUID(api(evil)), true, binding("system:discovery", group("system:authenticated"))},
		{"what everybody with a token may see", withUID(api(evil)), true, binding("system:service-account-issuer-discovery", group("system:serviceaccounts"))},
		{"what everybody may see", withUID(api(evil)), true, binding("system:public-info-viewer", group("system:authenticated"), group("system:unauthenticated"))},
		{"cluster-admin for its group", withUID(api(evil)), true, binding("cluster-admin", group("system:masters"))},
		{"a controller's role", withUID(api(evil)), true, binding("system:controller:x", robot)},
		{"cluster-admin for everybody", withUID(api(evil)), false, binding("cluster-admin", group("system:authenticated"))},
		{"cluster-admin for a person called system:masters", withUID(api(evil)), false, binding("cluster-admin", person("system:masters"))},
		{"cluster-admin for nobody in particular", withUID(api(evil)), false, binding("cluster-admin", person("system:anonymous"))},
		{"cluster-admin for a part of Kubernetes", withUID(api(evil)), false, binding("cluster-admin", person("system:kube-scheduler"))},
		{"a controller's role for everybody", withUID(api(evil)), false, binding("system:controller:generic-garbage-collector", group("system:authenticated"))},
		{"system:discovery for nobody in particular", withUID(api(evil)), false, binding("system:discovery", person("system:anonymous"))},
		{"system:discovery for the unknown", withUID(api(evil)), false, binding("system:discovery", group("system:unauthenticated"))},
		{"a role for a namespace's accounts", withUID(api(evil)), false, binding("system:node", group("system:serviceaccounts:team"))},
		{"a role for an account", withUID(api(evil)), false, binding("system:node", person("system:serviceaccount:team:x"))},
		{"a role for the kubelets", withUID(api(evil)), false, binding("system:controller:generic-garbage-collector", group("system:nodes"))},
		{"view becomes everything", withUID(api(evil)), false, rules("view", everything)},
		{"system:discovery becomes everything", withUID(api(evil)), false, rules("system:discovery", everything)},
		{"system:public-info-viewer sees every path", withUID(api(evil)), false, rules("system:public-info-viewer", rbacv1.PolicyRule{NonResourceURLs: []string{"*"}, Verbs: []string{"get"}})},
		{"system:discovery has a path more", withUID(api(evil)), true, rules("system:discovery", rbacv1.PolicyRule{NonResourceURLs: []string{"/new"}, Verbs: []string{"get"}})},
	}
}

// TestBootstrap: an API server whose roles and bindings are all gone makes them
// again with Gitward dead: no condition is narrower than Kubernetes itself.
func TestBootstrap(t *testing.T) {
	plane := controlplane.OwnForTest(t, controlplane.Options{})
	admin := must(kubernetes.NewForConfig(plane.RESTConfig(controlplane.Admin)))
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	defaults := metav1.ListOptions{LabelSelector: "kubernetes.io/bootstrapping=rbac-defaults"}
	all := func() (names []string) {
		for _, o := range must(admin.RbacV1().ClusterRoles().List(ctx, defaults)).Items {
			names = append(names, "ClusterRole "+o.Name)
		}
		for _, o := range must(admin.RbacV1().ClusterRoleBindings().List(ctx, defaults)).Items {
			names = append(names, fmt.Sprintf("ClusterRoleBinding %s of %s to %v", o.Name, o.RoleRef.Name, o.Subjects))
		}
		for _, o := range must(admin.RbacV1().Roles("").List(ctx, defaults)).Items {
			names = append(names, "Role "+o.Namespace+"/"+o.Name)
		}
		for _, o := range must(admin.RbacV1().RoleBindings("").List(ctx, defaults)).Items {
			names = append(names, fmt.Sprintf("RoleBinding %s/%s of %s to %v", o.Namespace, o.Name, o.RoleRef.Name, o.Subjects))
		}
		return names
	}
	before := all()
	for _, err := range []error{
		admin.RbacV1().ClusterRoles().DeleteCollection(ctx, metav1.DeleteOptions{}, defaults),
		admin.RbacV1().ClusterRoleBindings().DeleteCollection(ctx, metav1.DeleteOptions{}, defaults),
		admin.RbacV1().Roles("kube-system").DeleteCollection(ctx, metav1.DeleteOptions{}, defaults),
		admin.RbacV1().Roles("kube-public").DeleteCollection(ctx, metav1.DeleteOptions{}, defaults),
		admin.RbacV1().RoleBindings("kube-system").DeleteCollection(ctx, metav1.DeleteOptions{}, defaults),
		admin.RbacV1().RoleBindings("kube-public").DeleteCollection(ctx, metav1.DeleteOptions{}, defaults),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if left := all(); len(left) > 0 || len(before) < 100 {
		t.Fatalf("there were %d roles and bindings, and %d are left", len(before), len(left))
	}
	dead(t, admin, install.Judge, conditions(t))
	if err := plane.RestartAPIServer(ctx); err != nil {
		t.Fatal(err)
	}
	server.Await(t, "what the API server makes", 30*time.Second, func() error {
		if after := all(); !slices.Equal(after, before) {
			return fmt.Errorf("%d of %d are there", len(after), len(before))
		}
		return nil
	})
	if _, err := admin.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.CreateOptions{DryRun: dry}); !unanswered(err) {
		t.Errorf("nobody was asked: %v", err)
	}
	t.Logf("%d roles and bindings made again with Gitward dead", len(before))
}
