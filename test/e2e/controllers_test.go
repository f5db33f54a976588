package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/gitward/gitward/audit"
	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/test/controlplane"
	"github.com/gitward/gitward/test/install"
	"github.com/gitward/gitward/test/server"
)

const (
	kubeScheduler = "system:kube-scheduler"
	kubeletUser   = "system:node:n1"
)

// livePlane has real controllers. There is no kubelet and no scheduler here:
// hands plays both, under their users.
func livePlane(t testing.TB) *controlplane.ControlPlane {
	return controlplane.ForTest(t, controlplane.Options{ControllerManager: true, Users: []controlplane.User{
		{Name: kubeScheduler}, {Name: kubeletUser, Groups: []string{"system:nodes"}}}})
}

// workloads is one of each kind that controllers work on, as Git declares them.
func workloads(ns string) map[string]string {
	pod := func(app string) string {
		return `{metadata: {labels: {app: ` + app + `}}, spec: {containers: [{name: main, image: "registry.example.org/` + app + `:1", resources: {limits: {cpu: 100m}}}]}}`
	}
	in := "metadata: {namespace: " + ns + ", name: "
	return map[string]string{
		"namespace.yaml":  "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + ns + "}\n",
		"web.yaml":        "apiVersion: apps/v1\nkind: Deployment\n" + in + "web, annotations: {example.org/team: shop}}\nspec: {selector: {matchLabels: {app: web}}, template: " + pod("web") + "}\n",
		"hpa.yaml":        "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\n" + in + "web}\nspec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, minReplicas: 2, maxReplicas: 4, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]}\n",
		"db.yaml":         "apiVersion: apps/v1\nkind: StatefulSet\n" + in + "db}\nspec: {replicas: 2, serviceName: db, selector: {matchLabels: {app: db}}, template: " + pod("db") + ", volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], storageClassName: manual, resources: {requests: {storage: 1Gi}}}}]}\n",
		"agent.yaml":      "apiVersion: apps/v1\nkind: DaemonSet\n" + in + "agent}\nspec: {selector: {matchLabels: {app: agent}}, template: " + pod("agent") + "}\n",
		"old.yaml":        "apiVersion: v1\nkind: ReplicationController\n" + in + "old}\nspec: {replicas: 1, selector: {app: old}, template: " + pod("old") + "}\n",
		"once.yaml":       "apiVersion: batch/v1\nkind: Job\n" + in + "once}\nspec: {template: {metadata: {labels: {app: once}}, spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}\n",
		"each.yaml":       "apiVersion: batch/v1\nkind: Job\n" + in + "each}\nspec: {completions: 2, parallelism: 2, completionMode: Indexed, template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}\n",
		"tick.yaml":       "apiVersion: batch/v1\nkind: CronJob\n" + in + "tick}\nspec: {schedule: \"* * * * *\", jobTemplate: {metadata: {labels: {app: tick}}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}}}\n",
		"service.yaml":    "apiVersion: v1\nkind: Service\n" + in + "web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n",
		"db-service.yaml": "apiVersion: v1\nkind: Service\n" + in + "db}\nspec: {clusterIP: None, selector: {app: db}, ports: [{port: 5432}]}\n",
		"pdb.yaml":        "apiVersion: policy/v1\nkind: PodDisruptionBudget\n" + in + "web}\nspec: {minAvailable: 1, selector: {matchLabels: {app: web}}}\n",
		"quota.yaml":      "apiVersion: v1\nkind: ResourceQuota\n" + in + "all}\nspec: {hard: {pods: \"50\"}}\n",
		"claim.yaml":      "apiVersion: v1\nkind: PersistentVolumeClaim\n" + in + "box}\nspec: {accessModes: [ReadWriteOnce], storageClassName: manual, resources: {requests: {storage: 1Gi}}}\n",
		"token.yaml":      "apiVersion: v1\nkind: ServiceAccount\n" + in + "ci}\n---\napiVersion: v1\nkind: Secret\n" + in + "ci, annotations: {kubernetes.io/service-account.name: ci}}\ntype: kubernetes.io/service-account-token\n",
		"class.yaml":      "apiVersion: storage.k8s.io/v1\nkind: VolumeAttributesClass\nmetadata: {name: " + ns + "-fast}\ndriverName: csi.example.org\nparameters: {iops: \"1000\"}\n",
		"volumes.yaml":    volume(ns, "box") + "---\n" + volume(ns, "data-0") + "---\n" + volume(ns, "data-1"),
		"roles.yaml": "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: " + ns + "-all}\naggregationRule: {clusterRoleSelectors: [{matchLabels: {part-of: " + ns + "}}]}\nrules: []\n---\n" +
			"apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: " + ns + "-part, labels: {part-of: " + ns + "}}\nrules: [{apiGroups: [\"\"], resources: [pods], verbs: [get]}]\n",
	}
}

func volume(ns, name string) string {
	return "apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: " + ns + "-" + name + "}\nspec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], storageClassName: manual, persistentVolumeReclaimPolicy: Retain, hostPath: {path: /tmp/" + ns + "-" + name + "}}\n"
}

// hasToken reports an account's Secret that a controller filled.
func (l *lab) hasToken(ns, name string) error {
	secret, err := l.kube.CoreV1().Secrets(ns).Get(context.Background(), name, metav1.GetOptions{})
	if err == nil && (len(secret.Data["token"]) == 0 || len(secret.Data["ca.crt"]) == 0) {
		err = errors.New("it has no token")
	}
	return err
}

// TestLiveCluster: under Deny on everything, all that Kubernetes makes of what
// Git declares goes on: rollouts, autoscaling, jobs, claims, garbage collection,
// the end of a namespace. No request of Kubernetes itself is refused.
func TestLiveCluster(t *testing.T) {
	l := newLab(t, livePlane(t))
	l.remap()
	ns := "live"
	files := workloads(ns)
	tip := l.commit(files)
	l.installOrigin(nil)
	l.installGate("default", nil)
	l.awaitAccepted(tip)
	hands := newHands(l)
	l.installGuard()
	l.asksAll = true // more is judged here than the chart has judged
	l.setGated(true)
	stop := hands.work()
	defer stop()

	l.applyFiles(files)
	server.Await(t, "the workloads", 2*time.Minute, func() error { return l.counts(ns, map[string]int{"web": 2, "db": 2, "agent": 1, "old": 1}) })
	server.Await(t, "the jobs", time.Minute, func() error { return l.jobsDone(ns, "once", "each") })
	server.Await(t, "the claims", time.Minute, func() error { return l.claimsBound(ns, "box", "data-db-0", "data-db-1") })
	server.Await(t, "the aggregated role", 30*time.Second, func() error { return l.aggregated(ns + "-all") })
	server.Await(t, "the endpoints", time.Minute, func() error { return l.endpoints(ns, "web", 2) })
	server.Await(t, "the account's token", 30*time.Second, func() error { return l.hasToken(ns, "ci") })
	server.Await(t, "the finalizer of a class", 30*time.Second, func() error {
		class, err := l.kube.StorageV1().VolumeAttributesClasses().Get(context.Background(), ns+"-fast", metav1.GetOptions{})
		if err == nil && len(class.Finalizers) == 0 {
			err = errors.New("it has none")
		}
		return err
	})
	l.derivedStamps(ns, tip)

	// A rollout, from Git; and what a rollout leaves behind is scaled down.
	files["web.yaml"] = strings.ReplaceAll(files["web.yaml"], "/web:1", "/web:2")
	files["db.yaml"] = strings.ReplaceAll(files["db.yaml"], "/db:1", "/db:2")
	files["agent.yaml"] = strings.ReplaceAll(files["agent.yaml"], "/agent:1", "/agent:2")
	tip = l.commit(files)
	l.awaitAccepted(tip)
	l.applyFiles(files)
	server.Await(t, "the rollout", 2*time.Minute, func() error {
		for _, app := range []string{"web", "db", "agent"} {
			if err := l.images(ns, app, "registry.example.org/"+app+":2"); err != nil {
				return err
			}
		}
		return l.counts(ns, map[string]int{"web": 2, "db": 2, "agent": 1})
	})
	server.Await(t, "the CronJob", 100*time.Second, func() error { return l.cronRan(ns, "tick") })

	// Pruning: a Deployment goes with its parts in the background, a StatefulSet
	// in the foreground.
	for _, f := range []string{"web.yaml", "hpa.yaml", "db.yaml"} {
		delete(files, f)
	}
	l.awaitAccepted(l.commit(nil, "web.yaml", "hpa.yaml", "db.yaml"))
	background, foreground := metav1.DeletePropagationBackground, metav1.DeletePropagationForeground
	l.check(l.kube.AppsV1().Deployments(ns).Delete(context.Background(), "web", metav1.DeleteOptions{PropagationPolicy: &background}))
	l.check(l.kube.AppsV1().StatefulSets(ns).Delete(context.Background(), "db", metav1.DeleteOptions{PropagationPolicy: &foreground}))
	server.Await(t, "garbage collection", 2*time.Minute, func() error { return l.counts(ns, map[string]int{"web": 0, "db": 0, "agent": 1}) })

	// The namespace, with all that is in it; and a class that is protected.
	l.awaitAccepted(l.commit(nil, slices.Collect(maps.Keys(files))...))
	l.check(l.kube.StorageV1().VolumeAttributesClasses().Delete(context.Background(), ns+"-fast", metav1.DeleteOptions{}))
	server.Await(t, "the end of the class", time.Minute, func() error {
		_, err := l.kube.StorageV1().VolumeAttributesClasses().Get(context.Background(), ns+"-fast", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is still there: %v", err)
	})
	l.check(l.kube.CoreV1().Namespaces().Delete(context.Background(), ns, metav1.DeleteOptions{}))
	server.Await(t, "the end of the namespace", 2*time.Minute, func() error {
		_, err := l.kube.CoreV1().Namespaces().Get(context.Background(), ns, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is still there: %v", err)
	})
	l.tellRequests(200)
}

// installGuard puts the chart's guarding policy in, which trusts the lab.
func (l *lab) installGuard() {
	l.t.Helper()
	l.remap()
	for _, o := range must(install.Guard(controlplane.Admin)) {
		client := must(l.resource(o.GroupVersionKind(), ""))
		_, err := client.Create(context.Background(), o, metav1.CreateOptions{})
		l.check(err)
		l.atEnd(func() error { return client.Delete(context.Background(), o.GetName(), metav1.DeleteOptions{}) })
	}
}

// atEnd takes something away at the end of the test, when nothing judges it.
func (l *lab) atEnd(remove func() error) {
	l.t.Cleanup(func() {
		l.setGated(false)
		l.check(remove())
	})
}

// tellRequests prints which requests of Kubernetes itself were seen, and fails
// if one was refused.
func (l *lab) tellRequests(least int) {
	l.t.Helper()
	seen, refused := map[string]int{}, 0
	for _, r := range l.gitward.decisions() {
		if !ofKubernetes(r.User) {
			continue
		}
		resource := r.Resource
		if r.SubResource != "" {
			resource += "/" + r.SubResource
		}
		user := strings.TrimPrefix(r.User, "system:serviceaccount:kube-system:")
		seen[fmt.Sprintf("%-34s %-7s %-30s %s", user, r.Operation, resource, r.Reason)]++
		if !r.Allowed {
			refused++
			l.t.Errorf("refused: %s %s %s %s/%s by %s: %s %v", r.Decision, r.Operation, resource, r.Namespace, r.Name, user, r.Reason, r.Paths)
		}
	}
	total := 0
	for _, k := range slices.Sorted(maps.Keys(seen)) {
		l.t.Logf("%5d  %s", seen[k], k)
		total += seen[k]
	}
	l.t.Logf("requests of Kubernetes itself: %d, of %d kinds; refused: %d", total, len(seen), refused)
	if total < least {
		l.t.Errorf("only %d requests were seen", total)
	}
}

func ofKubernetes(user string) bool {
	return strings.HasPrefix(user, "system:serviceaccount:kube-system:") || strings.HasPrefix(user, "system:kube-") ||
		strings.HasPrefix(user, "system:node:") || user == "system:apiserver"
}

// decisions reads the process's records.
func (g *gitward) decisions() []audit.Record {
	g.lab.t.Helper()
	data, err := os.ReadFile(g.Records)
	g.lab.check(err)
	var out []audit.Record
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r audit.Record
		l := lines.Bytes()
		if json.Unmarshal(l, &r) == nil && r.Decision != "" {
			out = append(out, r)
		}
	}
	l := lines.Err()
	g.lab.check(l)
	return out
}

// applyFiles applies manifests as an applier does: namespaces first.
func (l *lab) applyFiles(files map[string]string) {
	l.t.Helper()
	names := slices.SortedFunc(maps.Keys(files), func(a, b string) int {
		return strings.Compare(fmt.Sprint(a != "namespace.yaml", a), fmt.Sprint(b != "namespace.yaml", b))
	})
	for _, name := range names {
		for _, doc := range strings.Split(files[name], "---\n") {
			if err := l.apply(doc); err != nil {
				l.t.Fatalf("%s: %v", name, err)
			}
		}
	}
}

func (l *lab) pods(ns, app string) ([]corev1.Pod, error) {
	list, err := l.kube.CoreV1().Pods(ns).List(context.Background(), metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// counts holds the number of running Pods of each application.
func (l *lab) counts(ns string, want map[string]int) error {
	for app, n := range want {
		pods, err := l.pods(ns, app)
		if err != nil {
			return err
		}
		running := 0
		for _, p := range pods {
			if p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil {
				running++
			}
		}
		if running != n || n == 0 && len(pods) > 0 {
			return fmt.Errorf("%s has %d running Pods of %d, want %d", app, running, len(pods), n)
		}
	}
	return nil
}

func (l *lab) images(ns, app, image string) error {
	pods, err := l.pods(ns, app)
	if err != nil {
		return err
	}
	for _, p := range pods {
		if p.Spec.Containers[0].Image != image {
			return fmt.Errorf("%s still runs %s", p.Name, p.Spec.Containers[0].Image)
		}
	}
	return nil
}

func (l *lab) jobsDone(ns string, names ...string) error {
	for _, name := range names {
		j, err := l.kube.BatchV1().Jobs(ns).Get(context.Background(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if j.Status.CompletionTime == nil {
			return fmt.Errorf("Job %s: %+v", name, j.Status)
		}
	}
	return nil
}

func (l *lab) claimsBound(ns string, names ...string) error {
	for _, name := range names {
		c, err := l.kube.CoreV1().PersistentVolumeClaims(ns).Get(context.Background(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if c.Status.Phase != corev1.ClaimBound {
			return fmt.Errorf("claim %s is %s", name, c.Status.Phase)
		}
	}
	return nil
}

func (l *lab) aggregated(name string) error {
	r, err := l.kube.RbacV1().ClusterRoles().Get(context.Background(), name, metav1.GetOptions{})
	if err == nil && len(r.Rules) == 0 {
		err = fmt.Errorf("it has no rules")
	}
	return err
}

func (l *lab) endpoints(ns, service string, n int) error {
	list, err := l.kube.DiscoveryV1().EndpointSlices(ns).List(context.Background(), metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + service})
	if err != nil {
		return err
	}
	found := 0
	for _, s := range list.Items {
		found += len(s.Endpoints)
	}
	if found != n {
		return fmt.Errorf("%d endpoints", found)
	}
	return nil
}

func (l *lab) cronRan(ns, name string) error {
	list, err := l.kube.BatchV1().Jobs(ns).List(context.Background(), metav1.ListOptions{LabelSelector: "app=" + name})
	if err == nil && len(list.Items) == 0 {
		err = fmt.Errorf("no Job yet")
	}
	return err
}

// derivedStamps: what is derived says where its root comes from.
func (l *lab) derivedStamps(ns, commit string) {
	l.t.Helper()
	for _, app := range []string{"web", "db", "agent", "old"} {
		pods, err := l.pods(ns, app)
		l.check(err)
		for _, p := range pods {
			if p.Annotations[gate.StampCommit] != commit || p.Annotations[gate.StampOrigin] != origin {
				l.t.Errorf("Pod %s is stamped %v, want commit %s", p.Name, p.Annotations, commit)
			}
		}
	}
}

// hands plays the scheduler and one kubelet, under their own users and through
// the same gate.
type hands struct {
	l                  *lab
	scheduler, kubelet *kubernetes.Clientset
}

func newHands(l *lab) *hands {
	l.t.Helper()
	// Nodes are authorised by an authoriser of their own, which is not on here.
	_, err := l.kube.RbacV1().ClusterRoleBindings().Create(context.Background(), &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "nodes"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:node"},
		Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: kubeletUser}}}, metav1.CreateOptions{})
	l.check(err)
	l.atEnd(func() error {
		return l.kube.RbacV1().ClusterRoleBindings().Delete(context.Background(), "nodes", metav1.DeleteOptions{})
	})
	return &hands{l: l, scheduler: must(kubernetes.NewForConfig(l.plane.RESTConfig(kubeScheduler))),
		kubelet: must(kubernetes.NewForConfig(l.plane.RESTConfig(kubeletUser)))}
}

// work binds Pods, runs them, and lets them go, until stop is called.
func (h *hands) work() (stop func()) {
	h.l.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{"kubernetes.io/hostname": "n1"}}}
	_, err := h.kubelet.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	h.l.check(err)
	h.ready(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			h.round(ctx)
			time.Sleep(200 * time.Millisecond)
		}
	}()
	h.l.atEnd(func() error {
		return h.l.kube.CoreV1().Nodes().Delete(context.Background(), "n1", metav1.DeleteOptions{})
	})
	return func() { cancel(); <-done }
}

// ready reports the Node ready, as a kubelet does.
func (h *hands) ready(ctx context.Context) {
	h.l.t.Helper()
	server.Await(h.l.t, "the Node", 30*time.Second, func() error {
		n, err := h.kubelet.CoreV1().Nodes().Get(ctx, "n1", metav1.GetOptions{})
		if err != nil {
			return err
		}
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady",
			LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now()}}
		_, err = h.kubelet.CoreV1().Nodes().UpdateStatus(ctx, n, metav1.UpdateOptions{})
		return err
	})
}

func (h *hands) round(ctx context.Context) {
	pods, err := h.kubelet.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		switch {
		case p.DeletionTimestamp != nil:
			now := int64(0)
			err = h.kubelet.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
		case p.Spec.NodeName == "":
			err = h.scheduler.CoreV1().Pods(p.Namespace).Bind(ctx, &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace, UID: p.UID},
				Target: corev1.ObjectReference{Kind: "Node", Name: "n1"}}, metav1.CreateOptions{})
		case p.Status.Phase == corev1.PodPending:
			p.Status = running(p)
			_, err = h.kubelet.CoreV1().Pods(p.Namespace).UpdateStatus(ctx, p, metav1.UpdateOptions{})
		}
		if server.Refused(err) {
			h.l.t.Errorf("Pod %s/%s: %v", p.Namespace, p.Name, err)
		}
	}
}

// running is the status of a Pod that runs, or ran if it is to end.
func running(p *corev1.Pod) corev1.PodStatus {
	s := corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.1.0.7", PodIPs: []corev1.PodIP{{IP: "10.1.0.7"}}, StartTime: &metav1.Time{Time: time.Now()},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}}
	if p.Spec.RestartPolicy == corev1.RestartPolicyNever {
		s.Phase = corev1.PodSucceeded
		s.Conditions = nil
	}
	return s
}
