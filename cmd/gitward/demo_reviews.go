package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/gitward/gitward/gitindex/canonical"
)

// reviewDoor sends the AdmissionReviews that an API server would, and keeps
// what was admitted as its etcd would.
type reviewDoor struct {
	url     string
	client  *http.Client
	schemas *canonical.Schemas
	live    map[string]map[string]any // by kind and name
}

func newReviewDoor(g *guard) (*reviewDoor, error) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(g.ca)
	schemas, errs := canonical.New()
	return &reviewDoor{url: g.url, schemas: schemas, live: map[string]map[string]any{},
		client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}},
	}, errors.Join(errs...)
}

var resources = map[string]string{"Namespace": "namespaces", "Deployment": "deployments", "ConfigMap": "configmaps", "Scale": "deployments"}

func key(object map[string]any) string {
	u := unstructured.Unstructured{Object: object}
	return u.GetKind() + " " + u.GetName()
}

func (r *reviewDoor) web() map[string]any { return r.live["Deployment web"] }

func (r *reviewDoor) apply(ctx context.Context, manifest string, dryRun bool) answer {
	next, err := r.stored(manifest)
	if err != nil {
		return answer{err: err}
	}
	done := map[bool]string{false: "serverside-applied", true: "serverside-applied (server dry run)"}[dryRun]
	return r.write(ctx, flux, next, done, dryRun)
}

// stored is what an API server makes of a manifest: defaults, and the metadata
// that it keeps itself.
func (r *reviewDoor) stored(manifest string) (map[string]any, error) {
	obj, err := decodeManifest(manifest)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(obj)
	if err != nil {
		return nil, err
	}
	u := unstructured.Unstructured{Object: obj}
	full, err := r.schemas.Canonical(raw, u.GroupVersionKind().Version)
	if err != nil {
		return nil, fmt.Errorf("defaulting a manifest: %w", err)
	}
	next := &unstructured.Unstructured{}
	if err := next.UnmarshalJSON(full); err != nil {
		return nil, err
	}
	next.SetUID(uuid.NewUUID())
	next.SetCreationTimestamp(metav1.Now())
	if old := r.live[key(next.Object)]; old != nil {
		before := unstructured.Unstructured{Object: old}
		next.SetUID(before.GetUID())
		next.SetCreationTimestamp(before.GetCreationTimestamp())
		annotations := before.GetAnnotations()
		maps.Copy(annotations, next.GetAnnotations())
		next.SetAnnotations(annotations)
	}
	return next.Object, nil
}

// write puts a create or an update through both webhooks.
func (r *reviewDoor) write(ctx context.Context, by string, next map[string]any, done string, dryRun bool) answer {
	old := r.live[key(next)]
	op := admissionv1.Update
	if old == nil {
		op = admissionv1.Create
	}
	q := review{by: by, op: op, of: next, old: old, new: next, dryRun: dryRun}
	resp, err := r.send(ctx, "/mutate", q)
	if err != nil {
		return answer{err: err}
	}
	if q.new, err = patched(next, resp.Patch); err != nil {
		return answer{err: err}
	}
	a := r.judge(ctx, q, kubectlName(next)+" "+done)
	if a.err == nil && a.message == "" && !dryRun {
		r.live[key(next)] = q.new
	}
	return a
}

func patched(object map[string]any, patch []byte) (map[string]any, error) {
	if len(patch) == 0 {
		return object, nil
	}
	ops, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		return nil, fmt.Errorf("reading the annotator's patch: %w", err)
	}
	raw, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	if raw, err = ops.Apply(raw); err != nil {
		return nil, fmt.Errorf("applying the annotator's patch: %w", err)
	}
	out := map[string]any{}
	return out, json.Unmarshal(raw, &out)
}

func (r *reviewDoor) edit(ctx context.Context, by, image string) answer {
	old, err := json.Marshal(r.web())
	if err != nil {
		return answer{err: err}
	}
	raw, err := strategicpatch.StrategicMergePatch(old, imagePatch(image), appsv1.Deployment{})
	if err != nil {
		return answer{err: fmt.Errorf("patching: %w", err)}
	}
	next := map[string]any{}
	if err := json.Unmarshal(raw, &next); err != nil {
		return answer{err: err}
	}
	return r.write(ctx, by, next, "edited", false)
}

func (r *reviewDoor) scale(ctx context.Context, by string, replicas int) answer {
	web := unstructured.Unstructured{Object: r.web()}
	scale := func(n any) map[string]any {
		return map[string]any{"apiVersion": "autoscaling/v1", "kind": "Scale",
			"metadata": map[string]any{"name": web.GetName(), "namespace": web.GetNamespace(), "uid": string(web.GetUID())},
			"spec":     map[string]any{"replicas": n}}
	}
	before, _, _ := unstructured.NestedFieldNoCopy(r.web(), "spec", "replicas")
	next := scale(replicas)
	return r.judge(ctx, review{by: by, op: admissionv1.Update, of: next, old: scale(before), new: next, subresource: "scale"}, "deployment.apps/web scaled")
}

func (r *reviewDoor) remove(ctx context.Context, by string) answer {
	return r.judge(ctx, review{by: by, op: admissionv1.Delete, of: r.web(), old: r.web()}, `deployment.apps "web" deleted`)
}

func (r *reviewDoor) image(context.Context) (string, error) { return imageOf(r.web()), nil }

// review is what one AdmissionReview says.
type review struct {
	by          string
	op          admissionv1.Operation
	of          map[string]any // names the object
	old, new    map[string]any
	subresource string
	dryRun      bool
}

// judge asks the judge and words its answer as HTTP has it.
func (r *reviewDoor) judge(ctx context.Context, q review, done string) answer {
	resp, err := r.send(ctx, "/validate", q)
	for tries := 1; err == nil && !resp.Allowed && transient(resp) && tries < 10; tries++ {
		time.Sleep(time.Second) // as client-go does
		resp, err = r.send(ctx, "/validate", q)
	}
	if err != nil {
		return answer{err: err}
	}
	if resp.Allowed {
		return admitted(done, q.new)
	}
	if resp.Result == nil {
		return answer{err: errors.New("the webhook refused without a word")}
	}
	return answer{text: fmt.Sprintf("allowed: false, %d %s: %s", resp.Result.Code, resp.Result.Reason, resp.Result.Message), message: resp.Result.Message}
}

// transient: the client is told to try again.
func transient(resp *admissionv1.AdmissionResponse) bool {
	return resp.Result != nil && resp.Result.Code == http.StatusTooManyRequests
}

func (r *reviewDoor) send(ctx context.Context, path string, q review) (*admissionv1.AdmissionResponse, error) {
	body, err := q.encode()
	if err != nil {
		return nil, fmt.Errorf("writing a review: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+path+"?timeout=10s", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var out admissionv1.AdmissionReview
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return nil, fmt.Errorf("reading the answer to a review (%s): %w", resp.Status, err)
	}
	if out.Response == nil {
		return nil, fmt.Errorf("%s answered without a response", path)
	}
	return out.Response, nil
}

func (q review) encode() ([]byte, error) {
	u := unstructured.Unstructured{Object: q.of}
	gvk := u.GroupVersionKind()
	group, version := gvk.Group, gvk.Version
	if q.subresource == "scale" {
		group, version = "apps", "v1"
	}
	req := &admissionv1.AdmissionRequest{
		UID: uuid.NewUUID(), Operation: q.op, SubResource: q.subresource, DryRun: &q.dryRun,
		Kind:     metav1.GroupVersionKind{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind},
		Resource: metav1.GroupVersionResource{Group: group, Version: version, Resource: resources[gvk.Kind]},
		Name:     u.GetName(), Namespace: u.GetNamespace(),
		UserInfo: authenticationv1.UserInfo{Username: userName(q.by), UID: userName(q.by)},
	}
	if gvk.Kind == "Namespace" {
		req.Namespace = req.Name
	}
	for _, side := range []struct {
		from map[string]any
		to   *runtime.RawExtension
	}{{q.old, &req.OldObject}, {q.new, &req.Object}} {
		if side.from == nil {
			continue
		}
		raw, err := json.Marshal(side.from)
		if err != nil {
			return nil, err
		}
		side.to.Raw = raw
	}
	return json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: req})
}
