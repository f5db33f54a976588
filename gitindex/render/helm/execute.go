package helm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/engine"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// rendering is what one run of the templates gave.
type rendering struct {
	crds []Document
	// templates are the documents by the template's name, as far as Helm would
	// apply them.
	templates map[string][]Document
}

func (r *rendering) documents() []Document {
	var all []Document
	for _, name := range slices.Sorted(maps.Keys(r.templates)) {
		all = append(all, r.templates[name]...)
	}
	return all
}

func (l *loaded) execute(values common.Values, w *world, o render.HelmOptions) (*rendering, error) {
	e := engine.Engine{CustomTemplateFuncs: w.functions()}
	rendered, err := e.RenderWithContext(context.Background(), l.chart, values)
	if err != nil {
		return nil, brief(err)
	}
	size := 0
	out := &rendering{templates: map[string][]Document{}}
	for name, text := range rendered {
		if size += len(text); size > maxOutput {
			return nil, fmt.Errorf("the templates make more than %d MiB", maxOutput>>20)
		}
		if strings.HasSuffix(name, "NOTES.txt") {
			continue
		}
		if showsAddress(text) {
			w.asked[memory] = true
		}
		documents, err := split(text, o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", gitindex.Clean(name, 200), err)
		}
		for i := range documents {
			documents[i].Template, documents[i].Path = name, l.source(name)
		}
		if len(documents) > 0 {
			out.templates[name] = documents
		}
	}
	if !o.SkipCRDs {
		out.crds = l.crds()
	}
	return out, nil
}

// brief keeps the ends of an engine's error: where it began, and what it was.
// Between them stands each template that includes the next.
func brief(err error) error {
	text := []rune(gitindex.Clean(err.Error(), 1<<20))
	if len(text) > 500 {
		text = slices.Concat(text[:200], []rune(" … "), text[len(text)-300:])
	}
	return errors.New(string(text))
}

// crds are the files of the crds directories, which are no templates.
func (l *loaded) crds() []Document {
	var all []Document
	for _, crd := range l.chart.CRDObjects() {
		for _, doc := range render.Documents(crd.File.Data) {
			all = append(all, Document{Template: crd.Filename, Path: l.source(crd.Filename), Text: doc.Text, Bare: true})
		}
	}
	return all
}

// split gives the documents of one rendered file that Helm applies, as it
// splits them itself.
func split(text string, o render.HelmOptions) ([]Document, error) {
	parts := releaseutil.SplitManifests(text)
	keys := slices.Collect(maps.Keys(parts))
	slices.SortFunc(keys, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b) // "manifest-10" is after "manifest-9"
		}
		return strings.Compare(a, b)
	})
	var all []Document
	for _, key := range keys {
		var head releaseutil.SimpleHead
		if !mayBeHook(parts[key]) {
			all = append(all, Document{Text: []byte(parts[key])})
			continue
		}
		if err := yaml.Unmarshal([]byte(parts[key]), &head); err != nil {
			return nil, fmt.Errorf("does not parse as it was rendered: %s", gitindex.Clean(err.Error(), 200))
		}
		hook, applied := hookOf(head, o)
		if applied {
			all = append(all, Document{Text: []byte(parts[key]), Hook: hook})
		}
	}
	return all, nil
}

// Reread says anew, of the text as it is now, whether the document is a hook and
// whether Helm applies it with these options.
func (d Document) Reread(o render.HelmOptions) (Document, bool, error) {
	found, err := split(string(d.Text), o)
	if err != nil {
		return d, false, fmt.Errorf("%s: %w", gitindex.Clean(d.Template, 200), err)
	}
	if len(found) != 1 {
		return d, false, nil
	}
	d.Hook = found[0].Hook
	return d, true, nil
}

// mayBeHook saves the reading of a document that names no hook. A key can only
// be written in other characters with a backslash.
func mayBeHook(text string) bool {
	return strings.Contains(text, releasev1.HookAnnotation) || strings.Contains(text, "\\")
}

// hookOf says whether a document is a hook, and whether Helm ever applies it:
// one with an event that it does not know it leaves out.
func hookOf(head releaseutil.SimpleHead, o render.HelmOptions) (hook, applied bool) {
	if head.Metadata == nil {
		return false, true
	}
	value, hook := head.Metadata.Annotations[releasev1.HookAnnotation]
	if !hook {
		return false, true
	}
	for event := range strings.SplitSeq(value, ",") {
		event = strings.ToLower(strings.TrimSpace(event))
		test := event == "test" || event == "test-success"
		if o.SkipTests && test || !test && !slices.Contains(hookEvents, releasev1.HookEvent(event)) {
			return true, false
		}
	}
	return true, !o.SkipHooks
}

var hookEvents = []releasev1.HookEvent{
	releasev1.HookPreInstall, releasev1.HookPostInstall, releasev1.HookPreDelete, releasev1.HookPostDelete,
	releasev1.HookPreUpgrade, releasev1.HookPostUpgrade, releasev1.HookPreRollback, releasev1.HookPostRollback,
}

// source is the file that a template or CRD stands in.
func (l *loaded) source(name string) string {
	for chart := path.Dir(name); chart != "." && chart != "/"; chart = path.Dir(chart) {
		at, ok := l.places[chart]
		if !ok {
			continue
		}
		if path.Ext(at) == ".tgz" {
			return at
		}
		return path.Join(at, strings.TrimPrefix(name, chart))
	}
	return name
}
