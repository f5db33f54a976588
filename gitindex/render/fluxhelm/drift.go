package fluxhelm

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// liveIn notes in each object what Flux leaves as it is when it corrects drift:
// the JSON pointers of spec.driftDetection.ignore, for the objects that a rule's
// target selects (fluxcd/pkg/ssa v0.76.2, jsondiff).
func (hr *helmRelease) liveIn(objects []render.Object) error {
	if hr.Spec.DriftDetection.Mode != "enabled" {
		return nil
	}
	for _, rule := range hr.Spec.DriftDetection.Ignore {
		match, err := rule.Target.compile()
		if err != nil {
			return fmt.Errorf("spec.driftDetection.ignore: %w", err)
		}
		for i := range objects {
			o := &objects[i]
			if o.Hook || o.Bare {
				continue
			}
			var tree any
			if err := decode(o.JSON, &tree); err != nil {
				return err
			}
			if !match(o, tree, hr.releaseNamespace()) {
				continue
			}
			for _, pointer := range rule.Paths {
				o.Live = append(o.Live, anchored(pointer, tree))
			}
			slices.Sort(o.Live)
			o.Live = slices.Compact(o.Live)
		}
	}
	return nil
}

// compile gives the test that a target stands for: each part is a regular
// expression for the whole, and an empty one lets everything pass.
func (s *selector) compile() (func(o *render.Object, tree any, namespace string) bool, error) {
	if s == nil {
		return func(*render.Object, any, string) bool { return true }, nil
	}
	var whole []*regexp.Regexp
	for _, text := range []string{s.Group, s.Version, s.Kind, s.Name, s.Namespace} {
		if text == "" {
			text = ".*"
		}
		r, err := regexp.Compile("^(?:" + text + ")$")
		if err != nil {
			return nil, fmt.Errorf("%q is no regular expression", gitindex.Clean(text, 100))
		}
		whole = append(whole, r)
	}
	byLabel, errLabel := labels.Parse(s.LabelSelector)
	byAnnotation, errAnnotation := labels.Parse(s.AnnotationSelector)
	if errLabel != nil || errAnnotation != nil {
		return nil, fmt.Errorf("a selector does not parse")
	}
	return func(o *render.Object, tree any, namespace string) bool {
		if o.Namespace != "" {
			namespace = o.Namespace
		}
		for i, text := range []string{o.Group, o.Version, o.Kind, o.Name, namespace} {
			if !whole[i].MatchString(text) {
				return false
			}
		}
		return byLabel.Matches(texts(tree, "labels")) && byAnnotation.Matches(texts(tree, "annotations"))
	}, nil
}

// texts are the object's labels or annotations.
func texts(tree any, of string) labels.Set {
	object, _ := tree.(map[string]any)
	meta, _ := object["metadata"].(map[string]any)
	all, _ := meta[of].(map[string]any)
	set := labels.Set{}
	for k, v := range all {
		if text, ok := v.(string); ok {
			set[k] = text
		}
	}
	return set
}

// anchored writes a JSON pointer (RFC 6901) as a Gate does. An item of a list is
// named by its name where the object has one there.
func anchored(pointer string, tree any) string {
	var p place
	for step := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		step = strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~")
		list, isList := tree.([]any)
		if i, err := strconv.Atoi(step); isList && err == nil && i >= 0 && i < len(list) {
			p, tree = append(p, item(list, i)), list[i]
			continue
		}
		object, _ := tree.(map[string]any)
		p, tree = append(p, field(step)), object[step]
	}
	return p.String()
}
