// Package attack tries to get past Gitward, in process and without a cluster.
// Each attack is first shown to work against a check that compares less
// carefully, so that its refusal means something.
package attack
