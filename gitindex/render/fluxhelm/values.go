package fluxhelm

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/strvals"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// given are a release's values: a recipe, as rendering changes what it gets.
type given struct {
	make    func(stand func(unknown) string) (map[string]any, error)
	unknown []unknown
}

// step is one of valuesFrom, resolved.
type step struct {
	ref     valuesRef
	text    string
	unknown *unknown // in place of the text
}

// values are those of spec.valuesFrom in order, and spec.values last, as
// ChartValuesFromReferences of fluxcd/pkg/chartutil v1.27.1 joins them.
func (hr *helmRelease) values(src render.Sources) (*given, error) {
	if err := yaml.Unmarshal(hr.Spec.Values, &map[string]any{}); err != nil {
		return nil, errors.New("spec.values is no map")
	}
	g := &given{}
	var steps []step
	for i, ref := range hr.Spec.ValuesFrom {
		s, err := hr.resolve(src, i, ref)
		if err != nil {
			return nil, err
		}
		if s == nil {
			continue
		}
		if s.unknown != nil {
			g.unknown = append(g.unknown, *s.unknown)
		}
		steps = append(steps, *s)
	}
	g.make = func(stand func(unknown) string) (map[string]any, error) {
		var own map[string]any // of its own: templates can change what they get
		if err := yaml.Unmarshal(hr.Spec.Values, &own); err != nil {
			return nil, errors.New("spec.values is no map")
		}
		result := map[string]any{}
		for i := range steps {
			var err error
			if result, err = steps[i].join(result, own, stand); err != nil {
				return nil, err
			}
		}
		return loader.MergeMaps(result, own), nil
	}
	return g, nil
}

// resolve finds what one reference gives; nil if it may be missing and is.
func (hr *helmRelease) resolve(src render.Sources, i int, ref valuesRef) (*step, error) {
	if ref.Kind != "ConfigMap" && ref.Kind != "Secret" {
		return nil, fmt.Errorf("spec.valuesFrom has values from a %s", gitindex.Clean(ref.Kind, 40))
	}
	if ref.ValuesKey == "" {
		ref.ValuesKey = "values.yaml"
	}
	at := gitindex.Ref{Kind: ref.Kind, Namespace: hr.Metadata.Namespace, Name: ref.Name}
	text, found, err := declaredValue(src, at, ref.ValuesKey)
	switch {
	case err != nil:
		return nil, err
	case found:
		return &step{ref: ref, text: text}, nil
	case ref.Optional:
		return nil, nil
	case ref.Kind == "Secret" && ref.TargetPath != "":
		u := newUnknown("v", i, at.String(), `[\s\S]*`)
		return &step{ref: ref, unknown: &u}, nil
	}
	needs := &render.NeedsError{What: fmt.Sprintf("%v, key %s", at, gitindex.Clean(ref.ValuesKey, 100)), Why: "Git does not declare it, and the release takes values from it"}
	if ref.Kind == "Secret" {
		needs.Do = "give it a targetPath, so that it is one value"
	}
	return nil, needs
}

// declaredValue is one key of a ConfigMap or Secret that Git declares in plain.
func declaredValue(src render.Sources, at gitindex.Ref, key string) (value string, found bool, err error) {
	raw, err := src.Declared(at)
	if err != nil {
		return "", false, fmt.Errorf("reading %v: %w", at, err)
	}
	if raw == nil {
		return "", false, nil
	}
	var object struct {
		Data       map[string]string `json:"data"`
		StringData map[string]string `json:"stringData"`
	}
	if err := declaredAs(src, at, &object); err != nil {
		return "", false, err
	}
	if at.Kind == "ConfigMap" {
		value, found = object.Data[key]
		return value, found, nil
	}
	if value, found = object.StringData[key]; found {
		return value, true, nil
	}
	if value, found = object.Data[key]; !found {
		return "", false, nil
	}
	plain, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return "", false, fmt.Errorf("%v is not base64 under %s", at, gitindex.Clean(key, 100))
	}
	return string(plain), true, nil
}

// join adds what the step gives. No error holds any of it.
func (s *step) join(result, own map[string]any, stand func(unknown) string) (map[string]any, error) {
	text := s.text
	if s.unknown != nil {
		text = stand(*s.unknown)
	}
	if s.ref.TargetPath != "" {
		result = loader.MergeMaps(result, own)
		if err := setPath(result, s.ref, text); err != nil {
			return nil, fmt.Errorf("the value of %s %s cannot stand at %s", s.ref.Kind,
				gitindex.Clean(s.ref.Name, 100), gitindex.Clean(s.ref.TargetPath, 100))
		}
		return result, nil
	}
	var more map[string]any
	if err := yaml.Unmarshal([]byte(text), &more); err != nil {
		return nil, fmt.Errorf("%s %s does not hold values under %s", s.ref.Kind, gitindex.Clean(s.ref.Name, 100), gitindex.Clean(s.ref.ValuesKey, 100))
	}
	return loader.MergeMaps(result, more), nil
}

// literal escapes what the syntax of --set gives a meaning.
var literal = strings.NewReplacer(`\`, `\\`, `,`, `\,`, `[`, `\[`, `]`, `\]`, `{`, `\{`, `}`, `\}`)

// setPath reads the value as --set does; in quotes, or as a literal, it is text.
func setPath(values map[string]any, ref valuesRef, text string) error {
	if ref.Literal {
		return strvals.ParseIntoString(ref.TargetPath+"="+literal.Replace(text), values)
	}
	for _, quote := range []string{"'", `"`} {
		if strings.HasPrefix(text, quote) && strings.HasSuffix(text, quote) {
			return strvals.ParseIntoString(ref.TargetPath+"="+strings.Trim(text, `'"`), values)
		}
	}
	return strvals.ParseInto(ref.TargetPath+"="+text, values)
}
