// Package policies answers one question: which policies does Gitward come with?
//
// They are Rego, each with its tests beside it, to be copied into a repository
// of yours and changed there. README.md tables them.
package policies

import "embed" // one embed.FS

// FS holds the policies, their tests and README.md.
//
//go:embed README.md ingress pod-security provenance rbac workloads
var FS embed.FS
