package flux

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/fluxcd/pkg/envsubst"
	"github.com/fluxcd/pkg/envsubst/parse"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

const (
	substituteKey = group + "/substitute"
	disabled      = "disabled"
)

var variableName = regexp.MustCompile("^[_[:alpha:]][_[:alpha:][:digit:]]*$")

// variables are what postBuild puts into the objects.
type variables struct {
	known map[string]string
	// unknown names the sources whose content Git does not hold. Such a source
	// may set any variable that is not known for certain.
	unknown []string
	always  bool
}

// variables takes the values in Flux's order: each source overrides those
// before it, and what the Kustomization says itself overrides all. Line breaks
// are taken out.
func (k *kustomization) variables(src render.Sources) (variables, error) {
	v := variables{known: map[string]string{}}
	p := k.Spec.PostBuild
	if p == nil {
		return v, nil
	}
	v.always = p.SubstituteStrategy == "Always"
	for _, from := range p.SubstituteFrom {
		if err := v.take(src, k.Metadata.Namespace, from); err != nil {
			return v, err
		}
	}
	for name, value := range p.Substitute {
		v.known[name] = strings.ReplaceAll(value, "\n", "")
	}
	for name := range v.known {
		if !variableName.MatchString(name) {
			return v, fmt.Errorf("spec.postBuild: %q is no name of a variable", gitindex.Clean(name, 100))
		}
	}
	return v, nil
}

func (v *variables) take(src render.Sources, namespace string, from valuesFrom) error {
	ref := gitindex.Ref{Kind: from.Kind, Namespace: namespace, Name: from.Name}
	switch from.Kind {
	case "ConfigMap":
		raw, err := src.Declared(ref)
		if err != nil {
			return err
		}
		if len(raw) > 0 {
			return v.configMap(ref, raw)
		}
	case "Secret":
	default:
		return nil // which Flux overlooks
	}
	// Whatever is known so far may be overridden by it.
	v.known = map[string]string{}
	v.unknown = append(v.unknown, ref.String())
	return nil
}

func (v *variables) configMap(ref gitindex.Ref, raw json.RawMessage) error {
	var m struct {
		Data map[string]string `json:"data"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return fmt.Errorf("reading %v: %w", ref, err)
	}
	for name, value := range m.Data {
		v.known[name] = strings.ReplaceAll(value, "\n", "")
	}
	return nil
}

func (v *variables) none() bool { return len(v.known) == 0 && len(v.unknown) == 0 && !v.always }

// why says what an unknown variable depends on.
func (v *variables) why(name string) string {
	return "the variable " + gitindex.Clean(name, 60) + " of " + strings.Join(v.unknown, ", ")
}

// substitution is the text of one object with its variables replaced, twice:
// once with a mark for every unknown value, once with the default instead where
// the text has one. The first shows where values stand, the second of what type
// they are.
type substitution struct{ marked, plain string }

func (v *variables) substitute(text string, m *marks) (s substitution, err error) {
	if len(v.unknown) == 0 {
		s.marked, err = envsubst.Eval(text, func(name string) (string, bool) {
			value, ok := v.known[name]
			return value, ok
		})
		return substitution{s.marked, s.marked}, broken(err)
	}
	tree, err := parse.Parse(text)
	if err != nil {
		return s, broken(err)
	}
	if err := v.computed(tree.Root); err != nil {
		return s, err
	}
	nodes := inOrder(tree.Root, nil)
	if s.marked, err = envsubst.Eval(text, v.values(nodes, m, true)); err != nil {
		return s, broken(err)
	}
	s.plain, err = envsubst.Eval(text, v.values(nodes, m, false))
	return s, broken(err)
}

// values gives the variables one by one, in the order in which they are asked
// for: only the place tells whether there is a default.
func (v *variables) values(nodes []*parse.FuncNode, m *marks, all bool) func(string) (string, bool) {
	next := 0
	return func(name string) (string, bool) {
		var node *parse.FuncNode
		if next < len(nodes) && nodes[next].Param == name {
			node = nodes[next]
		}
		next++
		if value, ok := v.known[name]; ok {
			return value, true
		}
		if !all && node != nil && isDefault(node.Name) && len(node.Args) > 0 {
			return "", true
		}
		return m.mark(v.why(name)), true
	}
}

// inOrder are the variables of a text as envsubst evaluates them: what a
// default holds before the variable it belongs to.
func inOrder(n parse.Node, to []*parse.FuncNode) []*parse.FuncNode {
	switch n := n.(type) {
	case *parse.ListNode:
		for _, child := range n.Nodes {
			to = inOrder(child, to)
		}
	case *parse.FuncNode:
		for _, arg := range n.Args {
			to = inOrder(arg, to)
		}
		to = append(to, n)
	}
	return to
}

// broken keeps the error's first line, which names a variable at most.
func broken(err error) error {
	if err == nil {
		return nil
	}
	return errors.New("spec.postBuild: " + gitindex.Clean(err.Error(), 200))
}

// computed refuses what is computed of an unknown value: no mark would show in
// the result.
func (v *variables) computed(n parse.Node) error {
	switch n := n.(type) {
	case *parse.ListNode:
		for _, child := range n.Nodes {
			if err := v.computed(child); err != nil {
				return err
			}
		}
	case *parse.FuncNode:
		if n.Name == "" || isDefault(n.Name) {
			for _, arg := range n.Args {
				if err := v.computed(arg); err != nil {
					return err
				}
			}
			return nil
		}
		if v.depends(n) {
			return &render.NeedsError{What: v.why(n.Param), Why: "a value is computed of it, and Git does not hold it"}
		}
	}
	return nil
}

func (v *variables) depends(n parse.Node) bool {
	switch n := n.(type) {
	case *parse.ListNode:
		for _, child := range n.Nodes {
			if v.depends(child) {
				return true
			}
		}
	case *parse.FuncNode:
		if _, ok := v.known[n.Param]; !ok {
			return true
		}
		for _, arg := range n.Args {
			if v.depends(arg) {
				return true
			}
		}
	}
	return false
}

// isDefault reports an operator that gives another value where one is missing.
func isDefault(operator string) bool {
	switch operator {
	case "-", "+", "=", "?", ":-", ":+", ":=", ":?":
		return true
	}
	return false
}
