// Package bench is what the benchmarks share: an index of a given size and the
// admission reviews that are put to it. They are modelled on reviews recorded
// from a kube-apiserver 1.37, field by field, and are the same in every run.
package bench

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/canonical"
)

// Objects is the size of the index that the goals speak of.
const Objects = 10_000

// Review is one AdmissionReview and the answer it has to get.
type Review struct {
	Name    string
	Body    []byte        // the AdmissionReview, as the API server sends it
	Request *gate.Request // the same, as the webhook hands it on
	Allowed bool
}

// World is a view to decide from, and reviews of some of its objects.
type World struct {
	View    *gate.View
	Reviews []Review

	schemas *canonical.Schemas
	commit  *gitindex.Commit
	objects map[gitindex.Ref]*gitindex.Entry
}

// Gate decides from the world, without a Refresher: a benchmark has no Git.
func (w *World) Gate() *gate.Gate {
	return &gate.Gate{View: func() *gate.View { return w.View }, Now: time.Now}
}

// Review finds a review by name; nil if there is none.
func (w *World) Review(name string) *Review {
	for i := range w.Reviews {
		if w.Reviews[i].Name == name {
			return &w.Reviews[i]
		}
	}
	return nil
}

// NewWorld makes an index of n objects: of ten, seven are Deployments and one
// each a Service, a Secret and a custom resource.
func NewWorld(n int) (*World, error) {
	schemas, errs := canonical.New([]byte(backendCRD))
	if len(errs) > 0 {
		return nil, errs[0]
	}
	at := time.Date(2026, 1, 1, 9, 0, 0, 0, time.UTC)
	ada := gitindex.Person{Name: "Ada Example", Email: "ada@example.org", When: at}
	signer := gitindex.Signer{Kind: "ssh", Fingerprint: "SHA256:9uKxq3bJ5m0dYwTzV1cNfRkLsPaXeGhUiOoBnMvCxZa", Principal: "ada@example.org"}
	w := &World{
		schemas: schemas,
		commit: &gitindex.Commit{ID: "4f2a91c0d3e5b7a6f8c91e2d4b6a8c0e1f3d5b79", Author: ada, Committer: ada, Subject: "web: two replicas",
			Verdict: gitindex.Verdict{Outcome: gitindex.Good, Signer: signer}, FirstSeen: at},
		objects: make(map[gitindex.Ref]*gitindex.Entry, n),
	}
	for i := range n {
		if err := w.declare(objectAt(i)); err != nil {
			return nil, err
		}
	}
	snapshot := &gitindex.Snapshot{Origin: "platform", URL: "https://git.example.org/platform.git", Ref: "main",
		Accepted: w.commit, Tip: w.commit.ID, FetchedAt: time.Now(), Objects: w.objects, Files: n}
	w.View = &gate.View{
		Index:   gitindex.Index{"platform": snapshot.Seal()},
		Schemas: schemas,
		Rules: []gate.Rule{{Name: "production", ClusterScoped: true, Author: true, Lag: 15 * time.Minute, StaleAfter: 15 * time.Minute,
			Origins: []gate.Source{{Origin: "platform"}}}},
	}
	if err := w.addReviews(); err != nil {
		return nil, err
	}
	return w, w.addDerived()
}

// alive is what is live of the first Deployment: itself, and its ReplicaSet.
type alive map[string]*gate.LiveObject

func (a alive) Object(uid string) *gate.LiveObject { return a[uid] }
func (alive) Find(gitindex.Ref) *gate.LiveObject   { return nil }
func (alive) Changed() <-chan struct{}             { return nil }

// Who asks.
var (
	alice      = authenticationv1.UserInfo{Username: "alice@example.com", UID: "2", Groups: []string{"devs", "system:authenticated"}}
	controller = authenticationv1.UserInfo{Username: "system:serviceaccount:kube-system:replicaset-controller", UID: "1",
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:kube-system"}}
)

// addDerived makes the request by which a Pod comes of the first Deployment's
// ReplicaSet.
func (w *World) addDerived() error {
	o := objectAt(0)
	deployment, err := w.live(o)
	if err != nil {
		return err
	}
	template := deployment["spec"].(tree)["template"].(tree)
	kept, err := json.Marshal(tree{"template": template})
	if err != nil {
		return err
	}
	set := gitindex.Ref{Group: "apps", Kind: "ReplicaSet", Namespace: o.ref.Namespace, Name: o.ref.Name + "-5d4f"}
	w.View.Live = alive{
		"d-uid": {UID: "d-uid", APIVersion: "apps/v1", Ref: o.ref, Template: kept},
		"r-uid": {UID: "r-uid", APIVersion: "apps/v1", Ref: set, Template: kept,
			Owner: gate.Owner{APIVersion: "apps/v1", Kind: "Deployment", Name: o.ref.Name, UID: "d-uid"}},
	}
	name := set.Name + "-x7k2p"
	pod, err := json.Marshal(tree{"apiVersion": "v1", "kind": "Pod", "metadata": tree{"name": name, "namespace": o.ref.Namespace,
		"labels": template["metadata"].(tree)["labels"]}, "spec": template["spec"]})
	if err != nil {
		return err
	}
	child := object{gitindex.Ref{Kind: "Pod", Namespace: o.ref.Namespace, Name: name}, "v1", "pods", string(pod)}
	now, err := w.live(child)
	if err != nil {
		return err
	}
	meta := now["metadata"].(tree)
	meta["generateName"] = set.Name + "-"
	meta["ownerReferences"] = []any{tree{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set.Name, "uid": "r-uid", "controller": true, "blockOwnerDeletion": true}}
	r, err := newReview(controller, child, now, nil)
	if err != nil {
		return err
	}
	r.Name, r.Allowed = "Pod-derived", true
	w.Reviews = append(w.Reviews, *r)
	return nil
}

// object is a manifest before it is rendered.
type object struct {
	ref        gitindex.Ref
	apiVersion string
	resource   string
	raw        string
}

func objectAt(i int) object {
	name, ns := fmt.Sprintf("web-%d", i), fmt.Sprintf("team-%d", i%40)
	switch i % 10 {
	case 7:
		return object{gitindex.Ref{Kind: "Service", Namespace: ns, Name: name}, "v1", "services", fmt.Sprintf(serviceJSON, name, ns)}
	case 8:
		return object{gitindex.Ref{Kind: "Secret", Namespace: ns, Name: name}, "v1", "secrets", fmt.Sprintf(secretJSON, name, ns)}
	case 9:
		return object{gitindex.Ref{Group: "acme.dev", Kind: "Backend", Namespace: ns, Name: name}, "acme.dev/v1", "backends", fmt.Sprintf(backendJSON, name, ns)}
	}
	return object{gitindex.Ref{Group: "apps", Kind: "Deployment", Namespace: ns, Name: name}, "apps/v1", "deployments", fmt.Sprintf(deploymentJSON, name, ns)}
}

// declare puts an object into the index, in the form the tracker gives it:
// only the built-in kinds have their canonical form at hand.
func (w *World) declare(o object) error {
	m := &gitindex.Manifest{Ref: o.ref, APIVersion: o.apiVersion, Origin: "platform", Path: "apps/" + o.ref.Namespace + "/" + o.ref.Name + ".yaml",
		Blob: "8c9f1e0d2b3a4c5d6e7f8091a2b3c4d5e6f70819", Line: 1, End: 31, Declared: o.ref.Namespace, Raw: []byte(o.raw), Commit: w.commit}
	if o.ref.Group != "acme.dev" {
		var err error
		if m.Canonical, err = w.schemas.Canonical(m.Raw, "v1"); err != nil {
			return err
		}
	}
	w.objects[o.ref] = &gitindex.Entry{Current: []*gitindex.Manifest{m}}
	return nil
}

// tree is a JSON object.
type tree = map[string]any

// live is what the API server holds of an object after it was applied.
func (w *World) live(o object) (tree, error) {
	data, err := w.schemas.Canonical([]byte(o.raw), "v1")
	if err != nil {
		return nil, err
	}
	var obj, server tree
	if err := json.Unmarshal(data, &obj); err != nil {
		return nil, err
	}
	if meta := serverMetadataJSON[o.ref.Kind]; meta != "" {
		if err := json.Unmarshal([]byte(meta), &server); err != nil {
			return nil, err
		}
	}
	maps.Copy(obj["metadata"].(tree), server)
	if o.ref.Kind == "Deployment" {
		obj["status"] = tree{}
	}
	return obj, nil
}

// addReviews makes the requests that the benchmarks put.
func (w *World) addReviews() error {
	deployment, secret, backend := objectAt(0), objectAt(8), objectAt(9)
	same := func(tree) {}
	refused := func(o tree) { // the image and a new privilege, by hand
		c := o["spec"].(tree)["template"].(tree)["spec"].(tree)["containers"].([]any)[0].(tree)
		c["image"] = "nginx:latest"
		c["securityContext"] = tree{"privileged": true}
	}
	older := func(o tree) { // what Git had before
		o["spec"].(tree)["replicas"] = 1
		o["spec"].(tree)["template"].(tree)["spec"].(tree)["containers"].([]any)[0].(tree)["image"] = "nginx:1.26"
	}
	stamped := func(o tree) {
		m := o["metadata"].(tree)
		m["annotations"] = tree{
			gate.StampOrigin: "platform", gate.StampCommit: w.commit.ID, gate.StampAuthor: w.commit.Author.String(),
			gate.StampPath: "apps/team-0/web-0.yaml", gate.StampSigner: w.commit.Verdict.Signer.String(),
		}
	}
	for _, r := range []struct {
		name    string
		object  object
		old     bool
		both    func(tree) // what both states have in addition
		before  func(tree) // how the old state differs from Git
		change  func(tree) // how the new state does
		allowed bool
	}{
		{"Deployment-create", deployment, false, same, same, same, true},
		{"Deployment-noop", deployment, true, same, same, same, true},
		{"Deployment-stamped", deployment, true, stamped, same, same, true},
		{"Deployment-rollout", deployment, true, same, older, same, true},
		{"Deployment-refused", deployment, true, same, same, refused, false},
		{"Secret-create", secret, false, same, same, same, true},
		{"Secret-noop", secret, true, same, same, same, true},
		{"Backend-noop", backend, true, same, same, same, true},
	} {
		now, err := w.live(r.object)
		if err != nil {
			return err
		}
		var before tree
		r.both(now)
		r.change(now)
		if r.old {
			if before, err = w.live(r.object); err != nil {
				return err
			}
			r.both(before)
			r.before(before)
		}
		review, err := newReview(alice, r.object, now, before)
		if err != nil {
			return err
		}
		review.Name, review.Allowed = r.name, r.allowed
		w.Reviews = append(w.Reviews, *review)
	}
	return nil
}

// newReview writes a review with its fields in the API server's order.
func newReview(by authenticationv1.UserInfo, o object, now, before tree) (*Review, error) {
	kind := metav1.GroupVersionKind{Group: o.ref.Group, Version: "v1", Kind: o.ref.Kind}
	resource := metav1.GroupVersionResource{Group: o.ref.Group, Version: "v1", Resource: o.resource}
	q := &admissionv1.AdmissionRequest{
		UID: "8d990b86-01dc-4a69-ad62-e3243974cdf4", Kind: kind, Resource: resource, RequestKind: &kind, RequestResource: &resource,
		Name: o.ref.Name, Namespace: o.ref.Namespace, Operation: admissionv1.Create,
		UserInfo: by, DryRun: new(bool),
		Options: runtime.RawExtension{Raw: []byte(
			`{"kind":"PatchOptions","apiVersion":"meta.k8s.io/v1","force":true,"fieldManager":"kubectl","fieldValidation":"Strict"}`)},
	}
	var err error
	if q.Object.Raw, err = json.Marshal(now); err != nil {
		return nil, err
	}
	if before != nil {
		q.Operation = admissionv1.Update
		if q.OldObject.Raw, err = json.Marshal(before); err != nil {
			return nil, err
		}
	}
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{Kind: "AdmissionReview", APIVersion: "admission.k8s.io/v1"}, Request: q})
	if err != nil {
		return nil, err
	}
	return &Review{Body: body, Request: &gate.Request{UID: string(q.UID), Operation: gate.Operation(q.Operation),
		Group: kind.Group, Version: kind.Version, Kind: kind.Kind, Resource: o.resource, Namespace: q.Namespace, Name: q.Name,
		User:         gate.User{Name: q.UserInfo.Username, UID: q.UserInfo.UID, Groups: q.UserInfo.Groups},
		FieldManager: "kubectl", Object: q.Object.Raw, OldObject: q.OldObject.Raw}}, nil
}
