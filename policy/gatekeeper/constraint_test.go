package gatekeeper_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/gitward/gitward/policy/gatekeeper"
)

func tidy(t testing.TB) *gatekeeper.Template {
	template, err := gatekeeper.ReadTemplate("policies/tidy.yaml", 1, []byte(frame(oneRule)))
	if err != nil {
		t.Fatal(err)
	}
	return template
}

// constrain is a Constraint with this spec, in YAML's flow style.
func constrain(spec string) string {
	return "apiVersion: constraints.gatekeeper.sh/v1beta1\nkind: Tidy\nmetadata: {name: rooms}\nspec: " + spec + "\n"
}

func TestConstraint(t *testing.T) {
	c, err := tidy(t).Constraint("policies/rooms.yaml", 3, []byte(constrain("{parameters: {rooms: [kitchen], floors: 2}}")))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"rooms": []any{"kitchen"}, "floors": int64(2), "broom": "new"}
	if !reflect.DeepEqual(c.Parameters, want) {
		t.Errorf("parameters are %v, want %v", c.Parameters, want)
	}
	if c.Kind != "Tidy" || c.Name != "rooms" || c.File != "policies/rooms.yaml" || c.Line != 3 {
		t.Errorf("got %+v", c)
	}
	if c, err = tidy(t).Constraint("a", 1, []byte(constrain("{}"))); err != nil || len(c.Parameters) != 0 || c.Parameters == nil {
		t.Errorf("without parameters: %+v, %v", c, err)
	}
}

// A refusal names the file, the line, the Constraint and what is wrong with it.
func TestConstraintRefuses(t *testing.T) {
	swap := func(old, new string) string {
		return strings.Replace(constrain("{parameters: {rooms: []}}"), old, new, 1)
	}
	for _, test := range []struct {
		name, text, want string
		schema           bool
	}{
		{"no YAML", "a: [", "rooms.yaml:4: ", false},
		{"another kind", swap("Tidy", "Neat"), "Neat rooms: kind Neat is not Tidy", false},
		{"another group", swap("constraints.", "other."), "unsupported group", false},
		{"another version", swap("v1beta1", "v1"), "unsupported version", false},
		{"no name", swap("{name: rooms}", "{}"), "invalid name", false},
		{"a long name", swap("rooms", strings.Repeat("r", 64)), "metadata.name", true},
		{"a parameter of another type", constrain("{parameters: {rooms: kitchen}}"), "spec.parameters.rooms", true},
		{"a parameter out of range", constrain("{parameters: {rooms: [], floors: 0}}"), "spec.parameters.floors", true},
		{"a parameter that is missing", constrain("{parameters: {}}"), "spec.parameters.rooms", true},
		{"a parameter that is none", constrain("{parameters: {rooms: [], windows: 3}}"), "unknown fields: [spec.parameters.windows]", false},
		{"a field that is none", constrain("{enforcmentAction: warn}"), "unknown fields: [spec.enforcmentAction]", false},
		{"a match that is none", constrain("{match: {kind: [Pod]}}"), "unknown fields: [spec.match.kind]", false},
		{"a selector that is none", constrain("{match: {labelSelector: {matchExpressions: [{key: a, operator: Like}]}}}"), "operator", false},
		{"a namespaceSelector that is none", constrain("{match: {namespaceSelector: {matchLabels: {a: '!'}}}}"), "matchLabels", false},
		{"a source that is none", constrain("{match: {source: Made}}"), "spec.match.source", true},
		{"a glob in the middle", constrain("{match: {namespaces: [a*b]}}"), "spec.match.namespaces", true},
		{"an action that is none", constrain("{enforcementAction: deyn}"), `"deyn" is not within the supported list`, false},
		{"no points", constrain("{enforcementAction: scoped}"), "spec.scopedEnforcementActions must be defined", false},
		{"a point that is none", constrain("{enforcementAction: scoped, scopedEnforcementActions: [{action: deny, enforcementPoints: [{name: here}]}]}"), "unrecognized enforcement points", false},
		{"a scoped action that is none", constrain("{enforcementAction: scoped, scopedEnforcementActions: [{action: deyn, enforcementPoints: [{name: '*'}]}]}"), "[deyn] is not within", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := tidy(t).Constraint("policies/rooms.yaml", 4, []byte(test.text))
			if err == nil {
				t.Fatalf("read %+v", got)
			}
			if text := err.Error(); !strings.HasPrefix(text, "reading policies/rooms.yaml:4: ") || !strings.Contains(text, test.want) {
				t.Errorf("got %q, want %q in it", text, test.want)
			}
			if errors.Is(err, gatekeeper.ErrSchema) != test.schema {
				t.Errorf("by the schema: %v, want %v: %v", !test.schema, test.schema, err)
			}
		})
	}
}

func TestActions(t *testing.T) {
	for _, test := range []struct {
		spec                string
		admission, scan, ci string
	}{
		{"{}", "deny", "deny", "deny"},
		{"{enforcementAction: ''}", "deny", "deny", "deny"},
		{"{enforcementAction: warn}", "warn", "warn", "warn"},
		{"{enforcementAction: dryrun}", "dryrun", "dryrun", "dryrun"},
		{"{scopedEnforcementActions: [{action: warn, enforcementPoints: [{name: '*'}]}]}", "deny", "deny", "deny"}, // only counts with scoped
		{"{enforcementAction: scoped, scopedEnforcementActions: [{action: warn, enforcementPoints: [{name: '*'}]}]}", "warn", "warn", "warn"},
		{"{enforcementAction: scoped, scopedEnforcementActions: [{action: warn, enforcementPoints: [{name: validation.gatekeeper.sh}]}, {action: dryrun, enforcementPoints: [{name: audit.gatekeeper.sh}]}]}", "warn", "dryrun", ""},
		{"{enforcementAction: scoped, scopedEnforcementActions: [{action: dryrun, enforcementPoints: [{name: '*'}]}, {action: deny, enforcementPoints: [{name: gator.gatekeeper.sh}, {name: vap.k8s.io}]}]}", "dryrun", "dryrun", "deny dryrun"},
		{"{enforcementAction: scoped, scopedEnforcementActions: []}", "", "", ""},
	} {
		c, err := tidy(t).Constraint("f", 1, []byte(constrain(test.spec)))
		if err != nil {
			t.Errorf("%s: %v", test.spec, err)
			continue
		}
		for point, want := range map[gatekeeper.Point]string{gatekeeper.Admission: test.admission, gatekeeper.Scan: test.scan, gatekeeper.CI: test.ci} {
			if got := strings.Join(c.Actions(point), " "); got != want {
				t.Errorf("%s: at %s %q, want %q", test.spec, point, got, want)
			}
		}
	}
}

func FuzzConstraint(f *testing.F) {
	for _, spec := range []string{"{}", "{match: {kinds: [{apiGroups: ['*'], kinds: [Pod]}]}}", "{enforcementAction: scoped}", "{parameters: {rooms: 1}}", "null"} {
		f.Add([]byte(constrain(spec)))
	}
	template := tidy(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := template.Constraint("f.yaml", 1, raw)
		if (err == nil) != (c != nil) {
			t.Fatalf("%v, %v", c, err)
		}
		if err == nil && (c.Name == "" || c.Parameters == nil || c.Action == "") {
			t.Errorf("read %+v", c)
		}
	})
}
