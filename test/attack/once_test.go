package attack

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/gate"
	"github.com/gitward/gitward/gitindex"
)

// Attacks that once worked. Each stays here, so that it never does again.

func TestServiceAccountByItsOldName(t *testing.T) {
	c := git(t, pod)
	evil := owned(patch(t, c.served(pod), `"spec":{`, `"spec":{"serviceAccountName":"admin","serviceAccount":"admin",`),
		`{"f:spec":{"f:serviceAccount":{},"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:image":{},"f:name":{}}}}}`)
	refused(t, c.decide(write(t, "", evil)), gate.Differs)
}

func TestDeclaredEmptyMapMayNotBeLeftOut(t *testing.T) {
	c := git(t, foo("{tls: {}}"), foos)
	refused(t, c.decide(write(t, "", foo("{}"))), gate.Differs)
	refused(t, c.decide(write(t, c.served(foo("{tls: {}}")), foo("{}"))), gate.Differs)
}

func TestUnknownStampsGoAway(t *testing.T) {
	with := func(value, annotation string) string {
		return strings.Replace(cm(value), "namespace: shop}", "namespace: shop, annotations: {"+annotation+"}}", 1)
	}
	declared := with("1", "gitward.dev/reviewed: 'yes'")
	c := git(t, declared)
	if next := c.gate().Annotate(t.Context(), write(t, "", declared)); next["gitward.dev/reviewed"] != "" {
		t.Error("what Git declares under our prefix is not taken off, and will be refused for ever")
	}
	c = git(t, cm("2"))
	next := c.gate().Annotate(t.Context(), write(t, with("1", "gitward.dev/x: y"), with("2", "gitward.dev/x: y")))
	if _, stays := next["gitward.dev/x"]; stays || next == nil {
		t.Error("an old unknown stamp stays, and will be refused for ever")
	}
	r := write(t, cm("2"), with("2", "gitward.dev/x: ''"))
	r.SubResource = "status"
	refused(t, c.decide(r), gate.ForgedStamp)
}

func TestTwoGatesOneStamp(t *testing.T) {
	c := git(t, cm("1"))
	second := c.rules[0]
	second.Name, second.Author = "b", false
	c.rules = append(c.rules, second)
	var all []string
	for k, v := range c.gate().Annotate(t.Context(), write(t, "", cm("1"))) {
		all = append(all, fmt.Sprintf("%s: %q", k, v))
	}
	admitted(t, c.decide(write(t, "", strings.Replace(cm("1"), "namespace: shop}", "namespace: shop, annotations: {"+strings.Join(all, ", ")+"}}", 1))))
}

func TestHeadModeStaysFresh(t *testing.T) {
	f := newForge(t)
	f.settings.Spec.Signers.Require = v1alpha1.RequireHead
	f.put(f.ada, "a.yaml", cm("1"))
	f.sync()
	f.put(nil, "a.yaml", cm("2"))
	f.now = noon.Add(time.Hour)
	if s := f.sync(); !s.FetchedAt.Equal(f.now) {
		t.Errorf("read at %v, and says %v", f.now, s.FetchedAt)
	}
}

func TestValuesThatLookLikeSecrets(t *testing.T) {
	for name, manifest := range map[string]string{
		"args":   strings.Replace(deployment, "[--a, --b]", "[--db-password=hunter2, --x]", 1),
		"header": deployment + "        livenessProbe: {httpGet: {port: 80, httpHeaders: [{name: Authorization, value: Bearer hunter2}]}}\n",
		"env":    foo("{env: {DB_PASS: hunter2, X: '1'}}"),
		"url":    strings.Replace(cm("1"), `"1"`, `postgres://u:hunter2@db/x`, 1),
	} {
		c := git(t, manifest, foos)
		d := c.decide(write(t, "", strings.Replace(c.served(manifest), "hunter2", "x", 1)))
		if strings.Contains(d.Message(), "hunter2") {
			t.Errorf("%s: %s", name, d.Message())
		}
	}
}

func TestLastAppliedHidesNothing(t *testing.T) {
	c := git(t, cm("1"))
	refused(t, c.decide(write(t, "", strings.Replace(cm("1"), "namespace: shop}", `namespace: shop, annotations: {kubectl.kubernetes.io/last-applied-configuration: `+
		`'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"web","namespace":"shop","annotations":{"kubectl.kubernetes.io/last-applied-configuration":"a payload"}},"data":{"value":"1"}}'}}`, 1))), gate.Differs)
}

func TestMovedDrift(t *testing.T) {
	c := git(t, deployment)
	env := func(list string) string {
		return c.served(strings.Replace(deployment, `env: [{name: A, value: "1"}, {name: B, value: $(A)}]`, "env: ["+list+"]", 1))
	}
	refused(t, c.decide(write(t, env(`{name: A, value: "1"}, {name: B, value: $(A)}, {name: X, value: x}`),
		env(`{name: X, value: x}, {name: A, value: "1"}, {name: B, value: $(A)}`))), gate.Differs)
}

func TestDenyWithoutOrigins(t *testing.T) {
	c := git(t, cm("1"))
	c.rules[0].Origins = nil
	if c.decide(removal(t, cm("1"))).Allowed {
		t.Error("a Gate that denies and accepts no Origin lets everything be deleted")
	}
}

func TestScaleToThePast(t *testing.T) {
	c := git(t, strings.Replace(deployment, "spec:\n", "spec:\n  replicas: 3\n", 1))
	scale := func(n string) []byte {
		return toJSON(t, "apiVersion: autoscaling/v1\nkind: Scale\nmetadata: {name: web, namespace: shop}\nspec: {replicas: "+n+"}\n")
	}
	e := c.index["platform"].Lookup(gitindex.Ref{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "web"})
	old := c.manifests("platform", strings.Replace(deployment, "spec:\n", "spec:\n  replicas: 0\n", 1), trusted("platform", 9))[0]
	e.Past = []gitindex.Past{{Manifest: old, By: e.Current[0].Commit, At: noon}}
	refused(t, c.decide(&gate.Request{UID: "u", Operation: gate.Update, Group: "autoscaling", Version: "v1", Kind: "Scale", Resource: "deployments", ResourceGroup: "apps",
		SubResource: "scale", Namespace: "shop", Name: "web", Object: scale("0"), OldObject: scale("3")}), gate.Differs)
}
