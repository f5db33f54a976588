package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"sync"

	"github.com/spf13/cobra"

	"github.com/gitward/gitward/gitindex/render/worker"
)

// rendererWord is the hidden command that a child process runs.
const rendererWord = "render-units"

// renderers renders units in children of this program. They are one pool for
// the whole process.
var renderers = sync.OnceValue(func() *worker.Pool {
	return &worker.Pool{Command: []string{ownProgram(), rendererWord}, Memory: rendererMemory()}
})

// ownProgram is this program's file. Without it nothing is rendered, and each
// unit says why.
func ownProgram() string {
	name, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return name
}

// rendererCommand is a child of serve and of the commands that read Git: see
// gitindex/render/worker.
func rendererCommand() *cobra.Command {
	return &cobra.Command{
		Use:    rendererWord + " BYTES",
		Short:  "Render units for a parent process",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			memory, err := strconv.Atoi(args[0])
			if err != nil || memory < 64<<20 {
				return fmt.Errorf("%s: %q is no number of bytes of at least 64 MiB", rendererWord, args[0])
			}
			log.SetOutput(io.Discard) // Helm's library warns of values by telling them
			return worker.Serve(cmd.InOrStdin(), cmd.OutOrStdout(), memory)
		},
	}
}
