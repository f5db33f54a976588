package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/policy"
	"github.com/gitward/gitward/policy/worker"
)

// longest is the processor time in which a directory must compile. All of them are
// compiled in each child: one that takes long would keep the others' changes from
// coming into force.
const longest = 10 * time.Second

// try has a directory stand trial: it compiles, alone and in time, under the
// built-ins that are for policies, its own tests pass, and it bears with the
// requests that came lately.
func (c *Controller) try(ctx context.Context, place Place, files policy.Files) (loaded worker.Loaded, problems []gitindex.Problem, err error) {
	config := c.Worker
	config.Children, config.Tests = 1, true
	panel, err := worker.Start(config, []worker.Bundle{{Name: place.String(), Files: files}})
	if err != nil {
		return worker.Loaded{}, nil, err
	}
	defer panel.Close()
	loaded = panel.Loaded[0]
	problems = loaded.Problems
	if kinds := panel.Kinds(); len(kinds) > 0 && c.Inventory != nil {
		if text := c.Inventory(kinds); len(text) <= c.mostInventory() {
			panel.Stock(text)
		}
	}
	if loaded.Compiling > longest {
		problems = append(problems, gitindex.Problem{Path: place.Path, Message: fmt.Sprintf("compiling takes %v, and may take %v", loaded.Compiling.Round(time.Millisecond), longest)})
	}
	for _, t := range loaded.Failed {
		why := "it fails"
		if t.Error != "" {
			why = gitindex.Clean(t.Error, 200)
		}
		problems = append(problems, gitindex.Problem{Path: t.File, Line: t.Line, Message: fmt.Sprintf("the test %s does not pass: %s", t.Name, why)})
	}
	if len(problems) == 0 && len(loaded.Policies) == 0 {
		problems = []gitindex.Problem{{Path: ".", Message: "no rule here is named deny, violation or warn, and there is no constraint: these policies would say nothing"}}
	}
	if len(problems) == 0 {
		problems = c.replay(ctx, place, panel)
	}
	return loaded, problems, nil
}
