package gatekeeper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	templatesv1 "github.com/open-policy-agent/frameworks/constraint/pkg/apis/templates/v1"
	templatesv1alpha1 "github.com/open-policy-agent/frameworks/constraint/pkg/apis/templates/v1alpha1"
	templatesv1beta1 "github.com/open-policy-agent/frameworks/constraint/pkg/apis/templates/v1beta1"
	"github.com/open-policy-agent/frameworks/constraint/pkg/client"
	regoschema "github.com/open-policy-agent/frameworks/constraint/pkg/client/drivers/rego/schema"
	"github.com/open-policy-agent/frameworks/constraint/pkg/core/templates"
	"github.com/open-policy-agent/gatekeeper/v3/pkg/target"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kjson "sigs.k8s.io/json"
)

// TemplateGroup is the API group of ConstraintTemplates.
const TemplateGroup = "templates.gatekeeper.sh"

// celEngine is the engine whose code is CEL, as Gatekeeper names it
// (pkg/drivers/k8scel/schema).
const celEngine = "K8sNativeValidation"

// Template is a ConstraintTemplate: a policy, and the kind of the Constraints
// that put it to use. It is not changed after it was read.
type Template struct {
	Name string // the lower case of Kind
	Kind string // of its Constraints
	File string
	Line int // of its document in File

	// Modules are the Rego of the policy and of its libraries, as they stand in
	// the template. They are one compile unit: two templates may have the same
	// packages.
	Modules []Module
	// Entry is the rule whose elements are the violations, with a msg each.
	Entry string
	// V1 says that the Modules are Rego v1 (source.version); v0 otherwise.
	V1 bool
	// CEL says that the template holds the policy in CEL too. Gatekeeper prefers
	// that where its CEL driver is enabled; here the Rego is what counts.
	CEL bool
	// Operations are those for which the policy is asked at admission; none
	// means all. See Judges.
	Operations []admissionregistrationv1.OperationType

	crd        *apiextensions.CustomResourceDefinition // of its Constraints
	structural *schema.Structural
}

// ReadTemplate reads a document that is a ConstraintTemplate of version v1,
// v1beta1 or v1alpha1, beginning at a line of a file. Its Rego is parsed and held
// to what Gatekeeper allows of imports and of references to data, but not
// compiled. Every error names file, line and template.
func ReadTemplate(file string, line int, raw []byte) (*Template, error) {
	at := place{file, line}
	object, err := readDocument(raw)
	if err != nil {
		return nil, fmt.Errorf("reading %v: %w", at, err)
	}
	t, err := newTemplate(at, object)
	if err != nil {
		return nil, err
	}
	if err := checkOperations(t.Operations); err != nil {
		return nil, fmt.Errorf("reading %v: ConstraintTemplate %s: %w", at, t.Name, err)
	}
	t.findLines(raw)
	return t, nil
}

// newTemplate reads a template from a document that is parsed already.
func newTemplate(at place, object *unstructured.Unstructured) (*Template, error) {
	t := &Template{Name: object.GetName(), File: at.file, Line: at.line}
	if err := t.fill(object); err != nil {
		return nil, fmt.Errorf("reading %v: ConstraintTemplate %s: %w", at, t.Name, err)
	}
	return t, nil
}

func (t *Template) fill(object *unstructured.Unstructured) error {
	versionless, err := convert(object)
	if err != nil {
		return err
	}
	if t.crd, err = maker().CreateCRD(context.Background(), versionless); err != nil {
		return err
	}
	if t.structural, err = schema.NewStructural(t.crd.Spec.Validation.OpenAPIV3Schema); err != nil {
		return err
	}
	t.Kind = versionless.Spec.CRD.Spec.Names.Kind
	t.Operations = versionless.Spec.Targets[0].Operations
	source, err := t.source(versionless.Spec.Targets[0].Code)
	if err != nil {
		return err
	}
	t.V1 = source.Version == "v1" // anything else is v0, as in Gatekeeper's Rego driver
	return t.load(source)
}

// maker makes the CRDs of Constraints, and refuses a template as Gatekeeper's
// webhook does: by name, kind, target and schema. It has no engine and holds
// nothing.
var maker = sync.OnceValue(func() *client.Client {
	c, err := client.NewClient(client.Targets(&target.K8sValidationTarget{}), client.EnforcementPoints(string(Admission)))
	if err != nil {
		panic(err) // the arguments are constant, and good
	}
	return c
})

// versioned is a ConstraintTemplate of any version.
type versioned interface {
	ToVersionless() (*templates.ConstraintTemplate, error)
}

var versions = map[string]func() versioned{
	"v1":       func() versioned { return &templatesv1.ConstraintTemplate{} },
	"v1beta1":  func() versioned { return &templatesv1beta1.ConstraintTemplate{} },
	"v1alpha1": func() versioned { return &templatesv1alpha1.ConstraintTemplate{} },
}

// convert defaults a template and brings it to the form that has no version.
func convert(object *unstructured.Unstructured) (*templates.ConstraintTemplate, error) {
	gvk := object.GroupVersionKind()
	if gvk.Group != TemplateGroup || gvk.Kind != "ConstraintTemplate" {
		return nil, fmt.Errorf("apiVersion %s and kind %s are not those of a ConstraintTemplate", object.GetAPIVersion(), gvk.Kind)
	}
	make, ok := versions[gvk.Version]
	if !ok {
		return nil, fmt.Errorf("version %s is unknown: Gatekeeper has v1, v1beta1 and v1alpha1", gvk.Version)
	}
	if err := checkSources(object); err != nil {
		return nil, err
	}
	text, err := object.MarshalJSON()
	if err != nil {
		return nil, err
	}
	template := make()
	// As the API server, which tells rego from Rego, and so does checkSources.
	if err := kjson.UnmarshalCaseSensitivePreserveInts(text, template); err != nil {
		return nil, err
	}
	return template.ToVersionless()
}

// checkSources refuses code without a source. The API server would, since the
// CRD requires one; the conversion relies on it.
func checkSources(object *unstructured.Unstructured) error {
	targets, _, _ := unstructured.NestedSlice(object.Object, "spec", "targets")
	for i, target := range targets {
		fields, _ := target.(map[string]any)
		code, _, _ := unstructured.NestedSlice(fields, "code")
		for j, one := range code {
			if fields, _ := one.(map[string]any); fields["source"] == nil {
				return fmt.Errorf("spec.targets[%d].code[%d] has no source", i, j)
			}
		}
	}
	return nil
}

// source picks the Rego among the code of all engines, as Gatekeeper's Rego
// driver does: the first there is.
func (t *Template) source(code []templates.Code) (*regoschema.Source, error) {
	t.CEL = slices.ContainsFunc(code, func(c templates.Code) bool { return c.Engine == celEngine })
	i := slices.IndexFunc(code, func(c templates.Code) bool { return c.Engine == regoschema.Name })
	switch {
	case i >= 0:
		return regoschema.GetSource(code[i])
	case t.CEL:
		return nil, errors.New("it holds its policy in CEL only (engine " + celEngine + "), which is not evaluated here: " +
			"add the same policy with engine " + regoschema.Name + " beside it, or apply it to the cluster as a ValidatingAdmissionPolicy")
	default:
		return nil, errors.New("it holds no Rego: neither spec.targets[0].rego nor code of engine " + regoschema.Name)
	}
}

// checkOperations refuses what Gatekeeper's CRD and webhook refuse: a name that
// is none, and "*" beside others.
func checkOperations(operations []admissionregistrationv1.OperationType) error {
	known := []admissionregistrationv1.OperationType{admissionregistrationv1.OperationAll, admissionregistrationv1.Create,
		admissionregistrationv1.Update, admissionregistrationv1.Delete, admissionregistrationv1.Connect}
	for _, op := range operations {
		if !slices.Contains(known, op) {
			return fmt.Errorf("spec.targets[0].operations: %q is none of %v", op, known)
		}
		if op == admissionregistrationv1.OperationAll && len(operations) > 1 {
			return errors.New(`spec.targets[0].operations: "*" does not go with others`)
		}
	}
	return nil
}

// Judges says whether the template is for an operation. Gatekeeper asks this at
// admission only: a scan and a test judge by every template.
func (t *Template) Judges(operation admissionv1.Operation) bool {
	return len(t.Operations) == 0 ||
		slices.Contains(t.Operations, admissionregistrationv1.OperationAll) ||
		slices.Contains(t.Operations, admissionregistrationv1.OperationType(operation))
}
