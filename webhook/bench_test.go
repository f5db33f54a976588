package webhook_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gitward/gitward/audit"
	"github.com/gitward/gitward/test/bench"
	"github.com/gitward/gitward/test/gitserver"
	"github.com/gitward/gitward/webhook"
)

var world = sync.OnceValues(func() (*bench.World, error) { return bench.NewWorld(bench.Objects) })

// handler is the judge as `gitward serve` runs it: with a record of each
// decision in a file, and a bound on the reviews in memory.
func handler(b *testing.B, w *bench.World) *webhook.Handler {
	file, err := os.Create(filepath.Join(b.TempDir(), "records.jsonl"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { file.Close() })
	lines, err := audit.NewLines(file, "bench", "bench")
	if err != nil {
		b.Fatal(err)
	}
	g := w.Gate()
	g.Recorder = lines
	return &webhook.Handler{Gate: g, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Budget: webhook.NewBudget(128 << 20)}
}

// noop is the cheapest webhook there can be: it reads the review, decodes it
// and allows it.
func noop(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var review admissionv1.AdmissionReview
	if err != nil || json.Unmarshal(body, &review) != nil || review.Request == nil {
		http.Error(w, "no review", http.StatusBadRequest)
		return
	}
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	review.Request = nil
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review)
}

// allowed reads the verdict out of an answer.
func allowed(b *testing.B, answer []byte) bool {
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(answer, &review); err != nil || review.Response == nil {
		b.Fatalf("no answer: %s", answer)
	}
	return review.Response.Allowed
}

// BenchmarkHandler is one review from its bytes to the bytes of the answer,
// recorded, without a network.
func BenchmarkHandler(b *testing.B) {
	w, err := world()
	if err != nil {
		b.Fatal(err)
	}
	for i := range w.Reviews {
		r := &w.Reviews[i]
		b.Run(r.Name, func(b *testing.B) {
			h := handler(b, w)
			ask := func() []byte {
				answer := httptest.NewRecorder()
				h.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/validate?timeout=10s", bytes.NewReader(r.Body)))
				return answer.Body.Bytes()
			}
			if allowed(b, ask()) != r.Allowed {
				b.Fatalf("%s", ask())
			}
			b.ReportAllocs()
			for b.Loop() {
				ask()
			}
			perOp := b.Elapsed() / time.Duration(b.N)
			b.ReportMetric(float64(perOp)/float64(decoding(b, r)), "x-json")
			b.ReportMetric(float64(time.Second)/float64(perOp), "reviews/s")
		})
	}
}

// decoding is what encoding/json takes for the review and its two objects.
func decoding(b *testing.B, r *bench.Review) time.Duration {
	start := time.Now()
	for range b.N {
		var review admissionv1.AdmissionReview
		var object, old map[string]any
		if json.Unmarshal(r.Body, &review) != nil || json.Unmarshal(review.Request.Object.Raw, &object) != nil {
			b.Fatal("the review does not decode")
		}
		if raw := review.Request.OldObject.Raw; r.Request.OldObject != nil && json.Unmarshal(raw, &old) != nil {
			b.Fatal("the old object does not decode")
		}
	}
	return time.Since(start) / time.Duration(b.N)
}

// BenchmarkRoundTrip sends a review over HTTPS on a connection that is kept,
// to Gitward and to a webhook that allows everything, in turn: same server,
// same TLS. ns/op is Gitward's median, noop-ns/op the other's; x-noop compares
// them (goal 1.5).
func BenchmarkRoundTrip(b *testing.B) {
	w, err := world()
	if err != nil {
		b.Fatal(err)
	}
	ctrllog.SetLogger(logr.Discard()) // the certificate watcher would talk into the figures
	for _, name := range []string{"Deployment-create", "Deployment-noop", "Deployment-rollout", "Deployment-refused", "Secret-noop"} {
		r := w.Review(name)
		b.Run(name, func(b *testing.B) {
			rival := connect(b, http.HandlerFunc(noop))
			gitward := connect(b, handler(b, w))
			if allowed(b, gitward.ask(b, r.Body)) != r.Allowed || !allowed(b, rival.ask(b, r.Body)) {
				b.Fatal("the wrong answer")
			}
			var ours, theirs []time.Duration
			for b.Loop() {
				start := time.Now()
				rival.ask(b, r.Body)
				between := time.Now()
				gitward.ask(b, r.Body)
				theirs, ours = append(theirs, between.Sub(start)), append(ours, time.Since(between))
			}
			b.ReportMetric(float64(median(ours)), "ns/op")
			b.ReportMetric(float64(median(theirs)), "noop-ns/op")
			b.ReportMetric(float64(median(ours))/float64(median(theirs)), "x-noop")
		})
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// peer is a client of one server.
type peer struct {
	client *http.Client
	url    string
}

// connect serves h as the product does, and returns a client that trusts it.
func connect(b *testing.B, h http.Handler) *peer {
	ca, err := gitserver.NewAuthority("bench")
	if err != nil {
		b.Fatal(err)
	}
	pair, err := ca.Issue("127.0.0.1")
	if err != nil {
		b.Fatal(err)
	}
	cert, key, err := gitserver.PEM(pair)
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	if err := os.WriteFile(certFile, cert, 0o600); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(keyFile, key, 0o600); err != nil {
		b.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- webhook.Serve(ctx, listener, h, webhook.TLS{CertFile: certFile, KeyFile: keyFile}) }()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	b.Cleanup(func() {
		client.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	return &peer{client, "https://" + listener.Addr().String() + "/validate?timeout=10s"}
}

func (p *peer) ask(b *testing.B, body []byte) []byte {
	resp, err := p.client.Post(p.url, "application/json", bytes.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Fatalf("%s: %v", resp.Status, err)
	}
	return answer
}
