package attacks

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/client-go/discovery"

	"github.com/gitward/gitward/test/server"
)

// TestS4 says the same in another version of the API, and something else in
// each.
func TestS4(t *testing.T) {
	hpa := "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: web, namespace: $NS}\n" +
		"spec: {minReplicas: 2, maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}]}\n"
	older := "apiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler\nmetadata: {name: late, namespace: $NS}\n" +
		"spec: {minReplicas: 2, maxReplicas: 5, targetCPUUtilizationPercentage: 60, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}\n"
	w := newWorld(t, map[string]string{"hpa.yaml": hpa, "late.yaml": strings.Replace(hpa, "name: web, namespace", "name: late, namespace", 1)})
	one, two := "/apis/autoscaling/v1/namespaces/$NS/horizontalpodautoscalers", "/apis/autoscaling/v2/namespaces/$NS/horizontalpodautoscalers"
	exactly := &naive{mistake: "only version v2 is looked at", configure: func(hook *admissionregistrationv1.ValidatingWebhook) {
		hook.MatchPolicy = new(admissionregistrationv1.Exact)
		hook.Rules = append(hook.Rules, hook.Rules[0])
		hook.Rules[0].APIVersions, hook.Rules[0].APIGroups = []string{"v2"}, []string{"autoscaling"}
		hook.Rules[1].APIGroups = []string{"", "apps"}
	}}
	w.play(exactly,
		attack{name: "an edit through the older version", calls: []call{merge(one+"/web", `{"spec":{"maxReplicas":99}}`)}, want: "Differs", says: "spec.maxReplicas"},
		attack{name: "a creation through the older version", calls: []call{post(one, strings.Replace(older, "maxReplicas: 5", "maxReplicas: 50", 1))}, want: "Differs", says: "spec.maxReplicas"},
		attack{name: "another target through the older version", calls: []call{merge(one+"/web", `{"spec":{"targetCPUUtilizationPercentage":10}}`)}, want: "Differs", says: "spec."},
		attack{name: "an object of one's own in the older version", calls: []call{post(one, strings.ReplaceAll(older, "name: late", "name: mine"))}, want: "NotInGit", says: "HorizontalPodAutoscaler $NS/mine is not in Git"},
	)
	// The same in another version is the same.
	for path, text := range map[string]string{one + "?dryRun=All": older, two + "?dryRun=All": w.files["late.yaml"]} {
		if err := post(path, text).do(w.lab.client(whoIs("system:masters")), w.ns); err != nil {
			t.Errorf("what Git has, in %s: %v", path, err)
		}
	}
	w.everyVersion()
}

// everyVersion holds that no other kind is served in several versions: the day
// that one is, it belongs among the attacks above.
func (w *world) everyVersion() {
	w.t.Helper()
	_, lists, err := discovery.NewDiscoveryClient(w.lab.kube.RESTClient()).ServerGroupsAndResources()
	check(w.t, err)
	versions := map[string][]string{}
	for _, list := range lists {
		for _, r := range list.APIResources {
			if !strings.Contains(r.Name, "/") && slices.Contains(r.Verbs, "create") {
				group, version, _ := strings.Cut(list.GroupVersion, "/")
				versions[r.Kind+" "+group] = append(versions[r.Kind+" "+group], version)
			}
		}
	}
	for kind, served := range versions {
		if len(served) > 1 != (kind == "HorizontalPodAutoscaler autoscaling") {
			w.t.Errorf("%s is served in %v", kind, served)
		}
	}
}

// TestS11 has the API server make up the name.
func TestS11(t *testing.T) {
	w := newWorld(t, map[string]string{"prices.yaml": configMap("prices", "1")})
	nameless := &naive{mistake: "an object without a name passes", excuse: func(r *review) bool {
		return r.Operation == admissionv1.Create && r.object != nil && r.object.GetGenerateName() != ""
	}}
	generated := func(prefix string) string {
		return "{apiVersion: v1, kind: ConfigMap, metadata: {generateName: " + prefix + ", namespace: $NS}, data: {apple: '1'}}"
	}
	w.play(nameless,
		attack{name: "a generated name", calls: []call{create(generated("mine-"))}, want: "NotInGit", says: "ConfigMap $NS/mine-"},
		attack{name: "a generated name that begins as one of Git's", calls: []call{create(generated("prices"))}, want: "NotInGit", says: "ConfigMap $NS/prices"},
		attack{name: "a generated name for a Pod", calls: []call{create("{apiVersion: v1, kind: Pod, metadata: {generateName: web-, namespace: $NS}, spec: {containers: [{name: a, image: evil}]}}")},
			want: "NotInGit", says: "Pod $NS/web-"},
	)
}

// TestS12 asks by dry run what would be admitted: the answer is the one that the
// deed would get, and nothing is recorded of it.
func TestS12(t *testing.T) {
	w := newWorld(t, map[string]string{"prices.yaml": configMap("prices", "1"), "web.yaml": workload("apps/v1", "Deployment", "web", "web", "replicas: 0"), "late.yaml": configMap("late", "1"),
		"banana.yaml": configMap("banana", "1")})
	kind := &naive{mistake: "dry runs pass", excuse: func(r *review) bool { return r.DryRun != nil && *r.DryRun }}
	w.register(kind)
	calls := []call{
		create(configMap("late", "2")), create(configMap("mine", "1")), create(secret("mine", "x")),
		merge(inCore+"configmaps/prices", `{"data":{"apple":"2"}}`), merge(inCore+"configmaps/prices", forgedStamp),
		merge(inApps+"deployments/web/scale", oneMerge), remove(inCore + "configmaps/prices"), remove(inCore + "configmaps"),
		merge(inApps+"deployments/web/status", forgedStamp),
	}
	before := w.settle()
	lines, _ := w.lab.gitward.size(t)
	w.admittedDry()
	dry := w.answers(calls, call.dry)
	for _, r := range w.lab.gitward.recordsSince(t, lines) {
		if r.Namespace == w.ns && !strings.HasPrefix(r.User, "system:serviceaccount:kube-system:") {
			t.Errorf("a dry run is in the record: %+v", r)
		}
	}
	real := w.answers(calls, func(c call) call { return c })
	for key, answer := range dry {
		if real[key] != answer {
			t.Errorf("%s: the dry run says\n%s\nthe deed\n%s", key, answer, real[key])
		}
	}
	w.unchanged(before)
	mine := create(configMap("mine", "1"))
	if err := mine.dry().do(w.lab.client(whoIs("namespace editor")), w.naive); err != nil {
		t.Errorf("a dry run before the naive webhook: %v", err)
	}
	if err := mine.do(w.lab.client(whoIs("namespace editor")), w.naive); !refusedByNaive(err) {
		t.Errorf("the deed before the naive webhook: %v", err)
	}
	t.Logf("%-55s | naive: dry runs pass, deeds do not | Gitward: the same answer, no record | %d tries", "a dry run", len(dry))
}

// admittedDry asks by dry run for what Git has: a creation, and an edit that a
// later commit brings. Both are admitted, and leave nothing.
func (w *world) admittedDry() {
	w.t.Helper()
	admin := w.lab.client(whoIs("cluster-admin"))
	before := objectAt("/api/v1/namespaces/" + w.ns + "/configmaps/banana")
	next := configMap("banana", "2")
	w.commit(map[string]string{"banana.yaml": next})
	edit := apply(inCore+"configmaps/banana", next).dry()
	server.Await(w.t, "an edit of Git's by dry run", 20*time.Second, func() error { return edit.do(admin, w.ns) })
	if err := create(configMap("late", "1")).dry().do(admin, w.ns); err != nil {
		w.t.Errorf("a creation of Git's by dry run: %v", err)
	}
	if live := objectAt("/api/v1/namespaces/" + w.ns + "/configmaps/banana"); live.GetName() != "banana" || !reflect.DeepEqual(live.Object, before.Object) {
		w.t.Errorf("a dry run left %v, before it was %v", live.Object, before.Object)
	}
	if live := objectAt("/api/v1/namespaces/" + w.ns + "/configmaps/late"); live.GetName() != "" {
		w.t.Errorf("a dry run left %v", live.Object)
	}
}

// answers are what everybody is told about each call.
func (w *world) answers(calls []call, form func(call) call) map[string]string {
	var wg sync.WaitGroup
	var mu sync.Mutex
	all := map[string]string{}
	for _, who := range everybody {
		wg.Go(func() {
			for i, c := range calls {
				answer := withoutDecision(form(c).do(w.lab.client(who), w.ns))
				mu.Lock()
				all[fmt.Sprintf("call %d (%s)", i, who.name)] = answer
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return all
}

// withoutDecision is a refusal without what differs from one to the next.
func withoutDecision(err error) string {
	if err == nil {
		return "admitted"
	}
	return decisionForm.ReplaceAllString(err.Error(), "")
}

// TestS33 adds fields under another field manager's name.
func TestS33(t *testing.T) {
	w := newWorld(t, map[string]string{"web.yaml": workload("apps/v1", "Deployment", "web", "web", "replicas: 0"), "prices.yaml": configMap("prices", "1")})
	owned := &naive{mistake: "only the applier's fields are compared", same: func(git, object map[string]any) bool { return contains(object, git) }}
	patch := func(manager, path, body string) call {
		c := apply(path, body)
		c.path = strings.Replace(c.path, "fieldManager=kubectl", "fieldManager="+manager, 1)
		return c
	}
	w.play(owned,
		attack{name: "a container added by another manager", calls: []call{patch("istio-proxy", inApps+"deployments/web",
			"{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {spec: {initContainers: [{name: evil, image: evil}]}}}}")},
			want: "Differs", says: "spec.template.spec.initContainers"},
		attack{name: "a key added by another manager", calls: []call{patch("other", inCore+"configmaps/prices",
			"{apiVersion: v1, kind: ConfigMap, metadata: {name: prices}, data: {pear: '1'}}")}, want: "Differs", says: "data.pear"},
		attack{name: "a field taken over under the applier's name", calls: []call{patch("kustomize-controller", inCore+"configmaps/prices",
			"{apiVersion: v1, kind: ConfigMap, metadata: {name: prices, labels: {team: evil}}, data: {apple: '1'}}")}, want: "Differs", says: "metadata.labels"},
		attack{name: "annotations added by another manager", calls: []call{patch("other", inApps+"deployments/web",
			"{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, annotations: {sidecar.istio.io/inject: 'true'}}}")}, want: "Differs", says: "metadata.annotations"},
	)
}
