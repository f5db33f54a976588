// Package controlplane answers one question: where is a real Kubernetes API
// server to try this against?
//
// Ensure has etcd, kube-apiserver and kube-controller-manager ready, building
// them from Go modules where there is nothing better; Start runs them on free
// loopback ports. There is no kubelet and no container engine, so nothing of
// it needs special rights. Tests call ForTest; `gitward demo` calls Ensure and
// Start and is the only part of the product that may.
//
// The two modules the servers are built from are kept as text under modules,
// each file with .txt appended: a nested module could not be embedded, and an
// installed gitward has no checkout to find them in. To move to another
// release, copy one to a directory without the suffix, use go get there, and
// copy the result back.
package controlplane
