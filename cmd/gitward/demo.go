package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/gitward/gitward/test/controlplane"
)

type demoOptions struct {
	exit      bool
	noCluster bool
}

func demoCommand() *cobra.Command {
	o := demoOptions{}
	c := &cobra.Command{
		Use:   "demo",
		Short: "See it work: a real API server, a signed Git repository, and people who try to get around it",
		Long: `See it work, on this machine, with nothing left behind.

The demo makes a Git repository with signed commits, starts a real etcd and
kube-apiserver (built once from Go modules: some minutes, with progress; then
cached), puts Gitward in front of it, and plays people who deploy through Git
and people who try to go around it. Then it stays, so that you can go on
playing, until Ctrl-C.

Exit codes: 0 all went as told, 1 a scene ended differently, 2 it could not be
played.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return playDemo(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.BoolVar(&o.exit, "exit", false, "end after the last scene, with an exit code for CI")
	f.BoolVar(&o.noCluster, "no-cluster", false, "put the same requests straight to the webhook, without an API server: seconds")
	return c
}

// demo is one performance.
type demo struct {
	screen *screen
	dir    string
	stage  *stage // the repository and its people
	guard  *guard // the gitward process
	door   door   // where requests go
	plane  *controlplane.ControlPlane

	scene     string
	different []string // what ended otherwise than told
	ends      []func() // undo, last first
}

// scene is a part of the story.
type scene struct {
	number int
	title  string
	within time.Duration
	play   func(*demo, context.Context) error
}

// building is how long the first run may take: it compiles an API server.
const building = 45 * time.Minute

func scenes(o demoOptions) []scene {
	second := scene{2, "A cluster, and Gitward in front of it", building, (*demo).startCluster}
	last := scene{9, "Where does it come from, and what was decided?", time.Minute, (*demo).trace}
	if o.noCluster {
		second = scene{2, "Gitward alone", time.Minute, (*demo).startAlone}
		last = scene{9, "What was decided?", time.Minute, (*demo).showRecords}
	}
	all := []scene{
		{1, "A repository and three people", time.Minute, (*demo).createRepository},
		second,
		{3, "What Git declares comes in", time.Minute, (*demo).admit},
		{4, "What Git does not declare stays out", time.Minute, (*demo).goAround},
		{5, "A commit counts only with a trusted signature", time.Minute, (*demo).stranger},
		{6, "A policy in Git has its say too", time.Minute, (*demo).breakPolicy},
	}
	if !o.noCluster {
		all = append(all, scene{7, "What Kubernetes makes of it goes on", 2 * time.Minute, (*demo).live},
			scene{8, "In an emergency", time.Minute, (*demo).emergency})
	}
	return append(all, last)
}

func playDemo(ctx context.Context, o demoOptions, stdout, stderr io.Writer) error {
	// A closed terminal ends it like Ctrl-C, so that nothing stays behind.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	dir, err := os.MkdirTemp("", "gitward-demo-")
	if err != nil {
		return fmt.Errorf("making a directory for the demo: %w", err)
	}
	d := &demo{screen: newScreen(stdout), dir: dir}
	err = d.perform(ctx, o)
	d.tidy()
	switch {
	case ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err())):
		os.RemoveAll(dir)
		d.screen.line("\n  Stopped, and all of it removed.")
		if err == nil {
			return nil
		}
		return errors.New("the demo was stopped")
	case err != nil:
		return fmt.Errorf("%w\n  the logs are in %s", err, dir)
	case len(d.different) > 0:
		fmt.Fprintf(stderr, "gitward: the demo did not go as told:\n  %s\n  the logs are in %s\n", strings.Join(d.different, "\n  "), dir)
		return errFound
	}
	return os.RemoveAll(dir)
}

// perform plays the scenes, and without --exit stays for whoever wants to try
// things.
func (d *demo) perform(ctx context.Context, o demoOptions) error {
	began := time.Now()
	d.screen.title("Gitward: signed Git is the only way into this cluster")
	d.screen.why("Commands stand for requests and commits that this program makes itself: no kubectl, no gpg.")
	for _, s := range scenes(o) {
		d.scene = fmt.Sprintf("scene %d (%s)", s.number, s.title)
		d.screen.scene(fmt.Sprint(s.number), s.title)
		if err := d.playScene(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", d.scene, err)
		}
	}
	d.screen.line("")
	if len(d.different) == 0 {
		d.screen.good(fmt.Sprintf("All scenes went as told, in %s.", time.Since(began).Round(100*time.Millisecond)))
	}
	if o.exit {
		return nil
	}
	if err := d.invite(); err != nil {
		return fmt.Errorf("preparing a clone to play with: %w", err)
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-d.guard.ended:
		return fmt.Errorf("gitward serve ended: %w", err)
	}
}

func (d *demo) playScene(ctx context.Context, s scene) error {
	ctx, cancel := context.WithTimeout(ctx, s.within)
	defer cancel()
	err := s.play(d, ctx)
	if err != nil && ctx.Err() == context.DeadlineExceeded {
		return fmt.Errorf("not done within %s: %w", s.within, err)
	}
	return err
}

// atEnd has something undone when the demo ends.
func (d *demo) atEnd(f func()) { d.ends = append(d.ends, f) }

func (d *demo) tidy() {
	for i := len(d.ends) - 1; i >= 0; i-- {
		d.ends[i]()
	}
	d.ends = nil
}

func (d *demo) path(elements ...string) string {
	return filepath.Join(append([]string{d.dir}, elements...)...)
}

// write puts a file into the demo's directory.
func (d *demo) write(name string, data []byte) error {
	file := d.path(name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o600)
}

// differs notes that something ended otherwise than told; the show goes on.
func (d *demo) differs(what string) {
	d.different = append(d.different, d.scene+": "+what)
	d.screen.wrong("not as told: " + what)
}
