package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/policy"
)

// said is what a policy's METADATA says to Gitward, below custom.gitward.
type said struct {
	Action *policy.Action  `json:"action"`
	Points []policy.Point  `json:"points"`
	Match  json.RawMessage `json:"match"` // as a Gatekeeper constraint's spec.match
	// Inventory are the kinds that data.inventory must have, where the rules do not
	// name them.
	Inventory []string `json:"inventory"`
}

// terms are where and about what somebody is asked, and what follows.
type terms struct {
	// points are where, and what follows there; nil is everywhere, and a denial.
	points map[policy.Point]policy.Action
	// concerns narrows what it is asked about; nil is everything.
	concerns func(*subject) (bool, error)
	match    json.RawMessage // that concerns was made of
	wants    []string        // kinds of the inventory
}

// annotate takes in what is written above a policy's package and its rules. What
// stands above a rule is that rule's: the others of the package are not milder
// for it.
func (p *Policy) annotate(set *ast.AnnotationSet) []gitindex.Problem {
	if set == nil {
		return nil
	}
	for i := range p.rules {
		r := &p.rules[i]
		defined := p.unit.compiler.GetRulesExact(r.path)
		for _, at := range defined {
			for _, entry := range set.Chain(at) {
				if entry.Annotations == nil {
					continue
				}
				if err := p.note(r, at, entry.Annotations, len(defined)); err != nil {
					return []gitindex.Problem{{Path: entry.Annotations.Location.File, Line: entry.Annotations.Location.Row, Message: err.Error()}}
				}
			}
		}
		if r.points == nil {
			r.points = p.points
		}
	}
	p.points = union(p.rules)
	p.stocked()
	return nil
}

// stocked takes in which kinds the inventory must have: what stands above the
// package is instead of what its rules name, and what stands above a rule is
// besides.
func (p *Policy) stocked() {
	if len(p.wants) > 0 {
		p.inventory = p.wants
	}
	for i := range p.rules {
		p.inventory = append(slices.Clone(p.inventory), p.rules[i].wants...)
	}
	slices.Sort(p.inventory)
	p.inventory = slices.Compact(p.inventory)
}

// union are the points at which any rule is asked, each with the hardest that
// follows.
func union(rules []rule) map[policy.Point]policy.Action {
	out := map[policy.Point]policy.Action{}
	for i := range rules {
		if rules[i].points == nil {
			return nil
		}
		for point, action := range rules[i].points {
			if have, ok := out[point]; !ok || action < have {
				out[point] = action
			}
		}
	}
	return out
}

var errSeveral = errors.New("several rules have this name and are asked as one: custom.gitward goes above the package, or has \"scope: document\"")

// note takes in one annotation that is about a definition of a rule.
func (p *Policy) note(r *rule, at *ast.Rule, a *ast.Annotations, defined int) error {
	alone := a.Scope == "rule"
	switch {
	case a.Scope == "package" || a.Scope == "subpackages":
		p.Title = or(p.Title, a.Title)
		return p.take(a.Custom)
	case alone && a.Title != "":
		r.titles[place(at.Loc())] = a.Title
	case a.Title != "" && r.title == "":
		r.title = a.Title
	}
	if alone && defined > 1 && (a.Custom["gitward"] != nil || a.Custom["matchers"] != nil) {
		return errSeveral
	}
	return r.take(a.Custom)
}

// place is what tells a rule from others of its name.
func place(at *ast.Location) string { return fmt.Sprintf("%s:%d", at.File, at.Row) }

// take reads what is custom, each of it where nothing nearer has said it.
func (t *terms) take(custom map[string]any) error {
	// As konstraint has it: they are the match of the Constraint that it makes of
	// the policy, if it is to make one.
	if matchers, ok := custom["matchers"]; ok && t.concerns == nil && custom["skipConstraint"] != true {
		text, err := json.Marshal(matchers)
		if err != nil {
			return fmt.Errorf("custom.matchers: %w", err)
		}
		if err := t.narrow(text); err != nil {
			return err
		}
	}
	own, ok := custom["gitward"]
	if !ok || t.points != nil {
		return nil
	}
	text, err := json.Marshal(own)
	if err != nil {
		return fmt.Errorf("custom.gitward: %w", err)
	}
	var s said
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return fmt.Errorf("custom.gitward: %w", err)
	}
	if len(s.Match) > 0 {
		if err := t.narrow(s.Match); err != nil {
			return err
		}
	}
	if len(s.Inventory) > 0 {
		t.wants = s.Inventory
	}
	return t.place(s)
}

// place says where one is asked. Who says nothing of it leaves it as it is.
func (t *terms) place(s said) error {
	if s.Action == nil && len(s.Points) == 0 {
		return nil
	}
	points := s.Points
	if len(points) == 0 {
		points = policy.Points
	}
	t.points = map[policy.Point]policy.Action{}
	for _, point := range points {
		if !slices.Contains(policy.Points, point) {
			return fmt.Errorf("custom.gitward.points: want some of admission, scan and ci, not %.40q", point)
		}
		t.points[point] = policy.Deny
		if s.Action != nil {
			t.points[point] = *s.Action
		}
	}
	return nil
}
