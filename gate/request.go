package gate

import (
	"bytes"
	"fmt"
	"reflect"

	"github.com/gitward/gitward/gitindex"
)

// Operation is the admission operation.
type Operation string

// The four operations of admission.k8s.io/v1.
const (
	Create  Operation = "CREATE"
	Update  Operation = "UPDATE"
	Delete  Operation = "DELETE"
	Connect Operation = "CONNECT"
)

// User is who the API server says is asking. It narrows what a request may do
// and never justifies content.
type User struct {
	Name, UID string
	Groups    []string
	Extra     map[string][]string
}

// Request is one admission request, free of HTTP and of the review's envelope.
type Request struct {
	UID                  string
	Operation            Operation
	Group, Version, Kind string // of the object, as sent
	Resource             string // plural, of the URL: "deployments"
	ResourceGroup        string // of the URL; a subresource's Kind is often of another group
	SubResource          string // "status", "scale", or empty
	Namespace, Name      string
	User                 User
	DryRun               bool
	FieldManager         string
	// Object and OldObject are JSON as the API server sent it; nil when absent.
	Object, OldObject []byte
}

// Ref names the object the request is about. For a Namespace the API server
// gives the name as the request's namespace as well; the object itself is
// cluster-scoped.
func (r *Request) Ref() gitindex.Ref {
	ns := r.Namespace
	if r.Group == "" && r.Kind == "Namespace" {
		ns = ""
	}
	return gitindex.Ref{Group: r.Group, Kind: r.Kind, Namespace: ns, Name: r.Name}
}

// resource is the URL's resource with its group: "deployments.apps".
func (r *Request) resource() string {
	if r.ResourceGroup == "" {
		return r.Resource
	}
	return r.Resource + "." + r.ResourceGroup
}

// What names the request's target for people, subresource and all:
// "Deployment shop/web", "pods/exec shop/web-0".
func (r *Request) What() string {
	ref := r.Ref()
	if r.SubResource != "" && r.SubResource != "status" {
		ref.Kind = r.Resource + "/" + r.SubResource
	}
	return gitindex.Clean(ref.String(), 150)
}

// objects are the two states of a request, decoded. They are one map where the
// request changes nothing at all.
type objects struct {
	old, new map[string]any // nil when absent
}

// same reports whether both states came in the same bytes.
func (o objects) same() bool {
	return o.old != nil && reflect.ValueOf(o.old).Pointer() == reflect.ValueOf(o.new).Pointer()
}

// OwnerKind is the kind of the object's controller, with its group; empty when it
// has none.
func (r *Request) OwnerKind() string {
	if !bytes.Contains(r.Object, []byte(`"ownerReferences"`)) {
		return ""
	}
	obj, err := decodeObject(r.Object)
	if err != nil {
		return ""
	}
	owner, _ := controllerOf(obj)
	return gitindex.Clean(gitindex.Ref{Group: groupOf(owner.APIVersion), Kind: owner.Kind}.GroupKind(), 200)
}

func (r *Request) decode() (objects, error) {
	var o objects
	var err error
	if o.new, err = decodeState(r.Object); err != nil {
		return o, fmt.Errorf("decoding object: %w", err)
	}
	if len(r.Object) > 0 && bytes.Equal(r.Object, r.OldObject) {
		o.old = o.new // most requests of most controllers change nothing
		return o, nil
	}
	if o.old, err = decodeState(r.OldObject); err != nil {
		return o, fmt.Errorf("decoding oldObject: %w", err)
	}
	return o, nil
}

// decodeState is decodeObject for an object as the API server holds it.
func decodeState(data []byte) (map[string]any, error) {
	if len(data) == 0 || bytes.Equal(data, []byte("null")) {
		return nil, nil
	}
	return decodeLive(data)
}
