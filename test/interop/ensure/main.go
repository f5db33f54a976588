// Command ensure has the programs of one set of interoperability tests ready
// ("flux", "argocd") and prints where they are. The make targets run it first:
// go test hides what a test tells while it runs, and a build of some minutes
// should not look like a hang.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/gitward/gitward/test/interop/tools"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: ensure flux|argocd")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := ensure(ctx, os.Args[1])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func ensure(ctx context.Context, set string) error {
	found := false
	for _, t := range tools.All {
		if t.Set != set {
			continue
		}
		found = true
		path, err := t.Ensure(ctx, os.Stderr)
		if err != nil {
			return err
		}
		fmt.Println(path)
	}
	if !found {
		return fmt.Errorf("no interoperability tests are called %q", set)
	}
	return nil
}
