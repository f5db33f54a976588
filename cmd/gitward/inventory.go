package main

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
)

// inventory is what Git declares of some kinds, where Gatekeeper's policies look
// for it: cluster/apiVersion/kind/name and namespace/namespace/apiVersion/kind/name.
// Of Secrets there is nothing. "*" is any other kind.
func (p *process) inventory(kinds []string) []byte {
	p.mu.Lock()
	index, rules := p.index, p.rules
	p.mu.Unlock()
	tree := map[string]any{}
	every := slices.Contains(kinds, "*")
	for _, origin := range slices.Backward(slices.Sorted(maps.Keys(index))) { // of two that declare an object the first by name stays
		for ref, e := range index[origin].Objects {
			if len(e.Current) == 0 || ref.Kind == "Secret" && ref.Group == "" || !every && !slices.Contains(kinds, ref.Kind) ||
				!mayDeclare(rules, origin, ref) || e.Current[0].Via != "" && !mayDeclare(rules, e.Current[0].Via, ref) {
				continue
			}
			shelve(tree, e.Current[0])
		}
	}
	text, err := json.Marshal(tree)
	if err != nil {
		return []byte("{}")
	}
	return text
}

// mayDeclare reports whether some Gate lets an Origin declare an object.
func mayDeclare(rules []gate.Rule, origin string, ref gitindex.Ref) bool {
	return slices.ContainsFunc(rules, func(r gate.Rule) bool {
		return slices.ContainsFunc(r.Origins, func(s gate.Source) bool { return s.Origin == origin && s.Fills(ref) })
	})
}

func shelve(tree map[string]any, m *gitindex.Manifest) {
	path := []string{"cluster", m.APIVersion, m.Ref.Kind}
	if m.Ref.Namespace != "" {
		path = []string{"namespace", m.Ref.Namespace, m.APIVersion, m.Ref.Kind}
	}
	for _, step := range path {
		next, ok := tree[step].(map[string]any)
		if !ok {
			next = map[string]any{}
			tree[step] = next
		}
		tree = next
	}
	object := m.Canonical
	if object == nil {
		object = m.Raw
	}
	tree[m.Ref.Name] = json.RawMessage(object)
}
