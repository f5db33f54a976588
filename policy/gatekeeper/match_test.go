package gatekeeper_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/gitward/gitward/policy/gatekeeper"
	mutation "github.com/open-policy-agent/gatekeeper/v3/pkg/mutation/types"
	"github.com/open-policy-agent/gatekeeper/v3/pkg/target"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"
)

// object parses one in YAML's flow style.
func object(t testing.TB, text string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

func metadata(t testing.TB, text string) *metav1.PartialObjectMetadata {
	if text == "" {
		return nil
	}
	return gatekeeper.Metadata(object(t, text))
}

func namespace(name string, labels map[string]string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
}

func TestMatches(t *testing.T) {
	const (
		pod      = "{apiVersion: v1, kind: Pod, metadata: {name: web-1, namespace: shop, labels: {app: web}}}"
		made     = "{apiVersion: v1, kind: Pod, metadata: {generateName: web-, namespace: shop}}"
		deploy   = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}}"
		role     = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: web}}"
		shop     = "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {env: prod}}}"
		impostor = "{apiVersion: example.com/v1, kind: Namespace, metadata: {name: shop, labels: {env: prod}}}"
	)
	prod := namespace("shop", map[string]string{"env": "prod"})
	test := namespace("shop", map[string]string{"env": "test"})
	yes, no := "true", "false"
	for _, c := range []struct {
		match, object string
		namespace     *corev1.Namespace
		want          string // true, false, or part of the error
	}{
		{"{}", pod, prod, yes},
		{"{}", role, nil, yes},
		{"{kinds: []}", pod, prod, yes},
		{"{kinds: [{apiGroups: [''], kinds: [Pod]}]}", pod, prod, yes},
		{"{kinds: [{apiGroups: [''], kinds: [Pod]}]}", deploy, prod, no},
		{"{kinds: [{apiGroups: [apps], kinds: [Pod]}]}", pod, prod, no},
		{"{kinds: [{apiGroups: ['*'], kinds: [Pod]}]}", pod, prod, yes},
		{"{kinds: [{apiGroups: [apps], kinds: ['*']}]}", deploy, prod, yes},
		{"{kinds: [{kinds: [Deployment]}]}", deploy, prod, yes},
		{"{kinds: [{apiGroups: [apps]}]}", deploy, prod, yes},
		{"{kinds: [{apiGroups: [apps]}, {kinds: [Pod]}]}", pod, prod, yes},
		{"{scope: Cluster}", role, nil, yes},
		{"{scope: Cluster}", shop, nil, yes},
		{"{scope: Cluster}", pod, prod, no},
		{"{scope: Cluster}", impostor, prod, no},
		{"{scope: Namespaced}", role, nil, no},
		{"{scope: Namespaced}", shop, nil, no},
		{"{scope: Namespaced}", pod, nil, yes},
		{"{scope: '*'}", role, nil, yes},
		{"{scope: cluster}", pod, prod, yes}, // misspelt, which Gatekeeper takes for any
		{"{namespaces: [shop]}", pod, prod, yes},
		{"{namespaces: [shop]}", pod, nil, yes},
		{"{namespaces: [bar]}", pod, prod, no},
		{"{namespaces: [sh*]}", pod, prod, yes},
		{"{namespaces: ['*op']}", pod, prod, yes},
		{"{namespaces: ['*ho*']}", pod, prod, yes},
		{"{namespaces: [bar]}", role, nil, yes}, // has none, so none that is wrong
		{"{namespaces: [bar]}", shop, nil, no},
		{"{excludedNamespaces: [shop]}", pod, prod, no},
		{"{excludedNamespaces: [shop]}", pod, nil, no},
		{"{excludedNamespaces: [bar]}", pod, prod, yes},
		{"{excludedNamespaces: [sh*]}", shop, nil, no},
		{"{excludedNamespaces: ['*']}", role, nil, yes},
		{"{excludedNamespaces: [sh*], namespaces: [shop]}", pod, prod, no},
		{"{labelSelector: {matchLabels: {app: web}}}", pod, prod, yes},
		{"{labelSelector: {matchLabels: {app: db}}}", pod, prod, no},
		{"{labelSelector: {matchLabels: {app: web}}}", deploy, prod, no},
		{"{labelSelector: {matchExpressions: [{key: app, operator: DoesNotExist}]}}", deploy, prod, yes},
		{"{labelSelector: {matchExpressions: [{key: app, operator: NotIn, values: [web]}]}}", pod, prod, no},
		{"{namespaceSelector: {matchLabels: {env: prod}}}", pod, prod, yes},
		{"{namespaceSelector: {matchLabels: {env: prod}}}", pod, test, no},
		{"{namespaceSelector: {matchLabels: {env: prod}}}", pod, nil, "missing Namespace"},
		{"{namespaceSelector: {matchLabels: {env: prod}}}", role, nil, yes},
		{"{namespaceSelector: {matchLabels: {env: prod}}}", shop, nil, yes},
		{"{namespaceSelector: {matchLabels: {env: test}}}", shop, nil, no},
		{"{namespaceSelector: {matchLabels: {env: prod}}}", impostor, nil, yes}, // of the cluster
		{"{kinds: [{kinds: [Service]}], namespaceSelector: {matchLabels: {env: prod}}}", pod, nil, no},
		{"{name: web-1}", pod, prod, yes},
		{"{name: web}", pod, prod, no},
		{"{name: web-*}", pod, prod, yes},
		{"{name: '*-1'}", pod, prod, yes},
		{"{name: '*eb*'}", pod, prod, yes},
		{"{name: web-*}", made, prod, yes},
		{"{name: web-}", made, prod, no},
		{"{name: '*-1'}", made, prod, no},
		{"{source: All}", pod, prod, yes},
		{"{source: Original}", pod, prod, yes},
		{"{source: Generated}", pod, prod, no},
	} {
		constraint := matching(t, c.match)
		got, err := constraint.Matches(&gatekeeper.Review{Operation: admissionv1.Create, Object: metadata(t, c.object), Namespace: c.namespace})
		if told := tell(got, err); !holds(told, c.want) {
			t.Errorf("%s of %s in %v: %s, want %s", c.match, c.object, c.namespace, told, c.want)
		}
	}
	made1 := &gatekeeper.Review{Object: metadata(t, pod), Namespace: prod, Generated: true}
	for match, want := range map[string]string{"{source: Generated}": yes, "{source: Original}": no, "{}": yes} {
		if told := tell(matching(t, match).Matches(made1)); told != want {
			t.Errorf("%s of a generated object: %s, want %s", match, told, want)
		}
	}
}

// An update concerns a Constraint if the object does as it is or as it will be,
// so that a label cannot be taken off to get out of its reach.
func TestMatchesOperations(t *testing.T) {
	const (
		web  = "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: shop, labels: {app: web}}}"
		bare = "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: shop}}"
	)
	constraint := matching(t, "{labelSelector: {matchLabels: {app: web}}}")
	for _, c := range []struct {
		operation   admissionv1.Operation
		object, old string
		want        string
	}{
		{"CREATE", web, "", "true"},
		{"CREATE", bare, "", "false"},
		{"UPDATE", bare, web, "true"},
		{"UPDATE", web, bare, "true"},
		{"UPDATE", bare, bare, "false"},
		{"DELETE", "", web, "true"},
		{"DELETE", "", bare, "false"},
		{"DELETE", web, bare, "false"}, // the old object is the one
		{"DELETE", web, "", "oldObject cannot be nil"},
		{"CONNECT", "", "", "neither object nor old object"},
		{"", web, "", "true"},
	} {
		review := &gatekeeper.Review{Operation: c.operation, Object: metadata(t, c.object), OldObject: metadata(t, c.old)}
		if told := tell(constraint.Matches(review)); !holds(told, c.want) {
			t.Errorf("%s of %q, before %q: %s, want %s", c.operation, c.object, c.old, told, c.want)
		}
	}
	if told := tell(matching(t, "").Matches(&gatekeeper.Review{Operation: "CONNECT"})); told != "true" {
		t.Errorf("a Constraint without match: %s", told)
	}
}

// matching is a Constraint with this match; with none if it is empty.
func matching(t testing.TB, match string) *gatekeeper.Constraint {
	spec := "{match: " + match + "}"
	if match == "" {
		spec = "{}"
	}
	c, err := tidy(t).Constraint("f", 1, []byte(constrain(spec)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tell(matched bool, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	return fmt.Sprint(matched)
}

func holds(told, want string) bool {
	if want == "true" || want == "false" {
		return told == want
	}
	return strings.Contains(told, "error: ") && strings.Contains(told, want)
}

// TestMatchesAsTarget holds Matches against the whole way of Gatekeeper: its
// target reads the match, makes a request of full objects, and matches.
func TestMatchesAsTarget(t *testing.T) {
	template := tidy(t)
	seen := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		fields := map[string]any{"spec": map[string]any{"match": drawMatch(t)}}
		if rapid.IntRange(0, 20).Draw(t, "match at all") == 0 {
			fields["spec"] = map[string]any{}
		}
		fields["apiVersion"], fields["kind"] = "constraints.gatekeeper.sh/v1beta1", "Tidy"
		fields["metadata"] = map[string]any{"name": "rooms"}
		raw, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		constraint, err := template.Constraint("f", 1, raw)
		if err != nil {
			t.Fatal(err)
		}
		request := drawRequest(t)
		want := tell(asTarget(t, &unstructured.Unstructured{Object: fields}, request))
		got := tell(constraint.Matches(request.review()))
		if got != want {
			t.Fatalf("%s\n%+v:\n got %s\nwant %s", raw, request, got, want)
		}
		seen[want[:4]]++
	})
	if seen["true"] == 0 || seen["fals"] == 0 || seen["erro"] == 0 {
		t.Errorf("not every answer was drawn: %v", seen)
	}
}

// request is one that both ways are shown.
type request struct {
	operation   admissionv1.Operation
	object, old *unstructured.Unstructured
	namespace   *corev1.Namespace
	generated   bool
}

func (r *request) review() *gatekeeper.Review {
	review := &gatekeeper.Review{Operation: r.operation, Namespace: r.namespace, Generated: r.generated}
	if r.object != nil {
		review.Object = gatekeeper.Metadata(r.object)
	}
	if r.old != nil {
		review.OldObject = gatekeeper.Metadata(r.old)
	}
	return review
}

func asTarget(t *rapid.T, constraint *unstructured.Unstructured, r *request) (bool, error) {
	handler := &target.K8sValidationTarget{}
	matcher, err := handler.ToMatcher(constraint)
	if err != nil {
		t.Fatal(err)
	}
	admission := &admissionv1.AdmissionRequest{Operation: r.operation, Object: raw(t, r.object), OldObject: raw(t, r.old)}
	source := mutation.SourceTypeOriginal
	if r.generated {
		source = mutation.SourceTypeGenerated
	}
	_, handled, err := handler.HandleReview(target.AugmentedReview{AdmissionRequest: admission, Namespace: r.namespace, Source: source, IsAdmission: true})
	if err != nil {
		return false, err
	}
	return matcher.Match(handled)
}

func raw(t *rapid.T, o *unstructured.Unstructured) runtime.RawExtension {
	if o == nil {
		return runtime.RawExtension{}
	}
	text, err := o.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return runtime.RawExtension{Raw: text}
}

// The names are few, so that they meet.
var (
	names  = rapid.SampledFrom([]string{"a", "ab", "abc", "b", "kube-system"})
	globs  = rapid.SampledFrom([]string{"a", "ab", "a*", "*b", "*", "*b*", "kube-*", "b", "abc"})
	keys   = rapid.SampledFrom([]string{"app", "env"})
	values = rapid.SampledFrom([]string{"x", "y"})
	kinds  = rapid.SampledFrom([]string{"Pod", "Namespace", "Deployment"})
	groups = rapid.SampledFrom([]string{"", "apps"})
)

func drawMatch(t *rapid.T) map[string]any {
	match := map[string]any{}
	some := func(field string, draw func() any) {
		if rapid.IntRange(0, 3).Draw(t, field) == 0 {
			match[field] = draw()
		}
	}
	some("kinds", func() any {
		return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) any {
			one := map[string]any{"kinds": list(t, rapid.OneOf(kinds, rapid.Just("*")))}
			if rapid.Bool().Draw(t, "groups") {
				one["apiGroups"] = list(t, rapid.OneOf(groups, rapid.Just("*")))
			}
			return one
		}), 0, 2).Draw(t, "kinds")
	})
	some("scope", func() any { return rapid.SampledFrom([]string{"*", "Cluster", "Namespaced"}).Draw(t, "scope") })
	some("namespaces", func() any { return list(t, globs) })
	some("excludedNamespaces", func() any { return list(t, globs) })
	some("labelSelector", func() any { return drawSelector(t) })
	some("namespaceSelector", func() any { return drawSelector(t) })
	some("name", func() any { return globs.Draw(t, "name") })
	some("source", func() any { return rapid.SampledFrom([]string{"All", "Original", "Generated"}).Draw(t, "source") })
	return match
}

func list(t *rapid.T, of *rapid.Generator[string]) []any {
	var all []any
	for _, one := range rapid.SliceOfN(of, 0, 2).Draw(t, "list") {
		all = append(all, one)
	}
	if all == nil {
		return []any{}
	}
	return all
}

func drawSelector(t *rapid.T) map[string]any {
	selector := map[string]any{}
	if rapid.Bool().Draw(t, "labels") {
		selector["matchLabels"] = map[string]any{keys.Draw(t, "key"): values.Draw(t, "value")}
	}
	if rapid.Bool().Draw(t, "expressions") {
		operator := rapid.SampledFrom([]string{"In", "NotIn", "Exists", "DoesNotExist"}).Draw(t, "operator")
		expression := map[string]any{"key": keys.Draw(t, "key"), "operator": operator}
		if operator == "In" || operator == "NotIn" {
			expression["values"] = []any{values.Draw(t, "value")}
		}
		selector["matchExpressions"] = []any{expression}
	}
	return selector
}

func drawRequest(t *rapid.T) *request {
	r := &request{
		operation: rapid.SampledFrom([]admissionv1.Operation{"", "CREATE", "UPDATE", "DELETE", "CONNECT"}).Draw(t, "operation"),
		generated: rapid.Bool().Draw(t, "generated"),
	}
	if rapid.IntRange(0, 4).Draw(t, "object") > 0 {
		r.object = drawObject(t)
	}
	if rapid.Bool().Draw(t, "old") {
		r.old = drawObject(t)
	}
	if rapid.Bool().Draw(t, "namespace") {
		r.namespace = namespace(names.Draw(t, "namespace"), rapid.MapOfN(keys, values, 0, 2).Draw(t, "labels"))
	}
	return r
}

// drawObject makes a full one: what a match does not see must not matter.
func drawObject(t *rapid.T) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"replicas": int64(2)}, "data": map[string]any{"a": "b"}}}
	version := "v1"
	if group := groups.Draw(t, "group"); group != "" {
		version = group + "/v1"
	}
	o.SetAPIVersion(version)
	o.SetKind(kinds.Draw(t, "kind"))
	if rapid.Bool().Draw(t, "generateName") {
		o.SetGenerateName(names.Draw(t, "name"))
	} else {
		o.SetName(names.Draw(t, "name"))
	}
	if rapid.Bool().Draw(t, "namespaced") {
		o.SetNamespace(names.Draw(t, "namespace"))
	}
	o.SetLabels(rapid.MapOfN(keys, values, 0, 2).Draw(t, "labels"))
	o.SetAnnotations(map[string]string{"note": "n"})
	return o
}

// BenchmarkMatches asks about an update of a Deployment: by a match with every
// kind of condition, of which all hold, and by one of another kind, as most of a
// library are.
func BenchmarkMatches(b *testing.B) {
	const deployment = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: front, namespace: shop, labels: {app: front, team: apples, tier: web}}}"
	review := &gatekeeper.Review{Operation: admissionv1.Update, Object: metadata(b, deployment), OldObject: metadata(b, deployment),
		Namespace: namespace("shop", map[string]string{"env": "prod"})}
	for _, c := range []struct {
		name, match string
		want        bool
	}{
		{"all", "{kinds: [{apiGroups: [apps], kinds: [Deployment]}], excludedNamespaces: [kube-*], labelSelector: {matchLabels: {app: front}}, namespaceSelector: {matchLabels: {env: prod}}, name: 'f*'}", true},
		{"kind", "{kinds: [{apiGroups: [apps], kinds: [Deployment, StatefulSet]}], excludedNamespaces: [kube-*]}", true},
		{"other", "{kinds: [{apiGroups: [''], kinds: [Pod]}], labelSelector: {matchLabels: {app: front}}}", false},
	} {
		constraint := matching(b, c.match)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if matched, err := constraint.Matches(review); err != nil || matched != c.want {
					b.Fatal(matched, err)
				}
			}
		})
	}
}
