package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/gitward/gitward/audit"
	"github.com/gitward/gitward/audit/ledger"
	"github.com/gitward/gitward/webhook"
)

type serveOptions struct {
	listen, health    string
	certFile, keyFile string
	clientCA          string
	config            string
	kubeconfig        string
	namespace         string
	stateDir          string
	records           string
	replica, cluster  string
	allowLocal        bool
	guardRegistration bool
	fetchGap          time.Duration
	log               logOptions
}

func serveCommand() *cobra.Command {
	o := serveOptions{}
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the webhooks: from-git.gitward.dev judges, annotate.gitward.dev stamps",
		Long: `Run the webhooks.

Without --config, Origins, Gates and the Secrets they name are read from the
cluster, in --namespace. With --config they are read from a directory; a
cluster is then needed only for the schemas of its custom resources.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), &o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVar(&o.listen, "listen", ":9443", "address of the webhooks (HTTPS)")
	f.StringVar(&o.health, "health-listen", ":8081", "address of /healthz and /readyz (HTTP)")
	f.StringVar(&o.certFile, "tls-cert-file", "/etc/gitward/tls/tls.crt", "serving certificate; read again when it changes")
	f.StringVar(&o.keyFile, "tls-key-file", "/etc/gitward/tls/tls.key", "its key")
	f.StringVar(&o.clientCA, "client-ca-file", "", "authorities of the clients that may ask; the API server shows its certificate when its AdmissionConfiguration says so")
	f.StringVar(&o.config, "config", "", "directory with Origins, Gates and Secrets, in place of the cluster's")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig file; default: in-cluster, or $KUBECONFIG")
	f.StringVar(&o.namespace, "namespace", "gitward-system", "Gitward's own namespace, where Secrets are read")
	f.StringVar(&o.stateDir, "state-dir", "/var/lib/gitward", "directory of repositories and indexes")
	f.StringVar(&o.records, "records", "-", "file that decisions are appended to, one JSON line each; - is stdout")
	f.StringVar(&o.replica, "replica", hostname(), "name of this replica in records")
	f.StringVar(&o.cluster, "cluster", "", "name of the cluster in records")
	f.DurationVar(&o.fetchGap, "fetch-gap", time.Second, "shortest time between two looks at one repository, however many refused requests ask for one")
	f.BoolVar(&o.guardRegistration, "guard-registration", true, "put the webhook configurations back when they are taken away or changed, and name what was written meanwhile; not with --config")
	f.BoolVar(&o.allowLocal, "allow-local-repositories", false, "let Origins name repositories on this machine")
	o.log.flags(f)
	return c
}

func hostname() string {
	h, _ := os.Hostname()
	return h
}

func serve(ctx context.Context, o *serveOptions, stdout, stderr io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	log, err := o.log.logger(stderr)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.stateDir, 0o700); err != nil {
		return fmt.Errorf("--state-dir: %w", err)
	}
	lines, closeRecords, err := openRecords(o, stdout)
	if err != nil {
		return err
	}
	defer closeRecords()
	p := newProcess(o.stateDir, o.allowLocal, log)
	p.hub.MinGap = o.fetchGap
	defer p.hub.Close()
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	defer listener.Close()
	stopHealth, err := serveHealth(o.health, p)
	if err != nil {
		return err
	}
	defer stopHealth()
	var wg sync.WaitGroup
	defer wg.Wait()
	folder := &audit.Folder{Lines: lines, Log: log}
	learner := &ledger.Learner{Recorder: folder}
	g := p.gate(learner, true)
	tasks := append(registrationGuard(o, p, lines, g), keepLedger(o, p, learner)...)
	if err := startSources(ctx, o, p, &wg, cancel, tasks...); err != nil {
		return err
	}
	wg.Go(func() { folder.Run(ctx) })
	wg.Go(func() { p.policies.Run(ctx) })
	handler := &webhook.Handler{Gate: g, Log: log, Budget: webhook.NewBudget(limitMemory())}
	log.Info("serving", "listen", listener.Addr().String(), "version", version)
	err = webhook.Serve(ctx, listener, handler, webhook.TLS{CertFile: o.certFile, KeyFile: o.keyFile, ClientCAFile: o.clientCA})
	cancel(err)
	if cause := context.Cause(ctx); err == nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// startSources begins reading the configuration, from a directory or from the
// cluster, and the cluster's custom resource definitions.
func startSources(ctx context.Context, o *serveOptions, p *process, wg *sync.WaitGroup, fail context.CancelCauseFunc, tasks ...clusterTask) error {
	if o.config != "" {
		c, err := readConfiguration(o.config)
		if err != nil {
			return err
		}
		if err := p.open(ctx, c, false); err != nil {
			return err
		}
		if o.kubeconfig == "" {
			return nil
		}
	}
	mgr, err := newManager(o, p, tasks...)
	if err != nil {
		return err
	}
	wg.Go(func() {
		if err := mgr.Start(ctx); err != nil && ctx.Err() == nil {
			fail(fmt.Errorf("watching the cluster: %w", err))
		}
	})
	return nil
}

func openRecords(o *serveOptions, stdout io.Writer) (*audit.Lines, func(), error) {
	w, done := stdout, func() {}
	if o.records != "-" {
		if err := os.MkdirAll(filepath.Dir(o.records), 0o700); err != nil {
			return nil, nil, fmt.Errorf("--records: %w", err)
		}
		f, err := os.OpenFile(o.records, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, nil, fmt.Errorf("--records: %w", err)
		}
		w, done = f, func() { f.Close() }
	}
	lines, err := audit.NewLines(w, o.replica, o.cluster)
	return lines, done, err
}

// serveHealth answers /healthz while the process runs, and /readyz once it can
// decide: a replica that is not ready must not be asked.
func serveHealth(addr string, p *process) (stop func(), err error) {
	if addr == "" || addr == "0" {
		return func() {}, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--health-listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := p.ready(); err != nil {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second}
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			slog.Error("health endpoint", "error", err)
		}
	}()
	return func() { server.Close() }, nil
}
