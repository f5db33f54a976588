package attacks

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/gitward/gitward/test/server"
)

// stamped counts for a naive webhook that believes what an annotation says of
// an object's origin.
func stamped(r *review) bool {
	return r.object != nil && len(r.object.GetAnnotations()["gitward.dev/commit"]) == 40
}

const forgedStamp = `{"metadata":{"annotations":{"gitward.dev/commit":"0000000000000000000000000000000000000000","gitward.dev/author":"Chief <chief@example.org>"}}}`

// twentyKinds are one object each of twenty kinds.
var twentyKinds = map[string]string{
	"configmap":      configMap("prices", "1"),
	"secret":         secret("db", "x"),
	"service":        "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: $NS}, spec: {selector: {app: web}, ports: [{port: 80}]}}",
	"account":        account,
	"pod":            pod("box", "registry.example.org/box:1"),
	"claim":          "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data, namespace: $NS}, spec: {accessModes: [ReadWriteOnce], storageClassName: none, resources: {requests: {storage: 1Gi}}}}",
	"limits":         "{apiVersion: v1, kind: LimitRange, metadata: {name: limits, namespace: $NS}, spec: {limits: [{type: PersistentVolumeClaim, max: {storage: 5Gi}}]}}",
	"quota":          "{apiVersion: v1, kind: ResourceQuota, metadata: {name: quota, namespace: $NS}, spec: {hard: {pods: '50'}}}",
	"podtemplate":    "{apiVersion: v1, kind: PodTemplate, metadata: {name: template, namespace: $NS}, template: {spec: {containers: [{name: web, image: web}]}}}",
	"deployment":     workload("apps/v1", "Deployment", "web", "web", "replicas: 0"),
	"replicaset":     workload("apps/v1", "ReplicaSet", "alone", "web", "replicas: 0"),
	"statefulset":    workload("apps/v1", "StatefulSet", "db", "db", "replicas: 0"),
	"daemonset":      workload("apps/v1", "DaemonSet", "agent", "agent", "revisionHistoryLimit: 3"),
	"job":            job("once", "web"),
	"cronjob":        cronJob("nightly", "web"),
	"autoscaler":     "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: other, namespace: $NS}, spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: none}}}",
	"budget":         "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: web, namespace: $NS}, spec: {maxUnavailable: 1, selector: {matchLabels: {app: web}}}}",
	"networkpolicy":  denyAll,
	"ingress":        "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: web, namespace: $NS}, spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}}",
	"role":           role,
	"widget":         "{apiVersion: example.org/v1, kind: Widget, metadata: {name: wheel, namespace: $NS}, spec: {size: 1}}",
	"gadget":         "{apiVersion: example.org/v1, kind: Gadget, metadata: {name: gear, namespace: $NS}, spec: {size: 1}}",
	"late-one":       configMap("late", "1"),
	"late-with-more": configMap("later", "1"),
}

// TestS1 writes the provenance by hand.
func TestS1(t *testing.T) {
	w := newWorld(t, twentyKinds)
	believes := &naive{mistake: "an annotation is taken for provenance", excuse: stamped}
	var attacks []attack
	for _, text := range twentyKinds {
		u := objectOf(text)
		if !strings.HasPrefix(u.GetName(), "late") {
			attacks = append(attacks, attack{name: "a forged stamp on " + u.GetKind(), calls: []call{merge(itself(text), forgedStamp)},
				by: "cluster-admin", want: "ForgedStamp", says: "annotation that Gitward did not write"})
		}
	}
	withStamp := func(text string) call {
		return create(strings.Replace(text, "metadata: {", `metadata: {annotations: {gitward.dev/commit: "0000000000000000000000000000000000000000"}, `, 1))
	}
	attacks = append(attacks,
		attack{name: "a forged stamp on what Git has", calls: []call{withStamp(configMap("late", "1"))}, want: "ForgedStamp", says: "gitward.dev/commit annotation"},
		attack{name: "a forged stamp on what Git has not", calls: []call{withStamp(configMap("mine", "1"))}, want: "NotInGit", says: "ConfigMap $NS/mine is not in Git"},
		attack{name: "a forged stamp on an edit", calls: []call{merge("/api/v1/namespaces/$NS/configmaps/prices",
			`{"data":{"apple":"0"},"metadata":{"annotations":{"gitward.dev/commit":"0000000000000000000000000000000000000000"}}}`)}, want: "Differs", says: "data.apple"},
	)
	w.play(believes, attacks...)
}

// TestS2 writes the provenance, and other metadata, where most webhooks do not
// look: through subresources.
func TestS2(t *testing.T) {
	files := map[string]string{}
	for name, text := range twentyKinds {
		switch name {
		case "pod", "deployment", "replicaset", "statefulset", "daemonset", "job", "cronjob", "autoscaler", "budget", "ingress", "widget",
			"service", "claim", "quota":
			files[name] = text
		}
	}
	files["late-gadget"] = twentyKinds["gadget"]
	w := newWorld(t, files)
	var attacks []attack
	for name, text := range files {
		if name == "late-gadget" || name == "widget" {
			continue
		}
		people := administrators // the role edit has nothing to do with status
		if name == "pod" {       // of Pods, kubelets write the status unasked: see TestS2Guard
			people = withoutKubelets()
		}
		attacks = append(attacks, attack{name: fmt.Sprintf("a forged stamp through %ss/status", name), calls: []call{merge(itself(text)+"/status", forgedStamp)},
			by: "system:masters", people: people, want: "ForgedStamp", says: "annotation that Gitward did not write"})
	}
	attacks = append(attacks, attack{name: "a forged stamp through pods/binding", by: "system:masters", want: "ForgedStamp", people: administrators,
		calls: []call{post("/api/v1/namespaces/$NS/pods/box/binding", `{apiVersion: v1, kind: Binding, metadata: {name: box, annotations: {gitward.dev/commit: "0000000000000000000000000000000000000000"}}, target: {kind: Node, name: evil}}`)}})
	w.play(plain, attacks...)
	w.clusterScoped()
	// Of a custom resource the API server takes the status and nothing else; of
	// one without a status there is no such subresource. Neither needs a refusal.
	wheel := itself(twentyKinds["widget"])
	for _, body := range []string{forgedStamp, strings.Replace(forgedStamp, `{"metadata"`, `{"status":{"turns":1},"metadata"`, 1)} {
		err := merge(wheel+"/status", body).do(w.lab.client(whoIs("system:masters")), w.ns)
		live := objectAt(strings.ReplaceAll(wheel, "$NS", w.ns))
		if err != nil && !server.Refused(err) || live.GetName() != "wheel" || live.GetAnnotations()["gitward.dev/author"] != "Ada Example <ada@example.org>" {
			t.Errorf("after a forged stamp through widgets/status (%v) there is %v", err, live.Object)
		}
	}
	err := merge(itself(twentyKinds["gadget"])+"/status", forgedStamp).do(w.lab.client(whoIs("system:masters")), w.ns)
	if !apierrors.IsNotFound(err) {
		t.Errorf("a status that the kind does not have: %v", err)
	}
}

// clusterScoped forges stamps through the status of what is in no namespace.
func (w *world) clusterScoped() {
	w.t.Helper()
	w.place("apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: s2-volume}\nspec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], storageClassName: none, hostPath: {path: /none}}\n")
	w.place(node("s2-node"))
	var attacks []attack
	for _, path := range []string{"/api/v1/namespaces/$NS", "/api/v1/persistentvolumes/s2-volume", "/api/v1/nodes/s2-node",
		"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.org", "/apis/certificates.k8s.io/v1/certificatesigningrequests/evil"} {
		people := administrators
		if strings.HasPrefix(path, "/api/v1/nodes/") { // these keep Nodes unasked: see TestS2Guard
			people = slices.DeleteFunc(withoutKubelets(), func(p person) bool { return p.name == "as kube-controller-manager" })
		}
		attacks = append(attacks, attack{name: "a forged stamp through " + kindIn(path) + "/status", calls: []call{merge(path+"/status", forgedStamp)},
			aside: true, by: "system:masters", people: people, want: "ForgedStamp", says: "annotation that Gitward did not write"})
	}
	w.play(unasked, attacks...)
	// Of others the API server takes the status and nothing else. Nobody is asked.
	for _, path := range []string{"/apis/apiregistration.k8s.io/v1/apiservices/v1.apps", "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/exempt",
		"/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations/workload-low"} {
		err := merge(path+"/status", forgedStamp).do(w.lab.client(whoIs("system:masters")), "")
		live := objectAt(path)
		if err != nil && !server.Refused(err) || live.GetName() == "" || live.GetAnnotations()["gitward.dev/author"] != "" {
			w.t.Errorf("after a forged stamp through %s/status (%v) there is %v", kindIn(path), err, live.Object)
		}
		w.t.Logf("%-55s | naive: not shown (the API server keeps the metadata) | Gitward: nothing is stored | 1 tries", "a forged stamp through "+kindIn(path)+"/status")
	}
}

// kindIn is the collection in the path of something that is in no namespace.
func kindIn(path string) string {
	parts := strings.Split(path, "/")
	return parts[len(parts)-2]
}

// node is one on which nothing runs. The API server adds the second taint to each
// new Node by itself.
func node(name string) string {
	return "apiVersion: v1\nkind: Node\nmetadata: {name: " + name + "}\n" +
		"spec: {taints: [{key: example.org/none, effect: NoSchedule}, {key: node.kubernetes.io/not-ready, effect: NoSchedule}]}\n"
}

// place brings something that is in no namespace to Git and to the cluster, until
// the test ends.
func (w *world) place(text string) {
	w.t.Helper()
	admin, file := w.lab.client(whoIs("system:masters")), "cluster/"+objectOf(text).GetName()+".yaml"
	w.lab.commit(w.t, map[string]string{file: text})
	server.Await(w.t, file, 20*time.Second, func() error { return w.lab.apply(text) })
	w.t.Cleanup(func() {
		w.lab.commit(w.t, nil, file)
		server.Await(w.t, "the end of "+file, 20*time.Second, func() error { return remove(itself(text)).do(admin, "") })
	})
}

// withoutKubelets are the administrators whose writes to a Pod's status somebody is asked
// about.
func withoutKubelets() []person {
	return slices.DeleteFunc(slices.Clone(administrators), func(p person) bool { return p.name == "as a kubelet" })
}

// TestS6 writes other metadata through the status, and a spec that the API
// server throws away.
func TestS6(t *testing.T) {
	web := workload("apps/v1", "Deployment", "web", "web", "replicas: 0")
	path := itself(web) + "/status"
	w := newWorld(t, map[string]string{"web.yaml": web, "box.yaml": pod("box", "web")})
	w.play(plain,
		attack{name: "an annotation through the status", calls: []call{merge(path, `{"metadata":{"annotations":{"sidecar.istio.io/inject":"true"}}}`)},
			by: "system:masters", people: administrators, want: "Differs", says: "must not change its metadata"},
		attack{name: "a label through the status", calls: []call{merge("/api/v1/namespaces/$NS/pods/box/status", `{"metadata":{"labels":{"team":"evil"}}}`)},
			by: "system:masters", people: withoutKubelets(), want: "Differs", says: "must not change its metadata"},
		attack{name: "a finalizer through the status", calls: []call{merge(path, `{"metadata":{"finalizers":["example.org/stay"]}}`)},
			by: "system:masters", people: administrators, want: "Differs", says: "must not change its metadata"},
	)
	for _, c := range []call{merge(path, `{"spec":{"replicas":7}}`)} {
		if err := c.do(w.lab.client(whoIs("system:masters")), w.ns); err != nil {
			t.Errorf("a status write that says something of the spec: %v", err)
		}
		if spec, _ := objectAt("/apis/apps/v1/namespaces/" + w.ns + "/deployments/web").Object["spec"].(map[string]any); spec["replicas"] != any(int64(0)) {
			t.Errorf("the status wrote the spec: %v", spec)
		}
	}
}
