package canonical

import "k8s.io/apimachinery/pkg/runtime/schema"

// HasStatus reports whether the status of a kind is kept apart from its
// content: every built-in kind with a status resets it on ordinary writes; a
// custom kind does so if its CRD gives it the status subresource. Canonical
// leaves such a status out.
func (s *Schemas) HasStatus(group, version, kind string) bool {
	gk := schema.GroupKind{Group: group, Kind: kind}
	if builtinKind(gk) {
		return true
	}
	custom := s.customFor(gk)
	return custom != nil && custom.versions[version] != nil && custom.versions[version].status
}

// NullIsAbsent reports whether null and absence mean the same at this place:
// they do wherever the API server decodes into a Go type of its own.
func (s Shape) NullIsAbsent() bool { return s.at != nil && s.at.source.goType != nil }

// KindOf is the custom kind that a resource of the group holds; empty where none
// is known.
func (s *Schemas) KindOf(group, resource string) string {
	if s == nil {
		return ""
	}
	for gk, custom := range s.custom {
		if gk.Group == group && custom.plural == resource {
			return gk.Kind
		}
	}
	return ""
}
