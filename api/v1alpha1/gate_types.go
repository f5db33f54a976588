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
	// Exclude takes requests out of the Gate. Each entry needs a reason; all that
	// an entry names must fit.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=128
	// +optional
	Exclude []Exclusion `json:"exclude,omitempty"`
	// AllowFields lets fields of declared objects be live: somebody else than
	// Git says what they are.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=128
	// +optional
	AllowFields []FieldRule `json:"allowFields,omitempty"`
	// Holes lets a job fill in single values that Git has as text: the tag of the
	// image that it built. Left out: no value of Git's may be another.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=128
	// +optional
	Holes []HoleRule `json:"holes,omitempty"`
	// Derive says which controllers may make which objects from which declared
	// ones, beside those of Kubernetes itself.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=128
	// +optional
	Derive []DeriveRule `json:"derive,omitempty"`
	// AllowVerbs lets named people or accounts do what no file in Git can say:
	// exec, port-forward, a token, a resize.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=128
	// +optional
	AllowVerbs []VerbRule `json:"allowVerbs,omitempty"`
	// Policies are directories of policies in Git, asked about what the Gate would
	// admit. They can refuse more, and never less.
	// +listType=map
	// +listMapKey=origin
	// +listMapKey=path
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Policies []PolicyRef `json:"policies,omitempty"`
	// BreakGlass says who may change objects beside Git in an emergency. Left
	// out: nobody.
	// +optional
	BreakGlass *BreakGlass `json:"breakGlass,omitempty"`
}

// Exclusion takes requests out of a Gate. What is left out of it fits
// everything, but an entry must name something.
//
// +kubebuilder:validation:XValidation:rule="has(self.namespaces) || has(self.resources) || has(self.users)",message="an exclusion must name namespaces, resources or users"
// +kubebuilder:validation:XValidation:rule="has(self.expires) || has(self.namespaces) && !self.namespaces.exists(n, n == '*')",message="an exclusion that names no namespaces, or all, must expire"
type Exclusion struct {
	// Namespaces by name; "*" matches any run of characters. An entry with
	// namespaces fits no cluster-scoped object but the Namespaces it names.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`
	// Resources as kubectl names them, with their group: "secrets",
	// "deployments.apps". Each covers the resource itself with its status, scale
	// and finalize. Not covered are exec, attach, portforward, proxy, token,
	// ephemeralcontainers, resize, binding and approval, which need allowVerbs, nor
	// eviction, which is judged as the Pod's deletion.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9-]+(\.[a-z0-9.-]+)?$`
	// +optional
	Resources []string `json:"resources,omitempty"`
	// Users by exact name.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +optional
	Users []string `json:"users,omitempty"`
	// Reason is for people and for the record.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=300
	Reason string `json:"reason"`
	// Expires ends the exclusion.
	// +optional
	Expires *metav1.Time `json:"expires,omitempty"`
}

// FieldRule lets fields of declared objects be live.
type FieldRule struct {
	// Resources as kubectl names them, with their group: "deployments.apps".
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9-]+(\.[a-z0-9.-]+)?$`
	Resources []string `json:"resources"`
	// Paths from the object's root, as refusals show them: "spec.replicas",
	// "metadata.annotations[example.org/seen]",
	// "spec.template.spec.containers[web].image" for one item alone; or with []
	// in place of every item's key, which is any: "containers[].image". A path
	// stands for all below it.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:Pattern=`^[a-z][A-Za-z0-9]*([.].+|\[.*\].*)$`
	Paths []string `json:"paths"`
	// Users, by exact name, who may write them.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Users []string `json:"users"`
	// Namespaces by name; left out: all.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`
	// Reason is for people and for the record.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=300
	Reason string `json:"reason"`
	// Expires ends the rule.
	// +optional
	Expires *metav1.Time `json:"expires,omitempty"`
}

// HoleRule lets one value of declared objects be what a job sets: text, where Git
// has text, that matches a pattern as a whole.
//
// +kubebuilder:validation:XValidation:rule="has(self.users) || has(self.groups)",message="a hole must name users or groups"
// +kubebuilder:validation:XValidation:rule="has(self.claim) == self.pattern.contains('${claim}')",message="a claim stands in the pattern as ${claim}, and only then"
type HoleRule struct {
	// Resources as kubectl names them, with their group: "deployments.apps".
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9-]+(\.[a-z0-9.-]+)?$`
	Resources []string `json:"resources"`
	// Paths from the object's root, as in allowFields, of one value each:
	// "spec.template.spec.containers[web].image". Nothing below a path is open.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:Pattern=`^[a-z][A-Za-z0-9]*([.].+|\[.*\].*)$`
	Paths []string `json:"paths"`
	// Pattern is a regular expression (RE2) that the whole value must match, for
	// the value of a Secret what it holds. ${claim} stands for what the claim is.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1000
	Pattern string `json:"pattern"`
	// Claim is the key of the requester's userInfo.extra whose one value is
	// ${claim} in the pattern: what the job's token says of its commit.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=300
	// +optional
	Claim string `json:"claim,omitempty"`
	// Users, by exact name, who may fill it in.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Users []string `json:"users,omitempty"`
	// Groups, by exact name, whose members may: users of jobs often have names of
	// their own each.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Groups []string `json:"groups,omitempty"`
	// Namespaces by name; left out: all.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`
	// Reason is for people and for the record.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=300
	Reason string `json:"reason"`
	// Expires ends the hole.
	// +optional
	Expires *metav1.Time `json:"expires,omitempty"`
}

// DeriveRule says what an operator may make of a declared object: objects with
// a controller ownerReference to it.
type DeriveRule struct {
	// Owner is the kind that things are made of.
	Owner OwnerKind `json:"owner"`
	// Makes are the resources that are made, with their group.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9-]+(\.[a-z0-9.-]+)?$`
	Makes []string `json:"makes"`
	// Users, by exact name, who make them.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Users []string `json:"users"`
	// Reason is for people and for the record.
	// +kubebuilder:validation:MaxLength=300
	// +optional
	Reason string `json:"reason,omitempty"`
	// Expires ends the rule.
	// +optional
	Expires *metav1.Time `json:"expires,omitempty"`
}

// OwnerKind names a kind, and its resource for those who watch it.
type OwnerKind struct {
	// +optional
	Group string `json:"group,omitempty"`
	// +kubebuilder:validation:MinLength=1
	Kind string `json:"kind"`
}

// VerbRule lets people or accounts use subresources that Git cannot declare.
//
// +kubebuilder:validation:XValidation:rule="has(self.users) || has(self.groups)",message="a verb rule must name users or groups"
type VerbRule struct {
	// Resources with their subresource: "pods/exec", "serviceaccounts/token",
	// "pods/ephemeralcontainers".
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9-]+(\.[a-z0-9.-]+)?/[a-z]+$`
	Resources []string `json:"resources"`
	// Users by exact name.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Users []string `json:"users,omitempty"`
	// Groups by exact name.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Groups []string `json:"groups,omitempty"`
	// Namespaces by name; left out: all.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`
	// Reason is for people and for the record.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=300
	Reason string `json:"reason"`
	// Expires ends the rule.
	// +optional
	Expires *metav1.Time `json:"expires,omitempty"`
}

// BreakGlass says who may change objects beside Git in an emergency: by
// annotating the object with gitward.dev/break-glass and a reason.
type BreakGlass struct {
	// Groups whose members may, by exact name.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Groups []string `json:"groups"`
	// MaxDuration is how long one use lets its object be changed. Default 4h, at
	// most 24h.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s') && duration(self) <= duration('24h')",message="maxDuration must be over 0s and at most 24h"
	// +kubebuilder:default="4h"
	// +optional
	MaxDuration *metav1.Duration `json:"maxDuration,omitempty"`
	// ReasonPattern is a regular expression (RE2) that the whole reason must
	// match. Default: at least eight characters.
	// +kubebuilder:default=".{8,}"
	// +optional
	ReasonPattern string `json:"reasonPattern,omitempty"`
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

// PolicyRef is a directory of policies in an Origin's trusted tree: Rego with
// rules named deny, violation or warn, or Gatekeeper's ConstraintTemplates and
// constraints.
type PolicyRef struct {
	// Origin that holds them. It need not be one that objects may come from.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Origin string `json:"origin"`
	// Path of the directory; "." is the whole tree.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self == '.' || !self.startsWith('/') && !self.endsWith('/') && self.split('/').all(p, p != '' && p != '.' && p != '..')",message="path must be a plain path below the repository's root"
	// +kubebuilder:default="."
	// +optional
	Path string `json:"path,omitempty"`
	// NewDenials is how many in a hundred of the last requests that the policies in
	// force let pass may be denied by a new state of them; one that denies more is
	// not put into force. Default 20; 100 bears with everything.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	// +kubebuilder:default=20
	// +optional
	NewDenials *int32 `json:"newDenials,omitempty"`
	// Action is the strictest that may follow from a finding here: Audit and Warn
	// let one try policies out. Default Deny, which leaves it to each policy.
	// +kubebuilder:default=Deny
	// +optional
	Action Action `json:"action,omitempty"`
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
	// Policies says of each directory what is in force.
	// +listType=atomic
	// +optional
	Policies []PolicyStatus `json:"policies,omitempty"`
	// BreakGlass are the uses that Git has yet to catch up with.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=500
	// +optional
	BreakGlass []BreakGlassUse `json:"breakGlass,omitempty"`
	// Learned groups what would be refused, by who and why, while the Gate only
	// audits or warns.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=200
	// +optional
	Learned []Learned `json:"learned,omitempty"`
}

// PolicyStatus is the state of one directory of policies.
type PolicyStatus struct {
	Origin string `json:"origin"`
	Path   string `json:"path"`
	// Revision is the commit whose policies are in force; empty while none are, and
	// then what the Gate governs is refused.
	// +optional
	Revision string `json:"revision,omitempty"`
	// Policies counts those in force.
	// +optional
	Policies int32 `json:"policies,omitempty"`
	// Refused is a newer commit whose policies are not put into force.
	// +optional
	Refused string `json:"refused,omitempty"`
	// Problems say why.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	// +optional
	Problems []string `json:"problems,omitempty"`
	// Quarantined are policies that took too much time or memory. What they govern
	// is refused.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	// +optional
	Quarantined []string `json:"quarantined,omitempty"`
}

// BreakGlassUse is one object that was changed beside Git. Uses of the same
// object are one, the latest.
type BreakGlassUse struct {
	// +optional
	Group string `json:"group,omitempty"`
	Kind  string `json:"kind"`
	// +optional
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// Resource is the plural, for those who look the object up.
	Resource  string `json:"resource"`
	Version   string `json:"version"`
	Operation string `json:"operation"`
	User      string `json:"user"`
	Reason    string `json:"reason"`
	Decision  string `json:"decision"`
	// Since is the first use, At the latest, Until its end.
	Since metav1.Time      `json:"since"`
	At    metav1.MicroTime `json:"at"`
	Until metav1.Time      `json:"until"`
	Count int32            `json:"count"`
}

// Learned is a kind of request that would have been refused.
type Learned struct {
	User      string `json:"user"`
	Reason    string `json:"reason"`
	Operation string `json:"operation"`
	// Resource with its group and subresource: "deployments.apps/scale".
	Resource string `json:"resource"`
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// Owner is the kind of the object's controller, with its group, if it has one.
	// +optional
	Owner string `json:"owner,omitempty"`
	// Paths that had no reason, as patterns.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	// +optional
	Paths []string `json:"paths,omitempty"`
	// Example is one object's name, Message its would-be refusal's first line.
	// +optional
	Example string `json:"example,omitempty"`
	// +optional
	Message string      `json:"message,omitempty"`
	Count   int64       `json:"count"`
	Last    metav1.Time `json:"last"`
}
