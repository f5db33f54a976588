// Package charts answers: what is installed into a cluster? It holds the Helm
// chart and renders it with Helm's own engine, so that `gitward install`, the
// demo and the tests install what Helm would.
package charts

import "embed"

// CRDs has the generated definitions, in gitward/crds.
//
//go:embed gitward/crds/*.yaml
var CRDs embed.FS

// Files is the whole chart.
//
//go:embed all:gitward
var Files embed.FS

// static uses the chart's templates for what stands on the API server's disk.
//
//go:embed static.yaml.tpl
var static string
