package flux

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/fluxcd/pkg/ssa/normalize"
	"github.com/fluxcd/pkg/ssa/utils"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/render"
	"github.com/gitward/gitward/gitindex/render/kustomize"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/yaml"
)

// finisher turns resources that kustomize built into what Flux applies.
type finisher struct {
	k      *kustomization
	vars   variables
	ignore []rule
	files  *files
	built  *kustomize.Built
	src    render.Sources
	keys   render.Keys
	out    render.Output
}

// draft is an object on its way: as it will be, and with a mark where a value is
// open.
type draft struct {
	source        []byte // YAML, as kustomize built it
	plain, marked []byte // YAML
	marks         *marks
	found         []opening
}

func (f *finisher) resource(r *resource.Resource) error {
	was := named{r.GetKind(), r.GetName()}
	d, err := f.decrypted(r)
	if d == nil || err != nil {
		return err
	}
	if err := f.substituted(r, d); err != nil {
		return f.left(was, d, err)
	}
	objects, problems := f.built.Object(d.plain)
	f.out.Problems = append(f.out.Problems, problems...)
	if len(objects) != 1 && len(d.marks.made)+len(d.found) > 0 {
		return nil // the problem was told
	}
	for _, o := range objects {
		if err := f.object(o, d); err != nil {
			if err = f.left(was, d, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// left leaves an object out that depends on what Git does not hold, with the
// reason; any other error ends the unit, as it ends Flux's reconciliation.
func (f *finisher) left(was named, d *draft, err error) error {
	var needs *render.NeedsError
	if !errors.As(err, &needs) {
		return err
	}
	f.problem(was, d.source, needs.Error())
	return nil
}

// named is a resource as it is called before variables change that.
type named struct{ kind, name string }

func (f *finisher) problem(n named, source []byte, message string) {
	where, line := f.built.Place(source)
	f.out.Problems = append(f.out.Problems, gitindex.Problem{Path: where, Line: line,
		Message: gitindex.Clean(n.kind, 60) + " " + gitindex.Clean(n.name, 253) + ": " + message})
}

// decrypted is nil for an encrypted document that may not be taken, which is a
// problem then.
func (f *finisher) decrypted(r *resource.Resource) (*draft, error) {
	text, err := r.AsYAML()
	if err != nil {
		return nil, err
	}
	d := &draft{source: text, plain: text, marked: text, marks: newMarks(text)}
	if !bytes.Contains(text, []byte("\nsops:")) && (f.k.Spec.Decryption == nil || r.GetKind() != "Secret") {
		return d, nil
	}
	object, err := tree(text)
	if err != nil {
		return nil, err
	}
	decrypts, o := f.k.decrypts(object), &opener{marks: d.marks}
	switch {
	case encrypted(object) && decrypts && !f.keys.None():
		if object, err = f.unlocked(r, object, text, o); err != nil {
			f.problem(named{r.GetKind(), r.GetName()}, text, err.Error())
			return nil, nil
		}
	case encrypted(object) && decrypts:
		object = o.decrypt(object)
	case encrypted(object) && f.k.Spec.Decryption == nil:
		f.problem(named{r.GetKind(), r.GetName()}, text, "is encrypted with SOPS, and the Kustomization has no spec.decryption")
		return nil, nil
	case decrypts && r.GetKind() == "Secret" && o.values(object):
	default:
		return d, nil
	}
	d.found = o.found
	if err := rewrite(r, object); err != nil {
		return nil, err
	}
	d.plain, err = r.AsYAML()
	d.marked = d.plain
	return d, err
}

// tree keeps numbers as they are written.
func tree(text []byte) (object map[string]any, err error) {
	raw, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	return object, decoder.Decode(&object)
}

func rewrite(r *resource.Resource, object map[string]any) error {
	raw, err := json.Marshal(object)
	if err != nil {
		return err
	}
	return r.UnmarshalJSON(raw)
}

func (f *finisher) substitutes(r *resource.Resource) bool {
	return f.k.Spec.PostBuild != nil && !f.vars.none() &&
		r.GetLabels()[substituteKey] != disabled && r.GetAnnotations()[substituteKey] != disabled
}

// substituted replaces the variables, where Flux does.
func (f *finisher) substituted(r *resource.Resource, d *draft) error {
	if !f.substitutes(r) {
		return nil
	}
	s, err := f.vars.substitute(string(d.plain), d.marks)
	if err != nil {
		return err
	}
	if d.marked, err = reread(r, s.marked); err != nil {
		return err
	}
	if d.plain = d.marked; s.plain != s.marked {
		d.plain, err = reread(r, s.plain)
	}
	return err
}

// reread takes the text into the resource and out again, as Flux does.
func reread(r *resource.Resource, text string) ([]byte, error) {
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil || r.UnmarshalJSON(raw) != nil { // whose texts may hold values
		return nil, errors.New("spec.postBuild: with its variables replaced it is no object any more")
	}
	return r.AsYAML()
}

// object brings one object into the form in which Flux sends it.
func (f *finisher) object(o render.Object, d *draft) error {
	before := &unstructured.Unstructured{}
	if err := before.UnmarshalJSON(o.JSON); err != nil {
		return err
	}
	found, err := f.openings(d, o.Kind)
	if err != nil {
		return err
	}
	u := before.DeepCopy()
	if len(found) > 0 {
		if err := fits(u); err != nil {
			return err
		}
	}
	if err := normal(u, f.k.Spec.CommonMetadata); err != nil {
		return err
	}
	found = f.k.Spec.CommonMetadata.keeps(found)
	if o.Holes, err = holes(found, before.Object, u.Object); err != nil {
		return err
	}
	if len(o.Holes) > 0 {
		f.out.Level = gitindex.Templated
	}
	o.Live = live(f.ignore, u)
	if o.JSON, err = json.Marshal(u.Object); err != nil {
		return err
	}
	f.out.Objects = append(f.out.Objects, o)
	return nil
}

func (f *finisher) openings(d *draft, kind string) ([]opening, error) {
	marked := f.files.references(d.marked, d.marks)
	if len(d.marks.made) == 0 && len(f.files.marks.made) == 0 {
		return d.found, nil
	}
	var object map[string]any
	if err := yaml.Unmarshal(marked, &object); err != nil {
		return nil, err
	}
	o := openings{marks: []*marks{d.marks, f.files.marks}, kind: kind, found: d.found}
	err := o.search(object, nil)
	return o.found, err
}

// fits reports an open value in a place that takes no text: its type is that of
// a value that Git does not hold.
func fits(u *unstructured.Unstructured) error {
	if !scheme.Scheme.Recognizes(u.GroupVersionKind()) {
		return nil
	}
	if _, err := normalize.FromUnstructured(u.DeepCopy()); err != nil {
		return &render.NeedsError{What: "a value that is not in Git", Why: "the place where it stands takes no text, and its type is not known",
			Do: "give the variable a default: ${NAME:=1}"}
	}
	return nil
}

// keeps are the openings that common metadata does not write over.
func (m metadata) keeps(found []opening) (kept []opening) {
	for _, o := range found {
		written := false
		if len(o.steps) == 3 && o.steps[0] == "metadata" {
			key, _ := o.steps[2].(string)
			_, label := m.Labels[key]
			_, annotation := m.Annotations[key]
			written = o.steps[1] == "labels" && label || o.steps[1] == "annotations" && annotation
		}
		if !written {
			kept = append(kept, o)
		}
	}
	return kept
}

// normal is Flux's round trip through Kubernetes' types, and what it does after.
// The empty creationTimestamp that it sets says nothing and is left out.
func normal(u *unstructured.Unstructured, common metadata) error {
	list := []*unstructured.Unstructured{u}
	if err := normalize.UnstructuredList(list); err != nil {
		return err
	}
	utils.SetCommonMetadata(list, common.Labels, common.Annotations)
	utils.RemoveCABundleFromCRD(u)
	if at, found, _ := unstructured.NestedFieldNoCopy(u.Object, "metadata", "creationTimestamp"); found && at == nil {
		unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	}
	return nil
}
