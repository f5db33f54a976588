package canonical

import (
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// converterToTyped is the part of client-go's type converter that shapes need.
type converterToTyped interface {
	ObjectToTyped(runtime.Object, ...typed.ValidationOptions) (*typed.TypedValue, error)
}

func newCustomRoot(s *structuralschema.Structural) *shape {
	n := newStructuralShape(s)
	n.source.root = true
	return n
}

func newStructuralShape(s *structuralschema.Structural) *shape {
	n := &shape{source: source{structural: s}}
	if s == nil {
		return n
	}
	n.source.root = s.XEmbeddedResource
	if s.XListType == nil {
		return n
	}
	switch *s.XListType {
	case "set":
		n.list = Set
	case "map":
		n.list, n.keys = Map, s.XListMapKeys
		n.keyDefaults = structuralDefaults(s)
	}
	return n
}

func structuralDefaults(list *structuralschema.Structural) map[string]any {
	defaults := map[string]any{}
	if list.Items == nil {
		return defaults
	}
	for _, key := range list.XListMapKeys {
		if value := list.Items.Properties[key].Default.Object; value != nil {
			defaults[key] = value
		}
	}
	return defaults
}

func (n *shape) unfoldStructural() {
	n.fields = map[string]*shape{}
	if s := n.source.structural; s != nil {
		for name := range s.Properties {
			property := s.Properties[name]
			n.fields[name] = newStructuralShape(&property)
		}
		if s.AdditionalProperties != nil && s.AdditionalProperties.Structural != nil {
			n.values = newStructuralShape(s.AdditionalProperties.Structural)
		}
		if s.Items != nil {
			n.item = newStructuralShape(s.Items)
		}
	}
	if n.source.root {
		// Whatever the CRD says of metadata, the server uses its own type.
		n.fields["metadata"] = newGoShape(objectMetaSource(), true)
	}
}
