package argocd

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// generator makes sets of parameters: applicationset/generators. Each kind is
// kept as it stands in Git, because another generator's parameters may be put
// into it first.
type generator struct {
	List                    json.RawMessage       `json:"list,omitempty"`
	Clusters                json.RawMessage       `json:"clusters,omitempty"`
	Git                     json.RawMessage       `json:"git,omitempty"`
	SCMProvider             json.RawMessage       `json:"scmProvider,omitempty"`
	ClusterDecisionResource json.RawMessage       `json:"clusterDecisionResource,omitempty"`
	PullRequest             json.RawMessage       `json:"pullRequest,omitempty"`
	Matrix                  json.RawMessage       `json:"matrix,omitempty"`
	Merge                   json.RawMessage       `json:"merge,omitempty"`
	Selector                *metav1.LabelSelector `json:"selector,omitempty"`
	Plugin                  json.RawMessage       `json:"plugin,omitempty"`
}

// result is what one kind of a generator gives.
type result struct {
	params   []map[string]any
	template map[string]any
}

// source is one kind with what makes parameters of it.
type kindOf struct {
	raw  json.RawMessage
	name string
	make func(raw json.RawMessage, depth int) ([]map[string]any, error)
}

// kinds are those that the generator sets. A matrix or merge may hold another,
// and that no third: at that depth they are not known any more.
func (e *expansion) kinds(g *generator, depth int) []kindOf {
	all := []kindOf{
		{g.List, "list", e.list},
		{g.Clusters, "clusters", e.clusters},
		{g.Git, "git", e.git},
		{g.SCMProvider, "scmProvider", nil},
		{g.ClusterDecisionResource, "clusterDecisionResource", nil},
		{g.PullRequest, "pullRequest", nil},
	}
	if depth < 2 {
		all = append(all, kindOf{g.Matrix, "matrix", e.matrix}, kindOf{g.Merge, "merge", e.merge})
	}
	all = append(all, kindOf{g.Plugin, "plugin", nil})
	return slices.DeleteFunc(all, func(k kindOf) bool { return len(k.raw) == 0 || string(k.raw) == "null" })
}

// transform is generators.Transform: the generator's template goes before the
// set's, its parameters are those that its selector lets through.
func (e *expansion) transform(g *generator, base map[string]any, outer map[string]any, depth int) ([]result, error) {
	var results []result
	for _, kind := range e.kinds(g, depth) {
		if kind.make == nil {
			return nil, &render.NeedsError{What: "what the generator " + kind.name + " finds", Why: "it is not in Git",
				Do: "use the generators list, git, matrix and merge, or commit the Applications"}
		}
		template, err := ownTemplate(kind.raw, base)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind.name, err)
		}
		raw := kind.raw
		if len(outer) > 0 {
			if raw, err = e.interpolate(kind, outer); err != nil {
				return nil, fmt.Errorf("%s: %w", kind.name, err)
			}
		}
		params, err := kind.make(raw, depth)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind.name, err)
		}
		if params, err = selected(g.Selector, params); err != nil {
			return nil, fmt.Errorf("%s: %w", kind.name, err)
		}
		if e.made += len(params); e.made > 10*maxApplications {
			return nil, fmt.Errorf("it makes more than %d sets of parameters", 10*maxApplications)
		}
		results = append(results, result{params, template})
	}
	return results, nil
}

// ownTemplate fills what the generator's template leaves open from the set's.
func ownTemplate(raw json.RawMessage, base map[string]any) (map[string]any, error) {
	var own struct{ Template json.RawMessage }
	if err := json.Unmarshal(raw, &own); err != nil {
		return nil, err
	}
	if base == nil || len(own.Template) == 0 {
		return base, nil
	}
	template, err := readTemplate(own.Template)
	if err != nil {
		return nil, err
	}
	return complete(template, base), nil
}

// complete is mergo.Merge over the typed templates: an empty field takes the
// other's value, maps are joined, lists and Helm's valuesObject are not.
func complete(into, from map[string]any) map[string]any {
	for key, value := range from {
		have, there := into[key]
		inner, isMap := have.(map[string]any)
		other, both := value.(map[string]any)
		switch {
		case !there || empty(have):
			into[key] = value
		case isMap && both && key != "valuesObject":
			into[key] = complete(inner, other)
		}
	}
	return into
}

func empty(v any) bool {
	switch x := v.(type) {
	case nil:
		return true
	case string:
		return x == ""
	case bool:
		return !x
	case json.Number:
		return x == "0"
	case []any:
		return len(x) == 0
	case map[string]any:
		return len(x) == 0
	}
	return false
}

// interpolate puts the first generator's parameters into a matrix's second. In
// the values of a generator what names a parameter that is not there yet waits:
// applicationset/utils/utils.go, RenderGeneratorParams.
func (e *expansion) interpolate(kind kindOf, params map[string]any) (json.RawMessage, error) {
	var g map[string]any
	if err := json.Unmarshal(kind.raw, &g); err != nil {
		return nil, err
	}
	values, later := g["values"].(map[string]any)
	if later = later && (kind.name == "clusters" || kind.name == "git"); later {
		delete(g, "values")
	}
	filled, err := e.replace(g, params)
	if err != nil {
		return nil, err
	}
	if later {
		early := map[string]any{}
		for key, value := range sorted(values) {
			if early[key], err = e.early(value, params); err != nil {
				return nil, err
			}
		}
		filled.(map[string]any)["values"] = early
	}
	return json.Marshal(filled)
}

func (e *expansion) early(value any, params map[string]any) (any, error) {
	text, ok := value.(string)
	if !ok || !e.set.Spec.GoTemplate {
		return e.replace(value, params)
	}
	options := []string{"missingkey=error"}
	for _, o := range e.set.Spec.GoTemplateOptions {
		if !strings.HasPrefix(o, "missingkey=") {
			options = append(options, o)
		}
	}
	filled, err := e.execute(text, params, options)
	if err != nil && (strings.Contains(err.Error(), "map has no entry for key") || strings.Contains(err.Error(), "can't evaluate field")) {
		return text, nil
	}
	return filled, err
}

// list gives its elements. Without Go templates they are text, in one level of
// values at most.
func (e *expansion) list(raw json.RawMessage, _ int) ([]map[string]any, error) {
	var g struct {
		Elements     []json.RawMessage
		ElementsYaml string
	}
	if err := json.Unmarshal(raw, &g); err != nil {
		return nil, err
	}
	var all []map[string]any
	for i, text := range g.Elements {
		var element map[string]any
		if err := json.Unmarshal(text, &element); err != nil {
			return nil, fmt.Errorf("element %d is no map", i+1)
		}
		if !e.set.Spec.GoTemplate {
			var err error
			if element, err = textElement(element); err != nil {
				return nil, fmt.Errorf("element %d: %w", i+1, err)
			}
		}
		all = append(all, element)
	}
	if g.ElementsYaml != "" {
		var more []map[string]any
		if err := yaml.Unmarshal([]byte(g.ElementsYaml), &more); err != nil {
			return nil, errors.New("elementsYaml is no list of maps")
		}
		all = append(all, more...)
	}
	return all, nil
}

func textElement(element map[string]any) (map[string]any, error) {
	params := map[string]any{}
	for key, value := range element {
		if text, ok := value.(string); ok && key != "values" {
			params[key] = text
			continue
		}
		values, ok := value.(map[string]any)
		if key != "values" || !ok {
			return nil, fmt.Errorf("%s is no text: only Go templates take anything else", gitindex.Clean(key, 100))
		}
		for name, value := range values {
			text, ok := value.(string)
			if !ok {
				return nil, fmt.Errorf("values.%s is no text: only Go templates take anything else", gitindex.Clean(name, 100))
			}
			params["values."+name] = text
		}
	}
	return params, nil
}

// values adds a generator's own, each filled with the parameters but not with
// another value.
func (e *expansion) values(given map[string]string, params map[string]any) error {
	filled := map[string]string{}
	for key, value := range given {
		text, err := e.fill(value, params)
		if err != nil {
			return fmt.Errorf("values.%s: %w", gitindex.Clean(key, 100), err)
		}
		filled[key] = text
	}
	if e.set.Spec.GoTemplate {
		if len(filled) > 0 {
			params["values"] = filled
		}
		return nil
	}
	for key, text := range filled {
		params["values."+key] = text
	}
	return nil
}
