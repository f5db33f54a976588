// Package v1alpha1 holds the custom resources that operators write: an Origin
// says where objects may come from and whose signature counts there, a Gate
// says what must come from which Origins and what happens otherwise.
//
// +kubebuilder:object:generate=true
// +groupName=gitward.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is gitward.dev/v1alpha1.
var GroupVersion = schema.GroupVersion{Group: "gitward.dev", Version: "v1alpha1"}

// AddToScheme registers Origin and Gate.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &Origin{}, &OriginList{}, &Gate{}, &GateList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
