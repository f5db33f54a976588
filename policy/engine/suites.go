package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/policy"
	"github.com/gitward/gitward/policy/gatekeeper"
)

// Suites runs the tests that are written for "gator verify", all that lie below
// a directory: by the very code that admission asks, with what a case has for its
// inventory. A case takes at most limit, if it is not zero. A file that means to
// be a suite and cannot be read has failed. The problems are fields of suites
// that nobody knows: they may be misspelt.
func Suites(ctx context.Context, fsys fs.FS, limit time.Duration) ([]gatekeeper.CaseResult, []gitindex.Problem, error) {
	var results []gatekeeper.CaseResult
	var problems []gitindex.Problem
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if ext := path.Ext(name); err != nil || !entry.Type().IsRegular() || ext != ".yaml" && ext != ".yml" {
			return err
		}
		suite, err := suiteIn(fsys, name)
		switch {
		case err != nil:
			results = append(results, gatekeeper.CaseResult{Suite: name, Cause: err})
		case suite != nil:
			suite.Limit = limit
			results = append(results, suite.Run(ctx, fsys, &judge{templates: map[*gatekeeper.Template]*template{}})...)
			for _, field := range suite.Ignored {
				problems = append(problems, gitindex.Problem{Path: name, Message: "a suite has no field " + gitindex.Clean(field, 100)})
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return results, problems, fmt.Errorf("running the suites: %w", err)
	}
	return results, problems, nil
}

// suiteIn reads a suite; nil if the file is something else.
func suiteIn(fsys fs.FS, name string) (*gatekeeper.Suite, error) {
	text, err := fs.ReadFile(fsys, name)
	if err != nil || !bytes.Contains(text, []byte(gatekeeper.SuiteGroup)) {
		return nil, err
	}
	suite, err := gatekeeper.ReadSuite(fsys, name)
	if errors.Is(err, gatekeeper.ErrNoSuite) {
		return nil, nil
	}
	return suite, err
}

// Judge is the engine as suites ask it, for whoever runs them one by one.
func Judge() gatekeeper.Evaluator { return &judge{templates: map[*gatekeeper.Template]*template{}} }

// judge is the engine as suites ask it.
type judge struct {
	templates map[*gatekeeper.Template]*template
}

// Compile compiles a template as for admission.
func (j *judge) Compile(_ context.Context, read *gatekeeper.Template) error {
	t, problems := (&Bundle{}).template(read)
	if len(problems) > 0 {
		return errors.New(problems[0].String())
	}
	j.templates[read] = t
	return nil
}

// Violations asks one constraint, for whatever operation: whether it is for the
// request has been said already.
func (j *judge) Violations(ctx context.Context, e gatekeeper.Evaluation) ([]string, error) {
	t := j.templates[e.Template]
	p, err := t.policy(e.Constraint)
	if err != nil {
		return nil, err
	}
	p.terms = terms{}
	v, err := NewEvaluation(bytes.Join([][]byte{[]byte(`{"request":`), e.Review, []byte("}")}, nil), policy.CI)
	if err != nil {
		return nil, err
	}
	done, err := v.stock(ctx, t.unit.store, e.Inventory)
	if err != nil {
		return nil, err
	}
	defer done()
	if until, ok := ctx.Deadline(); ok {
		began := time.Now()
		v.Budget, v.Clock = max(time.Until(until), 1), func() time.Duration { return time.Since(began) }
	}
	return messages(v.hear(p))
}

// stock gives an evaluation an inventory of its own: it is written, read by the
// same transaction, and taken back.
func (v *Evaluation) stock(ctx context.Context, store storage.Store, inventory map[string]any) (done func(), err error) {
	txn, err := store.NewTransaction(ctx, storage.WriteParams)
	if err != nil {
		return nil, err
	}
	done = func() { store.Abort(ctx, txn) }
	if err := store.Write(ctx, txn, storage.AddOp, storage.Path{"inventory"}, inventory); err != nil {
		done()
		return nil, fmt.Errorf("taking the inventory: %w", err)
	}
	v.options = append(v.options, rego.EvalTransaction(txn))
	return done, nil
}

// messages are the violations as Gatekeeper counts them: two that differ neither
// in message nor in details are one. That an evaluation failed is one too, since
// admission refuses for it.
func messages(found []policy.Finding) ([]string, error) {
	var out []string
	seen := map[string]bool{}
	for _, f := range found {
		details, err := json.Marshal(f.Details)
		if err != nil {
			return nil, err
		}
		key := f.Message + "\x00" + string(details)
		switch {
		case f.Kind == policy.Overrun:
			return nil, errors.New(f.Message)
		case seen[key]:
		case f.Kind == policy.Erred:
			out = append(out, fmt.Sprintf("%s (%s:%d)", f.Message, f.File, f.Line))
		default:
			out = append(out, f.Message)
		}
		seen[key] = true
	}
	return out, nil
}

// inventoried is data with an inventory: for Gatekeeper there always is one.
func inventoried(data map[string]any) map[string]any {
	out := map[string]any{"inventory": map[string]any{}}
	for key, value := range data {
		out[key] = value
	}
	return out
}

var _ gatekeeper.Evaluator = (*judge)(nil)
