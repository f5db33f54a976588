package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
)

// TLS names the files that connections rest on.
type TLS struct {
	// CertFile and KeyFile are read again when they change.
	CertFile, KeyFile string
	// ClientCAFile, if set, holds the authorities of those who may ask: the API
	// server shows a certificate of theirs, and nobody else is listened to.
	ClientCAFile string
}

// Serve answers on listener until ctx ends, then drains for a few seconds.
func Serve(ctx context.Context, listener net.Listener, h http.Handler, files TLS) error {
	watcher, err := certwatcher.New(files.CertFile, files.KeyFile)
	if err != nil {
		return fmt.Errorf("reading the serving certificate: %w", err)
	}
	config := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: watcher.GetCertificate,
		// The API server speaks HTTP/1.1 to services; without HTTP/2 there are no
		// streams to reset or to flood.
		NextProtos: []string{"http/1.1"},
	}
	if err := files.demandClients(config); err != nil {
		return err
	}
	watchErr := make(chan error, 1)
	go func() { watchErr <- watcher.Start(ctx) }()
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      45 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
		TLSConfig:         config,
	}
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(listener, "", "") }()
	select {
	case err := <-done:
		return fmt.Errorf("serving reviews: %w", err)
	case err := <-watchErr:
		if ctx.Err() == nil {
			return fmt.Errorf("watching the serving certificate: %w", err)
		}
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(drain); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("draining: %w", err)
	}
	return nil
}

func (f TLS) demandClients(config *tls.Config) error {
	if f.ClientCAFile == "" {
		return nil
	}
	pem, err := os.ReadFile(f.ClientCAFile)
	if err != nil {
		return fmt.Errorf("reading the clients' authorities: %w", err)
	}
	config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !config.ClientCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("reading the clients' authorities: %s holds no certificate", f.ClientCAFile)
	}
	return nil
}
