package argocd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/yaml"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
)

// applicationSet is what of an ApplicationSet decides about its Applications.
// Strategy, syncPolicy.applicationsSync and preservedFields do not.
type applicationSet struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		GoTemplate        bool            `json:"goTemplate"`
		GoTemplateOptions []string        `json:"goTemplateOptions"`
		Generators        []generator     `json:"generators"`
		Template          json.RawMessage `json:"template"`
		TemplatePatch     *string         `json:"templatePatch"`
		SyncPolicy        *struct {
			PreserveResourcesOnDeletion bool `json:"preserveResourcesOnDeletion"`
		} `json:"syncPolicy"`
	} `json:"spec"`
}

// template is an ApplicationSet's, or a generator's, which goes before.
type template struct {
	Metadata struct {
		Name        string            `json:"name,omitempty"`
		Namespace   string            `json:"namespace,omitempty"`
		Labels      map[string]string `json:"labels,omitempty"`
		Annotations map[string]string `json:"annotations,omitempty"`
		Finalizers  []string          `json:"finalizers,omitempty"`
	} `json:"metadata"`
	Spec Spec `json:"spec"`
}

// What one ApplicationSet may make.
const (
	maxApplications = 10_000
	maxTemplate     = 4 << 20 // bytes of one value
)

// finalizer is what an Application of a set is given unless it has one.
const finalizer = "resources-finalizer.argocd.argoproj.io"

// Expand gives the Applications that the ApplicationSet controller makes of the
// ApplicationSet that opened the unit: with the template's labels, annotations
// and finalizers and the set's namespace, without the owner reference. What
// only a cluster or a network could tell is a *render.NeedsError.
func Expand(src render.Sources, u render.Unit) (render.Output, error) {
	var set applicationSet
	if err := json.Unmarshal(u.Opener, &set); err != nil {
		return render.Output{}, fmt.Errorf("reading the ApplicationSet: %w", err)
	}
	if set.APIVersion != apiVersion || set.Kind != "ApplicationSet" {
		return render.Output{}, fmt.Errorf("the unit's opener is no ApplicationSet of %s but %s of %s", apiVersion,
			gitindex.Clean(set.Kind, 60), gitindex.Clean(set.APIVersion, 60))
	}
	out, err := expand(src, u, &set)
	if err != nil {
		return render.Output{}, fmt.Errorf("the ApplicationSet %s: %w", gitindex.Clean(Instance(set.Namespace, set.Name), 200), err)
	}
	return out, nil
}

// expand works in two worlds where a template asks for the order of a map,
// which Go does not keep: what then differs is refused.
func expand(src render.Sources, u render.Unit, set *applicationSet) (render.Output, error) {
	e := newExpansion(src, set, false)
	apps, err := e.applications()
	if err != nil {
		return render.Output{}, err
	}
	if e.asked {
		again, err := newExpansion(src, set, true).applications()
		if err != nil {
			return render.Output{}, err
		}
		if !alike(apps, again) {
			return render.Output{}, fmt.Errorf("a template takes the keys or values of a map as they come: %w", render.ErrUnstable)
		}
	}
	out := render.Output{Level: gitindex.Rendered, Namespace: set.Namespace, Problems: e.problems}
	return out, e.objects(&out, apps, u.Path)
}

func alike(a, b []application) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i].text, b[i].text) {
			return false
		}
	}
	return true
}

// expansion is one working out of a set.
type expansion struct {
	src      render.Sources
	set      *applicationSet
	problems []gitindex.Problem
	flip     bool // the order of maps
	asked    bool // whether it counts
	made     int  // sets of parameters
}

func newExpansion(src render.Sources, set *applicationSet, flip bool) *expansion {
	return &expansion{src: src, set: set, flip: flip}
}

// application is one that the set makes.
type application struct {
	name string
	text []byte
}

func (e *expansion) applications() ([]application, error) {
	base, err := readTemplate(e.set.Spec.Template)
	if err != nil {
		return nil, err
	}
	var all []application
	for i := range e.set.Spec.Generators {
		results, err := e.transform(&e.set.Spec.Generators[i], base, nil, 0)
		if err != nil {
			return nil, fmt.Errorf("generator %d: %w", i+1, err)
		}
		for _, r := range results {
			for _, p := range r.params {
				app, err := e.application(r.template, p)
				if err != nil {
					return nil, fmt.Errorf("generator %d: %w", i+1, err)
				}
				if all = append(all, app); len(all) > maxApplications {
					return nil, fmt.Errorf("it makes more than %d Applications", maxApplications)
				}
			}
		}
	}
	return all, nil
}

// readTemplate goes through the type, so that what it does not know is dropped
// and what is zero is left out, as by the controller.
func readTemplate(raw json.RawMessage) (map[string]any, error) {
	var t template
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &t); err != nil {
			return nil, fmt.Errorf("reading the template: %w", err)
		}
	}
	return asMap(t)
}

func asMap(v any) (map[string]any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var m map[string]any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	return m, decoder.Decode(&m)
}

// application fills the template with one set of parameters. Without any the
// controller leaves it as it is.
func (e *expansion) application(template map[string]any, params map[string]any) (application, error) {
	filled := template
	if len(params) > 0 {
		v, err := e.replace(template, params)
		if err != nil {
			return application{}, err
		}
		filled = v.(map[string]any)
	}
	var app Application
	if err := convert(filled, &app); err != nil {
		return application{}, fmt.Errorf("the filled template: %w", err)
	}
	app.APIVersion, app.Kind = "", ""
	keep := e.set.Spec.SyncPolicy != nil && e.set.Spec.SyncPolicy.PreserveResourcesOnDeletion
	if len(params) > 0 && !keep && len(app.Finalizers) == 0 {
		app.Finalizers = []string{finalizer}
	}
	if e.set.Spec.TemplatePatch != nil {
		if err := e.patch(&app, params); err != nil {
			return application{}, fmt.Errorf("templatePatch: %w", err)
		}
	}
	app.Namespace = e.set.Namespace
	return app.written()
}

func convert(from map[string]any, into any) error {
	text, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// patch is a strategic merge, with the tags of Application. The project stays:
// applicationset/controllers/template/patch.go.
func (e *expansion) patch(app *Application, params map[string]any) error {
	filled, err := e.fill(*e.set.Spec.TemplatePatch, params)
	if err != nil {
		return err
	}
	patch, err := yaml.YAMLToJSON([]byte(filled))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(patch, &Application{}); err != nil {
		return err
	}
	now, err := json.Marshal(app)
	if err != nil {
		return err
	}
	patched, err := strategicpatch.StrategicMergePatch(now, patch, Application{})
	if err != nil {
		return err
	}
	project := app.Spec.Project
	*app = Application{}
	if err := json.Unmarshal(patched, app); err != nil {
		return err
	}
	app.Spec.Project = project
	return nil
}

// written is the Application as the controller creates it. Of the metadata it
// takes labels, annotations and finalizers.
func (a *Application) written() (application, error) {
	a.Spec.normalize()
	metadata := map[string]any{"name": a.Name, "namespace": a.Namespace}
	if a.Namespace == "" {
		delete(metadata, "namespace")
	}
	if len(a.Labels) > 0 {
		metadata["labels"] = a.Labels
	}
	if len(a.Annotations) > 0 {
		metadata["annotations"] = a.Annotations
	}
	if len(a.Finalizers) > 0 {
		metadata["finalizers"] = a.Finalizers
	}
	object := map[string]any{"apiVersion": apiVersion, "kind": "Application", "metadata": metadata, "spec": a.Spec}
	if len(a.Operation) > 0 && string(a.Operation) != "null" {
		object["operation"] = a.Operation
	}
	text, err := json.Marshal(object)
	return application{name: a.Name, text: text}, err
}

// normalize is util/argo/argo.go, NormalizeApplicationSpec: options that say
// nothing are left out.
func (s *Spec) normalize() {
	if s.Project == "" {
		s.Project = "default"
	}
	if p := s.SyncPolicy; p != nil && p.Automated == nil && len(p.SyncOptions) == 0 && p.Retry == nil && p.ManagedNamespaceMetadata == nil {
		s.SyncPolicy = nil
	}
	for i := range s.Sources {
		s.Sources[i].normalize()
	}
	if len(s.Sources) == 0 && s.Source != nil {
		s.Source.normalize()
	}
}

func (s *Source) normalize() {
	if s.Kustomize != nil && s.Kustomize.zero() {
		s.Kustomize = nil
	}
	if s.Helm != nil {
		if string(s.Helm.ValuesObject) == "null" {
			s.Helm.ValuesObject = nil
		}
		if s.Helm.zero() {
			s.Helm = nil
		}
	}
	if d := s.Directory; d != nil && !d.Recurse && d.Jsonnet.IsZero() && !d.DisableExtensionFilter && d.Exclude == "" && d.Include == "" {
		s.Directory = nil
	}
}

// zero is Argo CD's IsZero, which does not look at every option.
func (k *Kustomize) zero() bool {
	return k.NamePrefix == "" && k.NameSuffix == "" && k.Version == "" && k.Namespace == "" && len(k.Images) == 0 &&
		len(k.Replicas) == 0 && len(k.CommonLabels) == 0 && len(k.CommonAnnotations) == 0 && len(k.Patches) == 0 &&
		len(k.Components) == 0 && k.KubeVersion == "" && len(k.APIVersions) == 0 && !k.IgnoreMissingComponents
}

func (h *Helm) zero() bool {
	return h.Version == "" && h.ReleaseName == "" && len(h.ValueFiles) == 0 && len(h.Parameters) == 0 &&
		len(h.FileParameters) == 0 && h.Values == "" && len(h.ValuesObject) == 0 && !h.PassCredentials &&
		!h.IgnoreMissingValueFiles && !h.SkipCrds && !h.SkipTests && !h.SkipSchemaValidation &&
		h.KubeVersion == "" && len(h.APIVersions) == 0 && h.Namespace == ""
}

// objects reads what was made. Two Applications of one name, or one without a
// name, are not created: they are problems, and the others stand.
func (e *expansion) objects(out *render.Output, apps []application, path string) error {
	count := map[string]int{}
	for _, a := range apps {
		count[a.name]++
	}
	said := map[string]bool{}
	for _, a := range apps {
		if count[a.name] > 1 || a.name == "" {
			if !said[a.name] {
				out.Problems = append(out.Problems, e.problem(path, a.name, count[a.name]))
			}
			said[a.name] = true
			continue
		}
		found, problems := render.Read(a.text, render.Limits{})
		if len(problems) > 0 || len(found) != 1 {
			return errors.New("an Application that it makes cannot be read")
		}
		found[0].Path, found[0].Line, found[0].End = path, 0, 0
		out.Objects = append(out.Objects, found[0])
	}
	return nil
}

func (e *expansion) problem(path, name string, count int) gitindex.Problem {
	set := gitindex.Clean(Instance(e.set.Namespace, e.set.Name), 200)
	if name == "" {
		return gitindex.Problem{Path: path, Message: fmt.Sprintf("the ApplicationSet %s makes an Application without a name", set)}
	}
	return gitindex.Problem{Path: path, Message: fmt.Sprintf("the ApplicationSet %s makes %d Applications of the name %s: Argo CD creates none of them",
		set, count, gitindex.Clean(name, 100))}
}
