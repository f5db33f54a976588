package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/policy/engine"
	"github.com/gitward/gitward/policy/gatekeeper"
)

// suiteEvaluator is who evaluates the templates of suites.
func suiteEvaluator() gatekeeper.Evaluator { return engine.Judge() }

// runSuites runs all of Gatekeeper's suites below a directory. The problems are
// fields that no suite has. tell is told what begins.
func runSuites(ctx context.Context, fsys fs.FS, limit time.Duration, tell func(string)) ([]gatekeeper.CaseResult, []gitindex.Problem, error) {
	var out []gatekeeper.CaseResult
	var problems []gitindex.Problem
	err := fs.WalkDir(fsys, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || path.Ext(name) != ".yaml" && path.Ext(name) != ".yml" {
			return err
		}
		suite, err := suiteIn(fsys, name)
		switch {
		case err != nil:
			out = append(out, gatekeeper.CaseResult{Suite: name, Cause: err})
		case suite != nil:
			tell(name)
			out = append(out, suite.Run(ctx, fsys, telling{suiteEvaluator(), limit, name, tell})...)
			for _, field := range suite.Ignored {
				problems = append(problems, gitindex.Problem{Path: name, Message: "a suite has no field " + gitindex.Clean(field, 100)})
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return out, problems, fmt.Errorf("running the suites: %w", err)
	}
	return out, problems, nil
}

// suiteIn reads a suite; nil is a file that holds something else.
func suiteIn(fsys fs.FS, name string) (*gatekeeper.Suite, error) {
	text, err := fs.ReadFile(fsys, name)
	if err != nil || !strings.Contains(string(text), gatekeeper.SuiteGroup) {
		return nil, err
	}
	suite, err := gatekeeper.ReadSuite(fsys, name)
	if errors.Is(err, gatekeeper.ErrNoSuite) {
		return nil, nil
	}
	return suite, err
}

// telling is an evaluator that says what it is asked, and has a limit.
type telling struct {
	gatekeeper.Evaluator
	limit time.Duration
	suite string
	tell  func(string)
}

func (e telling) Violations(ctx context.Context, q gatekeeper.Evaluation) ([]string, error) {
	e.tell(fmt.Sprintf("of %s that asks %s/%s (%s:%d)", e.suite, q.Constraint.Kind, q.Constraint.Name, q.Template.File, q.Template.Line))
	ctx, cancel := context.WithTimeout(ctx, e.limit)
	defer cancel()
	return e.Evaluator.Violations(ctx, q)
}
