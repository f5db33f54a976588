package gatekeeper_test

import (
	"context"
	"encoding/json"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/gitward/gitward/policy/gatekeeper"
	templatesv1 "github.com/open-policy-agent/frameworks/constraint/pkg/apis/templates/v1"
	"github.com/open-policy-agent/frameworks/constraint/pkg/client"
	"github.com/open-policy-agent/frameworks/constraint/pkg/client/drivers/rego"
	"github.com/open-policy-agent/gatekeeper/v3/pkg/mutation/types"
	"github.com/open-policy-agent/gatekeeper/v3/pkg/target"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// seenByGatekeeper are the inputs and inventories that the cases of a suite have
// in Gatekeeper's own client: its template's Rego is replaced by one that says
// what it sees. A constraint that cannot be matched has none.
func seenByGatekeeper(t *testing.T, fsys fs.FS, suite *gatekeeper.Suite) []any {
	var seen []any
	dir := path.Dir(suite.File)
	for _, test := range suite.Tests {
		if test.Skip || test.Invalid {
			continue
		}
		for _, c := range test.Cases {
			if c.Skip {
				continue
			}
			engine := engineOf(t, fsys, path.Join(dir, test.Template), path.Join(dir, test.Constraint))
			for _, name := range c.Inventory {
				for _, object := range documents(t, fsys, path.Join(dir, name)) {
					if _, err := engine.AddData(context.Background(), object); err != nil {
						t.Fatal(err)
					}
				}
			}
			responses, err := engine.Review(context.Background(), asked(t, documents(t, fsys, path.Join(dir, c.Object))[0]))
			if err != nil {
				t.Fatal(err)
			}
			for _, result := range responses.Results() {
				var one any
				if json.Unmarshal([]byte(result.Msg), &one) == nil {
					seen = append(seen, one)
				}
			}
		}
	}
	return seen
}

func engineOf(t *testing.T, fsys fs.FS, template, constraint string) *client.Client {
	driver, err := rego.New()
	if err != nil {
		t.Fatal(err)
	}
	engine, err := client.NewClient(client.Targets(&target.K8sValidationTarget{}), client.Driver(driver), client.EnforcementPoints(string(gatekeeper.CI)))
	if err != nil {
		t.Fatal(err)
	}
	fields := documents(t, fsys, template)[0].Object
	fields["apiVersion"] = templatesv1.SchemeGroupVersion.String()
	fields["spec"].(map[string]any)["targets"] = []any{map[string]any{"target": target.Name,
		"rego": "package echo\nviolation[{\"msg\": json.marshal([input, data.inventory])}]"}}
	versioned := &templatesv1.ConstraintTemplate{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(fields, versioned); err != nil {
		t.Fatal(err)
	}
	versionless, err := versioned.ToVersionless()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := engine.AddTemplate(context.Background(), versionless); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.AddConstraint(context.Background(), documents(t, fsys, constraint)[0]); err != nil {
		t.Fatal(err)
	}
	return engine
}

// asked is an object as `gator` has it reviewed.
func asked(t *testing.T, object *unstructured.Unstructured) any {
	if object.GetKind() != "AdmissionReview" {
		return target.AugmentedUnstructured{Object: *object, Source: types.SourceTypeOriginal}
	}
	review := &admissionv1.AdmissionReview{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, review); err != nil {
		t.Fatal(err)
	}
	return target.AugmentedReview{AdmissionRequest: review.Request, Source: types.SourceTypeOriginal}
}

// documents reads a file of testdata, none of which means different things to
// different readers of YAML.
func documents(t *testing.T, fsys fs.FS, name string) []*unstructured.Unstructured {
	raw, err := fs.ReadFile(fsys, name)
	if err != nil {
		t.Fatal(err)
	}
	var objects []*unstructured.Unstructured
	for _, document := range strings.Split(string(raw), "---\n") {
		text, err := yaml.YAMLToJSON([]byte(document))
		if err != nil {
			t.Fatal(err)
		}
		object := &unstructured.Unstructured{}
		if string(text) == "null" {
			continue
		}
		if err := object.UnmarshalJSON(text); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, object)
	}
	return objects
}
