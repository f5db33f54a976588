package canonical

import (
	"reflect"
	"strings"
	"sync"

	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/applyconfigurations"
	smdschema "sigs.k8s.io/structured-merge-diff/v6/schema"
)

// Shape is a cursor into a kind's schema, for comparing JSON trees. The zero
// Shape knows nothing: its lists are atomic, its fields have the zero Shape,
// and empty is not absent. It is small, comparable and safe for concurrent use.
type Shape struct{ at *shape }

// ListKind says how the items of a list are matched.
type ListKind int

// The zero ListKind is Atomic.
const (
	Atomic ListKind = iota // by position; the list is one value
	Set                    // by value
	Map                    // by the values of their keys
)

// String is the kind's name, as x-kubernetes-list-type writes it.
func (k ListKind) String() string {
	switch k {
	case Set:
		return "set"
	case Map:
		return "map"
	}
	return "atomic"
}

// Shape is the cursor at the top of a kind; the zero Shape where no schema is
// known.
func (s *Schemas) Shape(group, version, kind string) Shape {
	gvk := schema.GroupVersionKind{Group: group, Version: version, Kind: kind}
	if builtinKind(gvk.GroupKind()) {
		return Shape{builtinRoot(gvk)}
	}
	if custom := s.customFor(gvk.GroupKind()); custom != nil && custom.versions[version] != nil {
		return Shape{custom.versions[version].shape}
	}
	return Shape{}
}

// Field is the shape of a field of an object, or of any value of a map.
func (s Shape) Field(name string) Shape {
	if s.at == nil {
		return Shape{}
	}
	s.at.once.Do(s.at.unfold)
	if field, ok := s.at.fields[name]; ok {
		return Shape{field}
	}
	return Shape{s.at.values}
}

// Item is the shape of a list's items.
func (s Shape) Item() Shape {
	if s.at == nil {
		return Shape{}
	}
	s.at.once.Do(s.at.unfold)
	return Shape{s.at.item}
}

// List says how a list's items are matched, and by which keys. The keys are
// not to be changed.
func (s Shape) List() (kind ListKind, keys []string) {
	if s.at == nil {
		return Atomic, nil
	}
	return s.at.list, s.at.keys
}

// KeyDefault is the value that a missing key counts as when the items of this
// list are matched, such as TCP for the protocol of a port.
func (s Shape) KeyDefault(key string) (value any, ok bool) {
	if s.at == nil {
		return nil, false
	}
	value, ok = s.at.keyDefaults[key]
	return value, ok
}

// EmptyIsAbsent reports whether null, an empty list or map, and absence mean
// the same to the API server: true for a slice or map field of a built-in
// type. False for a pointer to a struct, where presence means something
// (emptyDir: {}, podSelector: {}), for raw JSON, and for custom resources,
// whose fields are stored as they are.
func (s Shape) EmptyIsAbsent() bool { return s.at != nil && s.at.emptyIsAbsent }

// shape is a node of a schema. What is below it is worked out when first asked
// for: some types contain themselves.
type shape struct {
	source        source
	list          ListKind
	keys          []string
	keyDefaults   map[string]any
	emptyIsAbsent bool

	once   sync.Once
	fields map[string]*shape
	values *shape // of any name that is not in fields
	item   *shape
}

// source is where a node's knowledge comes from: a Go type and beside it its
// merge schema, or a CRD's schema.
type source struct {
	goType     reflect.Type
	merge      *smdschema.Schema
	ref        smdschema.TypeRef
	structural *structuralschema.Structural
	root       bool // a CRD's top, or an embedded resource: it has Kubernetes' metadata
}

func (n *shape) unfold() {
	if n.source.goType != nil {
		n.unfoldGo()
		return
	}
	n.unfoldStructural()
}

// interned keeps one node for each place that can be told apart, so that types
// which contain themselves stay finite.
var interned sync.Map // of internKey to *shape

type internKey struct {
	goType reflect.Type
	merge  string
	field  bool
}

// newGoShape is the node for a Go type; field says that the value is a struct
// field, which an encoder leaves out when it is empty.
func newGoShape(from source, field bool) *shape {
	from.goType = deref(from.goType, &field)
	name := from.ref.NamedType
	if name == nil && from.merge != nil {
		return makeGoShape(from, field) // inlined in a node that is interned itself
	}
	key := internKey{goType: from.goType, field: field}
	if name != nil {
		key.merge = *name
		if from.ref.ElementRelationship != nil {
			key.merge += " " + string(*from.ref.ElementRelationship)
		}
	}
	if n, ok := interned.Load(key); ok {
		return n.(*shape)
	}
	n, _ := interned.LoadOrStore(key, makeGoShape(from, field))
	return n.(*shape)
}

// deref takes a pointer off; then empty means something.
func deref(t reflect.Type, field *bool) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t, *field = t.Elem(), false
	}
	return t
}

func makeGoShape(from source, field bool) *shape {
	n := &shape{source: from}
	switch from.goType.Kind() {
	case reflect.Map:
		n.emptyIsAbsent = field
	case reflect.Slice:
		n.emptyIsAbsent = field && from.goType.Elem().Kind() != reflect.Uint8
	}
	if list := from.atom().List; list != nil && list.ElementRelationship == smdschema.Associative {
		n.list = Set
		if len(list.Keys) > 0 {
			n.list, n.keys = Map, list.Keys
			n.keyDefaults = mergeDefaults(from.below(list.ElementType).atom(), list.Keys)
		}
	}
	return n
}

func mergeDefaults(item smdschema.Atom, keys []string) map[string]any {
	if item.Map == nil {
		return nil
	}
	defaults := map[string]any{}
	for _, key := range keys {
		if field, ok := item.Map.FindField(key); ok && field.Default != nil {
			defaults[key] = field.Default
		}
	}
	return defaults
}

// atom is the merge schema's view of the node; empty where it has none.
func (s source) atom() smdschema.Atom {
	if s.merge == nil {
		return smdschema.Atom{}
	}
	atom, _ := s.merge.Resolve(s.ref)
	return atom
}

func (s source) below(ref smdschema.TypeRef) source {
	return source{merge: s.merge, ref: ref}
}

func (n *shape) unfoldGo() {
	atom := n.source.atom()
	switch t := n.source.goType; t.Kind() {
	case reflect.Struct:
		n.fields = map[string]*shape{}
		n.addFields(t, atom)
	case reflect.Map:
		n.values = newGoShape(n.child(t.Elem(), atom, ""), false)
	case reflect.Slice:
		if t.Elem().Kind() != reflect.Uint8 {
			child := source{goType: t.Elem()}
			if atom.List != nil {
				child = n.source.below(atom.List.ElementType)
				child.goType = t.Elem()
			}
			n.item = newGoShape(child, false)
		}
	}
}

// addFields follows encoding/json's tags. A type that encodes itself
// (Quantity, IntOrString, RawExtension) has none, and so is a leaf.
func (n *shape) addFields(t reflect.Type, atom smdschema.Atom) {
	for i := range t.NumField() {
		field := t.Field(i)
		tag, ok := field.Tag.Lookup("json")
		name, options, _ := strings.Cut(tag, ",")
		switch {
		case !ok || name == "-":
		case name == "" && (field.Anonymous || strings.Contains(options, "inline")):
			inline := field.Type
			if inline.Kind() == reflect.Pointer {
				inline = inline.Elem()
			}
			n.addFields(inline, atom)
		case name != "":
			n.fields[name] = newGoShape(n.child(field.Type, atom, name), true)
		}
	}
}

// child is the source of a struct's field or of a map's values.
func (n *shape) child(t reflect.Type, atom smdschema.Atom, name string) source {
	child := source{goType: t}
	switch {
	case t == reflect.TypeFor[metav1.ObjectMeta]():
		child = objectMetaSource()
	case atom.Map == nil:
	case name == "":
		child = n.source.below(atom.Map.ElementType)
	default:
		if field, ok := atom.Map.FindField(name); ok {
			child = n.source.below(field.Type)
		}
	}
	child.goType = t
	return child
}

// builtinRoot finds the top of a built-in kind.
func builtinRoot(gvk schema.GroupVersionKind) *shape {
	if n, ok := roots.Load(gvk); ok {
		return n.(*shape)
	}
	object, err := builtin().scheme.New(gvk)
	if err != nil {
		return nil
	}
	from := source{goType: reflect.TypeOf(object).Elem()}
	object.GetObjectKind().SetGroupVersionKind(gvk)
	// The aggregator's and the CRDs' own kinds are not in client-go; outside
	// their metadata and status their lists are atomic.
	if value, err := converter().ObjectToTyped(object); err == nil {
		from.merge, from.ref = value.Schema(), value.TypeRef()
	}
	n, _ := roots.LoadOrStore(gvk, newGoShape(from, false))
	return n.(*shape)
}

var roots sync.Map // of schema.GroupVersionKind to *shape

var converter = sync.OnceValue(func() converterToTyped {
	return applyconfigurations.NewTypeConverter(builtin().scheme)
})

// objectMetaSource is metadata as every kind has it, taken from a built-in one.
var objectMetaSource = sync.OnceValue(func() source {
	none := source{goType: reflect.TypeFor[metav1.ObjectMeta]()}
	configMap := schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}
	object, err := builtin().scheme.New(configMap)
	if err != nil {
		return none
	}
	object.GetObjectKind().SetGroupVersionKind(configMap)
	value, err := converter().ObjectToTyped(object)
	if err != nil {
		return none
	}
	root := source{merge: value.Schema(), ref: value.TypeRef()}
	atom := root.atom()
	if atom.Map == nil {
		return none
	}
	field, ok := atom.Map.FindField("metadata")
	if !ok {
		return none
	}
	from := root.below(field.Type)
	from.goType = none.goType
	return from
})
