package gatekeeper

import (
	"fmt"

	"github.com/open-policy-agent/gatekeeper/v3/pkg/mutation/match"
	mutation "github.com/open-policy-agent/gatekeeper/v3/pkg/mutation/types"
	"github.com/open-policy-agent/gatekeeper/v3/pkg/target"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Review is all of a request that a Constraint's match can depend on.
type Review struct {
	Operation admissionv1.Operation // empty for an object that is there already
	// Object and OldObject are the object as it will be and as it is, nil where
	// there is none. Their apiVersion and kind are what spec.match.kinds is held
	// against: those of the object, not of the request.
	Object, OldObject *metav1.PartialObjectMetadata
	// Namespace is the one that the object is in, nil for an object of the
	// cluster and for a Namespace itself. Only its metadata is read.
	Namespace *corev1.Namespace
	// Generated says that the object is one that another would bring about: the
	// Pod of a Deployment, by an ExpansionTemplate.
	Generated bool
}

// Metadata is what a Review holds of an object.
func Metadata(object *unstructured.Unstructured) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: object.GetAPIVersion(), Kind: object.GetKind()},
		ObjectMeta: metav1.ObjectMeta{
			Name: object.GetName(), GenerateName: object.GetGenerateName(), Namespace: object.GetNamespace(),
			Labels: object.GetLabels(), Annotations: object.GetAnnotations(),
		},
	}
}

// Matches says whether a Constraint concerns a request. An error means that this
// cannot be said, as for a namespaceSelector when the namespace is unknown:
// Gatekeeper takes that for a violation.
//
// It is Gatekeeper's match.Matches that answers. Its pkg/target would ask the
// same after it had decoded both objects from JSON, once for each Constraint:
// five times the time of the answer. What this function does instead of that one
// is held against it by TestMatchesAsTarget.
func (c *Constraint) Matches(r *Review) (bool, error) {
	objects, err := r.objects()
	if err != nil || c.match == nil {
		return err == nil, err
	}
	for _, object := range objects {
		candidate := &match.Matchable{Object: object, Namespace: r.Namespace, Source: r.source()}
		matched, err := match.Matches(c.match, candidate)
		if err != nil {
			return false, fmt.Errorf("%w: %v :%w", target.ErrMatching, object.GetName(), err)
		}
		if matched {
			return true, nil
		}
	}
	if len(objects) == 0 {
		return false, fmt.Errorf("%w: neither object nor old object are defined", target.ErrRequestObject)
	}
	return false, nil
}

// objects are those of which one must match. A deletion is about the old object.
func (r *Review) objects() ([]*metav1.PartialObjectMetadata, error) {
	if r.Operation == admissionv1.Delete {
		if r.OldObject == nil {
			return nil, target.ErrOldObjectIsNil
		}
		return []*metav1.PartialObjectMetadata{r.OldObject}, nil
	}
	objects := make([]*metav1.PartialObjectMetadata, 0, 2)
	for _, object := range []*metav1.PartialObjectMetadata{r.Object, r.OldObject} {
		if object != nil {
			objects = append(objects, object)
		}
	}
	return objects, nil
}

func (r *Review) source() mutation.SourceType {
	if r.Generated {
		return mutation.SourceTypeGenerated
	}
	return mutation.SourceTypeOriginal
}
