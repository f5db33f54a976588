// Package charts holds what is installed into a cluster: for now the custom
// resource definitions.
package charts

import "embed"

// CRDs has the generated definitions, in gitward/crds.
//
//go:embed gitward/crds/*.yaml
var CRDs embed.FS
