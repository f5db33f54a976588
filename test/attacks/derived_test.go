package attacks

import (
	"slices"
	"strings"
	"testing"

	"github.com/gitward/gitward/gate"
)

var trustsOwners = &naive{mistake: "an ownerReference is believed", excuse: func(r *review) bool {
	return r.object != nil && len(r.object.GetOwnerReferences()) > 0
}}

// owned puts an ownerReference on a document of this package's form.
func owned(text, owner string) string {
	return strings.Replace(text, "namespace: $NS", "namespace: $NS, ownerReferences: ["+owner+"]", 1)
}

// ownerRef is a controller ownerReference to what is at a path.
func ownerRef(apiVersion, kind, name, path string) string {
	return "{apiVersion: " + apiVersion + ", kind: " + kind + ", name: " + name + ", uid: $UID(" + path + "), controller: true}"
}

const inApps, inBatch = "/apis/apps/v1/namespaces/$NS/", "/apis/batch/v1/namespaces/$NS/"

func job(name, image string) string {
	return "apiVersion: batch/v1\nkind: Job\nmetadata: {name: " + name + ", namespace: $NS}\n" +
		"spec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: web, image: \"" + image + "\"}]}}}\n"
}

func cronJob(name, image string) string {
	return "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: " + name + ", namespace: $NS}\n" +
		"spec: {schedule: '0 0 1 1 *', jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: web, image: \"" + image + "\"}]}}}}}\n"
}

const set = "serviceName: none"

// TestS3 forges owners. A name and an ownerReference are both easily taken, so
// that neither, nor both, may let anything in that the owner's template does not
// yield.
func TestS3(t *testing.T) {
	const good = "registry.example.org/web:1"
	w := newWorld(t, map[string]string{
		"web.yaml":     deployment("web", good),
		"db.yaml":      workload("apps/v1", "StatefulSet", "db", good, set),
		"agent.yaml":   workload("apps/v1", "DaemonSet", "agent", good, "revisionHistoryLimit: 3"),
		"once.yaml":    job("once", good),
		"nightly.yaml": cronJob("nightly", good),
		"widget.yaml":  "{apiVersion: example.org/v1, kind: Widget, metadata: {name: wheel, namespace: $NS}, spec: {size: 1}}\n",
		"other.yaml":   "apiVersion: v1\nkind: Namespace\nmetadata: {name: $NS-other}\n---\n" + strings.ReplaceAll(deployment("web", good), "$NS", "$NS-other"),
	})
	web := ownerRef("apps/v1", "Deployment", "web", inApps+"deployments/web")
	forged := func(name string, child, owner string) attack {
		return attack{name: name, calls: []call{create(owned(child, owner))}, want: "NotDerived",
			orElse: []gate.Refused{"OwnerUnknown", "NotInGit"}}
	}
	evilSet := workload("apps/v1", "ReplicaSet", "web-evil", "evil", "replicas: 1")
	w.play(trustsOwners,
		forged("a ReplicaSet with another image under a Deployment", evilSet, web),
		forged("a Pod under a Deployment", pod("evil-1", "evil"), web),
		forged("a Pod under a StatefulSet", pod("db-7", "evil"), ownerRef("apps/v1", "StatefulSet", "db", inApps+"statefulsets/db")),
		forged("a Pod under a DaemonSet", pod("agent-x", "evil"), ownerRef("apps/v1", "DaemonSet", "agent", inApps+"daemonsets/agent")),
		forged("a Pod under a Job", pod("once-x", "evil"), ownerRef("batch/v1", "Job", "once", inBatch+"jobs/once")),
		forged("a Job under a CronJob", job("nightly-1", "evil"), ownerRef("batch/v1", "CronJob", "nightly", inBatch+"cronjobs/nightly")),
		forged("a Secret under a custom resource", secret("wheel-secret", "x"), ownerRef("example.org/v1", "Widget", "wheel", "/apis/example.org/v1/namespaces/$NS/widgets/wheel")),
		forged("a Deployment under a ConfigMap of Kubernetes' own", deployment("evil-2", "evil"), ownerRef("v1", "ConfigMap", "kube-root-ca.crt", "/api/v1/namespaces/$NS/configmaps/kube-root-ca.crt")),
		forged("an owner that is gone", pod("evil-3", "evil"), "{apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: 99999999-0000-0000-0000-000000000000, controller: true}"),
		forged("an owner in another namespace", strings.Replace(evilSet, "web-evil", "web-evil-4", 1),
			ownerRef("apps/v1", "Deployment", "web", "/apis/apps/v1/namespaces/$NS-other/deployments/web")),
		forged("an owner of another kind under that uid", strings.Replace(evilSet, "web-evil", "web-evil-5", 1),
			"{apiVersion: apps/v1, kind: Deployment, name: db, uid: $UID("+inApps+"statefulsets/db), controller: true}"),
		forged("an owner that is not the controller", pod("evil-6", "evil"), strings.Replace(web, "controller: true", "controller: false", 1)),
		forged("a claim under a StatefulSet without templates", "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data-db-0, namespace: $NS}\n"+
			"spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n", ownerRef("apps/v1", "StatefulSet", "db", inApps+"statefulsets/db")),
	)
}

// TestS3RightNameWrongTemplate: the controller's own name and a genuine owner,
// and still only what the template yields.
func TestS3RightNameWrongTemplate(t *testing.T) {
	const good = "registry.example.org/web:1"
	w := newWorld(t, map[string]string{"web.yaml": deployment("web", good), "nightly.yaml": cronJob("nightly", good)})
	uid := "11111111-2222-3333-4444-555555555555"
	people := []person{{name: "as the deployment controller, with a uid", user: "admin", as: controller("deployment-controller", uid)},
		{name: "as the replicaset controller, with a uid", user: "admin", as: controller("replicaset-controller", uid)},
		{name: "as the cronjob controller, with a uid", user: "admin", as: controller("cronjob-controller", uid)},
		whoIs("as kube-controller-manager")}
	web := ownerRef("apps/v1", "Deployment", "web", inApps+"deployments/web")
	child := func(name, image string) string { return workload("apps/v1", "ReplicaSet", name, image, "replicas: 1") }
	sidecar := strings.Replace(child("web-b", good), "containers: [", "containers: [{name: miner, image: evil}, ", 1)
	host := strings.Replace(child("web-c", good), "containers: [", "hostNetwork: true, containers: [", 1)
	w.play(trustsOwners,
		attack{name: "the controller's name, another image", calls: []call{create(owned(child("web-a", "evil"), web))}, want: "NotDerived",
			people: people},
		attack{name: "the right controller's name, another image", calls: []call{create(owned(strings.ReplaceAll(child("web-d", "evil"), "app: web-d", "app: web"), web))}, want: "NotDerived",
			says: "is not what Deployment $NS/web makes: spec.template.spec.containers[web].image", people: people[:1]},
		attack{name: "the controller's name, a container more", calls: []call{create(owned(sidecar, web))}, want: "NotDerived", people: people},
		attack{name: "the controller's name, host network", calls: []call{create(owned(host, web))}, want: "NotDerived", people: people},
		attack{name: "the controller's name, a Job with another image", calls: []call{create(owned(job("nightly-9", "evil"),
			ownerRef("batch/v1", "CronJob", "nightly", inBatch+"cronjobs/nightly")))}, want: "NotDerived", people: people},
	)
}

// TestS3Updates changes what a controller made, and what it would take for its
// own.
func TestS3Updates(t *testing.T) {
	const good = "registry.example.org/web:1"
	web := deployment("web", good)
	w := newWorld(t, map[string]string{"web.yaml": web, "prices.yaml": configMap("prices", "1"),
		"alone.yaml": workload("apps/v1", "ReplicaSet", "alone", good, "replicas: 0")})
	sets, pods := inApps+"replicasets/$CHILD("+inApps+"replicasets)", inCore+"pods/$CHILD("+inCore+"pods)"
	for _, ns := range []string{w.ns, w.naive} {
		w.settleIn(ns)
	}
	image := `{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"evil"}]}}}}`
	podImage := `{"spec":{"containers":[{"name":"web","image":"evil"}]}}`
	trusting := &naive{mistake: trustsOwners.mistake, excuse: func(r *review) bool {
		return trustsOwners.excuse(r) || r.old != nil && len(r.old.GetOwnerReferences()) > 0
	}}
	w.play(trusting,
		attack{name: "another image in a derived Pod", calls: []call{strategic(pods, podImage)}, want: "DerivedOnly", says: "is made by the controller of ReplicaSet"},
		attack{name: "an annotation on a derived Pod", calls: []call{merge(pods, `{"metadata":{"annotations":{"sidecar.istio.io/inject":"true"}}}`)}, want: "DerivedOnly"},
		attack{name: "a derived Pod without its owner", calls: []call{{"PATCH", pods, "application/json-patch+json", `[{"op":"remove","path":"/metadata/ownerReferences"}]`}},
			people: withoutCollectors(), want: "DerivedOnly"},
		attack{name: "a derived Pod out of its Service", calls: []call{merge(pods, `{"metadata":{"labels":{"app":"other"}}}`)}, want: "DerivedOnly"},
		attack{name: "a derived ReplicaSet scaled", calls: []call{merge(sets+"/scale", oneMerge)}, people: withoutCollectors(), want: "DerivedOnly", orElse: []gate.Refused{"NotInGit", "Differs"}},
		attack{name: "another image in a derived ReplicaSet", calls: []call{strategic(sets, image)}, want: "DerivedOnly", says: "is made by the controller of Deployment web"},
		attack{name: "an owner for what Git declares", calls: []call{merge(inCore+"configmaps/prices",
			`{"metadata":{"ownerReferences":[{"apiVersion":"apps/v1","kind":"Deployment","name":"web","uid":"99999999-0000-0000-0000-000000000000"}]}}`)}, want: "Differs", says: "metadata.ownerReferences"},
	)
	labels := &naive{mistake: "what a selector selects is taken for derived", excuse: func(r *review) bool { return r.object != nil && r.object.GetLabels()["app"] == "web" }}
	w.play(labels, attack{name: "a Pod that a ReplicaSet would adopt", calls: []call{create(strings.Replace(pod("bait", "evil"), "metadata: {", "metadata: {labels: {app: web}, ", 1))}, want: "NotInGit"})
}

// withoutCollectors is everybody but the names that may take owners away or
// scale what a Deployment made: the controllers that do.
func withoutCollectors() []person {
	return slices.DeleteFunc(slices.Clone(everybody), func(p person) bool {
		return p.name == "as kube-controller-manager" || p.name == "as the garbage collector, with a uid" || p.name == "as the replicaset controller, with a uid"
	})
}
