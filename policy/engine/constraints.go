package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/policy"
	"github.com/gitward/gitward/policy/gatekeeper"
)

// template is a ConstraintTemplate, compiled. It is a unit of its own: two
// templates may have the same packages.
type template struct {
	*gatekeeper.Template
	unit      *unit
	rule      rule
	inventory []string
}

// constraints makes policies of Gatekeeper's objects: each constraint is one.
func (b *Bundle) constraints() ([]*Policy, []gitindex.Problem) {
	templates, problems := b.templates()
	var out []*Policy
	for _, d := range b.documents {
		if d.template {
			continue
		}
		t := templates[d.kind]
		if t == nil {
			problems = append(problems, d.problem(fmt.Errorf("there is no ConstraintTemplate for the kind %s here", gitindex.Clean(d.kind, 80))))
			continue
		}
		c, err := t.Constraint(d.file, d.line, d.text)
		if err != nil {
			problems = append(problems, d.problem(err))
			continue
		}
		p, err := t.policy(c)
		if err != nil {
			problems = append(problems, d.problem(err))
			continue
		}
		out = append(out, p)
	}
	return out, problems
}

func (d *document) problem(err error) gitindex.Problem {
	why := strings.TrimPrefix(err.Error(), fmt.Sprintf("reading %s:%d: ", d.file, d.line))
	return gitindex.Problem{Path: d.file, Line: d.line, Message: gitindex.Clean(why, 500)}
}

// templates reads and compiles the templates, by the kind of their constraints.
func (b *Bundle) templates() (map[string]*template, []gitindex.Problem) {
	out, from := map[string]*template{}, map[string]document{}
	var problems []gitindex.Problem
	for _, d := range b.documents {
		if !d.template {
			continue
		}
		read, err := gatekeeper.ReadTemplate(d.file, d.line, d.text)
		if err != nil {
			problems = append(problems, d.problem(err))
			continue
		}
		if first, ok := from[read.Kind]; ok {
			if string(first.text) != string(d.text) {
				problems = append(problems, d.problem(fmt.Errorf("the kind %s has another template in %s", read.Kind, first.file)))
			}
			continue
		}
		from[read.Kind] = d
		t, trouble := b.template(read)
		if problems = append(problems, trouble...); t != nil {
			out[read.Kind] = t
		}
	}
	return out, problems
}

// template compiles one.
func (b *Bundle) template(read *gatekeeper.Template) (*template, []gitindex.Problem) {
	modules, version, err := templateModules(read)
	if err != nil {
		return nil, explain(read.File, err)
	}
	u, err := compile(modules, version, inventoried(b.data))
	if err != nil {
		return nil, explain(read.File, err)
	}
	path, err := ast.ParseRef(read.Entry)
	if err != nil {
		return nil, []gitindex.Problem{{Path: read.File, Line: read.Line, Message: err.Error()}}
	}
	t := &template{Template: read, unit: u, rule: rule{name: "violation", path: path, file: read.File, line: read.Line}}
	p := &Policy{Name: read.Kind, unit: u, rules: []rule{t.rule}}
	if err := p.prepare(); err != nil {
		return nil, []gitindex.Problem{{Path: read.File, Line: read.Line, Message: err.Error()}}
	}
	t.rule = p.rules[0]
	t.inventory = slices.Sorted(maps.Keys(u.readings(p.all()).inventory))
	return t, nil
}

// points are Gatekeeper's names for ours.
var points = map[policy.Point]gatekeeper.Point{policy.Admission: gatekeeper.Admission, policy.Scan: gatekeeper.Scan, policy.CI: gatekeeper.CI}

func (t *template) policy(c *gatekeeper.Constraint) (*Policy, error) {
	parameters, err := ast.InterfaceToValue(c.Parameters)
	if err != nil {
		return nil, fmt.Errorf("reading the parameters: %w", err)
	}
	p := &Policy{Name: c.Kind + "/" + c.Name, File: c.File, Line: c.Line, unit: t.unit, shape: gatekeeperShape, rules: []rule{t.rule},
		terms: terms{points: map[policy.Point]policy.Action{}}, parameters: ast.NewTerm(parameters), inventory: t.inventory}
	for own, theirs := range points {
		if actions := c.Actions(theirs); len(actions) > 0 {
			var a policy.Action
			if err := a.UnmarshalText([]byte(actions[0])); err != nil {
				return nil, err
			}
			p.points[own] = a
		}
	}
	p.concerns, p.match = func(s *subject) (bool, error) { return c.Matches(s.review()) }, c.Match()
	p.judges = func(operation string) bool {
		return len(t.Operations) == 0 && content(operation) || len(t.Operations) > 0 && t.Judges(admissionv1.Operation(operation))
	}
	return p, nil
}

// content reports the operations that bring content in: those for which
// Gatekeeper's webhook is registered unless one asks for more.
func content(operation string) bool { return operation == "CREATE" || operation == "UPDATE" }

var errNoMatch = errors.New("custom.gitward.match and custom.matchers are as a Gatekeeper constraint's spec.match")

// narrow has somebody asked only about what a match says.
func (t *terms) narrow(match []byte) error {
	c, err := gatekeeper.ReadMatch(match)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoMatch, err)
	}
	t.concerns, t.match = func(s *subject) (bool, error) { return c.Matches(s.review()) }, match
	return nil
}

// review is what a match sees of the request, read once.
func (s *subject) review() *gatekeeper.Review {
	if s.about != nil {
		return s.about
	}
	r := &gatekeeper.Review{Operation: admissionv1.Operation(s.operation), Object: s.metadata("object"), OldObject: s.metadata("oldObject")}
	if name, ok := s.at("namespace", "name").(ast.String); ok {
		r.Namespace = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: string(name), Labels: texts(s.at("namespace", "labels"))}}
	}
	s.about = r
	return r
}

// metadata is one of the request's objects as a match sees it. One that is of no
// kind, such as what CONNECT sends, has the request's.
func (s *subject) metadata(which string) *metav1.PartialObjectMetadata {
	if _, ok := s.at("request", which).(ast.Object); !ok {
		return nil
	}
	get := func(path ...string) string {
		text, _ := s.at(append([]string{"request", which}, path...)...).(ast.String)
		return string(text)
	}
	return &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: get("apiVersion"), Kind: get("kind")},
		ObjectMeta: metav1.ObjectMeta{Name: get("metadata", "name"), GenerateName: get("metadata", "generateName"), Namespace: get("metadata", "namespace"),
			Labels: texts(s.at("request", which, "metadata", "labels")), Annotations: texts(s.at("request", which, "metadata", "annotations"))}}
}

func texts(v ast.Value) map[string]string {
	o, ok := v.(ast.Object)
	if !ok || o.Len() == 0 {
		return nil
	}
	out := make(map[string]string, o.Len())
	o.Foreach(func(k, t *ast.Term) {
		key, ok1 := k.Value.(ast.String)
		value, ok2 := t.Value.(ast.String)
		if ok1 && ok2 {
			out[string(key)] = string(value)
		}
	})
	return out
}
