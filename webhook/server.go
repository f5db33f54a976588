package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
)

// Serve answers on listener until ctx ends, then drains for a few seconds. The
// certificate is read again when its files change.
func Serve(ctx context.Context, listener net.Listener, h http.Handler, certFile, keyFile string) error {
	watcher, err := certwatcher.New(certFile, keyFile)
	if err != nil {
		return fmt.Errorf("reading the serving certificate: %w", err)
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
		TLSConfig: &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: watcher.GetCertificate,
			// The API server speaks HTTP/1.1 to services; without HTTP/2 there
			// are no streams to reset or to flood.
			NextProtos: []string{"http/1.1"},
		},
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
