package gatekeeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	mutation "github.com/open-policy-agent/gatekeeper/v3/pkg/mutation/types"
	"github.com/open-policy-agent/gatekeeper/v3/pkg/target"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// stock is what else is in the cluster while a case is tried.
type stock struct {
	inventory  map[string]any
	namespaces map[string]*corev1.Namespace
}

func newStock() *stock {
	return &stock{inventory: map[string]any{}, namespaces: map[string]*corev1.Namespace{}}
}

// add takes the objects of a file. Where each lies in the inventory is said by
// Gatekeeper's target: cluster/<apiVersion>/<kind>/<name>, or
// namespace/<namespace>/<apiVersion>/<kind>/<name>.
func (s *stock) add(fsys fs.FS, name string) error {
	objects, err := readObjects(fsys, name)
	if err != nil {
		return err
	}
	for _, object := range objects {
		_, path, _, err := (&target.K8sValidationTarget{}).ProcessData(object)
		if err == nil {
			err = s.addNamespace(object, path)
		}
		if err != nil {
			return fmt.Errorf("reading %v: %w", name, err)
		}
		put(s.inventory, path, object.Object)
	}
	return nil
}

// addNamespace keeps a Namespace, whose labels decide for namespaceSelectors.
func (s *stock) addNamespace(object *unstructured.Unstructured, path []string) error {
	gvk := object.GroupVersionKind()
	if gvk.Group != "" || gvk.Kind != "Namespace" {
		return nil
	}
	namespace := &corev1.Namespace{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, namespace); err != nil {
		return err
	}
	if path[0] == "cluster" && gvk.Version == "v1" {
		s.namespaces[object.GetName()] = namespace
	}
	return nil
}

func put(tree map[string]any, path []string, value any) {
	for _, key := range path[:len(path)-1] {
		next, ok := tree[key].(map[string]any)
		if !ok {
			next = map[string]any{}
			tree[key] = next
		}
		tree = next
	}
	tree[path[len(path)-1]] = value
}

// original and generated are objects as Gatekeeper's target takes them.
func original(object *unstructured.Unstructured) any {
	return target.AugmentedUnstructured{Object: *object, Source: mutation.SourceTypeOriginal}
}

func generated(object *unstructured.Unstructured) any {
	return target.AugmentedUnstructured{Object: *object, Source: mutation.SourceTypeGenerated}
}

func isAdmissionReview(object *unstructured.Unstructured) bool {
	return object.GetKind() == "AdmissionReview" && object.GroupVersionKind().Group == admissionv1.GroupName
}

// admission is the request of an AdmissionReview as the target takes it.
func admission(object *unstructured.Unstructured) (any, error) {
	review := &admissionv1.AdmissionReview{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, review, true); err != nil {
		return nil, fmt.Errorf("AdmissionReview: %w", err)
	}
	request := review.Request
	if request == nil {
		return nil, errors.New("AdmissionReview: it has no request")
	}
	if request.Object.Raw == nil && request.OldObject.Raw == nil {
		return nil, errors.New("AdmissionReview: its request has neither object nor oldObject")
	}
	return target.AugmentedReview{AdmissionRequest: request, Source: mutation.SourceTypeOriginal}, nil
}

// reviewOf has Gatekeeper's target make a request of what is asked about, and
// says what a match sees of it, and what Rego does: the request, where a
// deletion's old object is the object too, with a namespaceObject, which is
// empty for `gator`.
func reviewOf(asked any, rest *stock) (*Review, json.RawMessage, error) {
	_, handled, err := (&target.K8sValidationTarget{}).HandleReview(asked)
	if err != nil {
		return nil, nil, err
	}
	request := handled.(interface {
		GetAdmissionRequest() *admissionv1.AdmissionRequest
	}).GetAdmissionRequest()
	review := &Review{Operation: request.Operation, Namespace: rest.namespaces[request.Namespace]}
	if augmented, ok := asked.(target.AugmentedUnstructured); ok {
		review.Generated = augmented.Source == mutation.SourceTypeGenerated
	}
	if review.Object, err = metadataOf(request.Object); err != nil {
		return nil, nil, fmt.Errorf("object: %w", err)
	}
	if review.OldObject, err = metadataOf(request.OldObject); err != nil {
		return nil, nil, fmt.Errorf("oldObject: %w", err)
	}
	input, err := json.Marshal(struct {
		*admissionv1.AdmissionRequest
		NamespaceObject struct{} `json:"namespaceObject"`
	}{AdmissionRequest: request})
	return review, input, err
}

// metadataOf is what a match sees of a raw object; nil of none.
func metadataOf(raw runtime.RawExtension) (*metav1.PartialObjectMetadata, error) {
	if raw.Raw == nil {
		return nil, nil
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(raw.Raw); err != nil {
		return nil, err
	}
	return Metadata(object), nil
}
