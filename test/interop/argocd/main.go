// Command argocd is those two of Argo CD's programs that the interoperability
// tests run, each called by its own name: `argocd repo-server …`. Argo CD's own
// main holds eight more, which would take half as much time again to compile.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	controller "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	reposerver "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
)

func main() {
	root := &cobra.Command{Use: "argocd", SilenceUsage: true}
	for name, c := range map[string]*cobra.Command{"application-controller": controller.NewCommand(), "repo-server": reposerver.NewCommand()} {
		c.Use = name
		root.AddCommand(c)
	}
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
