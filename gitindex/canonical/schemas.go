// Package canonical answers: what does the API server make of this manifest?
//
// For the built-in kinds it runs Kubernetes' own types, defaults and
// conversions; for custom ones the pruning and defaulting of the
// apiextensions server with the CRD's schema. No other package imports
// either. What the server does after decoding (allocating an address, filling
// in a service account) is not computed here: those are reasons of their own.
package canonical

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"

	"github.com/gitward/gitward/gitindex"
)

// ErrUnknownKind says that no schema is known for a kind or for this version
// of it. It may become known later, when its CRD does.
var ErrUnknownKind = errors.New("no schema is known for this kind")

// ErrConversion says that the kind exists in both versions, but only the
// CRD's own webhook could convert between them.
var ErrConversion = errors.New("only a conversion webhook could convert it")

// ErrLossy says that the version asked for cannot hold all that the object
// declares.
var ErrLossy = errors.New("fields would be lost")

// Schemas knows the built-in kinds of Kubernetes and the custom ones it was
// given. It is immutable and safe for concurrent use; nil knows the built-in
// kinds.
type Schemas struct {
	custom map[schema.GroupKind]*customKind
}

// New returns the schemas of the built-in kinds and of the given CRDs, each
// the JSON of an apiextensions.k8s.io/v1 CustomResourceDefinition. A CRD that
// cannot be used is an error for its kind only.
func New(crds ...[]byte) (*Schemas, []error) {
	var none *Schemas
	return none.With(crds...)
}

// With returns the schemas with these CRDs added, each in place of any for the
// same kind. The receiver stays as it was.
func (s *Schemas) With(crds ...[]byte) (*Schemas, []error) {
	with := &Schemas{custom: map[schema.GroupKind]*customKind{}}
	if s != nil {
		maps.Copy(with.custom, s.custom)
	}
	var errs []error
	for _, crd := range crds {
		kind, err := parseCRD(crd)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		with.custom[kind.groupKind] = kind
	}
	return with, errs
}

// customFor is nil for kinds that are built in or unknown. A CRD cannot shadow
// a built-in kind.
func (s *Schemas) customFor(gk schema.GroupKind) *customKind {
	if s == nil || builtinKind(gk) {
		return nil
	}
	return s.custom[gk]
}

// Scope says whether objects of a kind live in a namespace.
type Scope int

// The zero Scope is Unknown.
const (
	Unknown Scope = iota
	Namespaced
	Cluster
)

// String is the scope's name, as a CRD writes it.
func (s Scope) String() string {
	switch s {
	case Namespaced:
		return "Namespaced"
	case Cluster:
		return "Cluster"
	}
	return "Unknown"
}

// Scope is the scope of a kind, or Unknown where no schema is known.
func (s *Schemas) Scope(group, kind string) Scope {
	gk := schema.GroupKind{Group: group, Kind: kind}
	if builtinKind(gk) {
		return builtinScope(gk)
	}
	if custom := s.customFor(gk); custom != nil {
		return custom.scope
	}
	return Unknown
}

// Known reports whether Canonical can serve objects of this kind in this
// version.
func (s *Schemas) Known(group, version, kind string) bool {
	gvk := schema.GroupVersionKind{Group: group, Version: version, Kind: kind}
	if builtinKind(gvk.GroupKind()) {
		return builtinVersion(gvk)
	}
	custom := s.customFor(gvk.GroupKind())
	return custom != nil && custom.versions[version] != nil
}

// Canonical returns raw, the JSON of an object as declared, as the API server
// would store it and serve it in version: with all defaults, and without what
// only the server sets (uid, resourceVersion, generation, times, managed
// fields) and without the status of kinds that have a status subresource. The
// result is compact JSON with sorted keys.
//
// The errors say what and why; ErrUnknownKind and ErrConversion can be told
// apart. None contains a value of the object.
func (s *Schemas) Canonical(raw []byte, version string) ([]byte, error) {
	tree, err := s.canonical(raw, version)
	if err != nil {
		return nil, err
	}
	return json.Marshal(tree)
}

func (s *Schemas) canonical(raw []byte, version string) (map[string]any, error) {
	from, err := kindOf(raw)
	if err != nil {
		return nil, err
	}
	if !s.Known(from.Group, from.Version, from.Kind) {
		return nil, unknown(from)
	}
	to := from.GroupKind().WithVersion(version)
	if !s.Known(to.Group, to.Version, to.Kind) {
		return nil, unknown(to)
	}
	change := conversion{from: from, to: to}
	if custom := s.customFor(from.GroupKind()); custom != nil {
		return custom.canonical(raw, change)
	}
	return builtinCanonical(raw, change, defaulted)
}

// conversion is the version an object is written in and the one asked for.
type conversion struct{ from, to schema.GroupVersionKind }

// unknown tells a kind that is not there from a version that is not.
func unknown(gvk schema.GroupVersionKind) error {
	return fmt.Errorf("%s %s: %w", gitindex.Clean(gvk.GroupVersion().String(), 100), gitindex.Clean(gvk.Kind, 60), ErrUnknownKind)
}

// kindOf reads what a JSON object says it is.
func kindOf(raw []byte) (schema.GroupVersionKind, error) {
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &head); err != nil {
		return schema.GroupVersionKind{}, fmt.Errorf("reading the object's kind: %w", err)
	}
	gv, err := schema.ParseGroupVersion(head.APIVersion)
	if err != nil || head.Kind == "" || gv.Version == "" {
		return schema.GroupVersionKind{}, fmt.Errorf("the object names no apiVersion and kind: %w", ErrUnknownKind)
	}
	return gv.WithKind(head.Kind), nil
}
