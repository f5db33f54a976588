package main

import (
	"testing"

	"github.com/gitward/gitward/policies"
	"github.com/gitward/gitward/policy"
	"github.com/gitward/gitward/policy/worker"
)

// TestLeastMemory: the shipped policies compile and go on answering in a child of
// the smallest container.
func TestLeastMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of questions")
	}
	files, err := policy.Collect(policies.FS)
	if err != nil {
		t.Fatal(err)
	}
	panel, err := worker.Start(worker.Config{Command: []string{ownProgram(), courtWord}, Memory: leastPolicyMemory, Children: 1}, []worker.Bundle{{Name: "policies", Files: files}})
	if err != nil {
		t.Fatal(err)
	}
	defer panel.Close()
	pod := []byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","operation":"CREATE","kind":{"group":"","version":"v1","kind":"Pod"},"namespace":"default","name":"a",
		"object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":"default"},"spec":{"containers":[{"name":"a","image":"a:latest","securityContext":{"privileged":true}}]}}}}`)
	for range 2000 {
		found, err := panel.Ask(t.Context(), worker.Question{Bundles: []int{0}, Point: policy.Admission, Input: pod})
		if err != nil {
			t.Fatal(err)
		}
		if len(found) < 5 {
			t.Fatalf("only %d findings on a privileged Pod", len(found))
		}
	}
}
