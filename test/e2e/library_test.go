package e2e

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/policies"
	"github.com/gitward/gitward/test/gitserver"
	"github.com/gitward/gitward/test/server"
)

// template is Gatekeeper's form of a policy, and a constraint that uses it.
const template = `apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: requiredlabels}
spec:
  crd:
    spec:
      names: {kind: RequiredLabels}
      validation:
        openAPIV3Schema:
          type: object
          properties: {labels: {type: array, items: {type: string}}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    rego: |
      package requiredlabels

      violation[{"msg": msg}] {
        label := input.parameters.labels[_]
        not input.review.object.metadata.labels[label]
        msg := sprintf("there is no label %v", [label])
      }
---
apiVersion: constraints.gatekeeper.sh/v1beta1
kind: RequiredLabels
metadata: {name: services-have-an-owner}
spec:
  match: {kinds: [{apiGroups: [""], kinds: [Service]}]}
  parameters: {labels: [owner]}
`

// TestPolicyLibrary: the policies that come with Gitward, and Gatekeeper's, from
// Git, before a real API server.
func TestPolicyLibrary(t *testing.T) {
	l := newLab(t, attackPlane(t))
	l.remap()
	ns, prod, next := "library", "library-prod", "library-next"
	l.ensureNamespace(ns)
	l.ensureNamespace(prod)
	l.ensureNamespace(next)
	ctx := context.Background()
	_, err := l.kube.CoreV1().Namespaces().Patch(ctx, prod, types.MergePatchType, []byte(`{"metadata":{"labels":{"environment":"production"}}}`), metav1.PatchOptions{})
	l.check(err)

	objects := map[string]string{
		"pod.yaml":     fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: debug, namespace: %s}\nspec: {containers: [{name: sh, image: busybox, securityContext: {privileged: true}}]}\n", ns),
		"host.yaml":    ingress(ns, "one"),
		"service.yaml": fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: %s}\nspec: {ports: [{port: 80}]}\n", ns),
		"alone.yaml":   configMap(prod, "alone", "1"),
	}
	files := map[string]string{"gatekeeper/labels.yaml": template}
	for name, text := range objects {
		files["objects/"+name] = text
	}
	l.check(fs.WalkDir(policies.FS, ".", func(name string, entry fs.DirEntry, err error) error {
		// Of the policies of provenance one is enough here; one of them hangs on the day of the week.
		if err == nil && !entry.IsDir() && !strings.Contains(name, "own_change") && !strings.Contains(name, "friday") && !strings.Contains(name, "team_keys") {
			files["policies/"+name] = string(must(fs.ReadFile(policies.FS, name)))
		}
		return err
	}))
	ben := must(gitserver.NewSSHSigner())
	tip := l.commit(files)
	l.installOrigin(func(o *v1alpha1.Origin) {
		o.Spec.Render = []v1alpha1.Render{{Path: "objects", Type: v1alpha1.RenderPlain}}
	})
	l.putSecret("platform-signers", map[string]string{"allowed_signers": "ada@example.org " + l.signer.PublicLine + "\nben@example.org " + ben.PublicLine + "\n"})
	l.installGate("default", func(g *v1alpha1.Gate) {
		g.Spec.Match.Namespaces = []string{ns, prod, next, "default"}
		for _, path := range []string{"policies/pod-security/baseline", "policies/ingress", "policies/provenance", "gatekeeper"} {
			g.Spec.Policies = append(g.Spec.Policies, v1alpha1.PolicyRef{Origin: origin, Path: path})
		}
	})
	l.awaitAccepted(tip)
	l.awaitLibrary(tip)
	l.setGated(true)

	expect(t, "a privileged Pod", l.apply(objects["pod.yaml"]), `breaks policy "gitward.pod_security.baseline.privileged"`)
	expect(t, "the first with a host", l.apply(objects["host.yaml"]), "")
	expect(t, "Gatekeeper's", l.apply(objects["service.yaml"]), `breaks policy "RequiredLabels/services-have-an-owner" (platform@`+tip[:7]+` gatekeeper/labels.yaml`)
	expect(t, "production, by one", l.apply(objects["alone.yaml"]), `breaks policy "gitward.provenance.two_signers"`)

	second := ingress(next, "two")
	both := configMap(prod, "both", "1")
	branch, err := l.repo.Commit(gitserver.CommitOptions{Ref: "refs/heads/side", Parents: []string{tip}, Files: map[string]string{"objects/both.yaml": both}, Signer: ben, Message: "both",
		Author: person("ben"), Committer: person("ben")})
	l.check(err)
	clash := l.commit(map[string]string{"objects/second.yaml": second})
	merge, err := l.repo.Commit(gitserver.CommitOptions{Parents: []string{clash, branch}, Files: map[string]string{"objects/both.yaml": both}, Signer: l.signer, Message: "merge both"})
	l.check(err)
	l.awaitAccepted(merge)
	expect(t, "a host that is taken", l.apply(second), `breaks policy "gitward.ingress.unique_host"`)
	expect(t, "production, by two", l.apply(both), "")
}

func person(name string) gitindex.Person {
	return gitindex.Person{Name: name, Email: name + "@example.org"}
}

func ingress(ns, name string) string {
	return fmt.Sprintf("apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: %s, namespace: %s}\nspec: {rules: [{host: shop.example.org, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: %s, port: {number: 80}}}}]}}]}\n", name, ns, name)
}

// awaitLibrary waits until a commit's policies are in force in all directories.
func (l *lab) awaitLibrary(commit string) {
	l.t.Helper()
	server.Await(l.t, "the policies of "+commit, 90*time.Second, func() error {
		all := l.gateStatus("default").Policies
		for _, s := range all {
			if s.Revision != commit || len(s.Problems) > 0 {
				return fmt.Errorf("the status is %+v", all)
			}
		}
		if len(all) != 4 {
			return fmt.Errorf("the status is %+v", all)
		}
		return nil
	})
}
