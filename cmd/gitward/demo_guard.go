package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/gitward/gitward/test/install"
)

// guard is `gitward serve`, in this process.
type guard struct {
	url     string
	ca      []byte // vouches for url
	health  string
	records string
	ended   chan error
}

// startGuard serves with the settings of a cluster (kubeconfig) or of a
// directory (config).
func (d *demo) startGuard(ctx context.Context, o serveOptions) (*guard, error) {
	ca, cert, key, err := install.ServingCertificate("127.0.0.1")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(d.write("tls/ca.crt", ca), d.write("tls/tls.crt", cert), d.write("tls/tls.key", key)); err != nil {
		return nil, fmt.Errorf("writing the serving certificate: %w", err)
	}
	if o.listen, err = freeAddress(); err != nil {
		return nil, err
	}
	if o.health, err = freeAddress(); err != nil {
		return nil, err
	}
	o.certFile, o.keyFile = d.path("tls", "tls.crt"), d.path("tls", "tls.key")
	o.namespace, o.stateDir, o.records = ownNamespace, d.path("state"), d.path("records.jsonl")
	o.replica, o.cluster = "demo", "demo"
	o.log = logOptions{level: "info", format: "text"}
	g := &guard{url: "https://" + o.listen, ca: ca, health: "http://" + o.health, records: o.records, ended: make(chan error, 1)}
	if err := d.runGuard(ctx, g, &o); err != nil {
		return nil, err
	}
	return g, g.await(ctx)
}

// runGuard runs it until the demo ends, which may be long after ctx.
func (d *demo) runGuard(ctx context.Context, g *guard, o *serveOptions) error {
	log, err := os.OpenFile(d.path("gitward.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening gitward's log: %w", err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.ended <- serve(ctx, o, io.Discard, log)
	}()
	d.atEnd(func() {
		stop()
		select {
		case <-done:
			log.Close()
		case <-time.After(10 * time.Second):
		}
	})
	return nil
}

// await waits until the process can decide.
func (g *guard) await(ctx context.Context) error {
	return until(ctx, func(ctx context.Context) error {
		select {
		case err := <-g.ended:
			return final{fmt.Errorf("gitward serve ended: %w", err)}
		default:
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.health+"/readyz", nil)
		if err != nil {
			return final{err}
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("gitward serve is not ready: %s", resp.Status)
		}
		return nil
	})
}

// final is an error that waiting does not mend.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// until asks again and again until there is no complaint, for 30 seconds.
func until(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		var f final
		if errors.As(err, &f) {
			return f.error
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// freeAddress is one that was free a moment ago.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// startAlone is scene 2 without a cluster: the settings come from a directory.
func (d *demo) startAlone(ctx context.Context) error {
	for i, text := range d.stage.settings() {
		if err := d.write(filepath.Join("config", fmt.Sprintf("%d.yaml", i)), []byte(text)); err != nil {
			return fmt.Errorf("writing the settings: %w", err)
		}
	}
	d.showSettings()
	d.screen.command("admin", "gitward serve --config config")
	if err := d.screen.step("starting gitward", func() (string, error) {
		var err error
		if d.guard, err = d.startGuard(ctx, serveOptions{config: d.path("config")}); err != nil {
			return "", err
		}
		return "gitward decides at " + d.guard.url + ", from the commits it has fetched and verified", nil
	}); err != nil {
		return err
	}
	var err error
	if d.door, err = newReviewDoor(d.guard); err != nil {
		return err
	}
	d.screen.why("There is no cluster: for each kubectl command below, the AdmissionReviews that an API server would send are POSTed to it.")
	return nil
}

// showSettings shows what an operator has to write, keys aside.
func (d *demo) showSettings() {
	s := d.stage.settings()
	d.screen.command("admin", "cat origin.yaml gate.yaml")
	d.screen.aside(s[2] + "---\n" + s[3])
}
