package render

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/gitward/gitward/gitindex"
	yamlv2 "go.yaml.in/yaml/v2"
	yamlv3 "go.yaml.in/yaml/v3"
)

// extent is what a node costs with every alias in it followed.
type extent struct{ nodes, bytes, height int }

// surveyor walks a document's nodes once.
type surveyor struct {
	limits  Limits
	anchors map[*yamlv3.Node]extent // a zero extent while the anchor is still open
}

func surveyYAML(text []byte, root *yamlv3.Node, limits Limits) (outline, error) {
	out := outline{line: contentLine(text), end: lastLine(text)}
	if root.Kind != yamlv3.DocumentNode || len(root.Content) == 0 {
		return out, nil
	}
	s := surveyor{limits: limits}
	top := root.Content[0]
	if _, err := s.measure(top, 1); err != nil {
		return out, err
	}
	if top.Kind != yamlv3.MappingNode {
		return out, nil
	}
	out.line = top.Line
	out.end = max(out.end, out.line)
	out.describe(text, top)
	return out, nil
}

// describe notes what stands at the top of the document. A merge key may bring
// in anything, so there the parser that decides meaning has to be asked.
func (o *outline) describe(text []byte, top *yamlv3.Node) {
	var apiVersion, kind, merges bool
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		switch {
		case key.Kind != yamlv3.ScalarNode, isMerge(key):
			merges = true
		case key.Value == "apiVersion":
			apiVersion = true
		case key.Value == "kind":
			kind = true
		case key.Value == "items" && value.Kind == yamlv3.SequenceNode:
			end := o.end
			if i+2 < len(top.Content) {
				end = top.Content[i+2].Line - 1
			}
			o.items = itemSpans(text, value, end)
		}
	}
	o.object = merges || apiVersion && kind
}

// itemSpans are the lines of a list's items: each ends where the next begins.
func itemSpans(text []byte, list *yamlv3.Node, end int) []span {
	lines := bytes.Split(text, []byte("\n"))
	spans := make([]span, len(list.Content))
	for i, item := range list.Content {
		last := end
		if i+1 < len(list.Content) {
			last = list.Content[i+1].Line - 1
		}
		last = min(last, len(lines))
		for last > item.Line && idle(lines[last-1]) {
			last--
		}
		spans[i] = span{item.Line, max(last, item.Line)}
	}
	return spans
}

// lastLine is the last line of a text that is neither idle nor its end marker.
func lastLine(text []byte) int {
	lines := bytes.Split(text, []byte("\n"))
	for n := len(lines); n > 1; n-- {
		if line := lines[n-1]; !idle(line) && !bytes.HasPrefix(line, []byte("...")) {
			return n
		}
	}
	return 1
}

func idle(line []byte) bool {
	return len(bytes.TrimSpace(line)) == 0 || line[0] == '#'
}

// measure refuses what is too deep, too large, or says a thing twice, and
// returns what the node costs.
func (s *surveyor) measure(n *yamlv3.Node, depth int) (extent, error) {
	if depth > s.limits.Depth {
		return extent{}, at(n.Line, "is nested more than %d deep", s.limits.Depth)
	}
	if n.Kind == yamlv3.AliasNode {
		return s.follow(n, depth)
	}
	if n.Anchor != "" {
		s.open(n)
	}
	if n.Kind == yamlv3.MappingNode {
		if err := uniqueKeys(n); err != nil {
			return extent{}, err
		}
	}
	sum := extent{nodes: 1, bytes: len(n.Value) + 4}
	for _, child := range n.Content {
		cost, err := s.measure(child, depth+1)
		if err != nil {
			return extent{}, err
		}
		sum.nodes += cost.nodes
		sum.bytes += cost.bytes
		sum.height = max(sum.height, cost.height+1)
		if err := s.afford(sum, n.Line); err != nil {
			return extent{}, err
		}
	}
	if n.Anchor != "" {
		s.anchors[n] = sum
	}
	return sum, nil
}

func (s *surveyor) open(n *yamlv3.Node) {
	if s.anchors == nil {
		s.anchors = map[*yamlv3.Node]extent{}
	}
	s.anchors[n] = extent{}
}

// follow prices an alias as if its anchor stood there.
func (s *surveyor) follow(n *yamlv3.Node, depth int) (extent, error) {
	cost := s.anchors[n.Alias]
	if cost.nodes == 0 {
		return extent{}, at(n.Line, "the alias *%s stands inside its own anchor", gitindex.Clean(n.Value, 60))
	}
	if depth+cost.height > s.limits.Depth {
		return extent{}, at(n.Line, "is nested more than %d deep once the alias *%s is followed", s.limits.Depth, gitindex.Clean(n.Value, 60))
	}
	return cost, nil
}

// afford keeps a few lines of aliases from unfolding into gigabytes. The
// parser that decides meaning has a budget too, but counts nodes, not bytes.
func (s *surveyor) afford(cost extent, line int) error {
	if cost.nodes > s.limits.Nodes {
		return at(line, "has more than %d nodes once its aliases are followed", s.limits.Nodes)
	}
	// Keys, quotes and separators are counted as four bytes a node.
	if cost.bytes > 2*s.limits.File {
		return at(line, "is more than %d bytes once its aliases are followed", 2*s.limits.File)
	}
	return nil
}

// uniqueKeys refuses a mapping that says one key twice: parsers differ in
// which one counts. A key that a merge brings in and the mapping overrides is
// no such thing.
func uniqueKeys(n *yamlv3.Node) error {
	var few [16]string
	keys := few[:0]
	var many map[string]bool
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, err := keyText(n.Content[i])
		if err != nil {
			return err
		}
		if many == nil && len(keys) == len(few) {
			many = make(map[string]bool, len(n.Content)/2)
			for _, k := range keys {
				many[k] = true
			}
		}
		if many[key] || many == nil && contains(keys, key) {
			return at(n.Content[i].Line, "the key %q stands twice in one mapping", gitindex.Clean(key, 100))
		}
		if many != nil {
			many[key] = true
			continue
		}
		keys = append(keys, key)
	}
	return nil
}

func contains(keys []string, key string) bool {
	for _, k := range keys {
		if k == key {
			return true
		}
	}
	return false
}

// keyText is the text that a key has in the JSON which sigs.k8s.io/yaml makes
// of it: there yes, true and "true" are one key, and so are 0x1 and "1".
func keyText(n *yamlv3.Node) (string, error) {
	if n.Kind == yamlv3.AliasNode {
		n = n.Alias
	}
	switch {
	case isMerge(n):
		return mergeKey, nil
	case n.Kind != yamlv3.ScalarNode:
		return "", at(n.Line, "a map key is itself a map or a list; is this a template? Kubernetes takes only text")
	case n.Style&yamlv3.TaggedStyle != 0 && n.Tag != "!!str":
		return "", at(n.Line, "a map key carries the tag %s; Kubernetes takes only text", gitindex.Clean(n.Tag, 40))
	case n.Style != 0 || !mayBeNoText(n.Value):
		return n.Value, nil
	}
	var v any
	if err := yamlv2.Unmarshal([]byte(n.Value), &v); err != nil {
		return n.Value, nil
	}
	switch v := v.(type) {
	case nil:
		return "", at(n.Line, "a map key is null; Kubernetes takes only text")
	case float64:
		return floatKey(v), nil
	case bool, int, int64, uint64:
		return fmt.Sprint(v), nil
	}
	return n.Value, nil
}

func floatKey(f float64) string {
	switch s := strconv.FormatFloat(f, 'g', -1, 32); s {
	case "+Inf":
		return ".inf"
	case "-Inf":
		return "-.inf"
	case "NaN":
		return ".nan"
	default:
		return s
	}
}

// mayBeNoText says no for nearly every key there is, without parsing it.
func mayBeNoText(key string) bool {
	if key == "" {
		return true
	}
	switch c := key[0]; {
	case c >= '0' && c <= '9', c == '+', c == '-', c == '.':
		return true
	}
	if len(key) > 5 {
		return false
	}
	switch strings.ToLower(key) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null", "~":
		return true
	}
	return false
}

// mergeKey stands for "<<", which is no key; no text of a document equals it.
const mergeKey = "\x00<<"

func isMerge(n *yamlv3.Node) bool {
	return n.Kind == yamlv3.ScalarNode && n.Value == "<<" && (n.Style == 0 || n.Tag == "!!merge")
}
