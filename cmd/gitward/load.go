package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/controller"
	"github.com/gitward/gitward/gitindex/gitrepo"
	"github.com/gitward/gitward/gitindex/render"
)

// source says where a command finds the Origins and Gates, keeps the index, and
// reaches the cluster.
type source struct {
	config              string
	kubeconfig, context string
	namespace           string // of the objects, as kubectl's -n
	home                string // Gitward's own namespace, where Secrets are
	stateDir            string
	local               []string // repositories in place of Origins' URLs: DIR or NAME=DIR
	allowLocal, offline bool
	verbose             bool
	live                bool // a cluster is wanted, whatever else the flags say
}

func (s *source) flags(f *pflag.FlagSet) {
	f.StringVar(&s.config, "config", "", "directory with Origins, Gates and Secrets; default: the cluster's")
	f.StringVar(&s.kubeconfig, "kubeconfig", "", "kubeconfig file; default: $KUBECONFIG or ~/.kube/config")
	f.StringVar(&s.context, "context", "", "context of the kubeconfig")
	f.StringVarP(&s.namespace, "namespace", "n", "", "namespace of objects that name none; default: the context's, or \"default\"")
	f.StringVar(&s.home, "gitward-namespace", "gitward-system", "Gitward's own namespace, where Secrets are read")
	f.StringVar(&s.stateDir, "state-dir", "", "directory of repositories and indexes; default: in the user's cache")
	f.BoolVar(&s.allowLocal, "allow-local-repositories", false, "let Origins name repositories on this machine")
	f.BoolVar(&s.offline, "offline", false, "fetch nothing: judge from what was read before")
	f.BoolVarP(&s.verbose, "verbose", "v", false, "log to stderr what is being done")
}

// loaded is a configuration and the process made from it, its index built.
type loaded struct {
	*process
	configuration *configuration
	cluster       *clusterReader // nil without one
	namespace     string
	stop          func()
}

// wantsCluster reports whether the flags name a cluster, or need one.
func (s *source) wantsCluster() bool {
	return s.live || s.config == "" || s.kubeconfig != "" || s.context != ""
}

// load reads the configuration and builds the index of all its Origins. The
// caller stops what it gets.
func (s *source) load(ctx context.Context, con *console) (_ *loaded, err error) {
	l := &loaded{stop: func() {}}
	defer func() {
		if err != nil {
			l.stop()
		}
	}()
	if err := s.read(ctx, l); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx, l, con); err != nil {
		return nil, err
	}
	if l.cluster != nil {
		if err := l.cluster.eachCRD(ctx, l.setCRD); err != nil {
			return nil, err
		}
	}
	if err := s.track(ctx, l); err != nil {
		return nil, err
	}
	if err := s.look(ctx, l, con); err != nil {
		return nil, err
	}
	l.tellState(con)
	return l, nil
}

// read finds the cluster, if one is wanted, and the configuration.
func (s *source) read(ctx context.Context, l *loaded) (err error) {
	l.namespace = "default"
	if s.wantsCluster() {
		if l.cluster, err = reachCluster(s.kubeconfig, s.context); err != nil {
			if s.config == "" {
				err = fmt.Errorf("%w\n  do    give --config DIR with Origins and Gates, or --kubeconfig", err)
			}
			return err
		}
		l.namespace = l.cluster.namespace
	}
	if s.namespace != "" {
		l.namespace = s.namespace
	}
	if s.config != "" {
		l.configuration, err = readConfiguration(s.config)
	} else {
		l.configuration, err = l.cluster.configuration(ctx, s.home)
	}
	if err != nil {
		return err
	}
	return s.substitute(l.configuration)
}

// substitute puts the repositories of --origin in place of Origins' URLs.
func (s *source) substitute(c *configuration) error {
	for _, text := range s.local {
		name, dir, named := strings.Cut(text, "=")
		if !named {
			if len(c.origins) != 1 {
				return fmt.Errorf("--origin %s: there are %d Origins, say which one: --origin NAME=DIR", text, len(c.origins))
			}
			name, dir = c.origins[0].Name, text
		}
		i := slices.IndexFunc(c.origins, func(o v1alpha1.Origin) bool { return o.Name == name })
		if i < 0 {
			return fmt.Errorf("--origin %s: there is no Origin %s", text, name)
		}
		dir, err := filepath.Abs(dir)
		if err != nil {
			return fmt.Errorf("--origin %s: %w", text, err)
		}
		// What stands there now is asked about, on whatever branch it is.
		o := &c.origins[i]
		if c.known == nil {
			c.known = map[string]render.Repository{}
		}
		known := render.Repository{URL: o.Spec.URL}
		if f := o.Spec.Ref; f != nil {
			known.Branch = render.Follows(f.Commit, f.Name, f.SemVer, f.Tag, f.Branch)
		}
		c.known[name] = known
		o.Spec.URL, o.Spec.Ref, o.Spec.SecretRef, o.Status = dir, nil, nil, v1alpha1.OriginStatus{}
	}
	return nil
}

// substituted reports whether an Origin is read from a directory of --origin.
func (s *source) substituted(o *v1alpha1.Origin) bool {
	return slices.ContainsFunc(s.local, func(text string) bool {
		name, _, named := strings.Cut(text, "=")
		return !named || name == o.Name
	})
}

// prepare makes the process, with a state directory that is ours alone.
func (s *source) prepare(ctx context.Context, l *loaded, con *console) error {
	dir, temporary, err := s.place(l, con)
	if err != nil {
		return err
	}
	unlock, err := lockDir(ctx, dir)
	if err != nil {
		return fmt.Errorf("--state-dir %s: %w", dir, err)
	}
	l.process = newQuietProcess(dir)
	l.allowLocal = s.allowLocal
	if s.verbose {
		l.log = slog.New(slog.NewTextHandler(con.err, &slog.HandlerOptions{Level: slog.LevelDebug}))
		l.hub.Log = l.log
	}
	l.stop = func() {
		l.hub.Close()
		unlock()
		if temporary {
			os.RemoveAll(dir)
		}
	}
	return nil
}

// newQuietProcess is a process whose result is all it has to say.
func newQuietProcess(stateDir string) *process {
	return newProcess(stateDir, false, slog.New(slog.DiscardHandler))
}

// place is where the index is kept. A local repository may be on any branch
// today and on another tomorrow, which the forward-only rule would refuse: its
// index is not kept.
func (s *source) place(l *loaded, con *console) (dir string, temporary bool, err error) {
	if s.stateDir != "" {
		return s.stateDir, false, os.MkdirAll(s.stateDir, 0o700)
	}
	if len(s.local) == 0 {
		cache, err := os.UserCacheDir()
		if err == nil {
			dir = filepath.Join(cache, "gitward", s.nameOf(l))
			err = os.MkdirAll(dir, 0o700)
		}
		if err == nil {
			return dir, false, nil
		}
		con.note("the index is not kept: %v (--state-dir says where to keep it)", err)
	}
	dir, err = os.MkdirTemp("", "gitward-index-")
	return dir, true, err
}

// nameOf tells configurations apart: NAME-hash.
func (s *source) nameOf(l *loaded) string {
	name, whole := filepath.Base(s.config), s.config
	if abs, err := filepath.Abs(s.config); err == nil {
		name, whole = filepath.Base(abs), abs
	}
	if s.config == "" {
		name, whole = "cluster", l.cluster.config.Host+" "+s.home
	}
	sum := sha256.Sum256([]byte(whole))
	return gitindex.Clean(name, 60) + "-" + hex.EncodeToString(sum[:6])
}

// track starts the Origins' trackers. They are suspended: nothing is looked at
// but when asked for.
func (s *source) track(ctx context.Context, l *loaded) error {
	for i := range l.configuration.origins {
		settings, err := s.settings(l, &l.configuration.origins[i])
		if err != nil {
			return err
		}
		if err := l.hub.Set(ctx, settings); err != nil {
			return fmt.Errorf("%w%s", err, remedy(l, settings.Name, err))
		}
	}
	l.setGates(l.configuration.gates)
	return nil
}

func (s *source) settings(l *loaded, o *v1alpha1.Origin) (controller.Settings, error) {
	settings, err := l.configuration.settings(o, l.process)
	settings.HighWater, settings.Repository = o.Status.AcceptedRevision, l.configuration.known[o.Name]
	settings.AllowLocal = settings.AllowLocal || s.substituted(o)
	settings.Spec.Suspend = true
	return settings, err
}

// look has every Origin read once.
func (s *source) look(ctx context.Context, l *loaded, con *console) error {
	if s.offline {
		return nil
	}
	var reading atomic.Pointer[string]
	defer con.progress(func() string { return "reading Origin " + *reading.Load() })()
	for i := range l.configuration.origins {
		name := l.configuration.origins[i].Name
		reading.Store(&name)
		if err := l.hub.Sync(ctx, name); err != nil {
			return fmt.Errorf("%w%s", err, remedy(l, name, err))
		}
	}
	return nil
}

// remedy says what to do about an Origin that cannot be read.
func remedy(l *loaded, origin string, err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return ""
	case strings.Contains(err.Error(), "is not allowed here") && errors.Is(err, gitrepo.ErrRefused):
		return "\n  do    give --allow-local-repositories to read repositories on this machine"
	case l.hub.Snapshot(origin) != nil && l.hub.Snapshot(origin).Accepted != nil:
		return "\n  do    see that the repository can be reached, or judge from what was read before with --offline"
	}
	return "\n  do    see that spec.url, spec.ref and the credentials of Origin " + origin + " are right"
}

// tellState says what a person should know before they believe the result.
func (l *loaded) tellState(con *console) {
	for i := range l.configuration.origins {
		name := l.configuration.origins[i].Name
		s := l.hub.Snapshot(name)
		switch {
		case s == nil:
			con.note("Origin %s has not been read yet", name)
		case s.Frozen != "":
			con.note("Origin %s is frozen: %s", name, s.Frozen)
		case s.Accepted == nil:
			con.note("Origin %s has no commit that is trusted yet (`gitward doctor` says more)", name)
		}
	}
}

// snapshots are those from which something can be told, by Origin name.
func (l *loaded) snapshots() []*gitindex.Snapshot {
	var out []*gitindex.Snapshot
	for i := range l.configuration.origins {
		if s := l.view.Load().Index[l.configuration.origins[i].Name]; s != nil {
			out = append(out, s)
		}
	}
	return out
}

// progress tells on stderr that something takes time: nothing if it is quick,
// then one line that changes on a terminal, or one every few seconds elsewhere.
// The function it returns ends it.
func (s *console) progress(what func() string) (stop func()) {
	every, form, end := 5*time.Second, "gitward: %s (%s)\n", ""
	if isTerminal(s.err) {
		every, form, end = time.Second, "\r\x1b[Kgitward: %s (%s)", "\r\x1b[K"
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		begin, ticker := time.Now(), time.NewTicker(every)
		defer ticker.Stop()
		for told := false; ; told = true {
			select {
			case <-ticker.C:
				fmt.Fprintf(s.err, form, what(), time.Since(begin).Round(time.Second))
			case <-quit:
				if told {
					fmt.Fprint(s.err, end)
				}
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}
