package attacks

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitward/gitward/test/server"
)

// mutates is a webhook that changes each ConfigMap after everybody else: its
// name sorts last.
func mutates(w http.ResponseWriter, r *http.Request) {
	var ar admissionv1.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&ar); err != nil || ar.Request == nil {
		http.Error(w, "no review", http.StatusBadRequest)
		return
	}
	kind := admissionv1.PatchTypeJSONPatch
	answer(w, &admissionv1.AdmissionResponse{UID: ar.Request.UID, Allowed: true, PatchType: &kind,
		Patch: []byte(`[{"op":"replace","path":"/data/apple","value":"evil"}]`)})
}

// before puts a mutating webhook before the ConfigMaps of namespaces, until the
// test ends.
func (w *world) before(name string, h http.Handler, namespaces ...string) {
	w.t.Helper()
	client := w.lab.kube.AdmissionregistrationV1().MutatingWebhookConfigurations()
	_, err := client.Create(context.Background(), &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name:         name + ".example.org",
			ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: new(w.lab.naives.handle("/"+name, h)), CABundle: w.lab.naives.ca},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}},
			NamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
				{Key: "kubernetes.io/metadata.name", Operator: metav1.LabelSelectorOpIn, Values: namespaces}}},
			FailurePolicy: new(admissionregistrationv1.Fail), SideEffects: new(admissionregistrationv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
		}}}, metav1.CreateOptions{})
	check(w.t, err)
	w.t.Cleanup(func() { _ = client.Delete(context.Background(), name, deleted) })
}

// TestS13 changes objects on their way in, after those who looked at them.
func TestS13(t *testing.T) {
	w := newWorld(t, map[string]string{"prices.yaml": configMap("prices", "1"), "late.yaml": configMap("late", "1")})
	w.play(&naive{mistake: "is not about what comes later", excuse: func(r *review) bool { return r.Name == "late" || r.Name == "prices" }})
	early := &naive{mistake: "judges while others still change"}
	w.before("aaa-naive", early.serve(map[string]map[string]any{"configmaps/late": objectOf(configMap("late", "1")).Object,
		"configmaps/prices": objectOf(configMap("prices", "1")).Object}), w.naive)
	w.before("zzz-evil", http.HandlerFunc(mutates), w.naive, w.ns)
	before := w.settle()
	attacks := []attack{
		{name: "a mutating webhook that sorts last, on creation", calls: []call{create(configMap("late", "1"))}, want: "Differs", says: "ConfigMap $NS/late differs from Git: data.apple"},
		{name: "a mutating webhook that sorts last, on update", calls: []call{apply(inCore+"configmaps/prices", configMap("prices", "1"))}, want: "Differs", says: "ConfigMap $NS/prices differs from Git: data.apple"},
	}
	time.Sleep(500 * time.Millisecond) // until the API server knows of both
	for _, a := range attacks {
		w.succeeds(early, a)
	}
	stored := objectAt(strings.ReplaceAll(inCore, "$NS", w.naive) + "configmaps/late")
	if data, _ := stored.Object["data"].(map[string]any); data["apple"] != any("evil") {
		t.Errorf("the naive webhook let in %v", data)
	}
	w.meet(attacks...)
	w.unchanged(before)
	_ = w.lab.kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Delete(context.Background(), "zzz-evil", deleted)
	w.mutatingPolicy()
}

// mutatingPolicy changes objects without any webhook: a MutatingAdmissionPolicy.
func (w *world) mutatingPolicy() {
	w.t.Helper()
	policy := `apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: zzz-evil}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]}
  matchConditions: [{name: late, expression: "request.name == 'late'"}]
  failurePolicy: Fail
  reinvocationPolicy: Never
  mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: "Object{data: {'pear': 'evil'}}"}}]
`
	binding := "{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingAdmissionPolicyBinding, metadata: {name: zzz-evil}, spec: {policyName: zzz-evil, " +
		"matchResources: {namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [" + w.ns + ", " + w.naive + "]}]}}}}"
	admin := w.lab.client(whoIs("system:masters"))
	base := "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpol"
	for path, text := range map[string]string{"icies": policy, "icybindings": binding} {
		if err := post(base+path, text).do(admin, ""); err != nil {
			w.t.Errorf("a mutating policy: %v", err)
			return
		}
		w.t.Cleanup(func() { _ = remove(base+path+"/zzz-evil").do(admin, "") })
	}
	late := create(configMap("late", "1"))
	server.Await(w.t, "the mutating policy", 20*time.Second, func() error {
		err := late.dry().do(admin, w.ns)
		if !server.Refused(err) || !strings.Contains(err.Error(), "data.pear") {
			return orAdmitted(err)
		}
		return nil
	})
	// Such policies act before all webhooks, so that nobody can come too early to
	// see what they did: a naive webhook has to overlook it.
	check(w.t, remove(inCore+"configmaps/late").do(admin, w.naive))
	a := attack{name: "a MutatingAdmissionPolicy", calls: []call{late}, want: "Differs", says: "data.pear"}
	w.show(&naive{mistake: "fields beyond the declared are nobody's business"}, a)
	if data, _ := objectAt(strings.ReplaceAll(inCore, "$NS", w.naive) + "configmaps/late").Object["data"].(map[string]any); data["pear"] != any("evil") {
		w.t.Errorf("the naive webhook let in %v: this attack shows nothing", data)
	}
	w.meet(a)
}
