package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/audit"
	"github.com/gitward/gitward/audit/ledger"
	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/canonical"
)

const robot = "system:serviceaccount:ops:robot"

// impactWorld is a cluster without one: what Git declares in two namespaces, and
// what is live.
type impactWorld struct {
	t       *testing.T
	schemas *canonical.Schemas
	view    *gate.View
	live    liveObjects
}

type liveObjects map[string]*gate.LiveObject

func (l liveObjects) Object(uid string) *gate.LiveObject { return l[uid] }
func (l liveObjects) Find(gitindex.Ref) *gate.LiveObject { return nil }
func (l liveObjects) Changed() <-chan struct{}           { return nil }
func (l liveObjects) put(ref gitindex.Ref, version, uid string) {
	apiVersion := version
	if ref.Group != "" {
		apiVersion = ref.Group + "/" + version
	}
	l[uid] = &gate.LiveObject{Ref: ref, APIVersion: apiVersion, UID: uid, Template: []byte(`{}`)}
}

func newImpactWorld(t *testing.T) *impactWorld {
	schemas, _ := canonical.New()
	w := &impactWorld{t: t, schemas: schemas, live: liveObjects{}}
	commit := &gitindex.Commit{ID: strings.Repeat("4", 40), Verdict: gitindex.Verdict{Outcome: gitindex.Good}}
	snap := &gitindex.Snapshot{Origin: "platform", Accepted: commit, FetchedAt: time.Now(), Objects: map[gitindex.Ref]*gitindex.Entry{}}
	declare := func(ref gitindex.Ref, raw string) {
		m := &gitindex.Manifest{Ref: ref, APIVersion: field(t, raw, "apiVersion"), Origin: "platform", Path: "a.yaml", Line: 1, Raw: asJSON(t, raw), Commit: commit}
		m.Canonical, _ = schemas.Canonical(m.Raw, versionIn(m.APIVersion))
		snap.Objects[ref] = &gitindex.Entry{Current: []*gitindex.Manifest{m}}
	}
	for _, ns := range []string{"shop", "other"} {
		declare(gitindex.Ref{Kind: "Namespace", Name: ns}, "{apiVersion: v1, kind: Namespace, metadata: {name: "+ns+"}}")
		declare(gitindex.Ref{Group: "apps", Kind: "Deployment", Namespace: ns, Name: "web"}, deployment(ns, "app:1", ""))
		declare(gitindex.Ref{Group: "rbac.authorization.k8s.io", Kind: "Role", Namespace: ns, Name: "r"}, role(ns, "[get]"))
		declare(gitindex.Ref{Kind: "Secret", Namespace: ns, Name: "token"}, "{apiVersion: v1, kind: Secret, metadata: {name: token, namespace: "+ns+"}, stringData: {word: correct-horse}}")
		declare(gitindex.Ref{Group: "cert-manager.io", Kind: "Certificate", Namespace: ns, Name: "site"}, "{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: site, namespace: "+ns+"}}")
		w.live.put(gitindex.Ref{Group: "cert-manager.io", Kind: "Certificate", Namespace: ns, Name: "site"}, "v1", "site-"+ns)
		w.live.put(gitindex.Ref{Group: "cert-manager.io", Kind: "Certificate", Namespace: ns, Name: "stray"}, "v1", "stray-"+ns)
		w.live.put(gitindex.Ref{Group: "apps", Kind: "ReplicaSet", Namespace: ns, Name: "stray"}, "v1", "rs-"+ns)
	}
	w.view = &gate.View{Index: gitindex.Index{"platform": snap.Seal()}, Schemas: schemas, Live: w.live}
	return w
}

func deployment(ns, image, more string) string {
	return fmt.Sprintf("{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: %s%s}, spec: {replicas: 2, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, "+
		"spec: {containers: [{name: web, image: %q}, {name: side, image: 'side:1'}]}}}}", ns, more, image)
}

func role(ns, verbs string) string {
	return "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: r, namespace: " + ns + "}, rules: " +
		"[{apiGroups: [''], resources: [pods], verbs: " + verbs + "}]}"
}

func asJSON(t *testing.T, text string) []byte {
	t.Helper()
	data, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func field(t *testing.T, text, name string) string {
	t.Helper()
	var m map[string]any
	if err := yaml.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	s, _ := m[name].(string)
	return s
}

func versionIn(apiVersion string) string { return apiVersion[strings.LastIndex(apiVersion, "/")+1:] }

// ask is one request, written short.
type ask struct {
	user, resource, group, sub, ns, name string
	op                                   gate.Operation
	old, new                             string
	unproven                             bool // an account without a token of its own
}

func (w *impactWorld) request(a ask) *gate.Request {
	w.t.Helper()
	r := &gate.Request{UID: "u", Operation: a.op, Resource: a.resource, ResourceGroup: a.group, SubResource: a.sub, Namespace: a.ns, Name: a.name, User: gate.User{Name: a.user}}
	if ns, ok := strings.CutPrefix(a.user, "system:serviceaccount:"); ok {
		ns, _, _ = strings.Cut(ns, ":")
		r.User.Groups = []string{"system:serviceaccounts:" + ns}
		if !a.unproven {
			r.User.UID = "uid-of-" + a.user
		}
	}
	about := a.new
	if about == "" {
		about = a.old
	}
	if about != "" {
		r.Kind = field(w.t, about, "kind")
		apiVersion := field(w.t, about, "apiVersion")
		r.Version = versionIn(apiVersion)
		r.Group = strings.TrimSuffix(strings.TrimSuffix(apiVersion, r.Version), "/")
	}
	r.Object, r.OldObject = w.served(a.new, r.Version), w.served(a.old, r.Version)
	return r
}

// served is an object with the API server's defaults, where they are known.
func (w *impactWorld) served(text, version string) []byte {
	w.t.Helper()
	if text == "" {
		return nil
	}
	raw := asJSON(w.t, text)
	if full, err := w.schemas.Canonical(raw, version); err == nil {
		return full
	}
	return raw
}

func gateOf(spec v1alpha1.GateSpec) v1alpha1.Gate {
	spec.Origins = []v1alpha1.OriginRef{{Name: "platform"}}
	g := v1alpha1.Gate{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: spec}
	g.SetDefaults()
	return g
}

// engine decides by one Gate.
func (w *impactWorld) engine(g v1alpha1.Gate, r gate.Recorder) *gate.Gate {
	view := *w.view
	view.Rules = rules([]v1alpha1.Gate{g})
	return &gate.Gate{View: func() *gate.View { return &view }, Now: time.Now, Recorder: r}
}

// watched has a Gate that audits see a request, and gives what the status then
// says and what impact makes of the record.
func (w *impactWorld) watched(asks ...ask) ([]v1alpha1.Learned, *impactResult) {
	w.t.Helper()
	var records bytes.Buffer
	lines, err := audit.NewLines(&records, "", "")
	if err != nil {
		w.t.Fatal(err)
	}
	learner := &ledger.Learner{Recorder: lines}
	engine := w.engine(gateOf(v1alpha1.GateSpec{Action: v1alpha1.ActionAudit}), learner)
	for _, a := range asks {
		if d := engine.Decide(context.Background(), w.request(a)); !d.Allowed || d.Refusal == nil {
			w.t.Fatalf("%+v: allowed %v, refusal %v", a, d.Allowed, d.Refusal)
		}
	}
	r := &impactResult{}
	if err := r.read(&records, "default", time.Now().Add(-time.Hour)); err != nil {
		w.t.Fatal(err)
	}
	return w.status(learner), r
}

// status is what a Keeper writes.
func (w *impactWorld) status(learner *ledger.Learner) []v1alpha1.Learned {
	w.t.Helper()
	var status v1alpha1.GateStatus
	done, written := make(chan struct{}), make(chan struct{}, 1)
	k := &ledger.Keeper{Ledger: &ledger.Ledger{}, Learner: learner, Log: slog.New(slog.DiscardHandler), Interval: time.Millisecond,
		Update: func(_ string, change func(*v1alpha1.GateStatus)) error {
			change(&status)
			written <- struct{}{}
			return nil
		}}
	ended := make(chan struct{})
	go func() { defer close(ended); k.Run(done) }()
	select {
	case <-written:
	case <-time.After(10 * time.Second):
		w.t.Error("nothing was learned")
	}
	close(done)
	<-ended
	return status.Learned
}

// TestSuggestions: a rule that is suggested lets the request pass that it is
// suggested for, and not its neighbours.
func TestSuggestions(t *testing.T) {
	scaleOf := func(ns, group string, n int) string {
		return fmt.Sprintf("{apiVersion: autoscaling/v1, kind: Scale, metadata: {name: web, namespace: %s}, spec: {replicas: %d}}", ns, n)
	}
	scale := func(user, ns, group, resource string) ask {
		return ask{user: user, op: gate.Update, resource: resource, group: group, sub: "scale", ns: ns, name: "web", old: scaleOf(ns, group, 2), new: scaleOf(ns, group, 5)}
	}
	update := func(user, ns, new string) ask {
		return ask{user: user, op: gate.Update, resource: "deployments", group: "apps", ns: ns, name: "web", old: deployment(ns, "app:1", ""), new: new}
	}
	limits := func(ns string, n int) string {
		return strings.Replace(deployment(ns, "app:1", ", annotations: {example.org/seen: 'yes'}"), "name: web, image: \"app:1\"", fmt.Sprintf("name: web, image: 'app:1', resources: {limits: {nvidia.com/gpu: %d}}", n), 1)
	}
	changeRole := func(user, ns, resource string) ask {
		return ask{user: user, op: gate.Update, resource: "roles", group: "rbac.authorization.k8s.io", ns: ns, name: "r", old: role(ns, "[get]"), new: strings.Replace(role(ns, "[list]"), "pods", resource, 1)}
	}
	approve := func(user, sub string) ask {
		csr := "{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: {name: c}, spec: {request: aGk=, signerName: example.org/x}}"
		return ask{user: user, op: gate.Update, resource: "certificatesigningrequests", group: "certificates.k8s.io", sub: sub, name: "c", old: csr,
			new: strings.Replace(csr, "spec:", "status: {conditions: [{type: Approved, status: 'True'}]}, spec:", 1)}
	}
	exec := func(user, ns, sub string) ask {
		return ask{user: user, op: gate.Connect, resource: "pods", sub: sub, ns: ns, name: "web-0", new: "{apiVersion: v1, kind: PodExecOptions, command: [ls]}"}
	}
	secret := func(user, ns, kind, name, value string) ask {
		object := fmt.Sprintf("{apiVersion: v1, kind: Secret, metadata: {name: tls, namespace: %s, ownerReferences: [{apiVersion: cert-manager.io/v1, kind: %s, name: %s, uid: %s-%s, controller: true}]}, data: {k: %s}}", ns, kind, name, name, ns, value)
		return ask{user: user, op: gate.Create, resource: "secrets", ns: ns, name: "tls", new: object}
	}
	renewed := func(user, ns, kind, name string) ask {
		a := secret(user, ns, kind, name, "Yg==")
		a.op, a.old = gate.Update, secret(user, ns, kind, name, "YQ==").new
		return a
	}
	configMap := func(user, ns string) ask {
		return ask{user: user, op: gate.Create, resource: "configmaps", ns: ns, name: "lock", new: "{apiVersion: v1, kind: ConfigMap, metadata: {name: lock, namespace: " + ns + "}}"}
	}
	namespace := func(user, name string) ask {
		return ask{user: user, op: gate.Create, resource: "namespaces", ns: name, name: name, new: "{apiVersion: v1, kind: Namespace, metadata: {name: " + name + "}}"}
	}
	labelled := func(user, label string) ask {
		a := namespace(user, "shop")
		a.op, a.old, a.new = gate.Update, a.new, "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {"+label+": x}}}"
		return a
	}
	clusterRole := func(user, kind, resource string) ask {
		return ask{user: user, op: gate.Create, resource: resource, group: "rbac.authorization.k8s.io", name: "c", new: "{apiVersion: rbac.authorization.k8s.io/v1, kind: " + kind + ", metadata: {name: c}" +
			map[string]string{"ClusterRoleBinding": ", roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: x}"}[kind] + "}"}
	}
	for name, c := range map[string]struct {
		refused    ask
		suggested  string
		neighbours []ask
	}{
		"an item's field": {update(robot, "shop", deployment("shop", "app:2", "")), "allowFields: [{resources: [deployments.apps], paths: ['spec.template.spec.containers[].image'], namespaces: [shop]}]",
			[]ask{update("system:serviceaccount:ops:other", "shop", deployment("shop", "app:2", "")), update(robot, "other", deployment("other", "app:2", "")),
				update(robot, "shop", strings.Replace(deployment("shop", "app:2", ""), "replicas: 2", "replicas: 3", 1))}},
		"free keys": {update(robot, "shop", limits("shop", 1)), "allowFields: [{resources: [deployments.apps], paths: ['metadata.annotations[example.org/seen]', 'spec.template.spec.containers[].resources.limits[nvidia.com/gpu]'], namespaces: [shop]}]",
			[]ask{update("system:serviceaccount:ops:other", "shop", limits("shop", 1)), update(robot, "other", limits("other", 1)),
				update(robot, "shop", strings.Replace(limits("shop", 1), "nvidia.com/gpu", "amd.com/gpu", 1)), update(robot, "shop", strings.Replace(limits("shop", 1), "example.org/seen", "example.org/not", 1))}},
		"a place in a list without keys": {changeRole(robot, "shop", "pods"), "allowFields: [{resources: [roles.rbac.authorization.k8s.io], paths: ['rules[].verbs[]'], namespaces: [shop]}]",
			[]ask{changeRole("system:serviceaccount:ops:other", "shop", "pods"), changeRole(robot, "other", "pods"), changeRole(robot, "shop", "secrets")}},
		"a Namespace's label": {labelled(robot, "app"), "allowFields: [{resources: [namespaces], paths: [metadata.labels.app]}]",
			[]ask{labelled("system:serviceaccount:ops:other", "app"), labelled(robot, "team")}},
		"scale": {scale(robot, "shop", "apps", "deployments"), "allowFields: [{resources: [deployments.apps], paths: [spec.replicas], namespaces: [shop]}]",
			[]ask{scale("system:serviceaccount:ops:other", "shop", "apps", "deployments"), scale(robot, "other", "apps", "deployments"), scale(robot, "shop", "apps", "statefulsets")}},
		"scale of what Git does not declare": {scale(robot, "none", "apps", "deployments"), "allowFields: [{resources: [deployments.apps], paths: [spec.replicas], namespaces: [none]}]",
			[]ask{scale(robot, "other", "apps", "deployments")}},
		"scale of another kind": {scale(robot, "shop", "example.org", "shops"), "allowFields: [{resources: [shops.example.org], paths: [spec.replicas], namespaces: [shop]}]",
			[]ask{scale("system:serviceaccount:ops:other", "shop", "example.org", "shops"), scale(robot, "other", "example.org", "shops"), scale(robot, "shop", "example.net", "shops")}},
		"approval": {approve(robot, "approval"), "allowVerbs: [{resources: [certificatesigningrequests.certificates.k8s.io/approval]}]",
			[]ask{approve("system:serviceaccount:ops:other", "approval")}},
		"exec": {exec(robot, "shop", "exec"), "allowVerbs: [{resources: [pods/exec], namespaces: [shop]}]",
			[]ask{exec("system:serviceaccount:ops:other", "shop", "exec"), exec(robot, "other", "exec"), exec(robot, "shop", "attach")}},
		"a subresource of nobody's": {ask{user: robot, op: gate.Create, resource: "shops", group: "example.org", sub: "open", ns: "shop", name: "s", new: "{apiVersion: example.org/v1, kind: Open}"},
			"allowVerbs: [{resources: [shops.example.org/open], namespaces: [shop]}]",
			[]ask{{user: robot, op: gate.Create, resource: "shops", group: "example.org", sub: "close", ns: "shop", name: "s", new: "{apiVersion: example.org/v1, kind: Open}"}}},
		"derived": {secret(robot, "shop", "Certificate", "site", "YQ=="), "derive: [{owner: {group: cert-manager.io, kind: Certificate}, makes: [secrets]}]",
			[]ask{secret("system:serviceaccount:ops:other", "shop", "Certificate", "site", "YQ=="), secret(robot, "shop", "Issuer", "site", "YQ=="), secret(robot, "shop", "Certificate", "stray", "YQ==")}},
		"derived, changed": {renewed(robot, "shop", "Certificate", "site"), "derive: [{owner: {group: cert-manager.io, kind: Certificate}, makes: [secrets]}]",
			[]ask{renewed("system:serviceaccount:ops:other", "shop", "Certificate", "site"), renewed(robot, "shop", "Issuer", "site"), renewed(robot, "shop", "Certificate", "stray")}},
		"not in Git": {configMap(robot, "shop"), "exclude: [{resources: [configmaps], namespaces: [shop]}]",
			[]ask{configMap("system:serviceaccount:ops:other", "shop"), configMap(robot, "other"), secret(robot, "shop", "Certificate", "site", "YQ==")}},
		"a Namespace": {namespace(robot, "new"), "exclude: [{resources: [namespaces], namespaces: [new]}]",
			[]ask{namespace("system:serviceaccount:ops:other", "new"), namespace(robot, "newer"), configMap(robot, "new")}},
		"in no namespace": {clusterRole(robot, "ClusterRole", "clusterroles"), "exclude: [{resources: [clusterroles.rbac.authorization.k8s.io]}]",
			[]ask{clusterRole("system:serviceaccount:ops:other", "ClusterRole", "clusterroles"), clusterRole(robot, "ClusterRoleBinding", "clusterrolebindings")}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newImpactWorld(t)
			learned, r := w.watched(c.refused, c.refused)
			if len(learned) != 1 || len(r.Groups) != 1 || r.Groups[0].Count != 2 {
				t.Fatalf("status %+v, records %+v", learned, r.Groups)
			}
			learned[0].Message = "" // records have none
			a, _ := json.Marshal(learned)
			b, _ := json.Marshal(r.Groups)
			if !bytes.Equal(a, b) {
				t.Errorf("the status says\n%s\nand the records\n%s", a, b)
			}
			s := suggest(r.genuine)
			if s == nil || s.removes != 2 {
				t.Fatalf("suggested for %+v: %+v", r.Groups, s)
			}
			w.expectSuggestion(s, c.suggested)
			g := gateOf(v1alpha1.GateSpec{Action: v1alpha1.ActionDeny, Derive: s.Derive, AllowFields: s.AllowFields, AllowVerbs: s.AllowVerbs, Exclude: s.Exclude})
			if err := checkGate(&g.Spec); err != nil {
				t.Fatalf("no Gate can have what is suggested: %v", err)
			}
			engine, before := w.engine(g, nil), w.engine(gateOf(v1alpha1.GateSpec{Action: v1alpha1.ActionDeny}), nil)
			if d := before.Decide(t.Context(), w.request(c.refused)); d.Allowed {
				t.Error("it passes without the rule")
			}
			if d := engine.Decide(t.Context(), w.request(c.refused)); !d.Allowed {
				t.Errorf("the rule does not let it pass: %s", d.Message())
			}
			for _, n := range c.neighbours {
				if d := engine.Decide(t.Context(), w.request(n)); d.Allowed {
					t.Errorf("the rule lets a neighbour pass (%s): %+v", d.Reason, n)
				}
			}
		})
	}
}

// expectSuggestion compares but for users, reasons and ends, which are always
// the same.
func (w *impactWorld) expectSuggestion(s *suggestion, want string) {
	w.t.Helper()
	data, err := json.Marshal(s)
	if err != nil {
		w.t.Fatal(err)
	}
	var got, expected map[string][]map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		w.t.Fatal(err)
	}
	for _, list := range got {
		for _, rule := range list {
			if !reflect.DeepEqual(rule["users"], []any{robot}) || rule["reason"] == "" {
				w.t.Errorf("%v", rule)
			}
			delete(rule, "users")
			delete(rule, "reason")
			delete(rule, "expires")
		}
	}
	if err := yaml.Unmarshal([]byte("{"+want+"}"), &expected); err != nil {
		w.t.Fatal(err)
	}
	if !reflect.DeepEqual(got, expected) {
		w.t.Errorf("suggested %v, want %v", got, expected)
	}
}

// TestNoSuggestion: nothing is suggested where a rule would never let the
// request pass, or should not.
func TestNoSuggestion(t *testing.T) {
	pod := "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: shop, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: stray, uid: rs-shop, controller: true}]}, spec: {containers: [{name: c, image: x}]}}"
	configMap := ask{op: gate.Create, resource: "configmaps", ns: "shop", name: "x", new: "{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: shop}}"}
	as := func(user string) ask { a := configMap; a.user = user; return a }
	impersonated := as(robot)
	impersonated.unproven = true
	var annotations []string
	for i := range 30 {
		annotations = append(annotations, fmt.Sprintf("example.org/a%02d: x", i))
	}
	many := ask{user: robot, op: gate.Update, resource: "deployments", group: "apps", ns: "shop", name: "web", old: deployment("shop", "app:1", ", annotations: {own: x}"),
		new: deployment("shop", "app:1", ", annotations: {own: x, "+strings.Join(annotations, ", ")+"}")}
	more := role("shop", "[get]")
	more = more[:len(more)-2] + ", {apiGroups: [''], resources: [secrets], verbs: ['*']}]}"
	for name, a := range map[string]ask{
		"a person":           as("ada"),
		"nobody":             as("system:anonymous"),
		"impersonated":       impersonated,
		"Kubernetes' own":    {user: "system:serviceaccount:kube-system:replicaset-controller", op: gate.Create, resource: "pods", ns: "shop", name: "p", new: pod},
		"a first level":      {user: robot, op: gate.Update, resource: "roles", group: "rbac.authorization.k8s.io", ns: "shop", name: "r", old: role("shop", "[get]"), new: more},
		"more than are kept": many,
	} {
		t.Run(name, func(t *testing.T) {
			learned, r := newImpactWorld(t).watched(a)
			if s := suggest(r.genuine); s != nil || len(r.Groups) != 1 {
				t.Errorf("for %+v: %+v", r.Groups, s)
			}
			if s := suggest(learned); s != nil && !a.unproven { // a status does not tell
				t.Errorf("for %+v: %+v", learned, s)
			}
		})
	}
}

// TestRecordsThatCount: other Gates' records, old ones, refusals in earnest and
// other lines are left out; the last of a group says when.
func TestRecordsThatCount(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	line := func(edit func(*audit.Record)) string {
		rec := audit.Record{Time: now, Decision: "d-1", Gate: "default", Action: "Audit", Allowed: true, Refused: true, Reason: "NotInGit", Operation: "CREATE", User: robot,
			APIVersion: "apps/v1", Kind: "Deployment", Resource: "deployments", Namespace: "shop", Name: "web"}
		edit(&rec)
		data, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		return string(data) + "\n"
	}
	in := "starting\n{\"level\":\"INFO\"}\n" + line(func(*audit.Record) {}) +
		line(func(r *audit.Record) { r.Time, r.Name, r.ResourceGroup = now.Add(time.Second), "api", "apps" }) +
		line(func(r *audit.Record) { r.Gate = "other" }) + line(func(r *audit.Record) { r.Time = now.Add(-48 * time.Hour) }) +
		line(func(r *audit.Record) { r.Action, r.Allowed = "Deny", false }) + line(func(r *audit.Record) { r.Refused, r.Reason = false, "Git" })
	r := &impactResult{}
	if err := r.read(strings.NewReader(in), "default", now.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if r.Requests != 4 || len(r.Groups) != 1 {
		t.Fatalf("%d requests, %+v", r.Requests, r.Groups)
	}
	if g := r.Groups[0]; g.Count != 2 || g.Resource != "deployments.apps" || !g.Last.Time.Equal(now.Add(time.Second)) || g.Example != "api" {
		t.Errorf("%+v", g)
	}
}

// TestSuggestionsAreJoined: what differs in its paths alone is one rule, and what
// is there already is not said twice.
func TestSuggestionsAreJoined(t *testing.T) {
	one := v1alpha1.Learned{User: robot, Reason: "Differs", Operation: "UPDATE", Resource: "deployments.apps", Namespace: "shop", Paths: []string{"spec.replicas", "spec.paused"}, Count: 1}
	two, three := one, one
	two.Paths, three.Namespace = []string{"spec.replicas", "metadata.labels"}, "other"
	gone := v1alpha1.Learned{User: robot, Reason: "NotInGit", Operation: "CREATE", Resource: "configmaps", Namespace: "shop", Count: 1}
	again := gone
	again.Operation = "UPDATE"
	s := suggest([]v1alpha1.Learned{one, two, three, gone, again})
	if s.removes != 5 || len(s.AllowFields) != 2 || len(s.Exclude) != 1 || !slices.Equal(s.AllowFields[0].Paths, []string{"metadata.labels", "spec.paused", "spec.replicas"}) {
		t.Errorf("%+v", s)
	}
	if !slices.Equal(one.Paths, []string{"spec.replicas", "spec.paused"}) {
		t.Error("what was learned has changed")
	}
}
