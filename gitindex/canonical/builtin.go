package canonical

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/install"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/install"
	admissionregistration "k8s.io/kubernetes/pkg/apis/admissionregistration/install"
	apiserverinternal "k8s.io/kubernetes/pkg/apis/apiserverinternal/install"
	apps "k8s.io/kubernetes/pkg/apis/apps/install"
	authentication "k8s.io/kubernetes/pkg/apis/authentication/install"
	authorization "k8s.io/kubernetes/pkg/apis/authorization/install"
	autoscaling "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	batch "k8s.io/kubernetes/pkg/apis/batch/install"
	certificates "k8s.io/kubernetes/pkg/apis/certificates/install"
	coordination "k8s.io/kubernetes/pkg/apis/coordination/install"
	core "k8s.io/kubernetes/pkg/apis/core/install"
	discovery "k8s.io/kubernetes/pkg/apis/discovery/install"
	events "k8s.io/kubernetes/pkg/apis/events/install"
	extensions "k8s.io/kubernetes/pkg/apis/extensions/install"
	flowcontrol "k8s.io/kubernetes/pkg/apis/flowcontrol/install"
	lifecycle "k8s.io/kubernetes/pkg/apis/lifecycle/install"
	networking "k8s.io/kubernetes/pkg/apis/networking/install"
	node "k8s.io/kubernetes/pkg/apis/node/install"
	policy "k8s.io/kubernetes/pkg/apis/policy/install"
	rbac "k8s.io/kubernetes/pkg/apis/rbac/install"
	resource "k8s.io/kubernetes/pkg/apis/resource/install"
	scheduling "k8s.io/kubernetes/pkg/apis/scheduling/install"
	storage "k8s.io/kubernetes/pkg/apis/storage/install"
	storagemigration "k8s.io/kubernetes/pkg/apis/storagemigration/install"
	kjson "sigs.k8s.io/json"
)

// builtins is everything known of the kinds that come with Kubernetes.
type builtins struct {
	scheme *runtime.Scheme
	kinds  map[schema.GroupKind]bool
}

// builtin is filled once and only read afterwards. It is a scheme of our own:
// nobody else can register into it.
var builtin = sync.OnceValue(func() *builtins {
	b := &builtins{scheme: runtime.NewScheme(), kinds: map[schema.GroupKind]bool{}}
	for _, install := range []func(*runtime.Scheme){
		admissionregistration.Install, apiserverinternal.Install, apps.Install, authentication.Install, authorization.Install,
		autoscaling.Install, batch.Install, certificates.Install, coordination.Install, core.Install, discovery.Install,
		events.Install, extensions.Install, flowcontrol.Install, lifecycle.Install, networking.Install, node.Install,
		policy.Install, rbac.Install, resource.Install, scheduling.Install, storage.Install, storagemigration.Install,
		apiextensions.Install, apiregistration.Install,
	} {
		install(b.scheme)
	}
	for gvk, typ := range b.scheme.AllKnownTypes() {
		if gvk.Version != runtime.APIVersionInternal && isObject(typ) {
			b.kinds[gvk.GroupKind()] = true
		}
	}
	return b
})

// isObject tells objects from the lists, options and reviews of parts that
// share a scheme with them.
func isObject(typ reflect.Type) bool {
	field, ok := typ.FieldByName("ObjectMeta")
	return ok && field.Type == reflect.TypeFor[metav1.ObjectMeta]()
}

func builtinKind(gk schema.GroupKind) bool { return builtin().kinds[gk] }

func builtinVersion(gvk schema.GroupVersionKind) bool {
	return gvk.Version != runtime.APIVersionInternal && builtin().scheme.Recognizes(gvk)
}

// clusterScoped are the built-in kinds outside namespaces. Kubernetes keeps
// this in its registries and OpenAPI document, not with the types; a test
// holds the table against the latter.
var clusterScoped = map[string][]string{
	"":                             {"ComponentStatus", "Namespace", "Node", "PersistentVolume"},
	"admissionregistration.k8s.io": {"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "MutatingWebhookConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration"},
	"apiextensions.k8s.io":         {"CustomResourceDefinition"},
	"apiregistration.k8s.io":       {"APIService"},
	"authentication.k8s.io":        {"SelfSubjectReview", "TokenReview"},
	"authorization.k8s.io":         {"SelfSubjectAccessReview", "SelfSubjectRulesReview", "SubjectAccessReview"},
	"certificates.k8s.io":          {"CertificateSigningRequest", "ClusterTrustBundle"},
	"flowcontrol.apiserver.k8s.io": {"FlowSchema", "PriorityLevelConfiguration"},
	"internal.apiserver.k8s.io":    {"StorageVersion"},
	"networking.k8s.io":            {"IPAddress", "IngressClass", "ServiceCIDR"},
	"node.k8s.io":                  {"RuntimeClass"},
	"rbac.authorization.k8s.io":    {"ClusterRole", "ClusterRoleBinding"},
	"resource.k8s.io":              {"DeviceClass", "DeviceTaintRule", "ResourcePoolStatusRequest", "ResourceSlice"},
	"scheduling.k8s.io":            {"PriorityClass"},
	"storage.k8s.io":               {"CSIDriver", "CSINode", "StorageClass", "VolumeAttachment", "VolumeAttributesClass"},
	"storagemigration.k8s.io":      {"StorageVersionMigration"},
}

func builtinScope(gk schema.GroupKind) Scope {
	for _, kind := range clusterScoped[gk.Group] {
		if kind == gk.Kind {
			return Cluster
		}
	}
	return Namespaced
}

// defaulting says whether a typed round trip fills in defaults.
type defaulting int

const (
	defaulted defaulting = iota
	asDeclared
)

// builtinCanonical decodes as the API server decodes a request, and goes
// through the internal version as it does: some changes (stringData into data)
// live in the conversions.
func builtinCanonical(raw []byte, change conversion, mode defaulting) (tree map[string]any, err error) {
	scheme := builtin().scheme
	object, err := scheme.New(change.from)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", change.from.Kind, err)
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, object); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", change.from.Kind, err)
	}
	// Kubernetes' defaults and conversions are not made for hostile input
	// before validation; one that panics must cost one manifest, not the process.
	defer func() {
		if p := recover(); p != nil {
			tree, err = nil, fmt.Errorf("%s: Kubernetes' own code cannot handle it", change.from.Kind)
		}
	}()
	if mode == defaulted {
		scheme.Default(object)
	}
	if object, err = throughHub(object, change.to); err != nil {
		return nil, fmt.Errorf("converting %s from %s to %s: %w", change.from.Kind, change.from.Version, change.to.Version, err)
	}
	if mode == defaulted && change.from != change.to {
		scheme.Default(object)
	}
	dropServerFields(object)
	return toTree(object, change.to)
}

func throughHub(object runtime.Object, to schema.GroupVersionKind) (runtime.Object, error) {
	scheme := builtin().scheme
	hub := schema.GroupVersion{Group: to.Group, Version: runtime.APIVersionInternal}
	if !scheme.Recognizes(hub.WithKind(to.Kind)) {
		return scheme.UnsafeConvertToVersion(object, to.GroupVersion())
	}
	internal, err := scheme.UnsafeConvertToVersion(object, hub)
	if err != nil {
		return nil, err
	}
	return scheme.UnsafeConvertToVersion(internal, to.GroupVersion())
}

// dropServerFields clears what a client cannot set.
func dropServerFields(object runtime.Object) {
	m, err := meta.Accessor(object)
	if err != nil {
		return
	}
	m.SetUID("")
	m.SetResourceVersion("")
	m.SetGeneration(0)
	m.SetSelfLink("")
	m.SetCreationTimestamp(metav1.Time{})
	m.SetDeletionTimestamp(nil)
	m.SetDeletionGracePeriodSeconds(nil)
	m.SetManagedFields(nil)
	if annotations := m.GetAnnotations(); annotations[appsv1.DeprecatedTemplateGeneration] == "0" {
		// The conversion of a DaemonSet writes its counter here even when
		// nobody set it. The server counts from 1, so a 0 is never anyone's.
		delete(annotations, appsv1.DeprecatedTemplateGeneration)
		m.SetAnnotations(annotations)
	}
}

func toTree(object runtime.Object, gvk schema.GroupVersionKind) (map[string]any, error) {
	object.GetObjectKind().SetGroupVersionKind(gvk)
	encoded, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", gvk.Kind, err)
	}
	var tree map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(encoded, &tree); err != nil {
		return nil, fmt.Errorf("encoding %s: %w", gvk.Kind, err)
	}
	// Every built-in kind with a status either has the subresource or lets
	// nobody but the server write it.
	delete(tree, "status")
	return tree, nil
}
