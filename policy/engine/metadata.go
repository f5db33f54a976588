package engine

import (
	"bytes"
	"encoding/json"
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
}

// annotate takes in what is written above a policy's package and its rules.
func (p *Policy) annotate(set *ast.AnnotationSet) []gitindex.Problem {
	if set == nil {
		return nil
	}
	for i := range p.rules {
		r := &p.rules[i]
		for _, at := range p.unit.compiler.GetRulesExact(r.path) {
			for _, entry := range set.Chain(at) {
				a := entry.Annotations
				if a == nil {
					continue
				}
				if a.Title != "" && r.title == "" {
					r.title = a.Title
				}
				if a.Scope == "package" || a.Scope == "subpackages" {
					p.Title = or(p.Title, a.Title)
				}
				if err := p.take(a.Custom); err != nil {
					return []gitindex.Problem{{Path: r.file, Line: a.Location.Row, Message: err.Error()}}
				}
			}
		}
	}
	return nil
}

// take reads custom.gitward, once.
func (p *Policy) take(custom map[string]any) error {
	// As konstraint has it: they are the match of the Constraint that it makes of
	// the policy, if it is to make one.
	if matchers, ok := custom["matchers"]; ok && p.concerns == nil && custom["skipConstraint"] != true {
		text, err := json.Marshal(matchers)
		if err != nil {
			return fmt.Errorf("custom.matchers: %w", err)
		}
		if err := p.narrow(text); err != nil {
			return err
		}
	}
	own, ok := custom["gitward"]
	if !ok || p.points != nil {
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
		if err := p.narrow(s.Match); err != nil {
			return err
		}
	}
	points := s.Points
	if len(points) == 0 {
		points = policy.Points
	}
	p.points = map[policy.Point]policy.Action{}
	for _, point := range points {
		if !slices.Contains(policy.Points, point) {
			return fmt.Errorf("custom.gitward.points: want some of admission, scan and ci, not %.40q", point)
		}
		p.points[point] = policy.Deny
		if s.Action != nil {
			p.points[point] = *s.Action
		}
	}
	return nil
}
