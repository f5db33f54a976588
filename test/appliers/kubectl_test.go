package appliers

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"k8s.io/kubectl/pkg/cmd/apply"
	"k8s.io/kubectl/pkg/cmd/auth"
	"k8s.io/kubectl/pkg/cmd/delete"
	"k8s.io/kubectl/pkg/cmd/diff"
	"k8s.io/kubectl/pkg/cmd/label"
	"k8s.io/kubectl/pkg/cmd/patch"
	"k8s.io/kubectl/pkg/cmd/replace"
	"k8s.io/kubectl/pkg/cmd/rollout"
	"k8s.io/kubectl/pkg/cmd/scale"
	"k8s.io/kubectl/pkg/cmd/set"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"

	"github.com/gitward/gitward/test/controlplane"
)

// exit is kubectl's end with an error.
type exit struct {
	message string
	code    int
}

func init() {
	cmdutil.BehaviorOnFatal(func(message string, code int) { panic(exit{message, code}) })
}

// kubectl runs kubectl's own command in process, and returns what it printed.
// An error is what kubectl itself would have printed last, or its exit code.
func (a *actor) kubectl(args ...string) (out string, err error) {
	var stdout, stderr bytes.Buffer
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(exit)
			if !ok {
				panic(r)
			}
			out = stdout.String()
			err = fmt.Errorf("kubectl %s: exit %d: %s%s", strings.Join(args, " "), e.code, e.message, stderr.String())
		}
	}()
	root := a.kubectlCommand(genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: &stdout, ErrOut: &stderr})
	root.SetArgs(args)
	if err := root.Execute(); err != nil {
		return stdout.String(), err
	}
	if strings.Contains(stderr.String(), "error") {
		return stdout.String(), errors.New(stderr.String())
	}
	return stdout.String(), nil
}

// kubectlCommand is kubectl with the commands that change something.
func (a *actor) kubectlCommand(streams genericiooptions.IOStreams) *cobra.Command {
	flags := a.flags(a.program + "/v1.37.2 (linux/amd64) kubernetes/0000000")
	factory := cmdutil.NewFactory(flags)
	root := &cobra.Command{Use: "kubectl", SilenceErrors: true, SilenceUsage: true}
	flags.AddFlags(root.PersistentFlags())
	root.AddCommand(apply.NewCmdApply("kubectl", factory, streams), replace.NewCmdReplace(factory, streams), diff.NewCmdDiff(factory, streams),
		set.NewCmdSet(factory, streams), scale.NewCmdScale(factory, streams), label.NewCmdLabel(factory, streams),
		rollout.NewCmdRollout("kubectl", factory, streams), auth.NewCmdAuth(factory, streams), delete.NewCmdDelete(factory, streams),
		patch.NewCmdPatch(factory, streams))
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	return root
}

// flags are how kubectl and helm find the API server.
func (a *actor) flags(agent string) *genericclioptions.ConfigFlags {
	file := a.lab.plane.Kubeconfig(controlplane.Admin)
	flags := genericclioptions.NewConfigFlags(false)
	flags.KubeConfig = &file
	return flags.WithWrapConfigFn(func(c *rest.Config) *rest.Config { return a.dress(rest.CopyConfig(c), agent) })
}
