package gate_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/test/bench"
)

var world = sync.OnceValues(func() (*bench.World, error) { return bench.NewWorld(bench.Objects) })

// BenchmarkDecide takes one request through the gate, beside an index of 10,000
// objects. Beside ns/op it reports
//
//   - x-json: how often encoding/json could have decoded the same review and
//     its objects in that time, measured in the same run (goal 2, with what
//     reading the review costs, which BenchmarkHandler of the webhook includes)
//   - decisions/s (goal 5,000 per core; run with -cpu 1)
func BenchmarkDecide(b *testing.B) {
	w, err := world()
	if err != nil {
		b.Fatal(err)
	}
	g := w.Gate()
	for i := range w.Reviews {
		r := &w.Reviews[i]
		b.Run(r.Name, func(b *testing.B) {
			if d := g.Decide(context.Background(), r.Request); d.Allowed != r.Allowed {
				b.Fatalf("allowed %v: %s", d.Allowed, d.Message())
			}
			b.ReportAllocs()
			for b.Loop() {
				g.Decide(context.Background(), r.Request)
			}
			perOp := b.Elapsed() / time.Duration(b.N)
			b.ReportMetric(float64(perOp)/float64(decoding(b, r)), "x-json")
			b.ReportMetric(float64(time.Second)/float64(perOp), "decisions/s")
			b.ReportMetric(float64(len(r.Body)), "B/review")
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

// BenchmarkAnnotate is the mutating phase of the same requests.
func BenchmarkAnnotate(b *testing.B) {
	w, err := world()
	if err != nil {
		b.Fatal(err)
	}
	g := w.Gate()
	for _, name := range []string{"Deployment-create", "Deployment-stamped"} {
		r := w.Review(name)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				g.Annotate(context.Background(), r.Request)
			}
		})
	}
}

// BenchmarkNotInGit refuses an object that Git does not know, and looks for a
// name like it: the one decision whose cost grows with the index.
func BenchmarkNotInGit(b *testing.B) {
	w, err := world()
	if err != nil {
		b.Fatal(err)
	}
	g := w.Gate()
	r := *w.Review("Deployment-create").Request
	r.Name = "wed-0"
	if d := g.Decide(context.Background(), &r); d.Allowed || d.Refusal == nil {
		b.Fatal("allowed")
	}
	b.ReportAllocs()
	for b.Loop() {
		g.Decide(context.Background(), &r)
	}
}

// BenchmarkSeal is what publishing a snapshot of 10,000 objects costs at the
// least.
func BenchmarkSeal(b *testing.B) {
	w, err := world()
	if err != nil {
		b.Fatal(err)
	}
	objects := w.View.Index["platform"].Objects
	for b.Loop() {
		(&gitindex.Snapshot{Objects: objects}).Seal()
	}
}
