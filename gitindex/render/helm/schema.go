package helm

import (
	"bytes"
	"fmt"

	"github.com/santhosh-tekuri/jsonschema/v6"
	chart "helm.sh/helm/v4/pkg/chart/v2"

	"github.com/gitward/gitward/gitindex"
)

// validate holds the values against the schemas of the chart and of those it
// depends on. Helm's own validation would fetch what a schema refers to.
func validate(c *chart.Chart, values map[string]any) error {
	if c.Schema != nil {
		if err := validateOne(c.Schema, values); err != nil {
			return fmt.Errorf("the values do not fit values.schema.json of the chart %s: %s",
				gitindex.Clean(c.Name(), 60), gitindex.Clean(err.Error(), 300))
		}
	}
	for _, d := range c.Dependencies() {
		raw, ok := values[d.Name()]
		if !ok || raw == nil {
			continue
		}
		below, ok := raw.(map[string]any)
		if !ok {
			return fmt.Errorf("the values for the chart %s are no map", gitindex.Clean(d.Name(), 60))
		}
		if err := validate(d, below); err != nil {
			return err
		}
	}
	return nil
}

// schemaURL is the name under which Helm reads a schema; relative references
// in it count from here.
const schemaURL = "file:///values.schema.json"

func validateOne(schema []byte, values map[string]any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the schema cannot be used: %v", r)
		}
	}()
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return err
	}
	elsewhere := &elsewhere{}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(elsewhere)
	if err := compiler.AddResource(schemaURL, parsed); err != nil {
		return err
	}
	compiled, err := compiler.Compile(schemaURL)
	if err != nil {
		if elsewhere.asked {
			return nil
		}
		return err
	}
	return compiled.Validate(values)
}

// elsewhere stands for all that a schema refers to outside the chart: it allows
// anything. A schema only ever refuses, so what is rendered in spite of one is
// at worst what Helm would not have applied.
type elsewhere struct{ asked bool }

func (e *elsewhere) Load(string) (any, error) {
	e.asked = true
	return true, nil
}
