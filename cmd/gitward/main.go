// Command gitward makes Git the only way into a Kubernetes cluster.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/klog/v2"
)

// version is set by the build.
var version = "v0.0.0-dev"

// found is the error of a command that worked and found something: exit code 1.
// Every other error means that the command could not tell: exit code 2.
var errFound = errors.New("found")

func main() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := rootCommand(filepath.Base(args[0]))
	root.SetArgs(args[1:])
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errFound):
		return 1
	}
	fmt.Fprintln(stderr, "gitward:", err)
	return 2
}

func rootCommand(name string) *cobra.Command {
	use := "gitward"
	if strings.HasPrefix(name, "kubectl-") {
		use = "kubectl " + strings.TrimPrefix(name, "kubectl-")
	}
	root := &cobra.Command{
		Use:   "gitward",
		Short: "Make Git the only way into a Kubernetes cluster",
		Long: `Gitward admits an object to a cluster only if a trusted, signed commit in a
tracked repository declares exactly that object, and says why when it does not.

Exit codes: 0 nothing found, 1 something found (refused, different), 2 could
not tell (usage, network, a bug).`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: use},
	}
	root.AddCommand(serveCommand())
	root.AddCommand(checkCommand(), traceCommand(), diffCommand(), signersCommand(), doctorCommand(), versionCommand())
	root.AddCommand(coverageCommand(), impactCommand(), breakglassCommand(), installCommand(), staticManifestCommand(), demoCommand(), policyCommand())
	root.AddCommand(rendererCommand(), courtCommand())
	root.AddCommand(lockCommand(), fetchCommand())
	return root
}

// logOptions are the flags of a process that logs.
type logOptions struct{ level, format string }

func (o *logOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.level, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&o.format, "log-format", "json", "json or text")
}

// logger is the one sink of our own log and of the libraries'.
func (o *logOptions) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.level)); err != nil {
		return nil, fmt.Errorf("--log-level %q is none of debug, info, warn, error", o.level)
	}
	options := &slog.HandlerOptions{Level: level}
	var h slog.Handler
	switch o.format {
	case "json":
		h = slog.NewJSONHandler(w, options)
	case "text":
		h = slog.NewTextHandler(w, options)
	default:
		return nil, fmt.Errorf("--log-format %q is none of json, text", o.format)
	}
	log := slog.New(h)
	slog.SetDefault(log)
	klog.SetLogger(logr.FromSlogHandler(h))
	return log, nil
}
