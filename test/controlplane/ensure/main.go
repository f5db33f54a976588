// Command ensure has the control plane of the tests ready and prints where it
// is. `make test` runs it first: go test hides what a test tells while it
// runs, and a build of some minutes should not look like a hang.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/gitward/gitward/test/controlplane"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	found, err := controlplane.Ensure(ctx, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(found.Dir)
}
