package main

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex/controller"
)

const holeConfig = `apiVersion: gitward.dev/v1alpha1
kind: Origin
metadata: {name: platform}
spec: {url: "https://git.example.com/acme/platform.git", signers: {secretRef: {name: signers}, require: Change}}
---
apiVersion: gitward.dev/v1alpha1
kind: Gate
metadata: {name: default}
spec:
  action: Deny
  origins: [{name: platform}]
  holes:
  - `

// TestHolesOfAGate: what a Gate says of a hole reaches the decision whole, and a
// hole that opens nothing is refused where it is read.
func TestHolesOfAGate(t *testing.T) {
	whole := `{resources: [deployments.apps], paths: ["spec.template.spec.containers[web].image"], pattern: "registry.acme.dev/web:${claim}", claim: sha, ` +
		`users: [robot], groups: [jobs], namespaces: [shop], reason: tags, expires: "2026-12-01T00:00:00Z"}`
	c, err := readHoles(t, whole)
	if err != nil {
		t.Fatal(err)
	}
	want := []gate.HoleRule{{Resources: []string{"deployments.apps"}, Paths: []string{"spec.template.spec.containers[web].image"},
		Pattern: "registry.acme.dev/web:${claim}", Claim: "sha", Users: []string{"robot"}, Groups: []string{"jobs"}, Namespaces: []string{"shop"},
		Reason: "tags", Expires: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)}}
	got := rules(c.gates)[0].Holes
	if len(got) == 1 {
		got[0].Expires = got[0].Expires.UTC()
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, want %+v", got, want)
	}
	for hole, part := range map[string]string{
		`{resources: [deployments.apps], paths: [spec.replicas], pattern: "a(", users: [robot], reason: r}`:               "missing closing )",
		`{resources: [deployments.apps], paths: [spec.replicas], pattern: "[${claim}]", claim: c, users: [u], reason: r}`: "no part by itself",
		`{resources: [deployments.apps], paths: [spec.replicas], pattern: "a", claim: sha, users: [robot], reason: r}`:    "${claim}",
		`{resources: [deployments.apps], paths: [spec.replicas], pattern: "a", reason: r}`:                                "users or groups",
		`{resources: [deployments.apps], paths: [spec.replicas], users: [robot], reason: r}`:                              "needs a pattern",
		`{resources: [deployments.apps], paths: [spec], pattern: "a", users: [robot], reason: r}`:                         `"spec" is no path`,
		`{resources: [deployments.apps], paths: [spec.replicas], pattern: "a", users: [robot]}`:                           "a reason",
		`{resources: [deployments.apps], paths: [spec.replicas], pattern: "a", user: robot, reason: r}`:                   "unknown field",
	} {
		if _, err := readHoles(t, hole); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v, want something with %q", hole, err, part)
		}
	}
}

// TestBrokenHoleIsTold: a Gate of the cluster whose hole cannot be read is in force
// without it, and says so.
func TestBrokenHoleIsTold(t *testing.T) {
	for pattern, want := range map[string]string{"v[0-9]+": "InForce", "v[0-9": "HoleInvalid"} {
		g := &v1alpha1.Gate{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v1alpha1.GateSpec{Holes: []v1alpha1.HoleRule{
			{Resources: []string{"deployments.apps"}, Paths: []string{"metadata.labels.v"}, Pattern: pattern, Users: []string{"robot"}, Reason: "r"}}}}
		c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(g).WithStatusSubresource(g).Build()
		r := &controller.GateReconciler{Client: c, Use: func([]v1alpha1.Gate) {}, Check: checkHoles}
		if _, err := r.Reconcile(context.Background(), reconcile.Request{NamespacedName: types.NamespacedName{Name: "default"}}); err != nil {
			t.Fatal(err)
		}
		var after v1alpha1.Gate
		if err := c.Get(context.Background(), types.NamespacedName{Name: "default"}, &after); err != nil {
			t.Fatal(err)
		}
		if ready := meta.FindStatusCondition(after.Status.Conditions, "Ready"); ready == nil || ready.Reason != want {
			t.Errorf("%s: %+v, want %s", pattern, ready, want)
		}
	}
}

func readHoles(t *testing.T, hole string) (*configuration, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "gitward.yaml"), []byte(holeConfig+hole+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return readConfiguration(dir)
}
