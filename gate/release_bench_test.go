package gate

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gitward/gitward/gitindex/canonical"
)

// BenchmarkRelease admits a release of 120 objects in a Secret of almost 1 MiB,
// which is all that the API server takes.
func BenchmarkRelease(b *testing.B) {
	schemas, _ := canonical.New()
	var manifest strings.Builder
	for i := range 60 {
		fmt.Fprintf(&manifest, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c%d}\ndata:\n  text: |\n    %s\n", i, strings.Repeat("some text && more \n    ", 100))
		fmt.Fprintf(&manifest, "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d%d}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}\n", i)
	}
	random := make([]byte, 560<<10)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	r := &release{name: "web", namespace: "shop", version: 1, status: "deployed", manifest: manifest.String()}
	g := helmWorld(b, schemas, r)
	secret := releaseOf(b, &storyRelease{Name: "web", Namespace: "shop", Version: 1, Status: "deployed", Manifest: r.manifest, Chart: base64.StdEncoding.EncodeToString(random)})
	req := storyReq(b, storyRequest{}, secret, nil)
	if d := g.Decide(context.Background(), req); !d.Allowed {
		b.Fatal(d.Message())
	}
	b.ReportAllocs()
	for b.Loop() {
		g.Decide(context.Background(), req)
	}
	b.ReportMetric(float64(len(secret)), "B/secret")
}
