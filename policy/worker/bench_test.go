package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	templatesv1 "github.com/open-policy-agent/frameworks/constraint/pkg/apis/templates/v1"
	"github.com/open-policy-agent/frameworks/constraint/pkg/client"
	driver "github.com/open-policy-agent/frameworks/constraint/pkg/client/drivers/rego"
	"github.com/open-policy-agent/gatekeeper/v3/pkg/target"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/policy"
)

// judgments are rules of the kinds that people have most: each finds nothing in
// the Deployment that is asked about, after looking at all of its containers.
var judgments = []string{`
violation[{"msg": msg}] {
	c := containers[_]
	not allowed(c.image)
	msg := sprintf("container %v has image %v", [c.name, c.image])
}

allowed(image) { startswith(image, input.parameters.registries[_]) }
`, `
violation[{"msg": msg}] {
	c := containers[_]
	c.securityContext.privileged
	msg := sprintf("container %v is privileged", [c.name])
}
`, `
violation[{"msg": msg, "details": {"missing": missing}}] {
	provided := {label | input.review.object.metadata.labels[label]}
	missing := {label | label := input.parameters.labels[_]} - provided
	count(missing) > 0
	msg := sprintf("labels are missing: %v", [missing])
}
`, `
violation[{"msg": msg}] {
	c := containers[_]
	limit := {"cpu", "memory"}[_]
	not c.resources.limits[limit]
	msg := sprintf("container %v has no limit of %v", [c.name, limit])
}
`, `
violation[{"msg": msg}] {
	p := containers[_].ports[_]
	p.hostPort > 0
	msg := sprintf("port %v of the host", [p.hostPort])
}

violation[{"msg": msg}] {
	v := input.review.object.spec.template.spec.volumes[_]
	has(v, "hostPath")
	msg := sprintf("volume %v is the host's", [v.name])
}

has(object, field) { _ = object[field] }
`}

const theirContainers = `
containers[c] { c := input.review.object.spec.template.spec.containers[_] }
containers[c] { c := input.review.object.spec.template.spec.initContainers[_] }
`

// benched is one policy: a template of its own, and a constraint.
type benched struct{ kind, rego, template, constraint string }

func policiesFor(n int, kinds func(i int) string) []benched {
	out := make([]benched, n)
	for i := range out {
		b := benched{kind: fmt.Sprintf("Judge%d", i)}
		b.rego = "package " + strings.ToLower(b.kind) + "\n" + judgments[i%len(judgments)] + theirContainers
		b.template = fmt.Sprintf(`apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: %s}
spec:
  crd: {spec: {names: {kind: %s}, validation: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    rego: |
%s
`, strings.ToLower(b.kind), b.kind, indent(b.rego))
		b.constraint = fmt.Sprintf(`apiVersion: constraints.gatekeeper.sh/v1beta1
kind: %s
metadata: {name: all}
spec:
  match: {kinds: [{apiGroups: [apps], kinds: [%s]}]}
  parameters: {registries: ["registry.example.org/shop/"], labels: [app]}
`, b.kind, kinds(i))
		out[i] = b
	}
	return out
}

func indent(text string) string {
	return "      " + strings.ReplaceAll(text, "\n", "\n      ")
}

// deployment is an update of 3.4 kB, with managed fields, as the API server sends
// it.
func deployment(b *testing.B) []byte {
	container := func(name string) string {
		return fmt.Sprintf(`{"name":%q,"image":"registry.example.org/shop/%s:1.8.2","ports":[{"containerPort":8080,"protocol":"TCP"}],"env":[{"name":"A","value":"1"},{"name":"B","value":"2"}],`+
			`"resources":{"limits":{"cpu":"1","memory":"256Mi"},"requests":{"cpu":"100m","memory":"128Mi"}},"securityContext":{"privileged":false,"runAsNonRoot":true},`+
			`"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"}`, name, name)
	}
	managed := strings.Repeat(`{"apiVersion":"apps/v1","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:replicas":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:image":{},"f:name":{}}}}}}},"manager":"flux","operation":"Apply","time":"2026-11-20T10:00:00Z"},`, 3)
	object := func(replicas int) string {
		return fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"shop","uid":"0b1e","generation":3,"labels":{"app":"web","team":"shop"},"managedFields":[%s]},`+
			`"spec":{"replicas":%d,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[%s,%s],"initContainers":[%s],"restartPolicy":"Always","dnsPolicy":"ClusterFirst","volumes":[{"name":"tmp","emptyDir":{}}]}}},"status":{}}`,
			strings.TrimSuffix(managed, ","), replicas, container("web"), container("proxy"), container("init"))
	}
	text, err := json.Marshal(policy.Input{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview", Namespace: &policy.Namespace{Name: "shop", Labels: map[string]string{"a": "b"}},
		Request: policy.Request{UID: "1", Kind: policy.Kinds{Group: "apps", Version: "v1", Kind: "Deployment"}, Resource: policy.Resources{Group: "apps", Version: "v1", Resource: "deployments"},
			Name: "web", Namespace: "shop", Operation: "UPDATE", Object: json.RawMessage(object(3)), OldObject: json.RawMessage(object(2))}})
	if err != nil {
		b.Fatal(err)
	}
	return text
}

// BenchmarkPolicies asks 1, 20 and 100 policies about an update of a Deployment:
// Gitward's panel, in its child; OPA as plainly as can be, one prepared query for
// each policy and the input converted once; and Gatekeeper's engine. "some" are
// constraints of which one in five is about Deployments.
func BenchmarkPolicies(b *testing.B) {
	all := func(int) string { return "Deployment" }
	some := func(i int) string {
		return []string{"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ControllerRevision"}[i%5]
	}
	for _, concern := range []struct {
		name  string
		kinds func(int) string
	}{{"all", all}, {"some", some}} {
		for _, n := range []int{1, 20, 100} {
			policies := policiesFor(n, concern.kinds)
			in := deployment(b)
			b.Run(fmt.Sprintf("%s/%d/gitward", concern.name, n), func(b *testing.B) { askGitward(b, policies, in) })
			b.Run(fmt.Sprintf("%s/%d/opa", concern.name, n), func(b *testing.B) { askOPA(b, policies, in) })
			b.Run(fmt.Sprintf("%s/%d/frameworks", concern.name, n), func(b *testing.B) { askFrameworks(b, policies, in) })
		}
	}
}

func askGitward(b *testing.B, policies []benched, in []byte) {
	files := policy.Files{}
	for _, p := range policies {
		files[p.kind+".yaml"] = []byte(p.template + "---\n" + p.constraint)
	}
	c := config(b)
	c.Children, c.Memory = 1, 512<<20
	panel := panel(b, c, Bundle{Name: "bench", Files: files})
	if len(panel.Loaded[0].Policies) != len(policies) {
		b.Fatalf("%d policies", len(panel.Loaded[0].Policies))
	}
	for b.Loop() {
		found, err := panel.Ask(context.Background(), Question{Bundles: []int{0}, Point: policy.Admission, Input: in})
		if err != nil || len(found) > 0 {
			b.Fatal(found, err)
		}
	}
}

func askOPA(b *testing.B, policies []benched, in []byte) {
	var queries []rego.PreparedEvalQuery
	for _, p := range policies {
		q, err := rego.New(rego.Module(p.kind, p.rego), rego.SetRegoVersion(ast.RegoV0), rego.Query("data."+strings.ToLower(p.kind)+".violation")).PrepareForEval(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		queries = append(queries, q)
	}
	for b.Loop() {
		var review struct {
			Request any `json:"request"`
		}
		d := json.NewDecoder(bytes.NewReader(in))
		d.UseNumber()
		if err := d.Decode(&review); err != nil {
			b.Fatal(err)
		}
		v, err := ast.InterfaceToValue(map[string]any{"review": review.Request, "parameters": map[string]any{"registries": []any{"registry.example.org/shop/"}, "labels": []any{"app"}}})
		if err != nil {
			b.Fatal(err)
		}
		for _, q := range queries {
			results, err := q.Eval(context.Background(), rego.EvalParsedInput(v))
			if err != nil || len(results) != 1 || len(results[0].Expressions[0].Value.([]any)) > 0 {
				b.Fatal(results, err)
			}
		}
	}
}

func askFrameworks(b *testing.B, policies []benched, in []byte) {
	d, err := driver.New()
	if err != nil {
		b.Fatal(err)
	}
	engine, err := client.NewClient(client.Targets(&target.K8sValidationTarget{}), client.Driver(d), client.EnforcementPoints("validation.gatekeeper.sh"))
	if err != nil {
		b.Fatal(err)
	}
	for _, p := range policies {
		versioned := &templatesv1.ConstraintTemplate{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(fields(b, p.template), versioned); err != nil {
			b.Fatal(err)
		}
		template, err := versioned.ToVersionless()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := engine.AddTemplate(context.Background(), template); err != nil {
			b.Fatal(err)
		}
		if _, err := engine.AddConstraint(context.Background(), &unstructured.Unstructured{Object: fields(b, p.constraint)}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		var review admissionv1.AdmissionReview
		if err := json.Unmarshal(in, &review); err != nil {
			b.Fatal(err)
		}
		responses, err := engine.Review(context.Background(), review.Request)
		if err != nil || len(responses.Results()) > 0 {
			b.Fatal(responses, err)
		}
	}
}

func fields(b *testing.B, text string) map[string]any {
	var out map[string]any
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		b.Fatal(err)
	}
	return out
}
