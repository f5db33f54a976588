package flux

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
)

// rule is one of spec.ignore, ready to match.
type rule struct {
	paths                                 []string
	group, version, kind, name, namespace *regexp.Regexp
	labels, annotations                   labels.Selector
}

// ignoreRules are the places at which Flux sends what is live already.
func (k *kustomization) ignoreRules() ([]rule, error) {
	var rules []rule
	for i, spec := range k.Spec.Ignore {
		r, err := compile(spec)
		if err != nil {
			return nil, fmt.Errorf("spec.ignore[%d]: %w", i, err)
		}
		rules = append(rules, r)
	}
	return rules, nil
}

func compile(spec ignoreRule) (r rule, err error) {
	r.paths = spec.Paths
	t := spec.Target
	if t == nil {
		return r, nil
	}
	for _, part := range []struct {
		text string
		into **regexp.Regexp
	}{{t.Group, &r.group}, {t.Version, &r.version}, {t.Kind, &r.kind}, {t.Name, &r.name}, {t.Namespace, &r.namespace}} {
		if part.text == "" {
			continue
		}
		if *part.into, err = regexp.Compile("^(?:" + part.text + ")$"); err != nil {
			return r, err
		}
	}
	if t.LabelSelector != "" {
		if r.labels, err = labels.Parse(t.LabelSelector); err != nil {
			return r, err
		}
	}
	if t.AnnotationSelector != "" {
		r.annotations, err = labels.Parse(t.AnnotationSelector)
	}
	return r, err
}

func (r rule) matches(u *unstructured.Unstructured) bool {
	gvk := u.GroupVersionKind()
	for _, part := range []struct {
		pattern *regexp.Regexp
		text    string
	}{{r.group, gvk.Group}, {r.version, gvk.Version}, {r.kind, gvk.Kind}, {r.name, u.GetName()}, {r.namespace, u.GetNamespace()}} {
		if part.pattern != nil && !part.pattern.MatchString(part.text) {
			return false
		}
	}
	return (r.labels == nil || r.labels.Matches(labels.Set(u.GetLabels()))) &&
		(r.annotations == nil || r.annotations.Matches(labels.Set(u.GetAnnotations())))
}

// live are the anchored paths of an object that the rules name.
func live(rules []rule, u *unstructured.Unstructured) (paths []string) {
	for _, r := range rules {
		if !r.matches(u) {
			continue
		}
		for _, pointer := range r.paths {
			if steps, ok := follow(u.Object, pointer); ok {
				paths = append(paths, anchored(u.Object, steps)...)
			}
		}
	}
	return paths
}

// follow reads a JSON pointer (RFC 6901). Below what the object does not have,
// every part is a field's name.
func follow(object any, pointer string) (steps []any, ok bool) {
	if !strings.HasPrefix(pointer, "/") || len(pointer) > 1000 {
		return nil, false
	}
	at := object
	for _, part := range strings.Split(pointer[1:], "/") {
		part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		var step any = part
		if _, isList := at.([]any); isList {
			n, err := strconv.Atoi(part)
			if err != nil {
				return nil, false
			}
			step = n
		}
		steps = append(steps, step)
		at, _ = dig(at, []any{step})
	}
	return steps, true
}
