package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Gate says what must come from which Origins, and what happens otherwise.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,categories=gitward
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Action",type=string,JSONPath=`.spec.action`
// +kubebuilder:printcolumn:name="Origins",type=string,JSONPath=`.spec.origins[*].name`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
type Gate struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   GateSpec   `json:"spec"`
	Status GateStatus `json:"status,omitempty"`
}

// GateList is a list of Gates.
//
// +kubebuilder:object:root=true
type GateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Gate `json:"items"`
}

// Action is what happens to a request without a reason.
//
// +kubebuilder:validation:Enum=Audit;Warn;Deny
type Action string

const (
	// ActionAudit admits and records.
	ActionAudit Action = "Audit"
	// ActionWarn admits, records, and shows the would-be denial as a warning.
	ActionWarn Action = "Warn"
	// ActionDeny refuses.
	ActionDeny Action = "Deny"
)

// OnStale is what holds once an Origin has been out of reach for too long.
//
// +kubebuilder:validation:Enum=LastKnown;Deny
type OnStale string

const (
	// OnStaleLastKnown goes on deciding from the last accepted revision.
	OnStaleLastKnown OnStale = "LastKnown"
	// OnStaleDeny refuses, as a transient denial.
	OnStaleDeny OnStale = "Deny"
)

// GateSpec reads as a sentence: what is matched must come from these Origins.
//
// +kubebuilder:validation:XValidation:rule="!has(self.action) || self.action != 'Deny' || size(self.origins) > 0",message="action Deny needs at least one origin: without one, nothing could ever be admitted"
type GateSpec struct {
	// Action: Audit (default), Warn or Deny.
	// +kubebuilder:default=Audit
	// +optional
	Action Action `json:"action,omitempty"`
	// Match says which objects the Gate is about; everything if left out.
	// +optional
	Match Match `json:"match,omitempty"`
	// Origins that objects may come from.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Origins []OriginRef `json:"origins,omitempty"`
	// Lag is how long content that a newer trusted commit superseded is still
	// admitted, since appliers run behind. Default 15m, at most 24h.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('24h')",message="lag must be between 0s and 24h"
	// +kubebuilder:default="15m"
	// +optional
	Lag *metav1.Duration `json:"lag,omitempty"`
	// StaleAfter is how long an Origin may be out of reach before OnStale holds.
	// Default 15m.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:default="15m"
	// +optional
	StaleAfter *metav1.Duration `json:"staleAfter,omitempty"`
	// OnStale: LastKnown (default) or Deny.
	// +kubebuilder:default=LastKnown
	// +optional
	OnStale OnStale `json:"onStale,omitempty"`
	// Annotations shapes the stamp.
	// +optional
	Annotations Annotations `json:"annotations,omitempty"`
}

// Match selects by namespace name, never by a label that a person can set.
type Match struct {
	// Namespaces by name; "*" matches any run of characters. Left out: all.
	// +kubebuilder:validation:MaxItems=256
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`
	// ClusterScoped objects are matched too. Default: true if Namespaces is left
	// out. A Namespace object belongs to the namespace it names.
	// +optional
	ClusterScoped *bool `json:"clusterScoped,omitempty"`
}

// OriginRef accepts one Origin, for all or some namespaces.
type OriginRef struct {
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
	// Namespaces that the Origin may fill, by name; "*" matches any run of
	// characters. Left out, or with an entry "*": all, and cluster-scoped
	// objects too. Otherwise cluster-scoped objects, Namespaces among them, are
	// not taken from this Origin.
	// +kubebuilder:validation:MaxItems=256
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`
}

// Annotations shapes what is written onto admitted objects.
type Annotations struct {
	// Author false leaves gitward.dev/author out. Default true.
	// +optional
	Author *bool `json:"author,omitempty"`
}

// GateStatus is what Gitward knows of the Gate.
type GateStatus struct {
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
