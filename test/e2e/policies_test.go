package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gitward/gitward/api/v1alpha1"
	"github.com/gitward/gitward/test/server"
)

// fruit is a policy against one key of ConfigMaps.
func fruit(key string) string {
	return fmt.Sprintf(`package fruit

# METADATA
# title: Some fruit is not for us
deny contains {"msg": msg, "fix": "take another fruit"} if {
	input.request.object.kind == "ConfigMap"
	input.request.object.data.%[1]s
	msg := sprintf("%%s has a %[1]s, which %%s signed", [input.request.object.metadata.name, input.provenance.signers[0].name])
}
`, key)
}

// TestPolicies: policies come from Git under the same signatures as everything
// else. The next request obeys a signed change, nothing obeys an unsigned one,
// and a broken one leaves the last good in force, over a restart too.
func TestPolicies(t *testing.T) {
	l := newLab(t, attackPlane(t))
	l.remap()
	ns := "policies"
	l.ensureNamespace(ns)
	apple, later := configMap(ns, "a", "1"), configMap(ns, "d", "1")
	pear := strings.ReplaceAll(configMap(ns, "b", "1"), "apple", "pear")
	secret := "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: " + ns + "}\nstringData: {word: correcthorsebattery}\n"
	tip := l.commit(map[string]string{"a.yaml": apple, "b.yaml": pear, "d.yaml": later, "s.yaml": secret, "policies/fruit.rego": fruit("pear")})
	l.installOrigin(nil)
	l.installGate("default", func(g *v1alpha1.Gate) {
		g.Spec.Policies = []v1alpha1.PolicyRef{{Origin: origin, Path: "policies"}}
	})
	l.awaitAccepted(tip)
	l.awaitPolicies(tip, "")
	l.setGated(true)

	expect(t, "what no policy is against", l.apply(apple), "")
	expect(t, "a pear", l.apply(pear), `ConfigMap policies/b breaks policy "fruit" (platform@`+tip[:7]+` policies/fruit.rego:5): b has a pear, which ada@example.org signed`)
	err := l.apply(pear)
	if err == nil || !strings.Contains(err.Error(), "do    take another fruit") {
		t.Errorf("the way out is not shown: %v", err)
	}
	expect(t, "what Git does not declare, and policies allow", l.apply(configMap(ns, "c", "1")), "is not in Git")

	second := l.commit(map[string]string{"policies/fruit.rego": fruit("apple")})
	l.awaitPolicies(second, "")
	expect(t, "a pear, under the next commit", l.apply(pear), "")
	expect(t, "what is there and does not change", l.apply(apple), "")
	expect(t, "an apple, under the next commit", l.apply(later), `breaks policy "fruit"`)

	unsigned := l.commitAs(nil, map[string]string{"policies/fruit.rego": "package fruit\n\ndeny contains \"nothing\" if false\n"})
	l.awaitAccepted(unsigned)
	l.commit(map[string]string{"policies/more.rego": "package more\n\ndeny contains \"x\" if http.send({\"url\": \"http://127.0.0.1:1\"})\n"})
	l.awaitPolicies(second, "http.send is not for policies")
	expect(t, "under policies that nobody signed, or that are broken", l.apply(later), `breaks policy "fruit"`)
	l.gitward.Kill()
	l.gitward.start()
	l.awaitPolicies(second, "http.send is not for policies")

	leaky := l.commit(map[string]string{"policies/more.rego": `package more

deny contains sprintf("the word is %s", [input.request.object.data.word]) if input.request.object.kind == "Secret"
`})
	l.awaitPolicies(leaky, "")
	err = l.apply(secret)
	expect(t, "a Secret", err, `breaks policy "more"`)
	if err != nil && (strings.Contains(err.Error(), "correcthorse") || strings.Contains(err.Error(), "Y29ycmVjdGhvcnNl") || !strings.Contains(err.Error(), "hmac-sha256:")) {
		t.Errorf("a policy sees what is secret: %v", err)
	}
}

// awaitPolicies waits until a commit's policies are in force, and, if problem is
// set, a newer one's are not.
func (l *lab) awaitPolicies(commit, problem string) {
	l.t.Helper()
	server.Await(l.t, "the policies of "+commit, 60*time.Second, func() error {
		all := l.gateStatus("default").Policies
		if len(all) == 1 && all[0].Revision == commit && strings.Contains(strings.Join(all[0].Problems, "\n"), problem) && (problem == "") == (len(all[0].Problems) == 0) {
			return nil
		}
		return fmt.Errorf("the status is %+v", all)
	})
}
