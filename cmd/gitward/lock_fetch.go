package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/gitward/gitward/gitindex/controller"
	"github.com/gitward/gitward/gitindex/elsewhere"
)

// fetchWord is the hidden command of the child that speaks to other hosts, and
// of the one that unpacks what they serve: see gitindex/elsewhere.
const fetchWord = "fetch-elsewhere"

func fetchCommand() *cobra.Command {
	return &cobra.Command{
		Use:    fetchWord,
		Short:  "Fetch or unpack one thing for a parent process",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return elsewhere.Serve(cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}

// fetcher has such children of this program.
func fetcher(hosts elsewhere.Hosts) elsewhere.Fetcher {
	return elsewhere.Fetcher{Command: []string{ownProgram(), fetchWord}, Hosts: hosts}
}

// fetching is how a server or a command fetches for the Origins it reads: in
// children, with a cache beside the indexes.
func fetching(stateDir string) controller.Fetching {
	return controller.Fetching{Command: []string{ownProgram(), fetchWord},
		Cache: &elsewhere.Cache{Dir: filepath.Join(stateDir, "elsewhere")},
		Git:   &repositories{dir: filepath.Join(stateDir, "bases")}}
}
