package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/policy"
	"github.com/gitward/gitward/policy/gatekeeper"
)

// background: an evaluation is ended by its own Cancel, which costs no
// goroutine.
var background = context.Background()

// subject is one request as the policies of an engine see it: decoded once, and
// put into each shape once.
type subject struct {
	root      ast.Object // the review
	operation string
	point     policy.Point
	shapes    [3]ast.Value
	about     *gatekeeper.Review
}

func newSubject(input []byte) (*subject, error) {
	v, err := decode(input)
	if err != nil {
		return nil, fmt.Errorf("reading the input: %w", err)
	}
	root, ok := v.(ast.Object)
	if !ok {
		return nil, errJSON
	}
	s := &subject{root: root}
	if op, ok := s.at("request", "operation").(ast.String); ok {
		s.operation = string(op)
	}
	return s, nil
}

// at is the value at a path, or nil.
func (s *subject) at(path ...string) ast.Value {
	var v ast.Value = s.root
	for _, key := range path {
		o, ok := v.(ast.Object)
		if !ok {
			return nil
		}
		t := o.Get(ast.InternedTerm(key))
		if t == nil {
			return nil
		}
		v = t.Value
	}
	return v
}

// judged reports whether a policy is for the subject's operation: what is deleted
// has no content, and who writes for conftest or Gatekeeper speaks of content
// unless he says otherwise. What he says is for admission: of what is there, all
// templates judge.
func (s *subject) judged(p *Policy) bool {
	if p.judges != nil {
		return s.point != policy.Admission || p.judges(s.operation)
	}
	return p.shape == review || content(s.operation)
}

// as is the subject in a shape; nil if the policy is not to be asked.
func (s *subject) as(p *Policy) ast.Value {
	switch {
	case !s.judged(p):
		return nil
	case p.shape == review:
		return s.root
	}
	if s.shapes[p.shape] == nil {
		s.shapes[p.shape] = s.shaped(p.shape)
	}
	v := s.shapes[p.shape]
	if p.shape == gatekeeperShape && v != nil {
		parameters := p.parameters
		if parameters == nil {
			parameters = ast.ObjectTerm()
		}
		with := ast.NewObject(pair("parameters", parameters))
		v.(ast.Object).Foreach(func(k, t *ast.Term) { with.Insert(k, t) })
		return with
	}
	return v
}

func pair(key string, t *ast.Term) [2]*ast.Term { return [2]*ast.Term{ast.InternedTerm(key), t} }

func (s *subject) shaped(sh shape) ast.Value {
	request, ok := s.at("request").(ast.Object)
	if !ok {
		return nil
	}
	out := ast.NewObject()
	if sh == gatekeeperShape {
		out.Insert(ast.InternedTerm("review"), ast.NewTerm(s.asked(request)))
	} else {
		object, ok := s.at("request", "object").(ast.Object)
		if !ok {
			return nil
		}
		// No object says of itself where it came from: what Gitward has not said is
		// not there.
		object.Foreach(func(k, t *ast.Term) {
			if name, ok := k.Value.(ast.String); !ok || !slices.Contains(added, string(name)) {
				out.Insert(k, t)
			}
		})
	}
	for _, key := range added {
		if t := s.root.Get(ast.InternedTerm(key)); t != nil {
			out.Insert(ast.InternedTerm(key), t)
		}
	}
	return out
}

// asked is the request as Gatekeeper shows it: what is deleted is the object, a
// Namespace is in none, and the namespace's own object is there.
func (s *subject) asked(request ast.Object) ast.Object {
	out := ast.NewObject()
	request.Foreach(func(k, t *ast.Term) { out.Insert(k, t) })
	home := ast.ObjectTerm()
	if ns := s.root.Get(ast.InternedTerm("namespace")); ns != nil {
		home = ast.ObjectTerm(pair("metadata", ns))
		out.Insert(ast.InternedTerm("_unstable"), ast.ObjectTerm(pair("namespace", home)))
	}
	out.Insert(ast.InternedTerm("namespaceObject"), home)
	if s.operation == "DELETE" {
		if old := request.Get(ast.InternedTerm("oldObject")); old != nil {
			out.Insert(ast.InternedTerm("object"), old)
		}
	}
	if s.at("request", "kind", "kind") == ast.String("Namespace") && s.at("request", "kind", "group") == ast.String("") {
		out.Insert(ast.InternedTerm("namespace"), ast.InternedTerm(""))
	}
	return out
}

// Engine is the policies of one directory, or of several, ready to be asked. It
// is immutable, and safe for concurrent use.
type Engine struct{ policies []*Policy }

// Policies are what the engine asks, in order.
func (e *Engine) Policies() []*Policy { return e.policies }

// Evaluation is one request before the policies of an engine.
type Evaluation struct {
	subject *subject
	point   policy.Point
	// Budget is what one rule may take by Clock; zero is no bound. It ends what
	// asks whether to go on, which a built-in that is at work does not.
	Budget time.Duration
	Clock  func() time.Duration

	options []rego.EvalOption
}

// NewEvaluation reads an input: the JSON of a policy.Input.
func NewEvaluation(input []byte, point policy.Point) (*Evaluation, error) {
	s, err := newSubject(input)
	if err != nil {
		return nil, err
	}
	s.point = point
	return &Evaluation{subject: s, point: point}, nil
}

// Point is where the policies are asked.
func (v *Evaluation) Point() policy.Point { return v.point }

// Evaluate asks one policy.
func (v *Evaluation) Evaluate(p *Policy) []policy.Finding {
	out := v.hear(p)
	for i := range out {
		out[i].Message, out[i].Fix = gitindex.Clean(out[i].Message, longest), gitindex.Clean(out[i].Fix, longest)
	}
	return out
}

// longest is a text that people read.
const longest = 500

// hear is what a policy says, word by word.
func (v *Evaluation) hear(p *Policy) []policy.Finding {
	in, action, found := v.put(p)
	if in == nil {
		return found
	}
	var out []policy.Finding
	for i := range p.rules {
		out = append(out, v.askOne(p, &p.rules[i], in, action)...)
	}
	return v.excuse(p, in, once(out))
}

// once drops failures that come to several rules from one place.
func once(found []policy.Finding) []policy.Finding {
	same := func(a, b policy.Finding) bool {
		return a.Kind == policy.Erred && b.Kind == policy.Erred && a.File == b.File && a.Line == b.Line && a.Message == b.Message && a.Action == b.Action
	}
	var out []policy.Finding
	for _, f := range found {
		if !slices.ContainsFunc(out, func(have policy.Finding) bool { return same(have, f) }) {
			out = append(out, f)
		}
	}
	return out
}

// askOne asks a rule by its own terms.
func (v *Evaluation) askOne(p *Policy, r *rule, in ast.Value, action policy.Action) []policy.Finding {
	if r.points != nil {
		own, asked := r.points[v.point]
		if !asked {
			return nil
		}
		action = own
	}
	if r.concerns != nil {
		switch concerned, err := r.concerns(v.subject); {
		case err != nil:
			return []policy.Finding{v.failed(p, r, action, err)}
		case !concerned:
			return nil
		}
	}
	return v.ask(p, r, in, action)
}

// put finds what a policy is asked about; nil is nothing.
func (v *Evaluation) put(p *Policy) (ast.Value, policy.Action, []policy.Finding) {
	action, asked := p.points[v.point]
	if p.points != nil && !asked {
		return nil, action, nil
	}
	if p.concerns != nil {
		concerned, err := p.concerns(v.subject)
		if err != nil {
			return nil, action, []policy.Finding{p.erred(action, err)}
		}
		if !concerned {
			return nil, action, nil
		}
	}
	return v.subject.as(p), action, nil
}

// Unasked is what is found in place of a policy that should be asked and is not,
// for it or others took too much before. What it would lead to follows: it has
// not agreed.
func (v *Evaluation) Unasked(p *Policy, why string) []policy.Finding {
	in, action, found := v.put(p)
	if in == nil {
		return found
	}
	f := p.erred(action, errors.New(why))
	f.Kind = policy.Overrun
	return []policy.Finding{f}
}

// Broken is what is found in place of a policy at which the library broke down.
func (v *Evaluation) Broken(p *Policy, why string) []policy.Finding {
	return []policy.Finding{p.erred(p.points[v.point], errors.New("its evaluation broke down: "+why))}
}

func (p *Policy) erred(action policy.Action, err error) policy.Finding {
	return policy.Finding{Policy: p.Name, Title: p.Title, Kind: policy.Erred, Action: action, File: p.File, Line: p.Line, Message: gitindex.Clean(err.Error(), 300)}
}

// ask puts one rule to the question.
func (v *Evaluation) ask(p *Policy, r *rule, in ast.Value, action policy.Action) []policy.Finding {
	if r.warns && action == policy.Deny {
		action = policy.Warn
	}
	var trouble []topdown.Error
	value, err := v.run(r, in, rego.EvalBuiltinErrorList(&trouble))
	if err != nil {
		return []policy.Finding{v.failed(p, r, action, err)}
	}
	found := p.findings(r, value, action)
	if len(found) > 0 {
		v.locate(r, in, found)
	}
	// A built-in that fails is undefined to OPA, and a rule that hangs on it finds
	// nothing: but it has not found the request to be good either. What it did find
	// leads to the same, and says more.
	if len(found) == 0 && len(trouble) > 0 {
		found = append(found, v.failed(p, r, action, &trouble[0]))
	}
	return found
}

// failed is what is found where a rule's evaluation failed.
func (v *Evaluation) failed(p *Policy, r *rule, action policy.Action, err error) policy.Finding {
	f := p.erred(action, err)
	f.Rule, f.File, f.Line = r.name, r.file, r.line
	var at *topdown.Error
	if !errors.As(err, &at) {
		return f
	}
	f.Message = gitindex.Clean(strings.Join(strings.Fields(at.Message), " "), 300)
	if at.Location != nil {
		f.File, f.Line = or(at.Location.File, f.File), at.Location.Row
	}
	if topdown.IsCancel(err) {
		f.Kind, f.Message = policy.Overrun, fmt.Sprintf("it took longer than %v", v.Budget)
	}
	return f
}

// run evaluates a rule; nil is undefined.
func (v *Evaluation) run(r *rule, in ast.Value, more ...rego.EvalOption) (any, error) {
	options := append(append(more, rego.EvalParsedInput(in)), v.options...)
	if v.Budget > 0 {
		cancel := topdown.NewCancel()
		defer v.cancelInTime(cancel)()
		options = append(options, rego.EvalExternalCancel(cancel))
	}
	results, err := r.query.Eval(background, options...)
	if err != nil || len(results) == 0 || len(results[0].Expressions) == 0 {
		return nil, err
	}
	return results[0].Expressions[0].Value, nil
}

// cancelInTime cancels once the clock has gone on by the budget, which on a busy
// machine is later than a timer has it.
func (v *Evaluation) cancelInTime(c topdown.Cancel) (stop func()) {
	began := v.Clock()
	var mu sync.Mutex
	var timer *time.Timer
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(v.Budget, func() {
		mu.Lock()
		defer mu.Unlock()
		if left := v.Budget - (v.Clock() - began); left > 0 {
			timer.Reset(left)
			return
		}
		c.Cancel()
	})
	return func() { timer.Stop() }
}
