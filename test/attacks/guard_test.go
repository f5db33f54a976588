//go:build unix

package attacks

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/gitward/gitward/audit"
	"github.com/gitward/gitward/test/install"
	"github.com/gitward/gitward/test/server"
)

const (
	registrations = "/apis/admissionregistration.k8s.io/v1/"
	judgeConfig   = registrations + "validatingwebhookconfigurations/" + install.Judge
	stampConfig   = registrations + "mutatingwebhookconfigurations/" + install.Annotator
	ownNamespace  = "/api/v1/namespaces/" + systemNamespace + "/"
)

// guard puts the chart's guarding policies into the cluster until the test ends.
func (l *lab) guard(t testing.TB) {
	t.Helper()
	objects, err := install.Guard(ownUser)
	check(t, err)
	admin := l.client(whoIs("system:masters"))
	t.Cleanup(func() { l.unguard(t, objects) })
	for _, o := range objects {
		check(t, post(collection(asJSON(o.Object)), asJSON(o.Object)).do(admin, ""))
	}
	server.Await(t, "the guard", 30*time.Second, func() error {
		for _, p := range guarded {
			if err := p.dry().do(admin, ""); !refusedByGuard(err) {
				return orAdmitted(err)
			}
		}
		return nil
	})
}

// guarded are one deed for each of the guarding policies.
var guarded = []call{
	merge(judgeConfig, `{"metadata":{"labels":{"probe":"1"}}}`),
	post(ownNamespace+"configmaps", "{apiVersion: v1, kind: ConfigMap, metadata: {name: probe}}"),
	merge("/api/v1/namespaces/default/status", forgedStamp),
}

// unguard takes the bindings away first: what is bound nowhere refuses nothing.
func (l *lab) unguard(t testing.TB, objects []*unstructured.Unstructured) {
	admin := l.client(whoIs("system:masters"))
	for _, o := range slices.Backward(objects) {
		if err := remove(itself(asJSON(o.Object))).do(admin, ""); err != nil && !apierrors.IsNotFound(err) {
			t.Errorf("taking the guard away: %v", err)
		}
	}
	server.Await(t, "the guard's end", 30*time.Second, func() error {
		for _, p := range guarded {
			if err := p.dry().do(admin, ""); refusedByGuard(err) {
				return err
			}
		}
		return nil
	})
}

// ungated does something in a moment without Gitward's webhooks. Gitward sleeps
// meanwhile: otherwise it would put them back. Then it does.
func (l *lab) ungated(t testing.TB, do func()) {
	t.Helper()
	admin := l.client(whoIs("system:masters"))
	server.Await(t, "Gitward to know its configurations", 2*time.Minute, func() error {
		return admin.Get().AbsPath(ownNamespace + "configmaps/gitward-registration").Do(context.Background()).Error()
	})
	process := l.gitward.Pid()
	check(t, syscall.Kill(process, syscall.SIGSTOP))
	defer func() {
		check(t, syscall.Kill(process, syscall.SIGCONT))
		server.Await(t, "the webhooks' return", 30*time.Second, func() error {
			for _, path := range []string{judgeConfig, stampConfig} {
				if err := admin.Get().AbsPath(path).Do(context.Background()).Error(); err != nil {
					return err
				}
			}
			return nil
		})
		server.AwaitGated(t, l.kube, true)
	}()
	for _, path := range []string{judgeConfig, stampConfig} {
		check(t, remove(path).do(admin, ""))
	}
	server.AwaitGated(t, l.kube, false)
	do()
}

func refusedByGuard(err error) bool {
	return err != nil && strings.Contains(err.Error(), ".guard.gitward.dev") && strings.Contains(err.Error(), "denied request")
}

// tampering is a deed against Gitward itself. It is done by dry run, which a
// policy judges as the deed: nobody is to open the lab by the way.
type tampering struct {
	name string
	call call
}

// tamper has everybody try each, but for the names that are known to pass.
func (w *world) tamper(deeds []tampering, passes func(person) bool) {
	w.t.Helper()
	var wg sync.WaitGroup
	lines, turn := make([]string, len(deeds)), make(chan struct{}, 4)
	for i, d := range deeds {
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			tries, mute := 0, error(nil)
			for _, who := range everybody {
				err := d.call.dry().do(w.lab.client(who), w.ns)
				if forbiddenByRBAC(err) || passes != nil && passes(who) {
					continue
				}
				tries++
				if !refusedByGuard(err) {
					w.t.Errorf("%s (%s): %v", d.name, who.name, orAdmitted(err))
				} else if strings.Contains(err.Error(), "failed expression") {
					mute = err
				}
			}
			if tries == 0 || mute != nil {
				w.t.Errorf("%s: %d tries; a refusal that says nothing: %v", d.name, tries, mute)
			}
			lines[i] = fmt.Sprintf("%-55s | naive: gets through (%s) | Gitward: the guarding policy | %d tries", d.name, unasked.mistake, tries)
		})
	}
	wg.Wait()
	for _, line := range lines {
		w.t.Log(line)
	}
}

// bites shows that without the guard, and without Gitward, each deed is done.
// About webhook configurations no webhook is ever asked; about the rest a naive
// one is not, being for other namespaces.
func (w *world) bites(deeds []tampering) {
	w.t.Helper()
	w.register(unasked)
	w.lab.ungated(w.t, func() {
		for _, d := range deeds {
			if err := d.call.dry().do(w.lab.client(whoIs("cluster-admin")), w.ns); err != nil {
				w.t.Errorf("%s, before the guard: %v: this attack shows nothing", d.name, err)
			}
		}
	})
	w.unregister()
}

// ofKubernetes are the names that keep Pods and accounts everywhere, Gitward's
// own among them. Whoever may take any name may take these: only the static
// policy on the control plane's disk is out of their reach.
func ofKubernetes(p person) bool {
	name := p.as.UserName
	return strings.HasPrefix(name, "system:kube-") || strings.HasPrefix(name, "system:node:") ||
		strings.HasPrefix(name, "system:serviceaccount:kube-system:") && p.as.UID != ""
}

// TestS19 turns Gitward off, or bends it, with the rights to do so.
func TestS19(t *testing.T) {
	w := newWorld(t, map[string]string{"prices.yaml": configMap("prices", "1")})
	w.victim()
	hook := func(field, value string) call {
		return call{"PATCH", judgeConfig, "application/json-patch+json", `[{"op":"add","path":"/webhooks/0/` + field + `","value":` + value + `}]`}
	}
	outside := []tampering{
		{"deletion of the judge", remove(judgeConfig)},
		{"deletion of the annotator", remove(stampConfig)},
		{"deletion of all configurations", remove(registrations + "validatingwebhookconfigurations")},
		{"failures ignored", hook("failurePolicy", `"Ignore"`)},
		{"fewer rules", hook("rules", `[{"apiGroups":[""],"apiVersions":["v1"],"resources":["events"],"operations":["CREATE"]}]`)},
		{"a match condition more", hook("matchConditions", `[{"name":"never","expression":"false"}]`)},
		{"a namespace selector", hook("namespaceSelector", `{"matchLabels":{"never":"1"}}`)},
		{"an object selector", hook("objectSelector", `{"matchLabels":{"never":"1"}}`)},
		{"another authority", hook("clientConfig/caBundle", `""`)},
		{"another address", hook("clientConfig/url", `"https://127.0.0.1:1/"`)},
		{"a shorter time", hook("timeoutSeconds", `1`)},
		{"exact matching", hook("matchPolicy", `"Exact"`)},
		{"no webhooks at all", merge(judgeConfig, `{"webhooks":[]}`)},
		{"the annotator sent elsewhere", call{"PATCH", stampConfig, "application/json-patch+json", `[{"op":"replace","path":"/webhooks/0/clientConfig/url","value":"https://127.0.0.1:1/"}]`}},
		{"the CRD of Gates deleted", remove("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gates.gitward.dev")},
		{"the CRD of Origins deleted", remove("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/origins.gitward.dev")},
		{"the CRD of Gates without rules", merge("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gates.gitward.dev", `{"metadata":{"labels":{"a":"b"}}}`)},
	}
	inside := []tampering{
		{"other signers", merge(ownNamespace+"secrets/signers", `{"stringData":{"allowed_signers":"eve"}}`)},
		{"the signers deleted", remove(ownNamespace + "secrets/signers")},
		{"Gitward scaled to nothing", merge("/apis/apps/v1/namespaces/"+systemNamespace+"/deployments/gitward/scale", `{"spec":{"replicas":0}}`)},
		{"another image for Gitward", strategic("/apis/apps/v1/namespaces/"+systemNamespace+"/deployments/gitward", `{"spec":{"template":{"spec":{"containers":[{"name":"gitward","image":"evil"}]}}}}`)},
		{"Gitward deleted", remove("/apis/apps/v1/namespaces/" + systemNamespace + "/deployments/gitward")},
		{"the network cut", post("/apis/networking.k8s.io/v1/namespaces/"+systemNamespace+"/networkpolicies", "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: cut}, spec: {podSelector: {}, policyTypes: [Ingress, Egress]}}")},
		{"a Pod beside Gitward", post(ownNamespace+"pods", "{apiVersion: v1, kind: Pod, metadata: {name: spy}, spec: {containers: [{name: a, image: evil}]}}")},
		{"a token of Gitward's", post(ownNamespace+"serviceaccounts/default/token", "{apiVersion: authentication.k8s.io/v1, kind: TokenRequest, spec: {}}")},
		{"rights in Gitward's namespace", post("/apis/rbac.authorization.k8s.io/v1/namespaces/"+systemNamespace+"/rolebindings",
			"{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: mine}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: mallory}]}")},
		{"a Gate's status", merge("/apis/gitward.dev/v1alpha1/gates/everything/status", `{"status":{"observedGeneration":99}}`)},
		{"an Origin's status", merge("/apis/gitward.dev/v1alpha1/origins/platform/status", `{"status":{"acceptedRevision":"0000000000000000000000000000000000000000"}}`)},
	}
	// What deletes configurations, or bends them, needs them there to begin with.
	w.bites(slices.DeleteFunc(slices.Concat(outside, inside), func(d tampering) bool {
		return strings.HasPrefix(d.call.path, judgeConfig) || strings.HasPrefix(d.call.path, stampConfig)
	}))
	for _, d := range outside {
		if strings.HasPrefix(d.call.path, judgeConfig) || strings.HasPrefix(d.call.path, stampConfig) {
			if err := d.call.dry().do(w.lab.client(whoIs("cluster-admin")), ""); err != nil {
				t.Errorf("%s, before the guard: %v: this attack shows nothing", d.name, err)
			}
		}
	}
	before := objectAt(judgeConfig)
	w.lab.guard(t)
	w.tamper(outside, ofKubernetes)
	w.tamper(inside, ofKubernetes)
	after := objectAt(judgeConfig)
	if after.GetResourceVersion() != before.GetResourceVersion() {
		t.Error("the judge's configuration was changed")
	}
}

// victim shows that no webhook can guard webhook configurations: the API server
// asks none about them.
func (w *world) victim() {
	w.t.Helper()
	admin := w.lab.client(whoIs("cluster-admin"))
	text := "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: naive-victim}}"
	for _, c := range []call{create(text), merge(registrations+"validatingwebhookconfigurations/naive-victim", `{"webhooks":[]}`), remove(registrations + "validatingwebhookconfigurations/naive-victim")} {
		if err := c.do(admin, ""); err != nil {
			w.t.Errorf("an unguarded webhook configuration: %v: this attack shows nothing", err)
		}
	}
}

// TestS19OwnKinds: what Gitward decides by is judged as anything else.
func TestS19OwnKinds(t *testing.T) {
	w := newWorld(t, map[string]string{"prices.yaml": configMap("prices", "1")})
	gates, origins := "/apis/gitward.dev/v1alpha1/gates", "/apis/gitward.dev/v1alpha1/origins"
	w.play(unasked,
		attack{name: "a Gate that only audits", aside: true, by: "cluster-admin", people: administrators, calls: []call{merge(gates+"/everything", `{"spec":{"action":"Audit"}}`)}, want: "Differs", says: "Gate everything differs from Git: spec.action"},
		attack{name: "a Gate about nothing", aside: true, by: "cluster-admin", people: administrators, calls: []call{merge(gates+"/everything", `{"spec":{"match":{"namespaces":["none"]}}}`)}, want: "Differs", says: "Gate everything differs from Git: spec.match"},
		attack{name: "a Gate with break-glass", aside: true, by: "cluster-admin", people: administrators, calls: []call{merge(gates+"/everything", `{"spec":{"breakGlass":{"groups":["system:authenticated"]}}}`)}, want: "Differs", says: "spec.breakGlass"},
		attack{name: "a Gate that lets fields be", aside: true, by: "cluster-admin", people: administrators, calls: []call{merge(gates+"/everything", `{"spec":{"allowFields":[{"resources":["configmaps"],"paths":["data.apple"],"users":["mallory"],"reason":"mine"}]}}`)}, want: "Differs", says: "spec.allowFields"},
		attack{name: "the Gate deleted", aside: true, by: "cluster-admin", people: administrators, calls: []call{remove(gates + "/everything")}, want: "StillInGit", says: "Gate everything is still in Git"},
		attack{name: "all Gates deleted", aside: true, by: "cluster-admin", people: administrators, calls: []call{remove(gates)}, want: "StillInGit", says: "Gate everything is still in Git"},
		attack{name: "an Origin sent elsewhere", aside: true, by: "cluster-admin", people: administrators, calls: []call{merge(origins+"/platform", `{"spec":{"url":"https://evil.example.org/x.git"}}`)}, want: "NotInGit", says: "Origin platform is not in Git"},
		attack{name: "an Origin of one's own", aside: true, by: "cluster-admin", people: administrators, calls: []call{post(origins, "{apiVersion: gitward.dev/v1alpha1, kind: Origin, metadata: {name: mine}, spec: {url: 'https://evil.example.org/x.git', ref: {branch: main}, signers: {secretRef: {name: signers}}}}")},
			want: "NotInGit", says: "Origin mine is not in Git"},
		attack{name: "an Origin deleted", aside: true, by: "cluster-admin", people: administrators, calls: []call{remove(origins + "/staging")}, want: "StillInGit", says: "Origin staging cannot be deleted by hand"},
		attack{name: "all Origins deleted", aside: true, by: "cluster-admin", people: administrators, calls: []call{remove(origins)}, want: "StillInGit", says: "cannot be deleted by hand"},
		attack{name: "the kind of Gates deleted", aside: true, by: "cluster-admin", people: administrators, calls: []call{remove("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gates.gitward.dev")}, want: "StillInGit", says: "gates.gitward.dev"},
	)
	// By dry run: where this one is admitted, nothing else in this lab would be
	// judged any more.
	err := remove("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/origins.gitward.dev").dry().do(w.lab.client(whoIs("system:masters")), "")
	if !server.Refused(err) {
		t.Errorf("the kind of Origins, of which Git declares none, deleted: %v", orAdmitted(err))
	}
}

// TestS20Guard: what holds against system:masters where the policies came by the
// API, and what does not.
func TestS20Guard(t *testing.T) {
	w := newWorld(t, map[string]string{"prices.yaml": configMap("prices", "1")})
	admin := w.lab.client(whoIs("system:masters"))
	if err := remove(judgeConfig).dry().do(admin, ""); err != nil {
		t.Errorf("system:masters deletes an unguarded judge: %v: this attack shows nothing", err)
	}
	w.victim()
	w.lab.guard(t)
	if err := remove(judgeConfig).do(admin, ""); !refusedByGuard(err) {
		t.Errorf("system:masters deletes the judge: %v", orAdmitted(err))
	}
	// The API server asks no policy about policies: whoever may delete them can.
	binding := registrations + "validatingadmissionpolicybindings/registration.guard.gitward.dev"
	if err := remove(binding).do(admin, ""); err != nil {
		t.Errorf("the binding could not be deleted, so this test says the wrong thing: %v", err)
	}
	server.Await(t, "the guard's end", 20*time.Second, func() error { return remove(judgeConfig).dry().do(admin, "") })
	t.Logf("%-55s | naive: gets through (no webhook is asked about webhooks) | Gitward: refused by the guarding policy | 1 tries", "system:masters deletes the webhook configuration")
	t.Logf("%-55s | naive: gets through (nobody is asked about policies) | Gitward: it goes too (only a static policy holds) | 1 tries", "system:masters deletes the guard's binding first")
	w.noticed(admin)
}

// noticed takes the judge away for good, writes something while nobody is asked,
// and waits until Gitward has put the judge back and named what was written.
func (w *world) noticed(admin *rest.RESTClient) {
	w.t.Helper()
	server.Await(w.t, "Gitward to know its configurations", 60*time.Second, func() error {
		return admin.Get().AbsPath(ownNamespace + "configmaps/gitward-registration").Do(context.Background()).Error()
	})
	lines, _ := w.lab.gitward.size(w.t)
	before, began := objectAt(judgeConfig), time.Now()
	// Gitward sleeps for a moment: otherwise the judge is back before the API
	// server has heard that it is gone.
	const slipped = 5
	check(w.t, syscall.Kill(w.lab.gitward.Pid(), syscall.SIGSTOP))
	check(w.t, remove(judgeConfig).do(admin, ""))
	check(w.t, remove(stampConfig).do(admin, ""))
	time.Sleep(time.Second)
	for n := range slipped {
		if err := create(configMap(fmt.Sprintf("slipped-%d", n), "1")).do(admin, w.ns); err != nil {
			w.t.Errorf("a write while nobody is asked: %v: this attack shows nothing", err)
		}
	}
	check(w.t, syscall.Kill(w.lab.gitward.Pid(), syscall.SIGCONT))
	started := time.Now()
	server.AwaitGated(w.t, w.lab.kube, true)
	closed := time.Since(started)
	if closed >= 10*time.Second {
		w.t.Errorf("the judge was back only after %v", closed)
	}
	after := objectAt(judgeConfig)
	if !reflect.DeepEqual(before.Object["webhooks"], after.Object["webhooks"]) || before.GetUID() == after.GetUID() {
		w.t.Errorf("the judge is not as it was: %v", after.Object["webhooks"])
	}
	server.Await(w.t, "the record of the gap", 30*time.Second, func() error {
		said, err := os.ReadFile(w.lab.gitward.Records)
		if err != nil {
			return err
		}
		gaps := 0 // of the judge
		for i, line := range strings.Split(string(said), "\n") {
			var gap audit.GapRecord
			if i < lines || !strings.Contains(line, `"configuration":"`+install.Judge+`"`) || json.Unmarshal([]byte(line), &gap) != nil {
				continue
			}
			if !gap.Start.Before(began) { // one from before may be told of late
				gaps++
				for n := range slipped {
					if !strings.Contains(line, fmt.Sprintf(`"slipped-%d"`, n)) {
						return fmt.Errorf("slipped-%d is not in %.300s", n, line)
					}
				}
			}
		}
		if gaps != 1 {
			return fmt.Errorf("%d gaps are recorded", gaps)
		}
		return nil
	})
	for n := range slipped {
		check(w.t, remove(fmt.Sprintf("%sconfigmaps/slipped-%d", inCore, n)).do(admin, w.ns))
	}
	w.t.Logf("%-55s | naive: not shown (a naive webhook does not look after itself) | Gitward: back after %v, and the record names the %d writes that slipped through", "the judge deleted past the guard", closed.Round(time.Millisecond), slipped)
}

// TestS2Guard: the kubelet's writes about its Pods and its Node go past the
// webhooks, so that a node may come up without them, and so do the node
// controllers'. The stamps are kept by a policy.
func TestS2Guard(t *testing.T) {
	w := newWorld(t, map[string]string{"box.yaml": pod("box", "web")})
	w.place(node("evil"))
	inPod, inNode := merge(inCore+"pods/box/status", forgedStamp), merge("/api/v1/nodes/evil/status", forgedStamp)
	deeds := []attack{
		{name: "a forged stamp through pods/status as a kubelet", calls: []call{inPod}, by: "as a kubelet"},
		{name: "a forged stamp through nodes/status as a kubelet", calls: []call{inNode}, by: "as a kubelet", aside: true},
		{name: "a forged stamp through nodes/status as kube-controller-manager", calls: []call{inNode}, by: "as kube-controller-manager", aside: true},
	}
	w.show(plain, deeds...)
	w.lab.guard(t)
	for _, state := range []string{"alive", "dead"} {
		if state == "dead" {
			w.lab.gitward.Kill()
		}
		for _, d := range deeds {
			if err := d.calls[0].do(w.lab.client(whoIs(d.by)), w.ns); !refusedByGuard(err) && !server.Refused(err) {
				t.Errorf("%s with Gitward %s: %v", d.name, state, orAdmitted(err))
			}
		}
	}
	w.lab.revive(t)
	for _, d := range deeds {
		t.Logf("%-55s | naive: %s | Gitward: the guarding policy, alive and dead | 2 tries", d.name, w.naively(d))
	}
}

// revive starts Gitward again, and waits until it decides.
func (l *lab) revive(t testing.TB) {
	l.gitward.start(t)
	server.Await(t, "Gitward again", 60*time.Second, func() error {
		_, err := l.kube.CoreV1().ConfigMaps("default").Create(context.Background(), configMapObject("probe-that-is-in-no-repository"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if !server.Refused(err) || !strings.Contains(err.Error(), "is not in Git") {
			return orAdmitted(err)
		}
		return nil
	})
}

// TestS19Names takes the names of Kubernetes' own parts, which have something to
// do in Gitward's namespace, but not this.
func TestS19Names(t *testing.T) {
	w := newWorld(t, map[string]string{"prices.yaml": configMap("prices", "1")})
	deeds := []tampering{
		{"other signers", merge(ownNamespace+"secrets/signers", `{"stringData":{"allowed_signers":"eve"}}`)},
		{"another image for Gitward", strategic("/apis/apps/v1/namespaces/"+systemNamespace+"/deployments/gitward", `{"spec":{"template":{"spec":{"containers":[{"name":"gitward","image":"evil"}]}}}}`)},
		{"the network cut", post("/apis/networking.k8s.io/v1/namespaces/"+systemNamespace+"/networkpolicies", "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: cut}, spec: {podSelector: {}, policyTypes: [Ingress, Egress]}}")},
		{"a Gate's status", merge("/apis/gitward.dev/v1alpha1/gates/everything/status", `{"status":{"observedGeneration":99}}`)},
		{"an Origin's status", merge("/apis/gitward.dev/v1alpha1/origins/platform/status", `{"status":{"acceptedRevision":"0000000000000000000000000000000000000000"}}`)},
		{"the CRD of Gates deleted", remove("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gates.gitward.dev")},
	}
	w.bites(deeds)
	w.lab.guard(t)
	for _, d := range deeds {
		tries := 0
		for _, who := range append(everybody, apiServer) {
			if !ofKubernetes(who) && who.name != apiServer.name {
				continue
			}
			tries++
			if err := d.call.dry().do(w.lab.client(who), ""); !refusedByGuard(err) && !server.Refused(err) {
				t.Errorf("%s (%s): %v", d.name, who.name, orAdmitted(err))
			}
		}
		t.Logf("%-55s | naive: gets through (%s) | Gitward: refused to the names of Kubernetes' own | %d tries", d.name, unasked.mistake, tries)
	}
}
