package argocd

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"dario.cat/mergo"

	"github.com/gitward/gitward/gitindex"
)

// child gives the parameters of a generator within a matrix or merge.
func (e *expansion) child(g *generator, outer map[string]any, depth int) ([]map[string]any, error) {
	results, err := e.transform(g, nil, outer, depth+1)
	switch {
	case err != nil:
		return nil, err
	case len(results) == 0:
		return nil, errors.New("a generator in it is of no kind that may stand there")
	case len(results) > 1:
		return nil, errors.New("a generator in it is of more than one kind")
	}
	return results[0].params, nil
}

// matrix joins each set of the first generator with each of the second, into
// which the first one's are put before.
func (e *expansion) matrix(raw json.RawMessage, depth int) ([]map[string]any, error) {
	var g struct{ Generators []generator }
	if err := json.Unmarshal(raw, &g); err != nil {
		return nil, err
	}
	if len(g.Generators) != 2 {
		return nil, errors.New("it needs two generators, no more and no less")
	}
	first, err := e.child(&g.Generators[0], nil, depth)
	if err != nil {
		return nil, err
	}
	var all []map[string]any
	for _, a := range first {
		second, err := e.child(&g.Generators[1], a, depth)
		if err != nil {
			return nil, err
		}
		for _, b := range second {
			joined, err := e.join(a, b)
			if err != nil {
				return nil, err
			}
			all = append(all, joined)
		}
	}
	return all, nil
}

func (e *expansion) join(a, b map[string]any) (map[string]any, error) {
	joined := map[string]any{}
	if e.set.Spec.GoTemplate {
		if err := mergo.Merge(&joined, b, mergo.WithOverride); err != nil {
			return nil, err
		}
		return joined, mergo.Merge(&joined, a, mergo.WithOverride)
	}
	for key, value := range a {
		joined[key] = fmt.Sprint(value)
	}
	for key, value := range b {
		text := fmt.Sprint(value)
		if have, there := joined[key]; there && have != text {
			return nil, fmt.Errorf("both generators give %s, with different values", gitindex.Clean(key, 100))
		}
		joined[key] = text
	}
	return joined, nil
}

// merge changes the sets of the first generator by those of the others that
// have the same values for the keys.
func (e *expansion) merge(raw json.RawMessage, depth int) ([]map[string]any, error) {
	var g struct {
		Generators []generator
		MergeKeys  []string
	}
	if err := json.Unmarshal(raw, &g); err != nil {
		return nil, err
	}
	if len(g.Generators) < 2 {
		return nil, errors.New("it needs two generators or more")
	}
	var base map[string]map[string]any
	for i := range g.Generators {
		sets, err := e.child(&g.Generators[i], nil, depth)
		if err != nil {
			return nil, err
		}
		byKey, err := keyed(g.MergeKeys, sets)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			base = byKey
			continue
		}
		if err := e.overlay(base, byKey); err != nil {
			return nil, err
		}
	}
	var all []map[string]any
	for _, set := range sorted(base) {
		all = append(all, set)
	}
	return all, nil
}

func (e *expansion) overlay(base, over map[string]map[string]any) error {
	for key, set := range base {
		more, there := over[key]
		if !there {
			continue
		}
		if !e.set.Spec.GoTemplate {
			maps.Copy(set, more)
			continue
		}
		if err := mergo.Merge(&set, more, mergo.WithOverride); err != nil {
			return err
		}
		base[key] = set
	}
	return nil
}

func keyed(keys []string, sets []map[string]any) (map[string]map[string]any, error) {
	if len(keys) == 0 {
		return nil, errors.New("it has no mergeKeys")
	}
	byKey := map[string]map[string]any{}
	for _, set := range sets {
		values := map[string]any{}
		for _, key := range keys {
			values[key] = set[key]
		}
		text, err := json.Marshal(values)
		if err != nil {
			return nil, err
		}
		if _, twice := byKey[string(text)]; twice {
			return nil, errors.New("two sets of one generator have the same values for the mergeKeys")
		}
		byKey[string(text)] = set
	}
	return byKey, nil
}
