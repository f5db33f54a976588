package canonical

import (
	"fmt"
	"strings"
	"testing"
)

// walk follows a path like "spec.containers[].ports".
func walk(s Shape, path string) Shape {
	for _, step := range strings.Split(path, ".") {
		name, _, item := strings.Cut(step, "[]")
		s = s.Field(name)
		if item {
			s = s.Item()
		}
	}
	return s
}

func TestShape(t *testing.T) {
	s := withWidgets(t)
	pod, widget := s.Shape("", "v1", "Pod"), s.Shape("example.org", "v1", "Widget")
	policy, deployment := s.Shape("networking.k8s.io", "v1", "NetworkPolicy"), s.Shape("apps", "v1", "Deployment")
	crd := s.Shape("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
	for _, c := range []struct {
		top   Shape
		path  string
		list  string
		empty bool
	}{
		{pod, "spec.containers", "map[name]", true},
		{pod, "spec.containers[].ports", "map[containerPort protocol]", true},
		{pod, "spec.containers[].env", "map[name]", true},
		{pod, "spec.containers[].command", "atomic[]", true},
		{pod, "spec.containers[].resources", "atomic[]", false},
		{pod, "spec.containers[].resources.limits", "atomic[]", true},
		{pod, "spec.containers[].resources.limits.cpu", "atomic[]", false},
		{pod, "spec.volumes[].emptyDir", "atomic[]", false},
		{pod, "spec.securityContext", "atomic[]", false},
		{pod, "spec.tolerations", "atomic[]", true},
		{pod, "spec.nodeSelector", "atomic[]", true},
		{pod, "metadata.finalizers", "set[]", true},
		{pod, "metadata.ownerReferences", "map[uid]", true},
		{pod, "metadata.labels", "atomic[]", true},
		{pod, "metadata.labels.a", "atomic[]", false},
		{pod, "no.such[].field", "atomic[]", false},
		{deployment, "spec.template.spec.containers[].ports", "map[containerPort protocol]", true},
		{deployment, "spec.template.metadata.annotations", "atomic[]", true},
		{policy, "spec.podSelector", "atomic[]", false},
		{policy, "spec.ingress", "atomic[]", true},
		{policy, "spec.ingress[].from[].podSelector", "atomic[]", false},
		{policy, "spec.ingress[].from[].podSelector.matchLabels", "atomic[]", true},
		{s.Shape("", "v1", "Secret"), "data", "atomic[]", true},
		{s.Shape("", "v1", "Secret"), "data.a", "atomic[]", false},
		{s.Shape("rbac.authorization.k8s.io", "v1", "ClusterRole"), "rules", "atomic[]", true},
		{crd, "spec.versions", "atomic[]", true},
		{crd, "metadata.finalizers", "set[]", true},
		{crd, "spec.versions[].schema.openAPIV3Schema.properties.spec.properties.a.required", "atomic[]", true},
		{s.Shape("apiregistration.k8s.io", "v1", "APIService"), "spec.caBundle", "atomic[]", false},
		{widget, "spec.tags", "set[]", false},
		{widget, "spec.ports", "map[port protocol]", false},
		{widget, "spec.limits.x.max", "atomic[]", false},
		{widget, "spec.rows", "atomic[]", false},
		{widget, "metadata.labels", "atomic[]", true},
		{widget, "metadata.finalizers", "set[]", true},
		{widget, "spec.template.metadata.labels", "atomic[]", true},
		{widget, "spec.free.a[].b", "atomic[]", false},
	} {
		at := walk(c.top, c.path)
		kind, keys := at.List()
		if got := fmt.Sprintf("%v%v", kind, keys); got != c.list || at.EmptyIsAbsent() != c.empty {
			t.Errorf("%s is %s, empty is absent: %v", c.path, got, at.EmptyIsAbsent())
		}
	}
	for _, at := range []Shape{walk(pod, "spec.containers[].ports"), walk(widget, "spec.ports")} {
		if value, ok := at.KeyDefault("protocol"); !ok || value != "TCP" {
			t.Errorf("a port's protocol defaults to %v", value)
		}
	}
	if (s.Shape("x", "v1", "Y") != Shape{}) {
		t.Error("an unknown kind has a shape")
	}
}

const deploymentYAML = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: web}, annotations: {team: shop}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      containers:
      - name: web
        image: registry.example.org/web:1.2.3
        ports: [{name: http, containerPort: 8080}]
        env: [{name: A, value: b}, {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
        resources: {requests: {cpu: "0.1", memory: 64Mi}, limits: {memory: 128Mi}}
        readinessProbe: {httpGet: {path: /healthz, port: http}}
        livenessProbe: {httpGet: {path: /healthz, port: http}}
        securityContext: {runAsNonRoot: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
        volumeMounts: [{name: tmp, mountPath: /tmp}, {name: config, mountPath: /etc/web}]
      volumes: [{name: tmp, emptyDir: {}}, {name: config, configMap: {name: web}}]
`

func BenchmarkCanonicalDeployment(b *testing.B) {
	var s *Schemas
	raw := fromYAML(b, deploymentYAML)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Canonical(raw, "v1"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDeclaredDeployment(b *testing.B) {
	var s *Schemas
	raw := fromYAML(b, deploymentYAML)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Declared(raw, "v1"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCanonicalCustom(b *testing.B) {
	s := withWidgets(b)
	raw := []byte(`{"apiVersion":"example.org/v1","kind":"Widget","metadata":{"name":"a"},"spec":{"ports":[{"port":1}]}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Canonical(raw, "v1"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkShapeWalk(b *testing.B) {
	var s *Schemas
	b.ReportAllocs()
	for b.Loop() {
		at := s.Shape("apps", "v1", "Deployment").Field("spec").Field("template").Field("spec").Field("containers").Item().Field("ports")
		if kind, _ := at.List(); kind != Map {
			b.Fatal(kind)
		}
	}
}

// FuzzCanonical: whatever comes, no panic; what has a canonical form keeps it,
// and what is declared is in it.
func FuzzCanonical(f *testing.F) {
	s := withWidgets(f)
	for _, text := range []string{deploymentYAML, widgets,
		`{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {a: b}}`,
		`{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [null, {name: a}], hostNetwork: true, volumes: [{}]}}`,
		`{apiVersion: autoscaling/v1, kind: HorizontalPodAutoscaler, metadata: {name: a, annotations: {autoscaling.alpha.kubernetes.io/metrics: "[]"}}, spec: {targetCPUUtilizationPercentage: 1}}`,
		`{apiVersion: example.org/v1, kind: Widget, metadata: {name: a}, spec: {ports: [{}], limits: {a: null}, template: {}}}`,
		`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, spec: {ingress: [{}]}}`,
	} {
		f.Add(fromYAML(f, text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		gvk, err := kindOf(raw)
		if err != nil {
			return
		}
		form, err := s.Canonical(raw, gvk.Version)
		if err != nil {
			return
		}
		checkFixed(t, s, "fuzz", form, gvk.Version)
		checkDeclared(t, s, object{place: "fuzz", raw: raw}, gvk.Version)
	})
}
