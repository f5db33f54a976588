package kustomize

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// unfolds refuses a file whose aliases unfold into more than it may hold:
// kustomize copies what an alias names, so a few lines could become gigabytes.
// A file that does not parse is left to kustomize to complain about.
func unfolds(data []byte, limit int) error {
	if !bytes.Contains(data, []byte("&")) || !bytes.Contains(data, []byte("*")) {
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var root yaml.Node
		if decoder.Decode(&root) != nil {
			return nil
		}
		p := prices{limit: 2 * limit, known: map[*yaml.Node]int{}}
		if _, ok := p.of(&root); !ok {
			return fmt.Errorf("line %d: has aliases that unfold into more than %d bytes", root.Line, p.limit)
		}
	}
}

// prices are what anchors cost with every alias in them followed; -1 while one
// is still being counted.
type prices struct {
	limit int
	known map[*yaml.Node]int
}

func (p *prices) of(n *yaml.Node) (cost int, ok bool) {
	if n.Kind == yaml.AliasNode {
		cost, ok = p.known[n.Alias]
		return cost, ok && cost >= 0
	}
	if n.Anchor != "" {
		p.known[n] = -1
	}
	cost = len(n.Value) + 4
	for _, child := range n.Content {
		c, ok := p.of(child)
		if cost += c; !ok || cost > p.limit {
			return cost, false
		}
	}
	if n.Anchor != "" {
		p.known[n] = cost
	}
	return cost, true
}
