package canonical

import (
	"errors"
	"fmt"
	"reflect"

	apiextensionsinternal "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	structuraldefaulting "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"

	"github.com/gitward/gitward/gitindex"
)

// customKind is what a CRD says of its kind.
type customKind struct {
	groupKind schema.GroupKind
	plural    string // the resource's name
	scope     Scope
	webhook   bool // its versions differ by more than their name
	preserve  bool // spec.preserveUnknownFields, from before structural schemas
	versions  map[string]*customVersion
}

type customVersion struct {
	structural *structuralschema.Structural // nil where anything goes
	status     bool                         // has the status subresource
	shape      *shape
}

// parseCRD reads a CRD as the server that serves its kind does.
func parseCRD(raw []byte) (*customKind, error) {
	gvk, err := kindOf(raw)
	if err != nil {
		return nil, fmt.Errorf("reading a CustomResourceDefinition: %w", err)
	}
	if gvk != apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition") {
		return nil, fmt.Errorf("%s %s is no CustomResourceDefinition of apiextensions.k8s.io/v1", gitindex.Clean(gvk.GroupVersion().String(), 100), gitindex.Clean(gvk.Kind, 60))
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &crd); err != nil {
		return nil, fmt.Errorf("reading a CustomResourceDefinition: %w", err)
	}
	builtin().scheme.Default(&crd)
	kind, err := newCustomKind(&crd)
	if err != nil {
		return nil, fmt.Errorf("CustomResourceDefinition %s: %w", gitindex.Clean(crd.Name, 120), err)
	}
	return kind, nil
}

func newCustomKind(crd *apiextensionsv1.CustomResourceDefinition) (*customKind, error) {
	kind := &customKind{
		groupKind: schema.GroupKind{Group: crd.Spec.Group, Kind: crd.Spec.Names.Kind},
		plural:    crd.Spec.Names.Plural,
		webhook:   crd.Spec.Conversion != nil && crd.Spec.Conversion.Strategy == apiextensionsv1.WebhookConverter,
		preserve:  crd.Spec.PreserveUnknownFields,
		versions:  map[string]*customVersion{},
	}
	switch crd.Spec.Scope {
	case apiextensionsv1.NamespaceScoped:
		kind.scope = Namespaced
	case apiextensionsv1.ClusterScoped:
		kind.scope = Cluster
	default:
		return nil, errors.New("spec.scope is neither Namespaced nor Cluster")
	}
	if kind.groupKind.Group == "" || kind.groupKind.Kind == "" {
		return nil, errors.New("it names no group and kind")
	}
	for i := range crd.Spec.Versions {
		v := &crd.Spec.Versions[i]
		version, err := kind.version(v)
		if err != nil {
			return nil, fmt.Errorf("version %s: %w", gitindex.Clean(v.Name, 60), err)
		}
		kind.versions[v.Name] = version
	}
	return kind, nil
}

func (k *customKind) version(v *apiextensionsv1.CustomResourceDefinitionVersion) (version *customVersion, err error) {
	version = &customVersion{status: v.Subresources != nil && v.Subresources.Status != nil}
	defer func() { version.finish() }()
	if v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
		if !k.preserve {
			return version, errors.New("it has no schema")
		}
		return version, nil
	}
	var internal apiextensionsinternal.CustomResourceValidation
	if err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(v.Schema, &internal, nil); err != nil {
		return version, fmt.Errorf("reading its schema: %w", err)
	}
	structural, err := structuralschema.NewStructural(internal.OpenAPIV3Schema)
	if k.preserve {
		// The server defaults nothing and drops nothing here, but uses what it can.
		version.structural = structural
		return version, nil
	}
	if err != nil {
		return version, fmt.Errorf("its schema is not structural: %w", err)
	}
	if errs := structuralschema.ValidateStructural(nil, structural); len(errs) > 0 {
		return version, fmt.Errorf("its schema is not structural: %s: %s", gitindex.Clean(errs[0].Field, 120), errs[0].Type)
	}
	version.structural = structural.DeepCopy()
	if err := structuraldefaulting.PruneDefaults(version.structural); err != nil {
		return version, fmt.Errorf("its defaults do not fit its schema: %w", err)
	}
	return version, nil
}

func (v *customVersion) finish() {
	v.shape = newCustomRoot(v.structural)
}

// canonical is what the apiextensions server does with a request: default,
// prune, and the metadata through its Go type; after a conversion again.
func (k *customKind) canonical(raw []byte, change conversion) (map[string]any, error) {
	if k.webhook && change.from != change.to {
		return nil, fmt.Errorf("%s from %s to %s: %w", k.groupKind.Kind, change.from.Version, change.to.Version, ErrConversion)
	}
	var tree map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &tree); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", k.groupKind.Kind, err)
	}
	if err := k.settle(tree, change.from.Version); err != nil {
		return nil, err
	}
	if change.from != change.to {
		if err := k.keeps(raw, change); err != nil {
			return nil, err
		}
		tree["apiVersion"] = change.to.GroupVersion().String()
		if err := k.settle(tree, change.to.Version); err != nil {
			return nil, err
		}
	}
	if k.versions[change.to.Version].status {
		delete(tree, "status")
	}
	dropServerFieldsOf(tree)
	return tree, nil
}

// keeps refuses a version whose schema does not have all that the object
// declares in its own: whoever writes through it takes those fields away from
// what is stored, though neither the old nor the new object shows them.
func (k *customKind) keeps(raw []byte, change conversion) error {
	var declared, through map[string]any
	for _, into := range []*map[string]any{&declared, &through} {
		if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, into); err != nil {
			return fmt.Errorf("decoding %s: %w", k.groupKind.Kind, err)
		}
	}
	if !k.preserve {
		pruning.Prune(declared, k.versions[change.from.Version].structural, true)
		pruning.Prune(through, k.versions[change.from.Version].structural, true)
		pruning.Prune(through, k.versions[change.to.Version].structural, true)
	}
	if !reflect.DeepEqual(declared, through) {
		return fmt.Errorf("%s in version %s lacks fields that it declares in %s: %w", k.groupKind.Kind, change.to.Version, change.from.Version, ErrLossy)
	}
	return nil
}

// settle changes the tree into what a server holds of it in this version. The
// order is the server's: the defaults see what pruning will take away.
func (k *customKind) settle(tree map[string]any, version string) error {
	s := k.versions[version].structural
	apiVersion, kind := tree["apiVersion"], tree["kind"]
	if !k.preserve {
		structuraldefaulting.Default(tree, s)
	}
	m, found, err := objectmeta.GetObjectMeta(tree, false)
	if err != nil {
		return fmt.Errorf("decoding %s: reading its metadata: %w", k.groupKind.Kind, err)
	}
	if !k.preserve {
		pruning.Prune(tree, s, true)
		structuraldefaulting.PruneNonNullableNullsWithoutDefaults(tree, s)
	}
	if err := objectmeta.Coerce(nil, tree, s, false, false); err != nil {
		return fmt.Errorf("decoding %s: %s: the embedded object's metadata or kind is malformed", k.groupKind.Kind, gitindex.Clean(err.Field, 120))
	}
	tree["apiVersion"], tree["kind"] = apiVersion, kind
	if !found {
		return nil
	}
	if err := objectmeta.SetObjectMeta(tree, m); err != nil {
		return fmt.Errorf("decoding %s: writing its metadata: %w", k.groupKind.Kind, err)
	}
	return nil
}

func dropServerFieldsOf(tree map[string]any) {
	m, _ := tree["metadata"].(map[string]any)
	for _, name := range []string{"uid", "resourceVersion", "generation", "selfLink", "creationTimestamp",
		"deletionTimestamp", "deletionGracePeriodSeconds", "managedFields"} {
		delete(m, name)
	}
}
