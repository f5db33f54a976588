package gatekeeper_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/gitward/gitward/policy/gatekeeper"
)

// frame is a template around one target.
func frame(target string) string {
	return `apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: tidy}
spec:
  crd:
    spec:
      names: {kind: Tidy}
      validation:
        openAPIV3Schema:
          type: object
          required: [rooms]
          properties:
            rooms: {type: array, items: {type: string}}
            broom: {type: string, default: new}
            floors: {type: integer, minimum: 1}
  targets:
` + target
}

const (
	oneRule = `  - target: admission.k8s.gatekeeper.sh
    rego: |
      package tidy

      violation[{"msg": "untidy"}] { input.review.object.untidy }
`
	celOnly = `  - target: admission.k8s.gatekeeper.sh
    code:
    - engine: K8sNativeValidation
      source: {validations: [{expression: "true"}]}
`
)

// regoTarget is a target with this Rego, each line of it in its block.
func regoTarget(text string) string {
	return "  - target: admission.k8s.gatekeeper.sh\n    rego: |\n      " + strings.ReplaceAll(text, "\n", "\n      ") + "\n"
}

func TestReadTemplate(t *testing.T) {
	for _, test := range []struct {
		name  string
		text  string
		entry string
		check func(*gatekeeper.Template) bool
	}{
		{"v1", frame(oneRule), "data.tidy.violation", func(t *gatekeeper.Template) bool {
			return t.Name == "tidy" && t.Kind == "Tidy" && !t.V1 && !t.CEL && len(t.Modules) == 1
		}},
		{"v1beta1", strings.Replace(frame(oneRule), "/v1", "/v1beta1", 1), "data.tidy.violation", nil},
		{"v1alpha1", strings.Replace(frame(oneRule), "/v1", "/v1alpha1", 1), "data.tidy.violation", nil},
		{"JSON", `{"apiVersion": "templates.gatekeeper.sh/v1", "kind": "ConstraintTemplate", "metadata": {"name": "tidy"}, "spec": {"crd": {"spec": {"names": {"kind": "Tidy"}}},
			"targets": [{"target": "admission.k8s.gatekeeper.sh", "rego": "package tidy\nviolation[{\"msg\": \"no\"}] { true }"}]}}`, "data.tidy.violation",
			func(t *gatekeeper.Template) bool { return t.Modules[0].Line == 0 }},
		{"a package in two parts", frame(regoTarget("package house.rooms\nviolation[x] { x := {\"msg\": \"a\"} }")), "data.house.rooms.violation", nil},
		{"a package that is no identifier", frame(regoTarget("package house[\"the-rooms\"]\nviolation[x] { x := {\"msg\": \"a\"} }")), `data.house["the-rooms"].violation`, nil},
		{"the inventory", frame(regoTarget("package tidy\nviolation[x] { data.inventory.cluster; x := {\"msg\": \"a\"} }")), "data.tidy.violation", nil},
		{"both engines", frame(celOnly + "    - engine: Rego\n      source: {rego: \"package tidy\\nviolation[x] { x := 1 }\"}\n"), "data.tidy.violation",
			func(t *gatekeeper.Template) bool { return t.CEL }},
		{"Rego v1", frame("  - target: admission.k8s.gatekeeper.sh\n    code:\n    - engine: Rego\n      source: {version: v1, rego: \"package tidy\\nviolation contains 1 if true\"}\n"), "data.tidy.violation",
			func(t *gatekeeper.Template) bool { return t.V1 }},
		{"the older field counts", frame("  - target: admission.k8s.gatekeeper.sh\n    code:\n    - engine: Rego\n      source: {rego: \"no Rego\"}\n    rego: \"package old\\nviolation[1]\"\n"), "data.old.violation", nil},
		{"a package where libraries are", frame(regoTarget("# first\npackage lib.tidy # moved\nviolation[x] { x := {\"msg\": \"a\"} }")), "data.template.violation",
			func(t *gatekeeper.Template) bool {
				return t.Modules[0].Text == "# first\npackage template # moved\nviolation[x] { x := {\"msg\": \"a\"} }\n"
			}},
		{"a package where the inventory is", frame(regoTarget("package inventory\nviolation[x] { x := {\"msg\": \"a\"} }")), "data.template.violation", nil},
		{"operations", frame(oneRule + "    operations: [CREATE, DELETE]\n"), "data.tidy.violation", func(t *gatekeeper.Template) bool {
			return t.Judges("CREATE") && t.Judges("DELETE") && !t.Judges("UPDATE")
		}},
		{"all operations", frame(oneRule + "    operations: [\"*\"]\n"), "data.tidy.violation", func(t *gatekeeper.Template) bool { return t.Judges("CONNECT") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := gatekeeper.ReadTemplate("policies/tidy.yaml", 1, []byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			if got.Entry != test.entry {
				t.Errorf("entry %s, want %s", got.Entry, test.entry)
			}
			if test.check != nil && !test.check(got) {
				t.Errorf("got %+v", got)
			}
			if err := (plainOPA{}).Compile(context.Background(), got); err != nil {
				t.Error(err)
			}
		})
	}
}

// A refusal names the file, the line, the template and what is wrong with it.
func TestReadTemplateRefuses(t *testing.T) {
	for _, test := range []struct {
		name, text, want string
	}{
		{"no YAML", "a: [", "reading policies/tidy.yaml:7: "},
		{"a key twice", "kind: A\nkind: B\n", `"kind" already set`},
		{"something else", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: tidy}\n", "ConstraintTemplate tidy: apiVersion v1 and kind ConfigMap"},
		{"an unknown version", strings.Replace(frame(oneRule), "/v1", "/v2", 1), "version v2 is unknown"},
		{"a name unlike its kind", strings.Replace(frame(oneRule), "name: tidy", "name: neat", 1), `ConstraintTemplate neat: invalid ConstraintTemplate: the ConstraintTemplate's name "neat"`},
		{"no kind", strings.Replace(frame(oneRule), "kind: Tidy", "kind: ''", 1), "does not specify CRD Kind"},
		{"a kind that is none", strings.ReplaceAll(strings.ReplaceAll(frame(oneRule), "Tidy", "Ti dy"), "name: tidy", "name: ti dy"), "ti dy"},
		{"no target", strings.Replace(frame(""), "targets:", "targets: []", 1), "exactly one target"},
		{"two targets", frame(oneRule + oneRule), "exactly one target"},
		{"another target", strings.Replace(frame(oneRule), "admission.k8s", "mail", 1), `target "mail.gatekeeper.sh" not recognized`},
		{"a schema that is none", strings.Replace(frame(oneRule), "type: integer", "type: whole", 1), "whole"},
		{"a default of another type", strings.Replace(frame(oneRule), "default: new", "default: 3", 1), "default"},
		{"nothing in it", frame("  - target: admission.k8s.gatekeeper.sh\n"), "holds no Rego"},
		{"CEL", frame(celOnly), "in CEL only (engine K8sNativeValidation)"},
		{"code without source", frame("  - target: admission.k8s.gatekeeper.sh\n    code: [{engine: Rego}]\n"), "spec.targets[0].code[0] has no source"},
		{"code without Rego", frame("  - target: admission.k8s.gatekeeper.sh\n    code: [{engine: Rego, source: {}}]\n"), "missing required field"},
		{"code of another type", frame("  - target: admission.k8s.gatekeeper.sh\n    code: [{engine: Rego, source: {rego: 3}}]\n"), "while extracting Rego source"},
		{"no Rego in Rego", frame(regoTarget("package tidy\nviolation[")), "policies/tidy.yaml/tidy.rego:3"},
		{"only a comment", frame(regoTarget("# to do")), "policies/tidy.yaml/tidy.rego"},
		{"v1 in v0", frame(regoTarget("package tidy\nviolation contains 1 if true")), "tidy.rego:2"},
		{"no violation", frame(regoTarget("package tidy\ndeny[x] { x := 1 }")), "no rule named violation"},
		{"data of others", frame(regoTarget("package tidy\nviolation[x] { x := data.secrets.x }")), "disallowed ref data.secrets.x"},
		{"all data", frame(regoTarget("package tidy\nviolation[x] { x := data[\"secrets\"] }")), "disallowed ref"},
		{"an import of others", frame(regoTarget("package tidy\nimport data.secrets\nviolation[x] { x := secrets.x }")), "bad import"},
		{"an import of input", frame(regoTarget("package tidy\nimport input.review\nviolation[x] { x := review }")), "cannot import input"},
		{"a library elsewhere", frame(oneRule + "    libs: [\"package elsewhere\\na = 1\"]\n"), "data.elsewhere not found in lib prefixes"},
		{"a library that is none", frame(oneRule + "    libs: [\"package lib.\"]\n"), "tidy.lib0.rego:1"},
		{"an operation that is none", frame(oneRule + "    operations: [CREATED]\n"), `"CREATED" is none of`},
		{"all operations and one", frame(oneRule + "    operations: [\"*\", CREATE]\n"), `"*" does not go with others`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := gatekeeper.ReadTemplate("policies/tidy.yaml", 7, []byte(test.text))
			if err == nil {
				t.Fatalf("read %+v", got)
			}
			if text := err.Error(); !strings.HasPrefix(text, "reading policies/tidy.yaml:7: ") || !strings.Contains(text, test.want) {
				t.Errorf("got %q, want %q in it", text, test.want)
			}
		})
	}
}

// A compiler speaks of lines of a module; those of the file are found again.
func TestModuleLine(t *testing.T) {
	raw, err := os.ReadFile("testdata/library/hosts/template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(raw), "\n")
	const before = 10 // as if it were not the first document of its file
	template, err := gatekeeper.ReadTemplate("template.yaml", 1+before, raw)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"package hostonce", "package lib.hosts"} {
		if got := strings.TrimSpace(lines[template.Modules[i].Line-before-1]); got != want {
			t.Errorf("%s begins at line %d with %q", template.Modules[i].Name, template.Modules[i].Line, got)
		}
	}
}

func FuzzReadTemplate(f *testing.F) {
	for _, target := range []string{oneRule, celOnly, regoTarget("package lib.x\nviolation[1]"), oneRule + oneRule, "  - code: [{engine: Rego}]\n    rego: a\n"} {
		f.Add([]byte(frame(target)))
	}
	f.Add([]byte("apiVersion: templates.gatekeeper.sh/v1\nkind: ConstraintTemplate\nSpeC:\n  tArgets:\n  - Code: [{engine: Rego}]\n    rego: A"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		template, err := gatekeeper.ReadTemplate("f.yaml", 1, raw)
		if (err == nil) != (template != nil) {
			t.Fatalf("%v, %v", template, err)
		}
		if err == nil && (template.Name == "" || template.Entry == "" || len(template.Modules) == 0) {
			t.Errorf("read %+v", template)
		}
	})
}
