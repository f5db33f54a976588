package canonical

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

func fromYAML(t testing.TB, text string) []byte {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

const widgets = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {kind: Widget, plural: widgets}
  versions:
  - &v
    name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
          spec:
            type: object
            default: {}
            properties:
              size: {type: integer, default: 3}
              note: {type: string, nullable: true}
              mode: {type: string, default: soft}
              tags: {type: array, x-kubernetes-list-type: set, items: {type: string}}
              rows: {type: array, items: {type: string}}
              ports:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [port, protocol]
                items:
                  type: object
                  required: [port]
                  properties:
                    port: {type: integer}
                    protocol: {type: string, default: TCP}
              limits: {type: object, additionalProperties: {type: object, properties: {max: {type: integer, default: 1}}}}
              free: {type: object, x-kubernetes-preserve-unknown-fields: true}
              template: {type: object, x-kubernetes-embedded-resource: true, x-kubernetes-preserve-unknown-fields: true}
  - <<: *v
    name: v2
    storage: false
`

func withWidgets(t testing.TB) *Schemas {
	s, errs := New(fromYAML(t, widgets))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return s
}

func TestCanonical(t *testing.T) {
	s := withWidgets(t)
	for _, c := range []struct{ name, raw, version, want, declared string }{
		{"quantities, null, unknown fields",
			`{apiVersion: v1, kind: ResourceQuota, metadata: {name: a, uid: x, labels: {}, creationTimestamp: null}, typo: 1, status: {hard: {}}, spec: {hard: {cpu: "0.5", memory: 1024Mi}, scopes: null}}`, "v1",
			`{"apiVersion":"v1","kind":"ResourceQuota","metadata":{"name":"a"},"spec":{"hard":{"cpu":"500m","memory":"1Gi"}}}`,
			`{"apiVersion":"v1","kind":"ResourceQuota","metadata":{"name":"a"},"spec":{"hard":{"cpu":"500m","memory":"1Gi"}}}`},
		{"stringData wins over data",
			`{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {a: eA==, b: eA==}, stringData: {a: hi}}`, "v1",
			`{"apiVersion":"v1","data":{"a":"aGk=","b":"eA=="},"kind":"Secret","metadata":{"name":"a"},"type":"Opaque"}`,
			`{"apiVersion":"v1","data":{"a":"aGk=","b":"eA=="},"kind":"Secret","metadata":{"name":"a"}}`},
		{"defaults of a service",
			`{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80}]}}`, "v1",
			`{"apiVersion":"v1","kind":"Service","metadata":{"name":"a"},"spec":{"internalTrafficPolicy":"Cluster","ports":[{"port":80,"protocol":"TCP","targetPort":80}],"sessionAffinity":"None","type":"ClusterIP"}}`,
			`{"apiVersion":"v1","kind":"Service","metadata":{"name":"a"},"spec":{"ports":[{"port":80}]}}`},
		{"between versions",
			`{apiVersion: autoscaling/v1, kind: HorizontalPodAutoscaler, metadata: {name: a}, spec: {maxReplicas: 4, targetCPUUtilizationPercentage: 50, scaleTargetRef: {kind: Deployment, name: a, apiVersion: apps/v1}}}`, "v2",
			`{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","metadata":{"name":"a"},"spec":{"maxReplicas":4,"metrics":[{"resource":{"name":"cpu","target":{"averageUtilization":50,"type":"Utilization"}},"type":"Resource"}],"minReplicas":1,"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"a"}}}`,
			`{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","metadata":{"name":"a"},"spec":{"maxReplicas":4,"metrics":[{"resource":{"name":"cpu","target":{"averageUtilization":50,"type":"Utilization"}},"type":"Resource"}],"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"a"}}}`},
		{"large whole numbers",
			`{apiVersion: v1, kind: PodTemplate, metadata: {name: a, generation: 9}, template: {spec: {securityContext: {runAsUser: 9007199254740993}}}}`, "v1", "",
			`{"apiVersion":"v1","kind":"PodTemplate","metadata":{"name":"a"},"template":{"spec":{"securityContext":{"runAsUser":9007199254740993}}}}`},
		{"custom",
			`{apiVersion: example.org/v1, kind: Widget, metadata: {name: a, labels: {}, typo: 1}, status: {x: 1}, extra: 1, spec: {note: null, mode: null, rows: null, tags: [], free: {a: 9007199254740993, b: null}, limits: {x: {}}, ports: [{port: 1}], template: {apiVersion: v1, kind: Pod, metadata: {name: x, creationTimestamp: null}, spec: {}}}}`, "v1",
			`{"apiVersion":"example.org/v1","kind":"Widget","metadata":{"name":"a"},"spec":{"free":{"a":9007199254740993,"b":null},"limits":{"x":{"max":1}},"mode":"soft","note":null,"ports":[{"port":1,"protocol":"TCP"}],"size":3,"tags":[],"template":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{}}}}`,
			`{"apiVersion":"example.org/v1","kind":"Widget","metadata":{"name":"a"},"spec":{"free":{"a":9007199254740993,"b":null},"limits":{"x":{}},"note":null,"ports":[{"port":1}],"tags":[],"template":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{}}}}`},
		{"custom between versions",
			`{apiVersion: example.org/v1, kind: Widget, metadata: {name: a}}`, "v2",
			`{"apiVersion":"example.org/v2","kind":"Widget","metadata":{"name":"a"},"spec":{"mode":"soft","size":3}}`,
			`{"apiVersion":"example.org/v2","kind":"Widget","metadata":{"name":"a"}}`},
	} {
		raw := fromYAML(t, c.raw)
		form, err := s.Canonical(raw, c.version)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if c.want != "" && string(form) != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, form, c.want)
		}
		said, err := s.Declared(raw, c.version)
		if err != nil || string(said) != c.declared {
			t.Errorf("%s: declared: %v\n got %s\nwant %s", c.name, err, said, c.declared)
		}
		checkFixed(t, s, c.name, form, c.version)
	}
}

func TestErrors(t *testing.T) {
	hooked := strings.Replace(widgets, "scope: Namespaced", "scope: Cluster\n  conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [v1], clientConfig: {url: \"https://x\"}}}", 1)
	s, errs := New(fromYAML(t, hooked), []byte(`{"apiVersion":"v1","kind":"Pod"}`), []byte(`[`),
		fromYAML(t, strings.Replace(strings.ReplaceAll(widgets, "example.org", "bad.org"), "type: object\n        properties", "oneOf: [{type: object}]\n        properties", 1)))
	if len(errs) != 3 {
		t.Errorf("three of the CRDs cannot be used: %v", errs)
	}
	t.Log(errs)
	for _, c := range []struct {
		name, raw, version string
		is                 error
		text               string
	}{
		{"unknown kind", `{apiVersion: acme.org/v1, kind: Rocket}`, "v1", ErrUnknownKind, "acme.org/v1 Rocket: no schema is known for this kind"},
		{"unknown version", `{apiVersion: apps/v1, kind: Deployment}`, "v7", ErrUnknownKind, "apps/v7 Deployment: no schema is known for this kind"},
		{"a list is no object", `{apiVersion: v1, kind: ConfigMapList}`, "v1", ErrUnknownKind, ""},
		{"the internal version", `{apiVersion: apps/__internal, kind: Deployment}`, "v1", ErrUnknownKind, ""},
		{"no kind", `{a: 1}`, "v1", ErrUnknownKind, ""},
		{"webhook", `{apiVersion: example.org/v1, kind: Widget, metadata: {name: a}}`, "v2", ErrConversion, "Widget from v1 to v2: only a conversion webhook could convert it"},
		{"field", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {replicas: three}}`, "v1", nil, "decoding Deployment: json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"},
		{"metadata of a custom resource", `{apiVersion: example.org/v1, kind: Widget, metadata: {name: a, labels: {a: 1}}}`, "v1", nil, ""},
		{"unusable CRD", `{apiVersion: bad.org/v1, kind: Widget, metadata: {name: a}}`, "v1", ErrUnknownKind, ""},
	} {
		_, err := s.Canonical(fromYAML(t, c.raw), c.version)
		if err == nil || c.is != nil && !errors.Is(err, c.is) || c.text != "" && err.Error() != c.text {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := s.Declared(fromYAML(t, c.raw), c.version); err == nil {
			t.Errorf("%s: declared without an error", c.name)
		}
	}
	if s.Scope("example.org", "Widget") != Cluster || s.Scope("bad.org", "Widget") != Unknown || s.Scope("apps", "Deployment") != Namespaced {
		t.Error("wrong scopes")
	}
	if !s.Known("example.org", "v1", "Widget") || s.Known("example.org", "v3", "Widget") || !s.Known("batch", "v1", "CronJob") {
		t.Error("wrong Known")
	}
}

func TestWithLeavesTheReceiver(t *testing.T) {
	var none *Schemas
	some, errs := none.With(fromYAML(t, widgets))
	if len(errs) > 0 || none.Known("example.org", "v1", "Widget") || !some.Known("example.org", "v1", "Widget") || !none.Known("", "v1", "Pod") {
		t.Error(errs)
	}
}

// TestScopes holds the table of cluster-scoped kinds against Kubernetes' own
// OpenAPI document.
func TestScopes(t *testing.T) {
	out, err := exec.Command("go", "list", "-mod=readonly", "-f", "{{.Dir}}", "-m", "k8s.io/kubernetes").Output()
	data, readErr := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "api", "openapi-spec", "swagger.json"))
	if err != nil || readErr != nil {
		t.Skip("the source of k8s.io/kubernetes is not here")
	}
	type operation struct {
		GVK *schema.GroupVersionKind `json:"x-kubernetes-group-version-kind"`
	}
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	scopes := map[schema.GroupVersionKind]Scope{}
	for path, verbs := range doc.Paths {
		if strings.Contains(path, "/{name}/") || strings.Contains(path, "/watch/") {
			continue
		}
		var post operation
		if json.Unmarshal(verbs["post"], &post) != nil || post.GVK == nil {
			continue
		}
		scopes[*post.GVK] = Cluster
		if strings.Contains(path, "/namespaces/{namespace}/") {
			scopes[*post.GVK] = Namespaced
		}
	}
	var s *Schemas
	for gvk, want := range scopes {
		if got := s.Scope(gvk.Group, gvk.Kind); got != want || !s.Known(gvk.Group, gvk.Version, gvk.Kind) {
			t.Errorf("%v is %v, here %v, known %v", gvk, want, got, s.Known(gvk.Group, gvk.Version, gvk.Kind))
		}
	}
	if len(scopes) < 70 {
		t.Errorf("only %d kinds in the document", len(scopes))
	}
	t.Logf("%d kinds agree", len(scopes))
}
