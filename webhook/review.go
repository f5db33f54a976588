package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitward/gitward/gate"
)

// review is admission.k8s.io/v1's AdmissionReview as far as Gitward reads it.
// The two objects stay raw, so that they are decoded once, by the gate.
type review struct {
	metav1.TypeMeta `json:",inline"`
	Request         *reviewRequest `json:"request"`
}

type reviewRequest struct {
	UID         types.UID                   `json:"uid"`
	Kind        metav1.GroupVersionKind     `json:"kind"`
	Resource    metav1.GroupVersionResource `json:"resource"`
	SubResource string                      `json:"subResource"`
	Name        string                      `json:"name"`
	Namespace   string                      `json:"namespace"`
	Operation   gate.Operation              `json:"operation"`
	UserInfo    authenticationv1.UserInfo   `json:"userInfo"`
	Object      json.RawMessage             `json:"object"`
	OldObject   json.RawMessage             `json:"oldObject"`
	DryRun      *bool                       `json:"dryRun"`
	Options     struct {
		FieldManager string `json:"fieldManager"`
	} `json:"options"`
}

var errNotAReview = errors.New("not an admission.k8s.io/v1 AdmissionReview")

func decodeReview(body []byte) (*gate.Request, error) {
	var r review
	if err := decodeEnvelope(body, &r); err != nil {
		return nil, fmt.Errorf("decoding the review: %w", err)
	}
	if r.Request == nil || r.Request.UID == "" || r.Kind != "AdmissionReview" || r.APIVersion != "admission.k8s.io/v1" {
		return nil, errNotAReview
	}
	q := r.Request
	return &gate.Request{
		UID:           string(q.UID),
		Operation:     q.Operation,
		Group:         q.Kind.Group,
		Version:       q.Kind.Version,
		Kind:          q.Kind.Kind,
		Resource:      q.Resource.Resource,
		ResourceGroup: q.Resource.Group,
		SubResource:   q.SubResource,
		Namespace:     q.Namespace,
		Name:          q.Name,
		User:          user(q.UserInfo),
		DryRun:        q.DryRun != nil && *q.DryRun,
		FieldManager:  q.Options.FieldManager,
		Object:        q.Object,
		OldObject:     q.OldObject,
	}, nil
}

func user(u authenticationv1.UserInfo) gate.User {
	out := gate.User{Name: u.Username, UID: u.UID, Groups: u.Groups}
	if len(u.Extra) > 0 {
		out.Extra = make(map[string][]string, len(u.Extra))
		for k, v := range u.Extra {
			out.Extra[k] = v
		}
	}
	return out
}

// uidOf finds the request's uid at the head of a body that is not read whole,
// so that even then the API server gets an answer it takes for a denial. An
// answer without the uid would count as a failed call, which a failurePolicy of
// Ignore turns into an admission.
func uidOf(prefix []byte) string {
	d := json.NewDecoder(bytes.NewReader(prefix))
	if !find(d, "request") || !find(d, "uid") {
		return ""
	}
	t, err := d.Token()
	uid, ok := t.(string)
	if err != nil || !ok {
		return ""
	}
	return uid
}

// find enters the object that comes next and stops before the value of key.
func find(d *json.Decoder, key string) bool {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return false
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return false
		}
		if t == key {
			return true
		}
		var other json.RawMessage
		if d.Decode(&other) != nil {
			return false
		}
	}
	return false
}
