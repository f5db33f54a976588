// Package interop answers one question: does Gitward get on with the real
// appliers? Flux's and Argo CD's own controllers reconcile repositories of an
// in-process Git server on a real control plane, with Gitward at its door. The
// API server's audit log, which knows nothing of Gitward, says what each tool
// wrote; Gitward's records say what was judged.
package interop
