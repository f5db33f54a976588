package argocd

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	texttemplate "text/template"

	"github.com/gitward/gitward/gitindex"
)

// replace fills every text in a JSON value, the keys of maps included.
func (e *expansion) replace(value any, params map[string]any) (any, error) {
	switch x := value.(type) {
	case string:
		return e.fill(x, params)
	case []any:
		filled := make([]any, len(x))
		for i := range x {
			var err error
			if filled[i], err = e.replace(x[i], params); err != nil {
				return nil, err
			}
		}
		return filled, nil
	case map[string]any:
		filled := make(map[string]any, len(x))
		for key, value := range sorted(x) {
			v, err := e.replace(value, params)
			if err != nil {
				return nil, err
			}
			name, err := e.fill(key, params)
			if err != nil {
				return nil, err
			}
			filled[name] = v
		}
		return filled, nil
	}
	return value, nil
}

// fill is one text with the parameters in it.
func (e *expansion) fill(text string, params map[string]any) (string, error) {
	if e.set.Spec.GoTemplate {
		return e.execute(text, params, e.set.Spec.GoTemplateOptions)
	}
	return substitute(text, params)
}

var tagged = regexp.MustCompile(`.*{{.*}}.*`)

// substitute puts a parameter that is text in the place of {{its name}}. A tag
// that names none stays.
func substitute(text string, params map[string]any) (string, error) {
	if !tagged.MatchString(text) {
		return text, nil
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "{{")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		tag, after, closed := strings.Cut(rest, "}}")
		if !closed {
			return "", fmt.Errorf("the template %q has a {{ without }}", gitindex.Clean(text, 100))
		}
		if value, ok := params[strings.TrimSpace(tag)].(string); ok && strings.TrimSpace(tag) != "" {
			b.WriteString(value)
		} else {
			b.WriteString("{{" + tag + "}}")
		}
		text = after
	}
}

// missing are the options that text/template knows; it panics at others.
var missing = []string{"missingkey=default", "missingkey=invalid", "missingkey=zero", "missingkey=error"}

// execute runs one text as a Go template.
func (e *expansion) execute(text string, params map[string]any, options []string) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	t := texttemplate.New("").Funcs(e.functions())
	for _, option := range options {
		if !slices.Contains(missing, option) {
			return "", fmt.Errorf("the Go template option %q is not known", gitindex.Clean(option, 60))
		}
		t.Option(option)
	}
	parsed, err := t.Parse(text)
	if err != nil {
		return "", fmt.Errorf("the template does not parse: %s", gitindex.Clean(err.Error(), 300))
	}
	out := &bounded{left: maxTemplate}
	if err := parsed.Execute(out, params); err != nil {
		return "", &templateError{err}
	}
	return out.String(), nil
}

// templateError cuts the text, which may repeat the template, and keeps the
// error's kind.
type templateError struct{ err error }

func (t *templateError) Error() string {
	return "filling a template: " + gitindex.Clean(strings.TrimPrefix(t.err.Error(), "template: "), 300)
}

func (t *templateError) Unwrap() error { return t.err }

// bounded ends a template that writes without end.
type bounded struct {
	bytes.Buffer
	left int
}

func (b *bounded) Write(text []byte) (int, error) {
	if b.left -= len(text); b.left < 0 {
		return 0, errors.New("it writes too much")
	}
	return b.Buffer.Write(text)
}
