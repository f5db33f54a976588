package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitward/gitward/charts"
)

// guardPolicies keep others' hands off Gitward while nobody asks it.
var guardPolicies = []string{"registration.guard.gitward.dev", "own.guard.gitward.dev", "stamps.guard.gitward.dev"}

// chartForm is the chart as it was installed, as far as what is live shows: it is
// rendered with the values that can be read off there, and has to come out the same.
type chartForm struct {
	judge    admissionregistrationv1.ValidatingWebhook
	policies map[string]admissionregistrationv1.ValidatingAdmissionPolicySpec
	bindings map[string]admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec
	trusted  []string
}

var (
	namespaceOfCondition = regexp.MustCompile(`request\.\?namespace\.orValue\(""\) == "([^"]+)"`)
	userOfGuard          = regexp.MustCompile(`request\.userInfo\.username == "([^"]+)"`)
	groupOfGuard         = regexp.MustCompile(`"([^"]+)" in request\.userInfo\.\?groups\.orValue\(\[\]\)`)
	imageOfGuard         = regexp.MustCompile(`c\.image\.startsWith\("([^"]+):"\)`)
	secretOfGuard        = regexp.MustCompile(`secretName\.orValue\(""\) == "([^"]+)"`)
)

// chartLike renders the chart with what the judge's conditions and the guard's
// policies say of the values.
func chartLike(conditions []admissionregistrationv1.MatchCondition, policies map[string]*admissionregistrationv1.ValidatingAdmissionPolicy) (*chartForm, error) {
	namespace := "gitward-system"
	var recovery []any
	for _, c := range conditions {
		if m := namespaceOfCondition.FindStringSubmatch(c.Expression); m != nil && c.Name == "not-gitwards-own-namespace" {
			namespace = m[1]
		}
		if name, ok := strings.CutPrefix(c.Name, "recovery-of-"); ok {
			recovery = append(recovery, name)
		}
	}
	expression := func(policy string) string {
		p, out := policies[policy], ""
		if p != nil {
			for _, v := range p.Spec.Variables {
				out += v.Expression + "\n"
			}
			for _, v := range p.Spec.Validations {
				out += v.Expression + "\n"
			}
		}
		return out
	}
	values := map[string]any{"webhooks": map[string]any{"url": "https://127.0.0.1:1", "recoveryNamespaces": recovery}}
	registration, own := expression(guardPolicies[0]), expression(guardPolicies[1])
	const injector = "system:serviceaccount:cert-manager:cert-manager-cainjector"
	certs := map[string]any{"mode": "secret", "caBundle": "none"}
	if strings.Contains(registration, `"`+injector+`"`) {
		certs = map[string]any{"mode": "cert-manager"}
		if !strings.Contains(own, `"gitward-authority"`) {
			certs["certManager"] = map[string]any{"issuerRef": map[string]any{"name": "other"}}
		}
	}
	if m := secretOfGuard.FindStringSubmatch(own); m != nil {
		certs["secretName"] = m[1]
	}
	values["certs"] = certs
	if m := imageOfGuard.FindStringSubmatch(own); m != nil {
		values["image"] = map[string]any{"repository": m[1]}
	}
	users := trustedOf(userOfGuard, registration, func(s string) bool {
		return s == injector || s == "system:serviceaccount:"+namespace+":gitward"
	})
	groups := trustedOf(groupOfGuard, registration, func(s string) bool { return strings.HasPrefix(s, "system:serviceaccounts:") })
	f := &chartForm{policies: map[string]admissionregistrationv1.ValidatingAdmissionPolicySpec{}, bindings: map[string]admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{}}
	for _, name := range append(slices.Clone(users), groups...) {
		f.trusted = append(f.trusted, name.(string))
	}
	if len(f.trusted) == 0 {
		users = []any{"nobody"} // then nothing comes out the same
	}
	values["guard"] = map[string]any{"users": users, "groups": groups}
	return f, f.render(charts.Release{Name: "gitward", Namespace: namespace, Values: values})
}

func trustedOf(pattern *regexp.Regexp, text string, but func(string) bool) []any {
	out := []any{}
	for _, m := range pattern.FindAllStringSubmatch(text, -1) {
		if !but(m[1]) && !slices.Contains(out, any(m[1])) {
			out = append(out, m[1])
		}
	}
	return out
}

func (f *chartForm) render(r charts.Release) error {
	objects, err := r.Objects()
	if err != nil {
		return err
	}
	for _, o := range objects {
		var err error
		switch o.GetKind() {
		case "ValidatingWebhookConfiguration":
			var c admissionregistrationv1.ValidatingWebhookConfiguration
			err = runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &c)
			f.judge = c.Webhooks[0]
		case "ValidatingAdmissionPolicy":
			var p admissionregistrationv1.ValidatingAdmissionPolicy
			err = runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &p)
			f.policies[p.Name] = p.Spec
		case "ValidatingAdmissionPolicyBinding":
			var b admissionregistrationv1.ValidatingAdmissionPolicyBinding
			err = runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &b)
			f.bindings[b.Name] = b.Spec
		}
		if err != nil {
			return fmt.Errorf("reading %s %s of the chart: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

// guard looks at the policies and their bindings.
func (r *doctorResult) guard(ctx context.Context, c *clusterReader, conditions []admissionregistrationv1.MatchCondition) {
	policies := map[string]*admissionregistrationv1.ValidatingAdmissionPolicy{}
	bindings := map[string]*admissionregistrationv1.ValidatingAdmissionPolicyBinding{}
	for _, name := range guardPolicies {
		var p admissionregistrationv1.ValidatingAdmissionPolicy
		var b admissionregistrationv1.ValidatingAdmissionPolicyBinding
		err := c.client.Get(ctx, types.NamespacedName{Name: name}, &p)
		if err == nil {
			policies[name] = &p
			err = c.client.Get(ctx, types.NamespacedName{Name: name}, &b)
		}
		switch {
		case err == nil:
			bindings[name] = &b
		case !apierrors.IsNotFound(err):
			r.warn("guard", "it cannot be looked at: "+err.Error(), "see that you may read ValidatingAdmissionPolicies and their bindings")
			return
		}
	}
	form, err := chartLike(conditions, policies)
	if err != nil {
		r.fail("guard", "the chart does not install it like this: "+err.Error(), reinstall)
		return
	}
	for _, name := range guardPolicies {
		r.guardPolicy("guard "+name, form, policies[name], bindings[name], name)
	}
}

const reinstall = "find out who did this, and install Gitward again with the values you have; another version of it has other ones"

func (r *doctorResult) guardPolicy(label string, form *chartForm, p *admissionregistrationv1.ValidatingAdmissionPolicy, b *admissionregistrationv1.ValidatingAdmissionPolicyBinding, name string) {
	switch {
	case p == nil:
		r.fail(label, "there is no such ValidatingAdmissionPolicy: whoever has the rights may take Gitward away", "install Gitward with guard.enabled, as one of guard.users")
		return
	case b == nil:
		r.fail(label, "it has no binding: it is not in force", "install Gitward with guard.enabled, as one of guard.users")
		return
	}
	changed := policyDifferences(form.policies[name], p.Spec)
	if !equality.Semantic.DeepEqual(form.bindings[name], b.Spec) {
		changed = append(changed, "its binding")
	}
	if len(changed) > 0 {
		r.fail(label, "not as the chart has it: "+strings.Join(changed, ", "), reinstall)
		return
	}
	who := strings.Join(form.trusted, ", ")
	if name == guardPolicies[2] {
		who = "nobody else"
	}
	r.ok(label, "in force; it lets pass %s", who)
}

func policyDifferences(wanted, live admissionregistrationv1.ValidatingAdmissionPolicySpec) []string {
	var out []string
	for _, part := range []struct {
		name string
		same bool
	}{
		{"paramKind", live.ParamKind == nil},
		{"failurePolicy", live.FailurePolicy == nil || *live.FailurePolicy == admissionregistrationv1.Fail},
		{"matchConstraints", equality.Semantic.DeepEqual(defaulted(wanted.MatchConstraints), defaulted(live.MatchConstraints))},
		{"matchConditions", equality.Semantic.DeepEqual(wanted.MatchConditions, live.MatchConditions)},
		{"variables", equality.Semantic.DeepEqual(wanted.Variables, live.Variables)},
		{"validations", equality.Semantic.DeepEqual(wanted.Validations, live.Validations)},
	} {
		if !part.same {
			out = append(out, part.name)
		}
	}
	return out
}

// defaulted is as the API server fills it in.
func defaulted(m *admissionregistrationv1.MatchResources) *admissionregistrationv1.MatchResources {
	if m == nil {
		return nil
	}
	m = m.DeepCopy()
	if m.MatchPolicy == nil {
		m.MatchPolicy = new(admissionregistrationv1.Equivalent)
	}
	if m.NamespaceSelector == nil {
		m.NamespaceSelector = &metav1.LabelSelector{}
	}
	if m.ObjectSelector == nil {
		m.ObjectSelector = &metav1.LabelSelector{}
	}
	for _, rules := range [][]admissionregistrationv1.NamedRuleWithOperations{m.ResourceRules, m.ExcludeResourceRules} {
		for i := range rules {
			if rules[i].Scope == nil {
				rules[i].Scope = new(admissionregistrationv1.AllScopes)
			}
		}
	}
	return m
}

// unlike says which of the judge's conditions are not the chart's. One that is
// there beyond them, or says something else, lets somebody past; one that is
// missing has it asked about more.
func unlike(live []admissionregistrationv1.MatchCondition) (strange, missing []string, err error) {
	form, err := chartLike(live, nil)
	if err != nil {
		return nil, nil, err
	}
	for _, c := range live {
		if !slices.Contains(form.judge.MatchConditions, c) {
			strange = append(strange, c.Name)
		}
	}
	for _, c := range form.judge.MatchConditions {
		if !slices.ContainsFunc(live, func(l admissionregistrationv1.MatchCondition) bool { return l.Name == c.Name }) {
			missing = append(missing, c.Name)
		}
	}
	return strange, missing, nil
}
